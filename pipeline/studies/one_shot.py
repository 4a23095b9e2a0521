"""The work `one_shot`: fine-tune a champion on a handful of new drawings, then interpolate between them (section 5.4).

The drawings stand in the block's options, Quick, Draw! strokes; the cell's `augment` section makes the copies that
the fine-tuning sees. Nothing of the old training data is shown again: what is forgotten is measured.
"""

from __future__ import annotations

import json

import numpy as np
from pydantic import Field

from ink import geometry, metrics
from ink.errors import InkmillError, ParamsError
from ink.params import Params, section
from ink.table import Drawings, Ink
from models.base import Autoencoder
from pipeline import evaluate
from pipeline.dataset import Dataset
from pipeline.studies.cell import Cell
from pipeline.studies.common import Report, champion_of, fit_cell, prepare
from pipeline.studies.latent import along, drawn, encoded, smoothness
from pipeline.studies.works import Result, Work
from stages.augment import AugmentParams, copies

_POINTS = 75


class OneShotOptions(Params):
    """Options of `one_shot`."""

    drawings: dict[str, list[list[list[float]]]] = Field(min_length=2)  # name: strokes, each [[x, ...], [y, ...]]
    frames: int = Field(ge=2)  # from one drawing to the next


def run(cell: Cell, fingerprint: str, report: Report) -> Result:
    """Fine-tune and measure one cell."""
    options = OneShotOptions.model_validate(cell.options)
    old, new = prepare(cell), new_drawings(options.drawings)
    before = champion_of(cell)
    if not isinstance(before, Autoencoder):
        raise InkmillError(f"{cell.model} has no encode and decode: the study {cell.study} asks for both")
    seen = Drawings.concat([new, *copies(new, section(cell.params, "augment", AugmentParams, cell.dataset), cell.seed)])
    data = Dataset(cell.study, seen, new, new, tuple(sorted(options.drawings)), old.data_sha256, old.test_sha256)
    after, state = fit_cell(cell, lambda: champion_of(cell), data, fingerprint, report)
    assert isinstance(after, Autoencoder)
    codes = encoded(after, new.ink)
    remade = {"before": evaluate.reconstruct(before, new.ink), "after": evaluate.reconstruct(after, new.ink)}
    numbers: dict[str, float | int | str] = {
        "steps": state["step"],
        "train_seconds": round(state["seconds"], 2),
        **{f"huber_{when}": float(metrics.huber(new.ink, ink, _POINTS).mean()) for when, ink in remade.items()},
        "old_huber_before": evaluate.huber(before, old.test),
        "old_huber_after": evaluate.huber(after, old.test),
        **smoothness(after, codes, options.frames, closed=False),
    }
    rows = {"new drawings": new.ink, "before fine-tuning": remade["before"], "after": remade["after"]}
    rows[" → ".join(options.drawings)] = drawn(after, along(after, codes, options.frames, closed=False))
    return Result(numbers, rows, state["history"])


def new_drawings(strokes: dict[str, list[list[list[float]]]]) -> Drawings:
    """Return drawings in the unit circle with an arc-length clock, as the stages make them.

    Raises:
        ParamsError: a stroke's x and y are not equally long, or a drawing has no extent.
    """
    made = []
    for name, drawing in strokes.items():
        if not drawing or any(
            len(stroke) != 2 or len(stroke[0]) != len(stroke[1]) or not stroke[0] for stroke in drawing
        ):
            raise ParamsError(
                f"studies, one_shot drawing {name!r}: expected strokes [[x, ...], [y, ...]] of equal lengths, got "
                f"{json.dumps(drawing)[:80]}"
            )
        made.append([np.column_stack([*stroke, np.zeros(len(stroke[0]))]) for stroke in drawing])
    unit = geometry.unit_circle(Ink.from_strokes(made))[0]
    ink = geometry.with_arc_length_clock(unit)
    return Drawings.build(ink, list(strokes), list(strokes), split=["train"] * len(made))


ONE_SHOT = Work(
    run,
    OneShotOptions,
    trains=True,
    champion=True,
    judge=False,
    sources=("pipeline/studies/one_shot.py", "pipeline/studies/latent.py", "pipeline/studies/common.py"),
)
