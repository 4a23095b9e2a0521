"""Arrays out of pickles, without pickle: an interpreter that can build arrays, lists, tuples and numbers only.

A pickle is a program. This module runs it on values of its own: a name in the file (`GLOBAL`) never becomes
an object, it becomes one of six tokens of `_KNOWN` or an error; calling (`REDUCE`) is a comparison with those
tokens, followed by our own code. Nothing is imported, looked up by attribute, or called that the file names,
so no file can run code. Opcodes that array pickles never hold (INST, OBJ, NEWOBJ, EXT, PERSID, out-of-band
buffers) are errors.

Bounds: a number of opcodes, no allocation before the bytes that fill it are there, and a result that, walked
from end to end, is no larger than `_AMPLIFICATION` times the file, however often its parts are referred to.

Reads what NumPy 1 and 2 write with protocols 2 to 5, Python 2's files, and `.npy` members that hold them.
References: Python's `pickletools`; NumPy's `ndarray.__reduce__`, `numpy.lib.format` (NPY 1.0 to 3.0).
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

_MAX_OPCODES = 6_000_000  # 300,000 drawings of Python 2's files; the worst file costs about 1 GB
_AMPLIFICATION = 4
_MAX_AXES = 8
_MAX_DEPTH = 32  # of lists in lists
_MAX_INTEGER_BYTES = 16
_MAX_NAME = 200
_MAX_HEADER = 10_000
_NUMBER_TYPES = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"])
_HEADER_TYPE = re.compile(r"'descr': '([^'\\]{2,8})'")
_HEADER_ORDER = re.compile(r"'fortran_order': (True|False)\b")
_HEADER_SHAPE = re.compile(r"'shape': \(([\d, L]{0,200})\)")

_CODE, _OTHER, _DAMAGED, _SHAPE, _CUT = (
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
_KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _DTYPE,
    ("_codecs", "encode"): _ENCODE,
    ("__builtin__", "bytes"): _BYTES,
}


class _Type:
    """A dtype in the making: `kind` is "O" or one of `_NUMBER_TYPES`."""

    def __init__(self, name: str) -> None:
        self.order = name[0] if name[:1] in ("<", ">") else "="
        self.kind = "O" if name.lstrip("<>|=") in ("O", "O4", "O8") else name.lstrip("<>|=")
        if self.kind != "O" and self.kind not in _NUMBER_TYPES:
            raise BadPickle("a pickle of arrays that hold no numbers")


class _Array:
    """An array in the making: `value` is an ndarray of numbers, or the list of what an object array holds."""

    value: np.ndarray | list[Any] | None = None


def loads(data: bytes | memoryview) -> Any:
    """Return what a pickle holds.

    Returns:
        Numbers, text, bytes, None, lists and tuples of them, read-only ndarrays of numbers (views of `data` where
        they can be), and lists in place of object arrays.

    Raises:
        BadPickle: it is cut, holds anything else, or is built to exhaust memory.
    """
    view = memoryview(data).cast("B")
    try:
        value = _Machine(view).run()
    except IndexError as error:
        raise BadPickle(_CUT) from error
    return _finished(value, _AMPLIFICATION * len(view))


def load_npy(data: bytes | memoryview) -> Any:
    """Return the array of an `.npy` file; an object array comes back as the list of its elements.

    Raises:
        BadPickle: it is not one.
    """
    view = memoryview(data).cast("B")
    if bytes(view[:6]) != b"\x93NUMPY" or len(view) < 12 or view[6] not in (1, 2, 3):
        raise BadPickle("not an .npy array")
    start = 10 if view[6] == 1 else 12
    length = int.from_bytes(view[8:start], "little")
    header = bytes(view[start : start + min(length, _MAX_HEADER)]).decode("latin1")
    kind, order, sides = (pattern.search(header) for pattern in (_HEADER_TYPE, _HEADER_ORDER, _HEADER_SHAPE))
    if not (kind and order and sides) or start + length > len(view):
        raise BadPickle("an .npy array with an unreadable header")
    shape = tuple(int(side) for side in re.findall(r"\d+", sides[1]))
    body, dtype = view[start + length :], _Type(kind[1])
    return _content(shape, dtype, order[1] == "True", loads(body) if dtype.kind == "O" else body)


class _Machine:
    """Runs one pickle."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.place = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Return what the pickle leaves on the stack."""
        for _ in range(_MAX_OPCODES):
            code = self.data[self.place]
            self.place += 1
            if code == _STOP:
                if len(self.stack) != 1 or self.marks:
                    raise BadPickle(_DAMAGED)
                return self.stack[0]
            step = _STEPS.get(code)
            if step is None:
                raise BadPickle(_CODE if code in _ASK_FOR_CODE else _OTHER)
            step(self)
        raise BadPickle(f"a pickle of more than {_MAX_OPCODES} steps")

    def take(self, count: int) -> memoryview:
        """Take the next bytes."""
        if count < 0 or self.place + count > len(self.data):
            raise BadPickle(_CUT)
        self.place += count
        return self.data[self.place - count : self.place]

    def number(self, size: int, signed: bool = False) -> int:
        """Take a little-endian integer."""
        return int.from_bytes(self.take(size), "little", signed=signed)

    def line(self) -> str:
        """Take text up to the end of its line."""
        window = bytes(self.data[self.place : self.place + _MAX_NAME])
        end = window.find(b"\n")
        if end < 0:
            raise BadPickle(_DAMAGED)
        self.place += end + 1
        return window[:end].decode("latin1")

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def top(self) -> Any:
        """Look at the top of the stack, but never below the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise BadPickle(_DAMAGED)
        return self.stack[-1]

    def pop(self) -> Any:
        """Take the top of the stack."""
        value = self.top()
        del self.stack[-1]
        return value

    def since_mark(self) -> list[Any]:
        """Take everything above the last mark."""
        if not self.marks:
            raise BadPickle(_DAMAGED)
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def remember(self, slot: int) -> None:
        """Keep the top of the stack under a number."""
        self.memo[slot] = self.top()

    def recall(self, slot: int) -> None:
        """Push what is kept under a number."""
        if slot not in self.memo:
            raise BadPickle(_DAMAGED)
        self.push(self.memo[slot])

    def text(self, size: int) -> None:
        """Push text whose length is the next integer of `size` bytes."""
        try:
            self.push(str(self.take(self.number(size)), "utf-8", "strict"))
        except UnicodeDecodeError as error:
            raise BadPickle(_DAMAGED) from error

    def integer(self, size: int) -> None:
        """Push a number whose length is the next integer of `size` bytes."""
        length = self.number(size)
        if length > _MAX_INTEGER_BYTES:
            raise BadPickle("a pickle with a number of absurd length")
        self.push(self.number(length, signed=True))

    def group(self, count: int) -> None:
        """Push a tuple of the last values."""
        items = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(items)))

    def extend(self, items: list[Any]) -> None:
        """Lengthen the list at the top of the stack."""
        target = self.top()
        if type(target) is not list:
            raise BadPickle(_DAMAGED)
        target.extend(items)

    def name(self, module: Any, name: Any) -> None:
        """Push the token of a name, if it is one that array pickles hold."""
        known = _KNOWN.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if known is None:
            raise BadPickle(_CODE)
        self.push(known)

    def reduce(self) -> None:
        """Push what a token makes of its arguments."""
        arguments, what = self.pop(), self.pop()
        if type(arguments) is not tuple:
            raise BadPickle(_DAMAGED)
        self.push(_made(what, arguments))

    def build(self) -> None:
        """Give the type or array at the top of the stack its state."""
        state, target = self.pop(), self.top()
        if type(state) is not tuple:
            raise BadPickle(_OTHER)
        if isinstance(target, _Type) and len(state) >= 2 and _short(state[1]) in ("<", ">", "|", "="):
            target.order = _short(state[1]).replace("|", "=")
        elif isinstance(target, _Array) and target.value is None and len(state) == 5:
            target.value = _content(*state[1:])
        else:
            raise BadPickle(_OTHER)


def _made(what: Any, arguments: tuple[Any, ...]) -> Any:
    """Do what a token stands for."""
    if what is _RECONSTRUCT and len(arguments) == 3 and arguments[0] is _NDARRAY:
        return _Array()
    if what is _DTYPE and arguments:
        return _Type(_short(arguments[0]))
    if what is _FROM_BUFFER and len(arguments) == 4:
        content, dtype, shape, order = arguments
        array = _Array()
        array.value = _content(shape, dtype, _short(order) == "F", content)
        return array
    if what is _ENCODE and len(arguments) == 2 and type(arguments[0]) is str and _short(arguments[1]) == "latin1":
        try:
            return memoryview(arguments[0].encode("latin1"))
        except UnicodeEncodeError as error:
            raise BadPickle(_DAMAGED) from error
    if what is _BYTES and arguments == ():  # protocol 2's way to write b""
        return memoryview(b"")
    raise BadPickle(_CODE)


def _content(shape: Any, dtype: Any, fortran: Any, data: Any) -> np.ndarray | list[Any]:
    """Return an array's value; the list itself for objects."""
    if not isinstance(dtype, _Type) or type(shape) is not tuple or len(shape) > _MAX_AXES:
        raise BadPickle(_DAMAGED)
    if any(type(side) is not int or not 0 <= side < 1 << 40 for side in shape):
        raise BadPickle(_SHAPE)
    if dtype.kind == "O":
        if type(data) is not list or len(data) != math.prod(shape):
            raise BadPickle(_SHAPE)
        return data
    kind = np.dtype(dtype.order + dtype.kind)
    if type(data) is not memoryview or math.prod(shape) * kind.itemsize != len(data):
        raise BadPickle(_SHAPE)
    try:
        return np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")
    except ValueError as error:  # sides that no array can have, beside one of 0
        raise BadPickle(_SHAPE) from error


def _short(value: Any) -> str:
    """Return a short text, which Python 2 wrote as bytes."""
    if type(value) is str:
        return value
    if type(value) is memoryview and len(value) <= _MAX_INTEGER_BYTES:
        return bytes(value).decode("latin1")
    raise BadPickle(_DAMAGED)


def _finished(root: Any, limit: int) -> Any:
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
    if not isinstance(value, _Array):
        return value
    if value.value is None:
        raise BadPickle(_OTHER)
    return value.value


def _plain(value: Any) -> Any:
    if type(value) is memoryview:
        return bytes(value)
    if value is not None and not isinstance(value, int | float | str | np.ndarray):
        raise BadPickle(_OTHER)
    return value


def _weight(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return 1 + value.nbytes
    return 1 + len(value) if isinstance(value, str | memoryview) else 1


_STOP = 0x2E
_STEPS: dict[int, Callable[[_Machine], Any]] = {
    0x80: lambda m: m.take(1),  # PROTO
    0x95: lambda m: m.take(8),  # FRAME
    0x28: lambda m: m.marks.append(len(m.stack)),  # MARK
    0x30: lambda m: m.pop(),  # POP
    0x4E: lambda m: m.push(None),  # NONE
    0x88: lambda m: m.push(True),  # NEWTRUE
    0x89: lambda m: m.push(False),  # NEWFALSE
    0x4B: lambda m: m.push(m.number(1)),  # BININT1
    0x4D: lambda m: m.push(m.number(2)),  # BININT2
    0x4A: lambda m: m.push(m.number(4, signed=True)),  # BININT
    0x8A: lambda m: m.integer(1),  # LONG1
    0x8B: lambda m: m.integer(4),  # LONG4
    0x47: lambda m: m.push(struct.unpack(">d", m.take(8))[0]),  # BINFLOAT
    0x55: lambda m: m.push(m.take(m.number(1))),  # SHORT_BINSTRING
    0x54: lambda m: m.push(m.take(m.number(4))),  # BINSTRING
    0x43: lambda m: m.push(m.take(m.number(1))),  # SHORT_BINBYTES
    0x42: lambda m: m.push(m.take(m.number(4))),  # BINBYTES
    0x8E: lambda m: m.push(m.take(m.number(8))),  # BINBYTES8
    0x96: lambda m: m.push(m.take(m.number(8))),  # BYTEARRAY8
    0x8C: lambda m: m.text(1),  # SHORT_BINUNICODE
    0x58: lambda m: m.text(4),  # BINUNICODE
    0x8D: lambda m: m.text(8),  # BINUNICODE8
    0x29: lambda m: m.push(()),  # EMPTY_TUPLE
    0x85: lambda m: m.group(1),  # TUPLE1
    0x86: lambda m: m.group(2),  # TUPLE2
    0x87: lambda m: m.group(3),  # TUPLE3
    0x74: lambda m: m.push(tuple(m.since_mark())),  # TUPLE
    0x5D: lambda m: m.push([]),  # EMPTY_LIST
    0x61: lambda m: m.extend([m.pop()]),  # APPEND
    0x65: lambda m: m.extend(m.since_mark()),  # APPENDS
    0x71: lambda m: m.remember(m.number(1)),  # BINPUT
    0x72: lambda m: m.remember(m.number(4)),  # LONG_BINPUT
    0x94: lambda m: m.remember(len(m.memo)),  # MEMOIZE
    0x68: lambda m: m.recall(m.number(1)),  # BINGET
    0x6A: lambda m: m.recall(m.number(4)),  # LONG_BINGET
    0x63: lambda m: m.name(m.line(), m.line()),  # GLOBAL
    0x93: lambda m: m.name(*reversed((m.pop(), m.pop()))),  # STACK_GLOBAL
    0x52: lambda m: m.reduce(),  # REDUCE
    0x62: lambda m: m.build(),  # BUILD
}
# INST, OBJ, NEWOBJ, NEWOBJ_EX, EXT1, EXT2, EXT4, PERSID, BINPERSID: unknown like all others, but the reason says more
_ASK_FOR_CODE = frozenset([0x69, 0x6F, 0x81, 0x92, 0x82, 0x83, 0x84, 0x50, 0x51])
