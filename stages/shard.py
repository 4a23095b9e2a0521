"""Stage 5: a few large files per split, in a fair order (`python -m stages.shard DATASET IN_DIR OUT_DIR`).

The shards of a split are as many as the target size asks for, and hold equally many drawings. A hash of its key
sends a drawing to its shard, so that the order of the sources does not matter; within a
shard the labels are interleaved, so that each row group holds every label in the shard's proportion. Drawings go
into buckets, then each shard into order (`stages.buckets`): a worker holds one shard, and all some 40 bytes a drawing.
`manifest.json` holds each shard's sha256, `data_sha256` over all of them, and the whole chain's parameters and
sources. No valid or test drawing shares its original with train.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from ink.errors import DataError, report_errors
from ink.files import working_folder
from ink.manifest import Tally, check_counts, describe, header, part_files, read_input, write_manifest
from ink.params import Params, read_params, section
from ink.parquet import DrawingsWriter
from ink.quarantine import write_quarantine
from ink.table import SPLITS, Drawings
from stages.buckets import Batches, Dealing, Survey, boundaries, fill_bucket, read_batches, shard_of, survey
from stages.workers import WorkerParams, run_tasks

_POINT_BYTES = 12  # x, y, t
_DRAWING_BYTES = 100  # its facts, and the starts of some strokes


class ShardParams(Params):
    """Section `shard`."""

    megabytes_per_shard: float = Field(gt=0)
    drawings_per_group: int = Field(ge=1)


@dataclass(frozen=True)
class Task:
    """One shard to write."""

    batches: tuple[Batches, ...]
    shard: Path
    head: dict[str, Any]
    drawings_per_group: int


def run(in_dir: Path, out_dir: Path, dataset: str, settings: ShardParams, workers: WorkerParams) -> dict[str, Any]:
    """Write the shards; return the manifest.

    Raises:
        DataError: a part changed since it was written, or splits share an original.
    """
    before = read_input(in_dir, "augment")
    head = header("shard", dataset, settings.model_dump(), before)
    unknown = set(before["splits"]) - set(SPLITS)
    if unknown:
        raise DataError(f"{in_dir}: drawings of unknown split {sorted(unknown)}; expected {', '.join(SPLITS)}")
    parts = part_files(in_dir, before)
    size = sum(part.stat().st_size for part in parts)
    with working_folder(out_dir) as folder:
        surveys = list(run_tasks(survey, parts, f"survey {dataset}", workers, size))
        check_splits(surveys)
        bounds = boundaries(surveys, shards_of(before, settings.megabytes_per_shard))
        dealings = [
            Dealing(part, found.hashes, shard_of(found, bounds), folder / f"{part.stem}.arrow")
            for part, found in zip(parts, surveys, strict=True)
        ]
        names = [(split, f"{split}-{number:05d}") for split, bound in zip(SPLITS, bounds, strict=True)
                 for number in range(len(bound) + 1)]  # fmt: skip
        read, held = Tally(), [list[Batches]() for _ in names]
        for batches, counted in run_tasks(fill_bucket, dealings, f"deal {dataset}", workers, size):
            read.merge(counted)
            for shard, found in batches.items():
                held[shard].append(found)
        check_counts(in_dir, before, read)
        tasks = [
            Task(tuple(mine), out_dir / f"{name}.parquet", {**head, "split": split}, settings.drawings_per_group)
            for (split, name), mine in zip(names, held, strict=True)
        ]
        tally, files = Tally(), []
        written = run_tasks(write_shard, tasks, f"shard {dataset}", workers, size)
        for (split, _), (entry, counted) in zip(names, written, strict=True):
            files.append({**entry, "split": split})
            tally.merge(counted)
    write_quarantine(out_dir, [])
    return write_manifest(
        out_dir,
        head,
        {"in": before["counts"]["out"], "quarantined": 0},
        tally,
        files=files,
        data_sha256=hash_of(files),
        test_sha256=hash_of([file for file in files if file["split"] == "test"]),
    )


def shards_of(manifest: dict[str, Any], megabytes: float) -> list[int]:
    """Return how many shards each split gets, so that one takes no more than so many MiB of memory, but for chance.

    Counted from drawings and points, not from the parts' files: how the parts were cut must not reach the shards.

    Args:
        manifest: of the parts.
        megabytes: of one shard, unpacked.
    """
    result = []
    for split in (manifest["splits"].get(name, {"drawings": 0, "points": 0}) for name in SPLITS):
        size = _POINT_BYTES * split["points"] + _DRAWING_BYTES * split["drawings"]
        result.append(max(1, min(math.ceil(size / (megabytes * 2**20)), split["drawings"])))
    return result


def write_shard(task: Task) -> tuple[dict[str, Any], Tally]:
    """Write one shard in order; return its entry in the manifest and its counts."""
    drawings, hashes = read_batches(task.batches)
    order, step = fair_order(drawings, hashes), task.drawings_per_group
    tally = Tally()
    tally.add(drawings)
    with DrawingsWriter(task.shard, task.head) as writer:
        for first in range(0, len(order), step):
            writer.write(drawings.take(order[first : first + step]))
    return describe(task.shard.parent, task.shard.name, len(drawings)), tally


def fair_order(drawings: Drawings, hashes: np.ndarray) -> np.ndarray:
    """Return (N,) the order in which labels are interleaved: the r-th of n of a label stands near (r + 1/2) / n.

    Within a label, and between labels that meet, a hash of the key decides.

    Args:
        drawings: N drawings; hashes: (N,) of their keys. Where two are equal, the keys decide.
    """
    equal = len(np.unique(hashes)) < len(hashes)
    by_key = (drawings.column("key").astype(str), hashes) if equal else (hashes,)
    label = drawings.codes("label").of
    order = np.lexsort((*by_key, label))
    sizes = np.bincount(label)
    rank = np.empty(len(label))
    rank[order] = np.arange(len(label)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.lexsort((*by_key, (rank + 0.5) / sizes[label]))


def check_splits(surveys: Sequence[Survey]) -> None:
    """Refuse splits that share an original.

    Raises:
        DataError: an original is in train and elsewhere.
    """
    none = np.zeros(0, np.uint64)
    train, *others = (
        np.concatenate([none, *(part.originals[number] for part in surveys)]) for number in range(len(SPLITS))
    )
    shared = len(np.intersect1d(train, np.concatenate(others)))
    if shared:
        raise DataError(
            f"{shared} originals are in train and in another split too, so that a score on test would be worthless; "
            f"the source gives one drawing under two splits, or simplify and augment ran on different data: run "
            f"`dvc repro --force` from simplify on"
        )


def hash_of(files: list[dict[str, Any]]) -> str:
    """Return one sha256 over the hashes of files, in order."""
    return hashlib.sha256("".join(file["sha256"] for file in files).encode()).hexdigest()


def main() -> None:
    """`python -m stages.shard DATASET IN_DIR OUT_DIR`."""
    with report_errors():
        dataset, in_dir, out_dir = sys.argv[1:]
        params = read_params()
        settings = section(params, "shard", ShardParams, dataset)
        run(Path(in_dir), Path(out_dir), dataset, settings, section(params, "workers", WorkerParams))


if __name__ == "__main__":
    main()
