"""Drawing tables as Parquet files: written atomically, in batches; read whole or batch by batch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ink.errors import DataError, one_line
from ink.files import atomic_path
from ink.table import SCHEMA, SCHEMA_VERSION, Drawings

_METADATA_KEY = b"inkmill"


def write_drawings(path: Path | str, drawings: Drawings, metadata: dict[str, Any]) -> None:
    """Write one Parquet file of drawings, atomically; equal input gives equal bytes.

    Args:
        path: the file to write.
        drawings: its rows, in this order.
        metadata: dataset, stage, parameters and provenance; must be JSON. The schema version is added.
    """
    with DrawingsWriter(path, metadata) as writer:
        writer.write(drawings)


class DrawingsWriter:
    """Write drawings batch by batch, so that memory does not grow with the file; one row group a batch.

    A context manager: the file appears under its name only when the block ends without an error.
    """

    def __init__(self, path: Path | str, metadata: dict[str, Any]) -> None:
        self._target = atomic_path(path)
        value = json.dumps({"schema_version": SCHEMA_VERSION, **metadata}, sort_keys=True, allow_nan=False)
        self._schema = SCHEMA.with_metadata({_METADATA_KEY: value.encode()})

    def __enter__(self) -> DrawingsWriter:
        with ExitStack() as stack:
            temporary = stack.enter_context(self._target)
            writer = pq.ParquetWriter(
                temporary,
                self._schema,
                compression="zstd",
                use_dictionary=["label", "split"],  # coordinates hardly repeat
                use_byte_stream_split=[f"{axis}.list.element" for axis in "xyt"],
            )
            self._writer = stack.enter_context(writer)
            self._open = stack.pop_all()
        return self

    def write(self, drawings: Drawings) -> None:
        """Append one batch as one row group."""
        table = drawings.to_table().replace_schema_metadata(self._schema.metadata)
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._open.__exit__(kind, error, trace)


def read_drawings(path: Path | str) -> Drawings:
    """Read one Parquet file of drawings whole.

    Raises:
        DataError: the file is not a drawing table, or of another schema version.
    """
    read_metadata(path)
    with pq.ParquetFile(path) as file:
        return Drawings.from_table(file.read())


def iter_drawings(path: Path | str) -> Iterator[Drawings]:
    """Read one Parquet file of drawings row group by row group."""
    read_metadata(path)
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield Drawings.from_table(file.read_row_group(group))


def read_metadata(path: Path | str) -> dict[str, Any]:
    """Return the provenance that a file of drawings carries.

    Raises:
        DataError: the file is not a drawing table, or of another schema version.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: a column name that is not UTF-8
        raise DataError(
            f"{path}: not a readable Parquet file ({one_line(error)}); run the stage that writes it again"
        ) from error
    if _METADATA_KEY not in metadata:
        raise DataError(f"{path}: a Parquet file, but not a drawing table of Inkmill (no `inkmill` metadata)")
    try:
        value = json.loads(metadata[_METADATA_KEY])
    except ValueError as error:
        raise DataError(f"{path}: its `inkmill` metadata is damaged; make or fetch the file again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: its `inkmill` metadata is no JSON object; make or fetch the file again")
    if value.get("schema_version") != SCHEMA_VERSION:
        raise DataError(
            f"{path}: schema version {value.get('schema_version')}, this Inkmill reads {SCHEMA_VERSION}; "
            f"run `dvc repro` to make it anew"
        )
    return value
