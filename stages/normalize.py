"""Stage 3: drawings into the unit circle, on one clock (`python -m stages.normalize DATASET IN_DIR OUT_DIR`).

unit = (original - center) / scale: centred on the box, largest radius 1; center and scale stay in the row.
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
from ink.errors import report_errors
from ink.params import Params, read_params, section
from ink.table import Drawings, Ink
from stages.parts import rewrite
from stages.workers import WorkerParams


class NormalizeParams(Params):
    """Section `normalize`."""

    frame: Literal["unit_circle"]
    clock: Literal["arc_length", "source"]


def run(in_dir: Path, out_dir: Path, dataset: str, settings: NormalizeParams, workers: WorkerParams) -> dict[str, Any]:
    """Normalise every part; return the manifest.

    Raises:
        DataError: a part changed since it was written.
    """
    return rewrite(
        in_dir,
        out_dir,
        dataset,
        "normalize",
        "simplify",
        settings.model_dump(),
        partial(_normalized, settings),
        workers,
    )


def _normalized(settings: NormalizeParams, drawings: Drawings) -> list[Drawings]:
    return [normalize(drawings, settings)]


def normalize(drawings: Drawings, settings: NormalizeParams) -> Drawings:
    """Return the drawings in the unit circle, on the clock that is asked for."""
    ink, center_x, center_y, scale = geometry.unit_circle(drawings.ink)
    before = drawings.column("scale")  # of a frame that simplify has put them in
    center_x = drawings.column("center_x") + before * center_x
    center_y = drawings.column("center_y") + before * center_y
    timed = drawings.column("timed")
    if settings.clock == "arc_length":
        ink = with_arc_length(ink)
        timed = np.zeros_like(timed)
    return drawings.with_ink(ink, timed=timed, center_x=center_x, center_y=center_y, scale=before * scale)


def with_arc_length(ink: Ink) -> Ink:
    """Return the ink with arc length as its clock."""
    return Ink(ink.x, ink.y, geometry.arc_length_clock(ink), ink.stroke_offsets, ink.drawing_offsets)


def main() -> None:
    """`python -m stages.normalize DATASET IN_DIR OUT_DIR`."""
    with report_errors():
        dataset, in_dir, out_dir = sys.argv[1:]
        params = read_params()
        settings = section(params, "normalize", NormalizeParams, dataset)
        run(Path(in_dir), Path(out_dir), dataset, settings, section(params, "workers", WorkerParams))


if __name__ == "__main__":
    main()
