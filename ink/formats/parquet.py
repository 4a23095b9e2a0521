"""The drawing table's own Parquet: every column kept, streamed, a file or a folder of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ink.errors import DataError, one_line
from ink.formats import Batch
from ink.parquet import DrawingsWriter, read_metadata
from ink.quarantine import FILE_NAME
from ink.table import Drawings

SUFFIXES = (".parquet",)
HOLDS = frozenset({"times", "labels", "splits", "keys", "frames", "copies"})
_BATCH = 2000


def source_files(categories: list[str]) -> list[str]:
    """Return the categories: Parquet files, by their path below the source's root."""
    return list(categories)


def read(path: Path, *, only_recognized: bool) -> Iterator[Batch]:
    """Yield the rows of one file, or of the parts below a folder (quarantines left out).

    Raises:
        DataError: a file is missing, damaged, or no drawing table.
    """
    parts = [path]
    if path.is_dir():
        parts = sorted(part for part in path.rglob(f"*{SUFFIXES[0]}") if not part.name.endswith(FILE_NAME))
        if not parts:
            raise DataError(f"{path}: expected Parquet files of drawings below it, found none")
    for part in parts:
        yield from _rows(part)


def _rows(path: Path) -> Iterator[Batch]:
    read_metadata(path)
    row = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH, use_threads=False):
                batch.validate(full=True)  # text that is not UTF-8, offsets out of order
                drawings = Drawings.from_table(pa.Table.from_batches([batch]))
                yield Batch(drawings, list(range(row, row + len(drawings))))
                row += len(drawings)
            promised = file.metadata.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise DataError(f"{path}: {error}") from error
        raise DataError(f"{path}: damaged after row {row} ({one_line(error)}); make or fetch it again") from error
    if row != promised:  # a damaged page is an end to Arrow, not an error
        raise DataError(f"{path}: damaged, {row} rows of the {promised} it says; make or fetch it again")


def write(path: Path, drawings: Iterable[Drawings]) -> None:
    """Write one Parquet file; one row group a batch."""
    with DrawingsWriter(path, {"stage": "convert"}) as writer:
        for batch in drawings:
            writer.write(batch)
