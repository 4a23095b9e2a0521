"""The work `likelihood`: a model that gives drawings a likelihood, trained, and measured in whole and in parts.

No judge plays a part, so that a dataset without one, or of one class, will do. Numbers of a part of the test drawings
are named `<number>/<part>`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field, model_validator

from ink import metrics
from ink.params import Params
from ink.table import Drawings
from models.base import Autoencoder, SketchModel
from pipeline import evaluate
from pipeline.studies.cell import Cell
from pipeline.studies.common import Report, examples, prepare
from pipeline.studies.training import SHOWN, from_scratch, pictures
from pipeline.studies.works import Result, Work


class LikelihoodOptions(Params):
    """Options of `likelihood`: what the test drawings are parted by."""

    parts: Literal["none", "label", "points"]
    bounds: list[int] = Field(description="ascending; of `points`: the most points that a drawing of each part has")

    @model_validator(mode="after")
    def _bounds(self) -> LikelihoodOptions:
        if (self.parts == "points") != bool(self.bounds):
            raise ValueError("bounds: expected numbers for parts by points, and [] for others")
        if any(b <= a for a, b in zip([0, *self.bounds], self.bounds, strict=False)):
            raise ValueError(f"bounds: expected numbers above 0 that ascend, got {self.bounds}")
        return self


def run(cell: Cell, fingerprint: str, report: Report) -> Result:
    """Train and measure one cell."""
    options = LikelihoodOptions.model_validate(cell.options)
    data = prepare(cell)
    model, numbers, history = from_scratch(cell, data, fingerprint, report)
    numbers |= {"n_test": len(data.test), "parameters": sum(p.numel() for p in model.parameters())}
    per_drawing = measured(model, data.test)
    numbers |= {name: float(values.mean()) for name, values in per_drawing.items()}
    parts = parted(data.test, options)
    for part in np.unique(parts) if options.parts != "none" else ():
        own = parts == part
        numbers[f"n_test/{part}"] = int(own.sum())
        numbers |= {f"{name}/{part}": float(values[own].mean()) for name, values in per_drawing.items()}
    shown = data.test.ink.take(examples(data, SHOWN, parts))
    return Result(numbers, pictures(model, shown, cell.seed), history)


def measured(model: SketchModel, drawings: Drawings) -> dict[str, np.ndarray]:
    """Return, (N,) each, the likelihood's terms; of an autoencoder also how near its drawings are, and their points.

    `chamfer` is in unit-circle units. `points` are those that the model sees of a drawing, after its own simplification
    and as far as they fit; `points_remade` those that it gives back.
    """
    found = {name: values.double().numpy() for name, values in evaluate.likelihoods(model, drawings.ink).items()}
    if isinstance(model, Autoencoder):
        with torch.no_grad():
            seen = model.to_ink(model.representation.collate(drawings.ink))
        remade = evaluate.reconstruct(model, drawings.ink)
        found["chamfer"] = metrics.chamfer(drawings.ink, remade)
        found["points"] = np.diff(seen.point_offsets).astype(np.float64)
        found["points_remade"] = np.diff(remade.point_offsets).astype(np.float64)
    return found


def parted(drawings: Drawings, options: LikelihoodOptions) -> np.ndarray:
    """Return (N,) the name of each drawing's part; names sort as the parts follow each other.

    Points are those of the shards.
    """
    if options.parts == "none":
        return np.full(len(drawings), "all")
    if options.parts == "label":
        return drawings.column("label").astype(str)
    first = [1, *(bound + 1 for bound in options.bounds)]
    digits = len(str(first[-1]))
    names = [f"{a:0{digits}d} to {b} points" for a, b in zip(first, options.bounds, strict=False)]
    names.append(f"{first[-1]} points or more")
    return np.array(names)[np.searchsorted(options.bounds, np.diff(drawings.ink.point_offsets))]


LIKELIHOOD = Work(
    run,
    LikelihoodOptions,
    trains=True,
    champion=False,
    judge=False,
    sources=("pipeline/studies/likelihood.py", "pipeline/studies/training.py"),
)
