"""Stage 3: drawings into one frame, on one clock (`python -m stages.normalize DATASET IN_DIR OUT_DIR`).

unit = (original - center) / scale; center and scale stay in the row. Frame `unit_circle`: centred on the box, largest
radius 1. Frame `offset_std`, SketchRNN's: from the first point, divided by one scalar for all drawings, the standard
deviation of the offsets of the training drawings (dx and dy together, mean untouched). A first pass over the parts
sums it up; it stands in every row's scale, and as `params.normalize.offset_std` in the manifests from here to the
shards.
Clock `arc_length`: t is the length of the path from its start, pen-up joins included, so that uniform times
are uniform along the path; `source` keeps the recorded clock.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ink import geometry
from ink.errors import DataError, report_errors
from ink.manifest import part_files, read_input
from ink.params import Params, read_params, section
from ink.parquet import iter_drawings
from ink.table import Drawings
from stages.parts import rewrite
from stages.workers import WorkerParams, run_tasks

Frame = Literal["unit_circle", "offset_std"]


class NormalizeParams(Params):
    """Section `normalize`."""

    frame: Frame
    clock: Literal["arc_length", "source"]


def run(in_dir: Path, out_dir: Path, dataset: str, settings: NormalizeParams, workers: WorkerParams) -> dict[str, Any]:
    """Normalise every part; return the manifest.

    Raises:
        DataError: a part changed since it was written, or there is no training drawing to take a scale from.
    """
    measured: dict[str, float] = {}
    if settings.frame == "offset_std":
        measured["offset_std"] = offset_std(in_dir, dataset, workers)
    return rewrite(
        in_dir,
        out_dir,
        dataset,
        "normalize",
        "simplify",
        {**settings.model_dump(), **measured},
        partial(_normalized, settings, measured.get("offset_std", 1.0)),
        workers,
    )


def offset_std(in_dir: Path, dataset: str, workers: WorkerParams) -> float:
    """Return the standard deviation of all offsets of the training drawings, rounded to float32.

    Raises:
        DataError: a part changed since it was written, or training drawings have no offset but 0.
    """
    parts = part_files(in_dir, read_input(in_dir, "simplify"))
    size = sum(part.stat().st_size for part in parts)
    total = np.zeros(3)
    for moments in run_tasks(train_moments, parts, f"normalize {dataset}: scale", workers, size):
        total += moments
    count, first, second = total / max(1.0, total[0])
    result = float(np.float32(np.sqrt(second - first**2))) if count else 0.0
    if result == 0.0:
        raise DataError(
            f"{in_dir}: frame offset_std takes its scale from the training drawings, and they have no offsets; "
            f"add drawings, or set normalize.frame to unit_circle in params.yaml"
        )
    return result


def train_moments(part: Path) -> np.ndarray:
    """Return number, sum and sum of squares of the offsets of a part's training drawings."""
    total = np.zeros(3)
    for drawings in iter_drawings(part):
        total += geometry.offset_moments(drawings.where(split="train").ink)
    return total


def _normalized(settings: NormalizeParams, offset_std: float, drawings: Drawings) -> list[Drawings]:
    return [normalize(drawings, settings, offset_std)]


def normalize(drawings: Drawings, settings: NormalizeParams, offset_std: float = 1.0) -> Drawings:
    """Return the drawings in the frame and on the clock that are asked for.

    Args:
        drawings: of any frame; its center and scale are kept account of.
        settings: of the stage.
        offset_std: the scale of the frame of that name.
    """
    if settings.frame == "offset_std":
        ink, center_x, center_y = geometry.from_first_point(drawings.ink, offset_std)
        scale = np.full(len(drawings), offset_std, np.float32)
    else:
        ink, center_x, center_y, scale = geometry.unit_circle(drawings.ink)
    before = drawings.column("scale")  # of a frame that simplify has put them in
    center_x = drawings.column("center_x") + before * center_x
    center_y = drawings.column("center_y") + before * center_y
    timed = drawings.column("timed")
    if settings.clock == "arc_length":
        ink = geometry.with_arc_length_clock(ink)
        timed = np.zeros_like(timed)
    return drawings.with_ink(ink, timed=timed, center_x=center_x, center_y=center_y, scale=before * scale)


def main() -> None:
    """`python -m stages.normalize DATASET IN_DIR OUT_DIR`."""
    with report_errors():
        dataset, in_dir, out_dir = sys.argv[1:]
        params = read_params()
        settings = section(params, "normalize", NormalizeParams, dataset)
        run(Path(in_dir), Path(out_dir), dataset, settings, section(params, "workers", WorkerParams))


if __name__ == "__main__":
    main()
