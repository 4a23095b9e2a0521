"""New drawings from registered models: samples, endings, paths between drawings, analogies; and files of them.

What a model can is asked of its protocols (`Sampler`, `Completer`, `Autoencoder`, `Redrawer`), never of its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from ink import pictures, svg
from ink.errors import DataError, InkmillError, ParamsError
from ink.files import atomic_path, write_text
from ink.formats import reader, writer
from ink.params import suggest
from ink.table import Drawings, Ink
from models.base import Autoencoder, Completer, Redrawer, Sampler, SketchModel
from pipeline.convert import guess_source

Rows = Mapping[str, Ink]
"""Title -> drawings of one row of a picture."""

_COLUMNS = 10  # of a picture of samples
_FILES = (".svg", ".png", ".gif", ".ndjson")


def sample(model: SketchModel, count: int, temperature: float | None, seed: int) -> Rows:
    """Return new drawings, in rows.

    Raises:
        InkmillError: the model makes no new drawings, or count or temperature are out of range.
    """
    if not isinstance(model, Sampler):
        raise InkmillError(f"{type(model).__name__} makes no new drawings; it can only redraw given ones")
    if count < 1:
        raise InkmillError(f"--count {count}: expected 1 or more")
    with _temperatures():
        ink = model.to_ink(model.sample(count, _generator(model, seed), temperature))
    parts = np.array_split(np.arange(count), -(-count // _COLUMNS))
    return {" " * number: ink.take(part) for number, part in enumerate(parts)}


def complete(
    model: SketchModel,
    begun: Ink,
    extent: float,
    points: int | None,
    endings: int,
    temperature: float | None,
    seed: int,
) -> Rows:
    """Return a row per begun drawing: what was given, then endings.

    Args:
        model: of which endings are asked.
        begun: drawings; extent: share of the finished drawing's longest side that they have.
        points: keep their first so many rows; None: all; 0: nothing, which gives new drawings.
        endings: of each; temperature: None for the model's own.

    Raises:
        InkmillError: the model completes nothing, or a beginning leaves no room for an ending.
    """
    if not isinstance(model, Completer):
        raise InkmillError(f"{type(model).__name__} completes no drawings; it redraws whole ones")
    if endings < 1 or not 0 < extent <= 1 or (points is not None and points < 0):
        raise InkmillError(f"expected endings >= 1, points >= 0 and 0 < extent <= 1, got {endings}, {points}, {extent}")
    prefix = model.prefix(begun, extent, points)
    most = model.representation.collate(begun).shape[1]
    if prefix.shape[1] >= most and bool((prefix[:, :, -1].sum(1) == 0).any()):
        raise InkmillError(
            f"the beginning has {most} points or more, as many as the model draws: nothing is left to add"
        )
    rows = {}
    generator = _generator(model, seed)
    with _temperatures():
        for number in range(len(begun)):
            made = model.complete(prefix[number : number + 1].expand(endings, -1, -1), generator, temperature)
            given = model.to_ink(prefix[number : number + 1])
            rows[f"begun {number + 1}" if len(begun) > 1 else "begun"] = Ink.concat([given, model.to_ink(made)])
    return rows


def redraw(model: SketchModel, ink: Ink, temperatures: Sequence[float], seed: int) -> Rows:
    """Return the originals, and the model's redrawing of them at each temperature.

    Raises:
        InkmillError: the model has no temperature.
    """
    if not (isinstance(model, Redrawer) and isinstance(model, Autoencoder)):
        raise InkmillError(f"{type(model).__name__} redraws a drawing in one way only; leave --temperature out")
    generator = _generator(model, seed)
    with _temperatures():
        z = model.encode(model.representation.collate(ink))
        made = {f"tau {tau:g}": model.to_ink(model.draw(z, generator, tau)) for tau in temperatures}
    return {"original": ink, **made}


def blend(model: SketchModel, ink: Ink, frames: int) -> Rows:
    """Return the way from one drawing to another (two given), or the analogy a - b + c (three).

    Raises:
        InkmillError: the model has no code, or another number of drawings was given.
    """
    if not isinstance(model, Autoencoder):
        raise InkmillError(f"{type(model).__name__} has no code that could be blended")
    if len(ink) not in (2, 3) or frames < 2:
        raise InkmillError(
            f"expected two drawings, or three for a - b + c, and 2 frames or more; got {len(ink)}, {frames}"
        )
    with torch.no_grad():
        z = model.encode(model.representation.collate(ink))
        if len(ink) == 3:
            return {"a, b, c, a-b+c": Ink.concat([ink, model.to_ink(model.decode(z[:1] - z[1:2] + z[2:]))])}
        path = model.between(z[0], z[1], torch.linspace(0, 1, frames)[:, None])
        return {"a to b": model.to_ink(model.decode(path))}


def chosen(drawings: Drawings, keys: Sequence[str], label: str | None, count: int) -> Drawings:
    """Return the drawings of these keys, or the first `count` of a label (of all where it is None).

    Raises:
        ParamsError: no drawing has the key or label; says what there is.
    """
    if keys:
        place = {key: row for row, key in enumerate(drawings.column("key"))}
        for key in keys:
            if key not in place:
                raise ParamsError(f"no test drawing has the key {key!r}; {suggest(key, place)[:300]}")
        return drawings.take([place[key] for key in keys])
    labels = drawings.column("label")
    if label is not None and label not in labels:
        raise ParamsError(f"no test drawing is of the class {label!r}; {suggest(label, set(labels))}")
    rows = np.arange(len(drawings)) if label is None else np.flatnonzero(labels == label)
    return drawings.take(rows[:count])


def write(rows: Rows, out: Path) -> None:
    """Write drawings: .svg or .png, a row each; .gif, drawn in time; .ndjson, as Quick, Draw! simplified.

    In NDJSON the drawings' word is the file's name.

    Raises:
        InkmillError: another suffix.
    """
    if out.suffix not in _FILES:
        raise InkmillError(f"{out}: expected a name that ends with {', '.join(_FILES)}")
    out.parent.mkdir(parents=True, exist_ok=True)
    joined = Ink.concat(list(rows.values()))
    if out.suffix == ".ndjson":
        keys = [f"{out.stem}/{number:06d}" for number in range(len(joined))]
        writer("quickdraw_simplified").write(out, [Drawings.build(joined, keys, [out.stem] * len(joined))])
    elif out.suffix == ".svg":
        titles = list(rows) if any(title.strip() for title in rows) else None
        write_text(out, svg.grid_svg(list(rows.values()), titles=titles, colour="time"))
    else:
        columns = max(len(ink) for ink in rows.values())
        with atomic_path(out) as temporary:
            if out.suffix == ".gif":
                first, *rest = pictures.film(joined, columns)
                first.save(temporary, format="GIF", save_all=True, append_images=rest, duration=80, loop=0)
            else:
                pictures.sheet(joined, columns).save(temporary, format="PNG")


def read_begun(path: Path) -> Ink:
    """Return the drawings of a file in any format.

    Raises:
        DataError: there is no such file, or no drawing in it; with the first reason why one was refused.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file")
    batches = list(reader(guess_source(path)).read(path, only_recognized=False))
    ink = Ink.concat([batch.drawings.ink for batch in batches])
    if len(ink) == 0:
        refused = [row for batch in batches for row in batch.rejected]
        first = f": {len(refused)} refused, the first in line {refused[0].line}: {refused[0].reason}" if refused else ""
        raise DataError(f"{path}: no drawing could be read from it{first}")
    return ink


@contextmanager
def _temperatures() -> Iterator[None]:
    """No gradients; a temperature out of range becomes one paragraph for the user."""
    try:
        with torch.no_grad():
            yield
    except ValueError as error:
        if isinstance(error, InkmillError):
            raise
        raise InkmillError(str(error)) from error


def _generator(model: SketchModel, seed: int) -> torch.Generator:
    return torch.Generator(next(model.parameters()).device).manual_seed(seed)
