"""Stage 4: augmented copies of the training drawings (`python -m stages.augment DATASET IN_DIR OUT_DIR`).

`perlin` bends each copy along one smooth random field (SketchODE, section 4.6): `ink.perlin`. Its rivals in
ablations are in `ink.jitter`: `gaussian` moves every point on its own, `affine` turns, stretches and shears the
drawing, `drop` leaves out inner points of strokes. `perlin` and `gaussian` move the points of subdivided segments.
What happens to a copy depends on (seed, key, copy number) alone, never on order or worker. Originals pass
unchanged; valid and test get no copies. A copy that leaves the unit circle is brought back into it; in the frame
`offset_std` it begins at its first point, on the scale of its original. Strengths are in units of the unit circle.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ink import arrow, geometry, jitter, perlin, resample
from ink.errors import report_errors
from ink.manifest import read_input
from ink.params import Params, read_params, section
from ink.table import Drawings, Ink
from stages.normalize import Frame
from stages.parts import rewrite
from stages.workers import WorkerParams

_BENDS = ("perlin", "gaussian")  # kinds that bend what lies between a segment's ends


class AugmentParams(Params):
    """Section `augment`."""

    kind: Literal["perlin", "gaussian", "affine", "drop", "none"]
    copies: int = Field(ge=0, le=10_000)
    sigma: float = Field(ge=0)
    frequency: float = Field(gt=0)
    max_segment: float = Field(gt=0)
    rotation_deg: float = Field(ge=0, le=180)
    stretch: float = Field(ge=0, lt=1)
    shear: float = Field(ge=0)
    drop_probability: float = Field(ge=0, le=1)


def run(
    in_dir: Path, out_dir: Path, dataset: str, settings: AugmentParams, seed: int, workers: WorkerParams
) -> dict[str, Any]:
    """Write each part's originals, then its copies; return the manifest.

    Raises:
        DataError: a part changed since it was written.
    """
    frame = read_input(in_dir, "normalize")["params"]["normalize"]["frame"]
    return rewrite(
        in_dir,
        out_dir,
        dataset,
        "augment",
        "normalize",
        {**settings.model_dump(), "seed": seed},
        partial(_with_copies, settings, seed, frame),
        workers,
    )


def _with_copies(settings: AugmentParams, seed: int, frame: Frame, drawings: Drawings) -> list[Drawings]:
    return [drawings, *copies(drawings, settings, seed, frame)]


def copies(drawings: Drawings, settings: AugmentParams, seed: int, frame: Frame = "unit_circle") -> list[Drawings]:
    """Return `settings.copies` batches, each an altered copy of every training drawing of the batch.

    Args:
        drawings: normalised; others than training drawings are passed over.
        settings: of the stage.
        seed: with key and number of the copy, what all chance depends on.
        frame: in which the drawings are, and the copies will be.
    """
    if settings.kind == "none" or settings.copies == 0:
        return []
    train = drawings.where(split="train")
    if len(train) == 0:
        return []
    keys = train.column("key").tolist()
    by_length = ~train.column("timed")
    ink, *place = (train.ink,) if frame == "unit_circle" else geometry.unit_circle(train.ink)
    ink = resample.subdivide(ink, settings.max_segment) if settings.kind in _BENDS else ink
    result = []
    for number in range(1, settings.copies + 1):
        altered = _altered(ink, settings, seed, keys, number)
        if frame == "unit_circle":
            unit, shift_x, shift_y, stretch = geometry.unit_circle(altered)
        else:
            unit, shift_x, shift_y = geometry.from_first_point(geometry.restore(altered, *place))
            stretch = np.ones(len(train), np.float32)
        clock = np.where(np.repeat(by_length, np.diff(unit.point_offsets)), geometry.arc_length_clock(unit), unit.t)
        unit = unit.with_t(clock)
        scale = train.column("scale")
        result.append(
            train.with_ink(
                unit,
                key=arrow.strings([f"{key}#{number}" for key in keys]),
                copy=np.full(len(train), number, np.int16),
                center_x=train.column("center_x") + scale * shift_x,
                center_y=train.column("center_y") + scale * shift_y,
                scale=scale * stretch,
            )
        )
    return result


def _altered(ink: Ink, settings: AugmentParams, seed: int, keys: list[str], number: int) -> Ink:
    """Return copy `number` of the drawings of these keys, not yet back in the unit circle."""
    if settings.kind == "perlin":
        places = perlin.sample_seeds(seed, keys, number)
        return perlin.perlin_warp(ink, places, settings.sigma, settings.frequency)
    seeds = jitter.drawing_seeds(seed, keys, number)
    if settings.kind == "gaussian":
        return jitter.gaussian(ink, seeds, settings.sigma)
    if settings.kind == "affine":
        return jitter.affine(ink, seeds, settings.rotation_deg, settings.stretch, settings.shear)
    return jitter.drop_points(ink, seeds, settings.drop_probability)


def main() -> None:
    """`python -m stages.augment DATASET IN_DIR OUT_DIR`."""
    with report_errors():
        dataset, in_dir, out_dir = sys.argv[1:]
        params = read_params()
        settings = section(params, "augment", AugmentParams, dataset)
        workers = section(params, "workers", WorkerParams)
        run(Path(in_dir), Path(out_dir), dataset, settings, int(params["run"]["seed"]), workers)


if __name__ == "__main__":
    main()
