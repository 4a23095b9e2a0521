"""Drawings that registered models make, and the pictures of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ink import pictures, svg
from ink.errors import InkmillError
from ink.files import atomic_path, write_text
from models.base import Autoencoder
from pipeline import generate as make
from pipeline.commands.trained import loaded
from pipeline.dataset import load_dataset

_TEST_DRAWINGS = {"complete": 4, "redraw": 12, "blend": 2}  # that a command works on unless it is told otherwise


def draw(dataset: str, names: list[str], out: Path, count: int, points: int | None) -> None:
    """Draw test drawings and each model's reconstruction of them, ink colour running with time.

    Raises:
        InkmillError: `out` is neither .svg nor .png, or a model cannot draw.
    """
    if out.suffix not in (".svg", ".png"):
        raise InkmillError(f"{out}: expected a name that ends with .svg or .png")
    data = load_dataset(dataset)
    if not 1 <= count <= len(data.test):
        raise InkmillError(f"--count {count}: expected 1 to {len(data.test)}, the test drawings of {dataset}")
    originals = data.test.ink.take(np.arange(count))
    rows = {"original": originals}
    for name in names:
        model, found = loaded(dataset, name)
        if not isinstance(model, Autoencoder):
            raise InkmillError(f"{found.name} names classes, it does not draw; choose another model")
        with torch.no_grad():
            decoded = model.decode(model.encode(model.representation.collate(originals)), points)
        rows[f"{found.name} v{found.version}"] = model.to_ink(decoded)
    if out.suffix == ".svg":
        write_text(out, svg.grid_svg(list(rows.values()), titles=list(rows), colour="time"))
    else:
        with atomic_path(out) as temporary:
            pictures.comparison(rows).save(temporary, format="PNG")


def generate(dataset: str, name: str, out: Path, what: str, asked: dict[str, Any]) -> None:
    """Make new drawings with a registered model and write them to `out`.

    Args:
        dataset: whose registry and test drawings are meant; name: of the model; out: .svg, .png, .gif or .ndjson.
        what: sample | complete | redraw | blend; asked: arguments of that function of `pipeline.generate`, where
            `keys`, `label`, `file` and `count` choose the drawings that it works on; without a count all of a file.
    """
    model, _ = loaded(dataset, name)
    if what == "sample":
        rows = make.sample(model, **asked)
    else:
        file, keys, label = (asked.pop(key, None) for key in ("file", "keys", "label"))
        count = asked.pop("count", None)
        if file is not None:
            ink = make.read_begun(file)
            if count is not None and not 1 <= count <= len(ink):
                raise InkmillError(f"--count {count}: expected 1 to {len(ink)}, the drawings of {file}")
            ink = ink.take(np.arange(len(ink) if count is None else count))
        else:
            some = _TEST_DRAWINGS[what] if count is None else count
            ink = make.chosen(load_dataset(dataset).test, keys or [], label, some).ink
        rows = getattr(make, what)(model, ink, **asked)
    make.write(rows, out)
