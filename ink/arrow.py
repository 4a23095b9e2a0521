"""Arrow arrays from NumPy's buffers and back.

`pyarrow.array`, `to_numpy` and `parquet.read_table` import pandas where it is installed, which costs half a second in
every process of a stage; these do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

_NUMPY: dict[pa.DataType, type] = {
    pa.bool_(): np.bool_,
    pa.int16(): np.int16,
    pa.int32(): np.int32,
    pa.uint64(): np.uint64,
    pa.float32(): np.float32,
}


def numbers(values: np.ndarray) -> pa.Array:
    """Return numbers or booleans (N,) as an Arrow array; numbers share the buffer where it is in one piece."""
    values = np.ascontiguousarray(values)
    if values.dtype == np.bool_:
        return pa.Array.from_buffers(pa.bool_(), len(values), [None, _buffer(np.packbits(values, bitorder="little"))])
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, _buffer(values)])


def strings(values: Sequence[str] | np.ndarray | pa.Array) -> pa.StringArray:
    """Return text (N,) as an Arrow array."""
    if isinstance(values, pa.Array):
        return values
    encoded = [str(value).encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(encoded), _buffer(ends), pa.py_buffer(b"".join(encoded)))


def same(value: str, count: int) -> pa.DictionaryArray:
    """Return one name `count` times, as a dictionary."""
    return pa.DictionaryArray.from_arrays(numbers(np.zeros(count, np.int32)), strings([value]))


def names(values: Sequence[str] | np.ndarray | pa.Array) -> pa.DictionaryArray:
    """Return names (N,) as a dictionary, in the order in which they first occur."""
    if isinstance(values, pa.DictionaryArray):
        return values
    if isinstance(values, pa.Array):
        return values.dictionary_encode()
    place: dict[str, int] = {}
    codes = np.array([place.setdefault(str(value), len(place)) for value in values], np.int32)
    return pa.DictionaryArray.from_arrays(numbers(codes), strings(list(place)))


def column(values: np.ndarray | Sequence[Any] | pa.Array, kind: pa.DataType) -> pa.Array:
    """Return values (N,) as an Arrow array of a type of the drawing table."""
    if isinstance(values, pa.Array):
        return values if values.type == kind else values.cast(kind)
    if pa.types.is_dictionary(kind):
        return names(values)
    if pa.types.is_string(kind):
        return strings(values)
    return numbers(np.asarray(values, _NUMPY[kind]))


def values(column: pa.Array) -> np.ndarray:
    """Return a column of numbers or booleans without nulls as a NumPy array; numbers share the buffer."""
    buffer, end = column.buffers()[1], column.offset + len(column)
    if not len(column):
        return np.zeros(0, _NUMPY[column.type])
    if pa.types.is_boolean(column.type):
        return np.unpackbits(np.frombuffer(buffer, np.uint8), count=end, bitorder="little")[column.offset :].astype(
            bool
        )
    return np.frombuffer(buffer, _NUMPY[column.type], len(column), column.offset * column.type.byte_width)


def texts(column: pa.Array) -> np.ndarray:
    """Return a column of strings or names as a NumPy array of objects."""
    if isinstance(column, pa.DictionaryArray):
        return texts(column.dictionary)[values(column.indices)]
    result = np.empty(len(column), object)
    result[:] = column.to_pylist()
    return result


def spans(column: pa.StringArray) -> tuple[memoryview, np.ndarray]:
    """Return the bytes of all strings of a column (N,), and (N + 1,) where each begins."""
    _, offsets, data = column.buffers()
    if offsets is None:  # no rows
        return memoryview(b""), np.zeros(1, np.int32)
    starts = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return memoryview(data if data is not None else b""), starts


def _buffer(values: np.ndarray) -> pa.Buffer:
    return pa.py_buffer(values) if values.size else pa.py_buffer(b"")
