"""Stage 3: drawings into the unit circle, on one clock (`python -m stages.normalize DATASET IN_DIR OUT_DIR`).

unit = (original - center) / scale: centred on the box, largest radius 1; center and scale stay in the row.
Clock `arc_length`: t is the length of the path from its start, pen-up joins included, so that uniform times
are uniform along the path; `source` keeps the recorded clock.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ink import geometry
from ink.errors import report_errors
from ink.manifest import Tally, check_counts, describe, part_files, read_input, write_manifest
from ink.params import Params, read_params, section
from ink.progress import track
from ink.quarantine import Rejected, reasons, write_quarantine
from ink.table import Drawings, DrawingsWriter, Ink, iter_drawings, validate


class NormalizeParams(Params):
    """Section `normalize`."""

    frame: Literal["unit_circle"]
    clock: Literal["arc_length", "source"]


def run(in_dir: Path, out_dir: Path, dataset: str, settings: NormalizeParams) -> dict[str, Any]:
    """Normalise every part; return the manifest.

    Raises:
        DataError: a part changed since it was written.
    """
    before = read_input(in_dir, "simplify")
    read, tally, rejected, files = Tally(), Tally(), list[Rejected](), []
    for path in track(part_files(in_dir, before), f"normalize {dataset}"):
        rows = 0
        with DrawingsWriter(out_dir / path.name, {"dataset": dataset, "stage": "normalize"}) as writer:
            for drawings in iter_drawings(path):
                read.add(drawings)
                unit = normalize(drawings, settings)
                why = validate(unit)
                keys = unit.column("key")
                rejected += [Rejected(path.name, int(row), keys[row], why[row]) for row in np.flatnonzero(why != "")]
                unit = unit.take(np.flatnonzero(why == ""))
                writer.write(unit)
                tally.add(unit)
                rows += len(unit)
        files.append(describe(out_dir, path.name, rows))
    check_counts(in_dir, before, read)
    write_quarantine(out_dir, rejected)
    counts = {"in": before["counts"]["out"], "quarantined": len(rejected)}
    return write_manifest(
        out_dir,
        "normalize",
        dataset,
        counts,
        tally,
        settings.model_dump(),
        before=before,
        reasons=reasons(rejected),
        files=files,
    )


def normalize(drawings: Drawings, settings: NormalizeParams) -> Drawings:
    """Return the drawings in the unit circle, on the clock that is asked for."""
    ink, center_x, center_y, scale = geometry.unit_circle(drawings.ink)
    timed = drawings.column("timed")
    if settings.clock == "arc_length":
        ink = with_arc_length(ink)
        timed = np.zeros_like(timed)
    return drawings.with_ink(ink, timed=timed, center_x=center_x, center_y=center_y, scale=scale)


def with_arc_length(ink: Ink) -> Ink:
    """Return the ink with arc length as its clock."""
    return Ink(ink.x, ink.y, geometry.arc_length_clock(ink), ink.stroke_offsets, ink.drawing_offsets)


def main() -> None:
    """`python -m stages.normalize DATASET IN_DIR OUT_DIR`."""
    with report_errors():
        dataset, in_dir, out_dir = sys.argv[1:]
        run(Path(in_dir), Path(out_dir), dataset, section(read_params(), "normalize", NormalizeParams, dataset))


if __name__ == "__main__":
    main()
