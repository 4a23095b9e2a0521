"""Stage 5: a few large files per split, in a fair order (`python -m stages.shard DATASET IN_DIR OUT_DIR`).

A hash of its key sends a drawing to its shard, so that the order of the sources does not matter; within a
shard the labels are interleaved, so that each row group holds every label in the shard's proportion. Drawings go
into one bucket a shard, then each bucket into order: memory holds one shard, and 16 bytes a drawing.
`manifest.json` holds each shard's sha256, `data_sha256` over all of them, and the whole chain's parameters and
sources. No valid or test drawing shares its original with train.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from ink.errors import DataError, report_errors
from ink.files import working_folder
from ink.manifest import Tally, check_counts, describe, header, part_files, read_input, write_manifest
from ink.params import Params, read_params, section
from ink.progress import track
from ink.quarantine import write_quarantine
from ink.table import SCHEMA, SPLITS, Drawings, DrawingsWriter, hash64, iter_drawings
from stages.workers import WorkerParams, run_tasks

_BUCKET_SCHEMA = pa.schema(  # without dictionaries: they differ from batch to batch
    [field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in SCHEMA]
)
_BUCKET_BYTES = 8 << 20  # of rows that wait before they are written to their bucket


class ShardParams(Params):
    """Section `shard`."""

    drawings_per_shard: int = Field(ge=1)
    drawings_per_group: int = Field(ge=1)


@dataclass(frozen=True)
class Task:
    """One shard to write from its bucket (an Arrow stream)."""

    bucket: Path
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
    sources = part_files(in_dir, before)
    bounds = boundaries(sources, settings.drawings_per_shard)
    names = [(split, f"{split}-{number:05d}") for split in SPLITS for number in range(len(bounds[split]) + 1)]
    with working_folder(out_dir) as buckets:
        check_counts(in_dir, before, fill_buckets(track(sources, f"shard {dataset}"), buckets, bounds))
        tasks = [
            Task(buckets / name, out_dir / f"{name}.parquet", {**head, "split": split}, settings.drawings_per_group)
            for split, name in names
        ]
        size = sum(task.bucket.stat().st_size for task in tasks)
        tally, files = Tally(), []
        for (split, _), (entry, counted) in zip(
            names, run_tasks(write_shard, tasks, f"shard {dataset}", workers, size), strict=True
        ):
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


def boundaries(sources: Sequence[Path], drawings_per_shard: int) -> dict[str, np.ndarray]:
    """Return, by split, the hash at which each shard but the first begins: all but the last are full."""
    hashes: dict[str, list[np.ndarray]] = {split: [np.zeros(0, np.uint64)] for split in SPLITS}
    for path in sources:
        facts = pq.read_table(path, columns=["key", "split"])
        keys, split = facts["key"].to_numpy(), facts["split"].cast(pa.string()).to_numpy()
        for name in SPLITS:
            hashes[name].append(hash64(keys[split == name]))
    return {
        name: np.sort(np.concatenate(parts))[drawings_per_shard::drawings_per_shard] for name, parts in hashes.items()
    }


def fill_buckets(sources: Iterable[Path], buckets: Path, bounds: dict[str, np.ndarray]) -> Tally:
    """Deal the drawings of all parts into one Arrow stream per shard; return what was read.

    Raises:
        DataError: splits share an original.
    """
    read, parents = Tally(), {split: [np.zeros(0, np.uint64)] for split in SPLITS}
    with ExitStack() as stack:
        writers = {
            (split, number): stack.enter_context(pa.ipc.new_stream(buckets / f"{split}-{number:05d}", _BUCKET_SCHEMA))
            for split in SPLITS
            for number in range(len(bounds[split]) + 1)
        }
        waiting: list[pa.Table] = []
        for path in sources:
            for drawings in iter_drawings(path):
                read.add(drawings)
                split = drawings.column("split")
                for name in SPLITS:
                    parents[name].append(hash64(drawings.column("parent")[split == name]))
                waiting.append(drawings.to_table().cast(_BUCKET_SCHEMA))
                if sum(table.nbytes for table in waiting) > _BUCKET_BYTES:
                    _deal(waiting, writers, bounds)
                    waiting = []
        _deal(waiting, writers, bounds)
    check_splits({name: np.concatenate(hashes) for name, hashes in parents.items()})
    return read


def _deal(tables: list[pa.Table], writers: dict[tuple[str, int], Any], bounds: dict[str, np.ndarray]) -> None:
    if not tables:
        return
    table = pa.concat_tables(tables)
    split = table.column("split").to_numpy()
    hashes = hash64(table.column("key").to_pylist())
    for name in SPLITS:
        mine = split == name
        number = np.searchsorted(bounds[name], hashes, side="right")
        for shard in np.unique(number[mine]).tolist():
            writers[name, shard].write_table(table.take(pa.array(np.flatnonzero(mine & (number == shard)))))


def write_shard(task: Task) -> tuple[dict[str, Any], Tally]:
    """Write one shard in order; return its entry in the manifest and its counts."""
    with pa.ipc.open_stream(task.bucket) as stream:
        drawings = in_fair_order(Drawings.from_table(stream.read_all()))
    tally = Tally()
    tally.add(drawings)
    with DrawingsWriter(task.shard, task.head) as writer:
        for first in range(0, len(drawings), task.drawings_per_group):
            writer.write(drawings.take(np.arange(first, min(first + task.drawings_per_group, len(drawings)))))
    return describe(task.shard.parent, task.shard.name, len(drawings)), tally


def in_fair_order(drawings: Drawings) -> Drawings:
    """Return the drawings with their labels interleaved: the r-th of n of a label stands near (r + 1/2) / n.

    Within a label, and between labels that meet, a hash of the key decides.
    """
    keys = drawings.column("key").astype(str)
    hashes = hash64(keys)
    _, label = np.unique(drawings.column("label").astype(str), return_inverse=True)
    order = np.lexsort((keys, hashes, label))
    sizes = np.bincount(label)
    rank = np.empty(len(keys))
    rank[order] = np.arange(len(keys)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = (rank + 0.5) / sizes[label] if len(keys) else rank
    return drawings.take(np.lexsort((keys, hashes, place)))


def check_splits(parents: dict[str, np.ndarray]) -> None:
    """Refuse splits that share an original.

    Args:
        parents: by split, hashes of the originals' keys.

    Raises:
        DataError: an original is in train and elsewhere.
    """
    others = np.concatenate([hashes for split, hashes in parents.items() if split != "train"])
    shared = len(np.intersect1d(parents["train"], others))
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
