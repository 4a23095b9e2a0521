"""What a pickle of arrays may hold: six names that it may say, types and arrays in the making, the finished whole.

`ink.formats.array_pickle` runs the pickle and asks here what each step makes. Nothing here is called by what a file
names: a name is compared with `KNOWN`, and what it stands for is done by our own code.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_MAX_AXES = 8
_MAX_DEPTH = 32  # of lists in lists
MAX_INTEGER_BYTES = 16
_NUMBER_TYPES = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"])

CODE, OTHER, DAMAGED, SHAPE, CUT = (
    "a pickle that asks for code to run",
    "a pickle of something other than arrays",
    "a damaged pickle",
    "a pickle of an array of impossible shape",
    "a truncated pickle",
)


class BadPickle(ValueError):
    """Not a pickle of arrays; the text is the reason, in words that repeat for equal faults."""


class _Token:
    """Stands for a name that array pickles hold; it does nothing."""


_RECONSTRUCT, _FROM_BUFFER, _NDARRAY, _DTYPE, _ENCODE, _BYTES = (_Token() for _ in range(6))
KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _DTYPE,
    ("_codecs", "encode"): _ENCODE,
    ("__builtin__", "bytes"): _BYTES,
}


class ArrayType:
    """A dtype in the making: `kind` is "O" or one of `_NUMBER_TYPES`."""

    def __init__(self, name: str) -> None:
        self.order = name[0] if name[:1] in ("<", ">") else "="
        self.kind = "O" if name.lstrip("<>|=") in ("O", "O4", "O8") else name.lstrip("<>|=")
        if self.kind != "O" and self.kind not in _NUMBER_TYPES:
            raise BadPickle("a pickle of arrays that hold no numbers")


class ArrayInTheMaking:
    """An array in the making: `value` is an ndarray of numbers, or the list of what an object array holds."""

    value: np.ndarray | list[Any] | None = None


def made_by(what: Any, arguments: tuple[Any, ...]) -> Any:
    """Return what a token makes of its arguments.

    Raises:
        BadPickle: it is no token, or the arguments are not its own.
    """
    if what is _RECONSTRUCT and len(arguments) == 3 and arguments[0] is _NDARRAY:
        return ArrayInTheMaking()
    if what is _DTYPE and arguments:
        return ArrayType(short_text(arguments[0]))
    if what is _FROM_BUFFER and len(arguments) == 4:
        content, dtype, shape, order = arguments
        array = ArrayInTheMaking()
        array.value = array_value(shape, dtype, short_text(order) == "F", content)
        return array
    if what is _ENCODE and len(arguments) == 2 and type(arguments[0]) is str and short_text(arguments[1]) == "latin1":
        try:
            return memoryview(arguments[0].encode("latin1"))
        except UnicodeEncodeError as error:
            raise BadPickle(DAMAGED) from error
    if what is _BYTES and arguments == ():  # protocol 2's way to write b""
        return memoryview(b"")
    raise BadPickle(CODE)


def array_value(shape: Any, dtype: Any, fortran: Any, data: Any) -> np.ndarray | list[Any]:
    """Return an array's value; the list itself for objects.

    Raises:
        BadPickle: type, shape and data do not make one.
    """
    if not isinstance(dtype, ArrayType) or type(shape) is not tuple or len(shape) > _MAX_AXES:
        raise BadPickle(DAMAGED)
    if any(type(side) is not int or not 0 <= side < 1 << 40 for side in shape):
        raise BadPickle(SHAPE)
    if dtype.kind == "O":
        if type(data) is not list or len(data) != math.prod(shape):
            raise BadPickle(SHAPE)
        return data
    kind = np.dtype(dtype.order + dtype.kind)
    if type(data) is not memoryview or math.prod(shape) * kind.itemsize != len(data):
        raise BadPickle(SHAPE)
    try:
        return np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")
    except ValueError as error:  # sides that no array can have, beside one of 0
        raise BadPickle(SHAPE) from error


def short_text(value: Any) -> str:
    """Return a short text, which Python 2 wrote as bytes.

    Raises:
        BadPickle: it is none.
    """
    if type(value) is str:
        return value
    if type(value) is memoryview and len(value) <= MAX_INTEGER_BYTES:
        return bytes(value).decode("latin1")
    raise BadPickle(DAMAGED)


def finished(root: Any, limit: int) -> Any:
    """Replace every array in the making by its value, in place, walking each list and tuple once.

    Raises:
        BadPickle: something other than data is left, a list holds itself, or the whole is larger than `limit`.
    """
    done: dict[int, tuple[Any, int]] = {}  # of each list and tuple: what it becomes, and its size
    waiting: list[Any] = [(root,)]
    path: set[int] = set()
    outer = waiting[0]
    while waiting:
        node = waiting[-1]
        if id(node) in done:
            waiting.pop()
            continue
        if id(node) not in path:
            path.add(id(node))
            if len(path) > _MAX_DEPTH:
                raise BadPickle("a pickle of lists nested too deeply")
            inner = [value for value in map(_inside, node) if type(value) in (list, tuple) and id(value) not in done]
            if any(id(value) in path for value in inner):
                raise BadPickle("a pickle of a list that holds itself")
            waiting += inner
            if inner:
                continue
        path.discard(id(node))
        items, size = [], 1
        for value in map(_inside, node):
            final, weight = done[id(value)] if type(value) in (list, tuple) else (_plain(value), _weight(value))
            items.append(final)
            size = min(size + weight, limit + 2)
        done[id(node)] = (items if type(node) is list else tuple(items)), size
    (final,), size = done[id(outer)]
    if size > limit + 1:
        raise BadPickle("a pickle that refers to the same data over and over")
    return final


def _inside(value: Any) -> Any:
    if not isinstance(value, ArrayInTheMaking):
        return value
    if value.value is None:
        raise BadPickle(OTHER)
    return value.value


def _plain(value: Any) -> Any:
    if type(value) is memoryview:
        return bytes(value)
    if value is not None and not isinstance(value, int | float | str | np.ndarray):
        raise BadPickle(OTHER)
    return value


def _weight(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return 1 + value.nbytes
    return 1 + len(value) if isinstance(value, str | memoryview) else 1
