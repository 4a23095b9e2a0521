"""What the stages that turn drawings into drawings share: every part through a function, and the counts of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ink.manifest import Tally, check_counts, describe, header, part_files, read_input, write_manifest
from ink.progress import track
from ink.quarantine import Rejected, reasons, write_quarantine
from ink.table import Drawings, DrawingsWriter, iter_drawings, validate

Transform = Callable[[Drawings], Iterable[Drawings]]
"""One batch in; the same drawings out, and further batches of copies."""


def rewrite(
    in_dir: Path, out_dir: Path, dataset: str, stage: str, after: str, params: dict[str, Any], transform: Transform
) -> dict[str, Any]:
    """Write each part of `in_dir` anew through `transform`, what breaks the table's contract to quarantine.

    Args:
        in_dir: output of the stage `after`; out_dir: of `stage`, with equally named parts.
        dataset: its name; params: the stage's settings, for the manifest.
        transform: what the stage does.

    Returns:
        The manifest.

    Raises:
        DataError: a part changed since it was written, or the numbers do not add up.
    """
    before = read_input(in_dir, after)
    head = header(stage, dataset, params, before)
    read, wrote, rejected, files, made = Tally(), Tally(), list[Rejected](), [], 0
    for path in track(part_files(in_dir, before), f"{stage} {dataset}"):
        rows = 0
        with DrawingsWriter(out_dir / path.name, head) as writer:
            for drawings in iter_drawings(path):
                read.add(drawings)
                made -= len(drawings)
                for batch in transform(drawings):
                    good, bad = sift(batch, path.name)
                    writer.write(good)
                    wrote.add(good)
                    rejected += bad
                    rows += len(good)
                    made += len(batch)
        files.append(describe(out_dir, path.name, rows))
    check_counts(in_dir, before, read)
    write_quarantine(out_dir, rejected)
    counts = {"in": before["counts"]["out"], "quarantined": len(rejected)} | ({"made": made} if made else {})
    return write_manifest(out_dir, head, counts, wrote, reasons=reasons(rejected), files=files)


def sift(batch: Drawings, file: str) -> tuple[Drawings, list[Rejected]]:
    """Part the drawings that keep the table's contract from the others."""
    why = validate(batch)
    keys = batch.column("key")
    bad = [Rejected(file, int(row), keys[row], why[row]) for row in np.flatnonzero(why != "")]
    return (batch.take(np.flatnonzero(why == "")) if bad else batch), bad
