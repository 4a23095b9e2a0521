"""What the stages that turn drawings into drawings share: every part through a function, and the counts of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ink.manifest import Tally, check_counts, describe, header, part_files, read_input, write_manifest
from ink.parquet import DrawingsWriter, iter_drawings
from ink.quarantine import Rejected, reasons, write_quarantine
from ink.table import Drawings, validate
from stages.workers import WorkerParams, run_tasks

Transform = Callable[[Drawings], Iterable[Drawings]]
"""One batch in; the same drawings out, and further batches of copies."""


@dataclass(frozen=True)
class Task:
    """One part to write anew: from `source` to `part`, through `transform`, with `head` as its metadata."""

    source: Path
    part: Path
    head: dict[str, Any]
    transform: Transform


@dataclass
class Done:
    """What became of a task: the part's entry in the manifest, and counts of what was read, written and made."""

    entry: dict[str, Any] = field(default_factory=dict)
    read: Tally = field(default_factory=Tally)
    wrote: Tally = field(default_factory=Tally)
    rejected: list[Rejected] = field(default_factory=list)
    made: int = 0


def rewrite(
    in_dir: Path,
    out_dir: Path,
    dataset: str,
    stage: str,
    after: str,
    params: dict[str, Any],
    transform: Transform,
    workers: WorkerParams,
) -> dict[str, Any]:
    """Write each part of `in_dir` anew through `transform`, what breaks the table's contract to quarantine.

    Args:
        in_dir: output of the stage `after`; out_dir: of `stage`, with equally named parts.
        dataset: its name; params: the stage's settings, for the manifest.
        transform: what the stage does; a function of a module, or a partial of one.
        workers: who does it.

    Returns:
        The manifest.

    Raises:
        DataError: a part changed since it was written, or the numbers do not add up.
    """
    before = read_input(in_dir, after)
    head = header(stage, dataset, params, before)
    sources = part_files(in_dir, before)
    tasks = [Task(source, out_dir / source.name, head, transform) for source in sources]
    size = sum(source.stat().st_size for source in sources)
    read, wrote, rejected, files, made = Tally(), Tally(), list[Rejected](), [], 0
    for done in run_tasks(rewrite_part, tasks, f"{stage} {dataset}", workers, size):
        read.merge(done.read)
        wrote.merge(done.wrote)
        rejected += done.rejected
        made += done.made
        files.append(done.entry)
    check_counts(in_dir, before, read)
    write_quarantine(out_dir, rejected)
    counts = {"in": before["counts"]["out"], "quarantined": len(rejected)} | ({"made": made} if made else {})
    return write_manifest(out_dir, head, counts, wrote, reasons=reasons(rejected), files=files)


def rewrite_part(task: Task) -> Done:
    """Write one part; return what became of it."""
    done, rows = Done(), 0
    with DrawingsWriter(task.part, task.head) as writer:
        for drawings in iter_drawings(task.source):
            done.read.add(drawings)
            done.made -= len(drawings)
            for batch in task.transform(drawings):
                good, bad = sift(batch, task.source.name)
                writer.write(good)
                done.wrote.add(good)
                done.rejected += bad
                done.made += len(batch)
                rows += len(good)
    done.entry = describe(task.part.parent, task.part.name, rows)
    return done


def sift(batch: Drawings, file: str) -> tuple[Drawings, list[Rejected]]:
    """Part the drawings that keep the table's contract from the others."""
    why = validate(batch)
    keys = batch.column("key")
    bad = [Rejected(file, row, keys[row], why[row]) for row in np.flatnonzero(why != "").tolist()]
    return (batch.take(np.flatnonzero(why == "")) if bad else batch), bad
