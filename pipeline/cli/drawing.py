"""Commands that draw with a registered model: draw, sample, complete, redraw, blend; weights of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.common import Dataset, ready

Model = Annotated[str, typer.Argument(help="model, model@alias, or an imported model's full name")]
Out = Annotated[
    Path, typer.Option(help="file to write: .svg or .png (grid), .gif (drawn in time), .ndjson (Quick, Draw!)")
]
Temperature = Annotated[
    float | None, typer.Option(help="0: the likeliest; 1: as learned; the model's own unless given.")
]
Keys = Annotated[list[str] | None, typer.Option("--key", help="Key of a test drawing; may be given again.")]
Label = Annotated[str | None, typer.Option(help="Test drawings of this class.")]
Begun = Annotated[Path | None, typer.Option("--file", help="Drawings in any format instead of test drawings.")]
Seed = Annotated[int, typer.Option(help="Equal seeds give equal drawings.")]


def draw(
    model: Annotated[list[str], typer.Argument(help="model or model@alias, one or more")],
    out: Annotated[Path, typer.Option(help="picture to write, .svg or .png")],
    dataset: Dataset = None,
    count: Annotated[int, typer.Option(help="test drawings to show")] = 12,
    points: Annotated[
        int | None, typer.Option(help="points per decoded drawing; the trained number unless given")
    ] = None,
) -> None:
    """Draw test drawings and their reconstructions. Example: inkmill draw sketchode rnn_seq2seq --out digits.svg"""
    with ready():
        from pipeline.commands import drawing, project

        _, dataset = project.prepare(dataset, [])
        drawing.draw(dataset, model, out, count, points)
        typer.echo(str(out))


def sample(
    model: Model, out: Out, dataset: Dataset = None, count: int = 40, temperature: Temperature = None, seed: Seed = 0
) -> None:
    """Make new drawings. Example: inkmill sample sketchrnn_decoder-bird --temperature 0.3 --out birds.svg"""
    _generate(model, out, dataset, "sample", {"count": count, "temperature": temperature, "seed": seed})


def complete(
    model: Model,
    out: Out,
    dataset: Dataset = None,
    key: Keys = None,
    label: Label = None,
    file: Begun = None,
    points: Annotated[int | None, typer.Option(help="Keep so many points of each drawing; all unless given.")] = None,
    extent: Annotated[float, typer.Option(help="Share of the finished drawing's longest side that is there.")] = 1.0,
    endings: int = 9,
    count: Annotated[int | None, typer.Option(help="Drawings to begin with; 4, or all of a file.")] = None,
    temperature: Temperature = None,
    seed: Seed = 0,
) -> None:
    """Finish begun drawings in many ways. Example: inkmill complete sketchrnn --points 12 --out endings.svg"""
    asked = {"points": points, "extent": extent, "endings": endings, "temperature": temperature, "seed": seed}
    _generate(model, out, dataset, "complete", {**asked, "keys": key, "label": label, "file": file, "count": count})


def redraw(
    model: Model,
    out: Out,
    dataset: Dataset = None,
    key: Keys = None,
    label: Label = None,
    file: Begun = None,
    count: Annotated[int | None, typer.Option(help="Drawings to redraw; 12, or all of a file.")] = None,
    temperature: Annotated[list[float] | None, typer.Option(help="One row each; may be given again.")] = None,
    seed: Seed = 0,
) -> None:
    """Redraw drawings at several temperatures. Example: inkmill redraw sketchrnn --temperature 0.1 --out again.svg"""
    asked = {"temperatures": temperature or [0.01, 0.25, 0.5, 0.75, 1.0], "seed": seed}
    _generate(model, out, dataset, "redraw", {**asked, "keys": key, "label": label, "file": file, "count": count})


def blend(
    model: Model,
    out: Out,
    dataset: Dataset = None,
    key: Keys = None,
    label: Label = None,
    file: Begun = None,
    frames: Annotated[int, typer.Option(help="drawings on the way from the first to the second")] = 11,
) -> None:
    """Go from one drawing to another; of three, a - b + c. Example: inkmill blend sketchrnn --out ab.gif"""
    count = len(key) if key else None
    _generate(
        model, out, dataset, "blend", {"frames": frames, "keys": key, "label": label, "file": file, "count": count}
    )


def import_weights(
    kind: Annotated[str, typer.Argument(help="sketch-rnn: the JSON weights of sketch-rnn-js")],
    file: Annotated[Path, typer.Argument(help="file to read")],
) -> None:
    """Register weights made elsewhere. Example: inkmill import sketch-rnn bird.gen.json"""
    with ready():
        from pipeline.commands import exchange

        exchange.check_kind(kind)
        found = exchange.import_weights(file)
        typer.echo(f"registered {found.name} version {found.version}")


def export_weights(
    kind: Annotated[str, typer.Argument(help="sketch-rnn: the JSON weights of sketch-rnn-js")],
    model: Model,
    file: Annotated[Path, typer.Argument(help="file to write")],
    dataset: Dataset = None,
) -> None:
    """Write a model for another program. Example: inkmill export sketch-rnn sketchrnn sheep.json"""
    with ready():
        from pipeline.commands import exchange, project

        exchange.check_kind(kind)
        _, dataset = project.prepare(dataset, [])
        exchange.export_weights(dataset, model, file)
        typer.echo(str(file))


def _generate(model: str, out: Path, dataset: str | None, what: str, asked: dict[str, Any]) -> None:
    with ready():
        from pipeline.commands import drawing, project

        _, dataset = project.prepare(dataset, [])
        drawing.generate(dataset, model, out, what, asked)
        typer.echo(str(out))
