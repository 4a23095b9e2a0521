"""Stage 2: source files to the drawing table, simplified (`python -m stages.simplify DATASET IN_DIR OUT_DIR`).

Reads raw files through the dataset's reader, refuses what is not a drawing (quarantine), simplifies each
stroke by Ramer-Douglas-Peucker (distance to the segment), assigns the split. Repeated points fall to the
simplification; one-point strokes stay. What the game did not recognise is skipped and counted, not refused.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ink import geometry
from ink.errors import DataError, report_errors
from ink.formats import Batch, Reader, reader
from ink.manifest import FILE_NAME as MANIFEST_NAME
from ink.manifest import Tally, describe, header, part_files, read_input, write_manifest
from ink.params import Params, read_params, section
from ink.progress import track
from ink.quarantine import Rejected, reasons, refuse_if_too_many, write_quarantine
from ink.table import Drawings, DrawingsWriter, validate

_PROVENANCE = ("path", "bytes", "sha256")  # what is the same from every mirror
_SIDE = 255.0  # canvas of the Quick, Draw! recipe


class SimplifyParams(Params):
    """Section `simplify`."""

    epsilon: float = Field(ge=0)
    unit: Literal["radius", "side255"]
    only_recognized: bool
    max_points: int = Field(ge=2)
    max_bad_fraction: float = Field(ge=0, le=1)
    valid_fraction: float = Field(ge=0, lt=1)
    test_fraction: float = Field(ge=0, lt=1)
    split_salt: str


def run(in_dir: Path, out_dir: Path, dataset: str, settings: SimplifyParams) -> dict[str, Any]:
    """Write one Parquet part per source file, the quarantine and the manifest; return the manifest.

    Raises:
        DataError: a source file changed since its download, or too many drawings were refused.
    """
    before = read_input(in_dir, "download")
    source = [{"url": before["url"], **{key: entry[key] for key in _PROVENANCE}} for entry in before["files"]]
    head = header("simplify", dataset, settings.model_dump(), {"source": source})
    tally, skipped, rejected, seen = Tally(), Counter[str](), list[Rejected](), set[str]()
    files: list[dict[str, Any]] = []
    total = 0
    for path in track(part_files(in_dir, before), f"simplify {dataset}"):
        name = f"part-{len(files):05d}.parquet"
        with DrawingsWriter(out_dir / name, head) as writer:
            rows = 0
            for batch in _read(reader(before["reader"]), path, settings):
                good, bad = check(batch, path.name, settings.max_points, seen)
                simple = simplify(good, settings)
                writer.write(simple)
                tally.add(simple)
                rows += len(simple)
                rejected += [*batch.rejected, *bad]
                skipped += batch.skipped
                total += len(batch.drawings) + len(batch.rejected) + batch.skipped.total()
        files.append(describe(out_dir, name, rows))
    write_quarantine(out_dir, rejected)
    try:
        refuse_if_too_many(rejected, total, settings.max_bad_fraction, out_dir)
    except DataError:
        for stale in [*(file["path"] for file in files), MANIFEST_NAME]:  # the quarantine alone stays
            (out_dir / stale).unlink(missing_ok=True)
        raise
    counts = {"in": total, "quarantined": len(rejected), "skipped": dict(sorted(skipped.items()))}
    return write_manifest(out_dir, head, counts, tally, reasons=reasons(rejected), files=files)


def check(batch: Batch, file: str, max_points: int, seen: set[str]) -> tuple[Drawings, list[Rejected]]:
    """Part good drawings from those that break the table's contract; `seen` collects the keys that were accepted."""
    drawings = batch.drawings
    why = validate(drawings)
    lengths = np.diff(drawings.ink.point_offsets)
    why[(why == "") & (lengths > max_points)] = f"more than max_points = {max_points} points"
    sound = np.flatnonzero(why == "")
    box = geometry.bounding_boxes(drawings.ink.take(sound))  # has no answer for a drawing without points
    why[sound[(box[:, 0] == box[:, 2]) & (box[:, 1] == box[:, 3])]] = "no extent: all points are equal"
    keys = drawings.column("key")
    for row in np.flatnonzero(why == ""):
        if keys[row] in seen:
            why[row] = "duplicate key"
        seen.add(keys[row])
    excerpts = batch.excerpts or [""] * len(drawings)
    bad = [Rejected(file, batch.lines[row], keys[row], why[row], excerpts[row]) for row in np.flatnonzero(why != "")]
    return drawings.take(np.flatnonzero(why == "")), bad


def simplify(drawings: Drawings, settings: SimplifyParams) -> Drawings:
    """Simplify the strokes of valid drawings and give each a split."""
    box = geometry.bounding_boxes(drawings.ink)
    sides = box[:, 2:] - box[:, :2]
    size = np.hypot(*sides.T) / 2 if settings.unit == "radius" else sides.max(1, initial=0) / _SIDE
    ink = geometry.simplify(drawings.ink, settings.epsilon * size)
    splits = [
        split or split_of(key, settings)
        for split, key in zip(drawings.column("split"), drawings.column("key"), strict=True)
    ]
    return drawings.with_ink(ink, split=np.array(splits, dtype=object))


def split_of(key: str, settings: SimplifyParams) -> str:
    """Return the split of an original: a hash of (salt, key), so that adding data never moves a drawing."""
    digest = hashlib.blake2b(f"{settings.split_salt}/{key}".encode(), digest_size=8).digest()
    position = int.from_bytes(digest) / 2**64
    if position < settings.test_fraction:
        return "test"
    return "valid" if position < settings.test_fraction + settings.valid_fraction else "train"


def _read(source: Reader, path: Path, settings: SimplifyParams) -> Iterator[Batch]:
    return source.read(path, only_recognized=settings.only_recognized)


def main() -> None:
    """`python -m stages.simplify DATASET IN_DIR OUT_DIR`."""
    with report_errors():
        dataset, in_dir, out_dir = sys.argv[1:]
        run(Path(in_dir), Path(out_dir), dataset, section(read_params(), "simplify", SimplifyParams, dataset))


if __name__ == "__main__":
    main()
