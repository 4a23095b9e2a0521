"""Stage 2: source files to the drawing table, simplified (`python -m stages.simplify DATASET IN_DIR OUT_DIR`).

Reads raw files through the dataset's reader, refuses what is not a drawing (quarantine), simplifies each
stroke by Ramer-Douglas-Peucker (distance to the segment), assigns the split. Repeated points fall to the
simplification; one-point strokes stay. What the game did not recognise is skipped and counted, not refused.
sketch-rnn's preparation is `unit: side255, epsilon: 2, resample: 1, frame: pixels255, drop_dots: true`; SketchODE's
is `unit: unit_circle` without resampling.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ink.errors import DataError, report_errors
from ink.formats import reader
from ink.formats.sample import first_drawings
from ink.manifest import FILE_NAME as MANIFEST_NAME
from ink.manifest import Tally, describe, header, part_files, read_input, write_manifest
from ink.params import read_params, section
from ink.parquet import DrawingsWriter
from ink.quarantine import Rejected, reasons, refuse_if_too_many, write_quarantine
from ink.table import Drawings, gathered, hash64
from stages.pieces import Piece, deal, lines_before
from stages.preparation import SimplifyParams, check, only, simplify
from stages.workers import WorkerParams, run_tasks

_PROVENANCE = ("path", "bytes", "sha256")  # what is the same from every mirror
DRAWINGS_PER_GROUP, POINTS_PER_GROUP = 4096, 1 << 20  # of a row group; the batch that reaches one of them ends it


@dataclass(frozen=True)
class Task:
    """One part to write.

    Args:
        pieces: the source files, or pieces of one, that go into it; reader: their format.
        part: the Parquet file to write; head: what it says of its making; settings: of the stage.
        sample: read the first so many drawings of a file only; 0: all.
        taken: hashes of keys that earlier parts hold.
    """

    pieces: tuple[Piece, ...]
    reader: str
    part: Path
    head: dict[str, Any]
    settings: SimplifyParams
    sample: int = 0
    taken: frozenset[int] = frozenset()


@dataclass
class Done:
    """What became of a task: the part's entry in the manifest, counts, and hashes of its keys.

    `rejected` and `n_lines` hold one entry a piece; line numbers count from the piece's start.
    """

    entry: dict[str, Any] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    skipped: Counter[str] = field(default_factory=Counter)
    rejected: list[list[Rejected]] = field(default_factory=list)
    n_lines: list[int] = field(default_factory=list)
    total: int = 0
    keys: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))


def run(in_dir: Path, out_dir: Path, dataset: str, settings: SimplifyParams, workers: WorkerParams) -> dict[str, Any]:
    """Write the Parquet parts, the quarantine and the manifest; return the manifest.

    Raises:
        DataError: a source file changed since its download, or too many drawings were refused.
    """
    before = read_input(in_dir, "download")
    source = [{"url": before["url"], **{key: entry[key] for key in _PROVENANCE}} for entry in before["files"]]
    sampled = {"download": {"sample": before["sample"]}} if before["sample"] else {}
    head = header("simplify", dataset, settings.model_dump(), {"source": source, "params": sampled})
    tasks = plan(part_files(in_dir, before), before["reader"], out_dir, head, settings, before["sample"])
    size = sum(entry["bytes"] for entry in before["files"])
    results = list(run_tasks(simplify_part, tasks, f"simplify {dataset}", workers, size))
    _settle_duplicates(tasks, results)
    rejected = _rejected(tasks, results)
    total = sum(done.total for done in results)
    write_quarantine(out_dir, rejected)
    try:
        refuse_if_too_many(rejected, total, settings.max_bad_fraction, out_dir)
    except DataError:
        for stale in [*(task.part.name for task in tasks), MANIFEST_NAME]:  # the quarantine alone stays
            (out_dir / stale).unlink(missing_ok=True)
        raise
    tally, skipped = Tally(), Counter[str]()
    for done in results:
        tally.merge(done.tally)
        skipped += done.skipped
    counts = {"in": total, "quarantined": len(rejected), "skipped": dict(sorted(skipped.items()))}
    files = [done.entry for done in results]
    return write_manifest(out_dir, head, counts, tally, reasons=reasons(rejected), files=files)


def plan(
    sources: list[Path],
    reader_name: str,
    out_dir: Path,
    head: dict[str, Any],
    settings: SimplifyParams,
    sample: int = 0,
) -> list[Task]:
    """Return the parts to write; the source files are cut or put together to an even size where the format allows.

    A sample of a format of lines has been cut by the download already.
    """
    of_lines = getattr(reader(reader_name), "SPLITTABLE", False)
    parts = deal(sources, of_lines, max(1, int(settings.megabytes_per_part * 2**20)))
    names = (out_dir / f"part-{number:05d}.parquet" for number in range(len(parts)))
    rest = (head, settings, 0 if of_lines else sample)
    return [Task(pieces, reader_name, part, *rest) for pieces, part in zip(parts, names, strict=False)]


def simplify_part(task: Task) -> Done:
    """Write one part; return what became of it."""
    done, rows = Done(), 0
    with DrawingsWriter(task.part, task.head) as writer:
        for group in gathered(_simplified(task, done), DRAWINGS_PER_GROUP, POINTS_PER_GROUP):
            writer.write(group)
            done.tally.add(group)
            rows += len(group)
    done.entry = describe(task.part.parent, task.part.name, rows)
    return done


def _simplified(task: Task, done: Done) -> Iterator[Drawings]:
    """Yield a part's drawings, simplified; count them in `done`."""
    seen, hashes = set(task.taken), [done.keys]
    for piece in task.pieces:
        done.rejected.append([])
        done.n_lines.append(0)
        span = {"span": piece.span} if piece.span else {}
        module = reader(task.reader)
        source = module.read(piece.source, only_recognized=task.settings.only_recognized, **span)
        if task.sample:
            source = first_drawings(source, task.sample, one_split=getattr(module, "RASTERS", False))
        for batch in source:
            keys = hash64(batch.drawings.arrow("key"))
            good, bad = check(batch, piece.source.name, task.settings, keys, seen)
            hashes.append(keys[good])
            done.rejected[-1] += [*batch.rejected, *bad]
            done.n_lines[-1] += batch.n_lines
            done.skipped += batch.skipped
            done.total += len(batch.drawings) + len(batch.rejected) + batch.skipped.total()
            yield simplify(only(batch.drawings, good), task.settings)
    done.keys = np.concatenate(hashes)


def _settle_duplicates(tasks: list[Task], results: list[Done]) -> None:
    """Write the parts anew that hold keys of earlier parts: the first in the order of the sources stays."""
    hashes = np.concatenate([done.keys for done in results]) if results else np.zeros(0, np.uint64)
    owner = np.repeat(np.arange(len(results)), [len(done.keys) for done in results])
    first = np.zeros(len(hashes), bool)
    first[np.unique(hashes, return_index=True)[1]] = True
    for part in np.unique(owner[~first]).tolist():
        taken = frozenset(hashes[~first & (owner == part)].tolist())
        results[part] = simplify_part(dataclasses.replace(tasks[part], taken=taken))


def _rejected(tasks: list[Task], results: list[Done]) -> list[Rejected]:
    """Return what all parts refused, with line numbers of whole files."""
    pieces = [piece for task in tasks for piece in task.pieces]
    before = lines_before(pieces, [count for done in results for count in done.n_lines])
    rejected = [rows for done in results for rows in done.rejected]
    return [
        dataclasses.replace(row, line=row.line + passed)
        for rows, passed in zip(rejected, before, strict=True)
        for row in rows
    ]


def main() -> None:
    """`python -m stages.simplify DATASET IN_DIR OUT_DIR`."""
    with report_errors():
        dataset, in_dir, out_dir = sys.argv[1:]
        params = read_params()
        settings = section(params, "simplify", SimplifyParams, dataset)
        run(Path(in_dir), Path(out_dir), dataset, settings, section(params, "workers", WorkerParams))


if __name__ == "__main__":
    main()
