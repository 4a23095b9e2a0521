"""The command `inkmill`. Heavy libraries are imported by the command that needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ink.errors import report_errors

app = typer.Typer(
    help="From hand-drawn ink to trained, compared, versioned models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Dataset = Annotated[str | None, typer.Option(help="A dataset of params.yaml; the first of run.datasets unless given.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", help="section.key=value, written to params.yaml; @file: one a line.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_COLUMNS = (
    ("registered", "model", "{}"),
    ("version", "version", "{}"),
    ("alias", "alias", "{}"),
    ("huber", "huber x1e-3", "{:.3f}"),
    ("chamfer", "chamfer x1e-3", "{:.1f}"),
    ("accuracy", "recognised", "{:.1%}"),
    ("accuracy_original", "ceiling", "{:.1%}"),
    ("nll", "-log p nats", "{:.4f}"),
    ("nll_real", "to the end", "{:.4f}"),
    ("kl", "KL nats", "{:.4f}"),
    ("parameters", "parameters", "{:,}"),
    ("latent_bytes", "latent bytes", "{}"),
    ("encode_ms", "encode ms", "{:.3f}"),
    ("decode_ms", "decode ms", "{:.3f}"),
    ("train_seconds", "train s", "{:.0f}"),
)


@app.command()
def run(dataset: Dataset = None, set: Assignments = None) -> None:
    """Do everything: data, judge, models, comparison, registry, report. Example: inkmill run --dataset quickdraw"""
    with _ready() as commands:
        params, dataset = commands.prepare(dataset, set or [])
        models = params["run"]["models"]
        commands.repro(f"report@{dataset}")
        commands.list_studies()
        _print_table(commands.comparison(dataset, models), f"Test drawings of {dataset}")
        for command in commands.missing_versions(dataset, models):
            typer.echo(f"the registry lacks a model that the metrics name; make it again with: {command}")
        typer.echo(f"report    {Path('reports', dataset, 'index.html').resolve()}")
        names = [row["name"] for row in commands.registered() if row["name"].endswith(f"-{dataset}")]
        typer.echo(f"registry  {', '.join(f'{name}@champion' for name in dict.fromkeys(names))}")


@app.command()
def train(model: str, dataset: Dataset = None, set: Assignments = None) -> None:
    """Train, evaluate and register one model. Example: inkmill train sketchode --set models.sketchode.fit.steps=500"""
    with _ready() as commands:
        from models import model_class
        from pipeline.results import one_line, read_metrics

        model_class(model)
        params, dataset = commands.prepare(dataset, set or [])
        if model != commands.JUDGE and model not in params["run"]["models"]:
            commands.add_model(model)
        commands.repro(f"{model}@{dataset}" if model == commands.JUDGE else f"train@{dataset}-{model}")
        typer.echo(one_line(read_metrics(dataset, model)))


@app.command()
def evaluate(
    model: str,
    dataset: Dataset = None,
    label: Annotated[str | None, typer.Option(help="Test drawings of this class only.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a registered model on the test drawings. Example: inkmill evaluate sketchode@champion"""
    with _ready() as commands:
        _, dataset = commands.prepare(dataset, [])
        _print_rows([commands.evaluate(dataset, model, label)], as_json)


@app.command()
def compare(dataset: Dataset = None, as_json: AsJson = False) -> None:
    """Compare the models that were trained. Example: inkmill compare --json"""
    with _ready() as commands:
        params, dataset = commands.prepare(dataset, [])
        _print_rows(commands.comparison(dataset, params["run"]["models"]), as_json)


@app.command()
def models(as_json: AsJson = False) -> None:
    """List the registry. Example: inkmill models"""
    with _ready() as commands:
        rows = commands.registered()
        if as_json:
            _print_rows(rows, True)
        elif rows:
            _grid(list(rows[0]), [[str(value) for value in row.values()] for row in rows], "Registry")
        else:
            typer.echo("the registry is empty; fill it with `inkmill run`")


@app.command()
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
    with _ready() as commands:
        _, dataset = commands.prepare(dataset, [])
        commands.draw(dataset, model, out, count, points)
        typer.echo(str(out))


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


@app.command()
def sample(
    model: Model, out: Out, dataset: Dataset = None, count: int = 40, temperature: Temperature = None, seed: Seed = 0
) -> None:
    """Make new drawings. Example: inkmill sample sketchrnn_decoder-bird --temperature 0.3 --out birds.svg"""
    _generate(model, out, dataset, "sample", {"count": count, "temperature": temperature, "seed": seed})


@app.command()
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
    count: Annotated[int, typer.Option(help="test drawings to begin with")] = 4,
    temperature: Temperature = None,
    seed: Seed = 0,
) -> None:
    """Finish begun drawings in many ways. Example: inkmill complete sketchrnn --points 12 --out endings.svg"""
    asked = {"points": points, "extent": extent, "endings": endings, "temperature": temperature, "seed": seed}
    _generate(model, out, dataset, "complete", {**asked, "keys": key, "label": label, "file": file, "count": count})


@app.command()
def redraw(
    model: Model,
    out: Out,
    dataset: Dataset = None,
    key: Keys = None,
    label: Label = None,
    file: Begun = None,
    count: Annotated[int, typer.Option(help="test drawings to redraw")] = 12,
    temperature: Annotated[list[float] | None, typer.Option(help="One row each; may be given again.")] = None,
    seed: Seed = 0,
) -> None:
    """Redraw drawings at several temperatures. Example: inkmill redraw sketchrnn --temperature 0.1 --out again.svg"""
    asked = {"temperatures": temperature or [0.01, 0.25, 0.5, 0.75, 1.0], "seed": seed}
    _generate(model, out, dataset, "redraw", {**asked, "keys": key, "label": label, "file": file, "count": count})


@app.command()
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
    count = len(key) if key else 2
    _generate(
        model, out, dataset, "blend", {"frames": frames, "keys": key, "label": label, "file": file, "count": count}
    )


@app.command("import")
def import_weights(
    kind: Annotated[str, typer.Argument(help="sketch-rnn: the JSON weights of sketch-rnn-js")],
    file: Annotated[Path, typer.Argument(help="file to read")],
) -> None:
    """Register weights made elsewhere. Example: inkmill import sketch-rnn bird.gen.json"""
    with _ready() as commands:
        commands.check_kind(kind)
        found = commands.import_weights(file)
        typer.echo(f"registered {found.name} version {found.version}")


@app.command("export")
def export_weights(
    kind: Annotated[str, typer.Argument(help="sketch-rnn: the JSON weights of sketch-rnn-js")],
    model: Model,
    file: Annotated[Path, typer.Argument(help="file to write")],
    dataset: Dataset = None,
) -> None:
    """Write a model for another program. Example: inkmill export sketch-rnn sketchrnn sheep.json"""
    with _ready() as commands:
        commands.check_kind(kind)
        _, dataset = commands.prepare(dataset, [])
        commands.export_weights(dataset, model, file)
        typer.echo(str(file))


def _generate(model: str, out: Path, dataset: str | None, what: str, asked: dict[str, Any]) -> None:
    with _ready() as commands:
        _, dataset = commands.prepare(dataset, [])
        commands.generate(dataset, model, out, what, asked)
        typer.echo(str(out))


@app.command()
def study(
    name: Annotated[str | None, typer.Argument(help="a block of `studies` in params.yaml")] = None,
    budget: Annotated[Literal["small", "paper"], typer.Option(help="small: two cores; paper: one GPU")] = "small",
    dataset: Annotated[str | None, typer.Option(help="In place of the block's dataset.")] = None,
    processes: Annotated[int, typer.Option(min=0, help="cells side by side; 0: what the cores allow")] = 0,
    show: Annotated[bool, typer.Option("--list", help="List the studies and their cells, run nothing.")] = False,
    set: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Run what is left of a study; its page, numbers and pictures. Example: inkmill study ablation"""
    with _ready() as commands:
        if show or name is None:
            rows = commands.studies(name, budget, dataset)
            if as_json:
                _print_rows(rows, True)
            else:
                _grid(list(rows[0]), [[str(value) for value in row.values()] for row in rows], "Studies", numbers=False)
            return
        summary = commands.study(name, budget, dataset, processes, set or [])
        if as_json:
            import json

            typer.echo(json.dumps(summary, indent=2))
            return
        for verdict in summary["verdicts"]:
            typer.echo(verdict)
        typer.echo(f"page      {Path(summary['page']).resolve()}")


data_app = typer.Typer(invoke_without_command=True)
app.add_typer(data_app, name="data")


@data_app.callback()
def data(
    context: typer.Context,
    dataset: Dataset = None,
    sheet: Annotated[
        Path | None, typer.Option(help="contact sheet to write; reports/<dataset>/data.png unless given")
    ] = None,
) -> None:
    """Summarise the data, list what was refused, draw a contact sheet. Example: inkmill data --dataset quickdraw"""
    if context.invoked_subcommand:
        return
    with _ready() as commands:
        _, dataset = commands.prepare(dataset, [])
        rows, refused = commands.data_summary(dataset)
        columns = list(dict.fromkeys(name for row in rows for name in row))
        _grid(columns, [[str(row.get(name, "")) for name in columns] for row in rows], f"Data of {dataset}")
        for row in refused[:20]:
            typer.echo(f"refused  {row.file}:{row.line}  {row.key}  {row.reason}")
        if len(refused) > 20:
            typer.echo(f"refused  {len(refused) - 20} more, in data/*/{dataset}/quarantine.parquet")
        sheet = sheet or Path("reports", dataset, "data.png")
        commands.contact_sheet(dataset, sheet)
        typer.echo(str(sheet))


@data_app.command("sources")
def data_sources(as_json: AsJson = False) -> None:
    """List the datasets of params.yaml: licence, address, size, what is here. Example: inkmill data sources"""
    with _ready():
        from ink.params import read_params
        from pipeline.sources import rows as sources

        rows = sources(read_params())
        if as_json:
            _print_rows(rows, True)
        else:
            columns = list(rows[0]) if rows else []
            _grid(columns, [list(row.values()) for row in rows], "Datasets of params.yaml", numbers=False)


@data_app.command("stats")
def data_stats(dataset: Dataset = None, as_json: AsJson = False) -> None:
    """Write a page of statistics with pictures. Example: inkmill data stats --dataset quickdraw"""
    with _ready():
        from pipeline.statistics import inputs, page

        if as_json:
            import json

            typer.echo(json.dumps(page.as_json(inputs.read_numbers(Path(), dataset)), indent=2))
        else:
            typer.echo(str(page.run(Path(), dataset)))


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="file, folder or archive to read")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="file or folder to write")],
    source_format: Annotated[str | None, typer.Option("--from", help="Format of IN; guessed unless given.")] = None,
    target_format: Annotated[
        str | None, typer.Option("--to", help="Format of OUT; that of its extension unless given.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT.")] = False,
) -> None:
    """Convert ink between any two formats. Example: inkmill convert cat.ndjson cats --to svg"""
    with _ready():
        from pipeline.convert import convert as run_conversion

        typer.echo(run_conversion(source, out, source_format, target_format, force=force).summary())


@app.command()
def report(
    dataset: Dataset = None, open: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False
) -> None:
    """Write the report page from what has been trained. Example: inkmill report --open"""
    with _ready() as commands:
        from pipeline.report.page import run as write_report

        _, dataset = commands.prepare(dataset, [])
        page = write_report(Path(), dataset).resolve()
        commands.list_studies()
        typer.echo(str(page))
        if open:
            typer.launch(page.as_uri())


class _ready:
    """Set the environment, give the commands' module, turn user errors into one paragraph."""

    def __enter__(self) -> Any:
        from pipeline.environment import load_environment

        load_environment()
        from pipeline import commands

        self._errors = report_errors()
        self._errors.__enter__()
        return commands

    def __exit__(self, kind: Any, error: Any, trace: Any) -> Any:
        return self._errors.__exit__(kind, error, trace)


def _print_rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        import json

        typer.echo(json.dumps(rows, indent=2))
    else:
        _print_table(rows, "Test drawings")


def _print_table(rows: list[dict[str, Any]], title: str) -> None:
    scale = {"huber": 1000, "chamfer": 1000}
    columns = [column for column in _COLUMNS if any(column[0] in row for row in rows)]
    cells = [
        [
            form.format(row[key] * scale.get(key, 1) if key in scale else row[key]) if key in row else ""
            for key, _, form in columns
        ]
        for row in rows
    ]
    _grid([heading for _, heading, _ in columns], cells, title)


def _grid(columns: list[str], rows: list[list[str]], title: str, numbers: bool = True) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index and numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
