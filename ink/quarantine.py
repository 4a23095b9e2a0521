"""Quarantine: what a stage refused, with its place and reason. Nothing is dropped silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ink import arrow
from ink.errors import DataError
from ink.files import atomic_path

FILE_NAME = "quarantine.parquet"
EXCERPT_LENGTH = 200

SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("line", pa.int64()),
        ("key", pa.string()),
        ("reason", pa.string()),
        ("excerpt", pa.string()),
    ]
)


@dataclass(frozen=True)
class Rejected:
    """One refused drawing.

    Args:
        file: the source file's name; line: its line (from 1) or row (from 0); key: "" where it is not known.
        reason: why, in words that repeat for equal faults; excerpt: the start of what came.
    """

    file: str
    line: int
    key: str
    reason: str
    excerpt: str = ""


def write_quarantine(folder: Path, rejected: Sequence[Rejected]) -> None:
    """Write `quarantine.parquet`, also when it is empty: an empty one says that all was well."""
    with atomic_path(folder / FILE_NAME) as temporary:
        pq.write_table(_table(rejected), temporary, compression="zstd")


def _table(rejected: Sequence[Rejected]) -> pa.Table:
    text = {name: [getattr(row, name) for row in rejected] for name in ("file", "key", "reason")}
    text["excerpt"] = [row.excerpt[:EXCERPT_LENGTH] for row in rejected]
    columns = {name: arrow.strings(values) for name, values in text.items()}
    columns["line"] = arrow.numbers(np.array([row.line for row in rejected], np.int64))
    return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)


class QuarantineWriter:
    """Write refusals batch by batch to one file; it appears when the block ends only if `keep` was called.

    A context manager; memory does not grow with the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = False

    def __enter__(self) -> QuarantineWriter:
        self._target = atomic_path(self._path)
        self._writer = pq.ParquetWriter(self._target.__enter__(), SCHEMA, compression="zstd")
        return self

    def write(self, rejected: Sequence[Rejected]) -> None:
        """Append some refusals."""
        if rejected:
            self._writer.write_table(_table(rejected))

    def keep(self) -> None:
        """Let the file appear when the block ends, even by an error."""
        self._kept = True

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self._writer.close()
        except BaseException as failure:
            self._target.__exit__(type(failure), failure, failure.__traceback__)
            raise
        if self._kept:
            self._target.__exit__(None, None, None)
        else:
            self._target.__exit__(_Discard, _Discard(), None)


class _Discard(Exception):
    """Ends an atomic block without its file."""


def read_quarantine(folder: Path) -> list[Rejected]:
    """Return the refused drawings of a stage's folder."""
    path = folder / FILE_NAME
    return [Rejected(**row) for row in pq.read_table(path).to_pylist()] if path.exists() else []


def reasons(rejected: Iterable[Rejected]) -> dict[str, int]:
    """Return how often each reason occurs, most frequent first."""
    return dict(sorted(Counter(row.reason for row in rejected).items(), key=lambda item: (-item[1], item[0])))


def refuse_if_too_many(rejected: Sequence[Rejected], total: int, largest_fraction: float, folder: Path) -> None:
    """Stop a stage that refuses too much.

    Raises:
        DataError: more than `largest_fraction` of `total` drawings were refused; names the reasons and the file.
    """
    if len(rejected) > largest_fraction * total:
        common = "; ".join(f"{count} x {reason}" for reason, count in list(reasons(rejected).items())[:3])
        raise DataError(
            f"{len(rejected)} of {total} drawings were refused, more than max_bad_fraction = {largest_fraction} allows "
            f"({common}). Each is in {folder / FILE_NAME} with its file and line; mend the source, or raise "
            f"simplify.max_bad_fraction in params.yaml."
        )
