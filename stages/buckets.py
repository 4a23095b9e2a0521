"""How `shard` sends every drawing to its shard: what decides it, and the files in between.

Each part is surveyed (hashes of its keys, splits), then dealt out into one Arrow file, a bucket, in which the drawings
of a shard lie together in batches of rows; a shard then reads its batches of every bucket. Parts and shards are
worked on side by side, and none of them holds more than its own drawings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ink import arrow
from ink.manifest import Tally
from ink.parquet import iter_drawings
from ink.table import SCHEMA, SPLITS, Drawings, gathered, hash64

_SCHEMA = pa.schema(  # without dictionaries: they differ from batch to batch
    [
        *(field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in SCHEMA),
        pa.field("hash", pa.uint64(), nullable=False),
    ]
)
_DRAWINGS_AT_ONCE, _POINTS_AT_ONCE = 16_384, 1 << 20  # that are dealt out together


class Survey(NamedTuple):
    """What decides where a part's N drawings go.

    Args:
        hashes: (N,) uint64, of the keys; split: (N,) uint8, place in `SPLITS`; originals: by split, hashes of the
            originals' keys, each once.
    """

    hashes: np.ndarray
    split: np.ndarray
    originals: tuple[np.ndarray, ...]


class Batches(NamedTuple):
    """The batches of rows of one bucket that belong to one shard."""

    bucket: Path
    numbers: list[int]


@dataclass(frozen=True)
class Dealing:
    """A part to deal out.

    Args:
        part: its path; hashes: (N,) uint64 of its keys; shard: (N,) int64, where each drawing goes; bucket: the file
            to write.
    """

    part: Path
    hashes: np.ndarray
    shard: np.ndarray
    bucket: Path


def survey(part: Path) -> Survey:
    """Read what decides where a part's drawings go, and nothing else of it."""
    hashes, split, parents = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint8)], [np.zeros(0, np.uint64)]
    with pq.ParquetFile(part) as file:
        for group in range(file.num_row_groups):
            facts = file.read_row_group(group, columns=["key", "parent", "split"]).combine_chunks()
            key, parent, name = (facts.column(column).combine_chunks() for column in ("key", "parent", "split"))
            place = np.array([SPLITS.index(text) for text in name.dictionary.to_pylist()], np.uint8)
            hashes.append(hash64(key))
            split.append(place[arrow.values(name.indices)])
            parents.append(hashes[-1] if parent.equals(key) else hash64(parent))
    all_split, originals = np.concatenate(split), np.concatenate(parents)
    of_split = tuple(np.unique(originals[all_split == number]) for number in range(len(SPLITS)))
    return Survey(np.concatenate(hashes), all_split, of_split)


def boundaries(surveys: Sequence[Survey], shards: Sequence[int]) -> list[np.ndarray]:
    """Return, by split, the hash at which each shard but the first begins, so that shards hold equally many drawings.

    Args:
        surveys: of all parts; shards: how many of each split.
    """
    of_split = [
        np.concatenate([np.zeros(0, np.uint64), *(found.hashes[found.split == code] for found in surveys)])
        for code in range(len(SPLITS))
    ]
    return [
        np.sort(hashes)[np.arange(1, count) * len(hashes) // count]
        for hashes, count in zip(of_split, shards, strict=True)
    ]


def shard_of(part: Survey, bounds: Sequence[np.ndarray]) -> np.ndarray:
    """Return (N,) int64: the shard of each drawing of a part, counted through all splits."""
    shard, first = np.zeros(len(part.hashes), np.int64), 0
    for number, bound in enumerate(bounds):
        mine = part.split == number
        shard[mine] = first + np.searchsorted(bound, part.hashes[mine], side="right")
        first += len(bound) + 1
    return shard


def fill_bucket(dealing: Dealing) -> tuple[dict[int, Batches], Tally]:
    """Write a part's drawings, those of a shard together; return the batches of each shard, and counts of the part."""
    read, done, count = Tally(), 0, 0
    held: dict[int, Batches] = {}
    with pa.ipc.new_file(dealing.bucket, _SCHEMA) as writer:
        for drawings in gathered(iter_drawings(dealing.part), _DRAWINGS_AT_ONCE, _POINTS_AT_ONCE):
            read.add(drawings)
            shard, hashes = (v[done : done + len(drawings)] for v in (dealing.shard, dealing.hashes))
            order = np.argsort(shard, kind="stable")
            rows, shard = _rows(drawings.take(order), hashes[order]), shard[order]
            bounds = np.concatenate([[0], np.flatnonzero(np.diff(shard)) + 1, [len(shard)]]).tolist()
            for first, end in pairwise(bounds):
                writer.write_batch(rows.slice(first, end - first))
                held.setdefault(int(shard[first]), Batches(dealing.bucket, [])).numbers.append(count)
                count += 1
            done += len(drawings)
    return held, read


def read_batches(batches: Sequence[Batches]) -> tuple[Drawings, np.ndarray]:
    """Return the drawings of some batches, and (N,) uint64 hashes of their keys."""
    found: list[pa.RecordBatch] = []
    for bucket, numbers in batches:
        with pa.OSFile(str(bucket)) as file:
            opened = pa.ipc.open_file(file)
            found += [opened.get_batch(number) for number in numbers]
    table = pa.Table.from_batches(found, schema=_SCHEMA).combine_chunks()
    return Drawings.from_table(table), arrow.values(table.column("hash").combine_chunks())


def _rows(drawings: Drawings, hashes: np.ndarray) -> pa.RecordBatch:
    table = drawings.to_table()
    columns = [table.column(name).combine_chunks() for name in SCHEMA.names]
    plain = [column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for column in columns]
    return pa.RecordBatch.from_arrays([*plain, arrow.numbers(hashes)], schema=_SCHEMA)
