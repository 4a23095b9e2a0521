"""Arrays out of pickles, without pickle: an interpreter that can build arrays, lists, tuples and numbers only.

A pickle is a program. This module runs it on the values of `ink.formats.pickled_arrays`: a name in the file
(`GLOBAL`) never becomes an object, it becomes one of six tokens (`KNOWN`) or an error; calling (`REDUCE`) is a
comparison with those tokens, followed by our own code. Nothing is imported, looked up by attribute, or called that
the file names, so no file can run code. Opcodes that array pickles never hold (INST, OBJ, NEWOBJ, EXT, PERSID,
out-of-band buffers) are errors.

Bounds: a number of opcodes, no allocation before the bytes that fill it are there, and a result that, walked
from end to end, is no larger than `_AMPLIFICATION` times the file, however often its parts are referred to.

Reads what NumPy 1 and 2 write with protocols 2 to 5, Python 2's files, and `.npy` members that hold them.
References: Python's `pickletools`; NumPy's `ndarray.__reduce__`, `numpy.lib.format` (NPY 1.0 to 3.0).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

from ink.formats.pickled_arrays import (
    CODE,
    CUT,
    DAMAGED,
    KNOWN,
    MAX_INTEGER_BYTES,
    OTHER,
    ArrayInTheMaking,
    ArrayType,
    BadPickle,
    array_value,
    finished,
    made_by,
    short_text,
)

_MAX_OPCODES = 6_000_000  # 300,000 drawings of Python 2's files; the worst file costs about 1 GB
_AMPLIFICATION = 4
_MAX_NAME = 200
_MAX_HEADER = 10_000
_HEADER_TYPE = re.compile(r"'descr': '([^'\\]{2,8})'")
_HEADER_ORDER = re.compile(r"'fortran_order': (True|False)\b")
_HEADER_SHAPE = re.compile(r"'shape': \(([\d, L]{0,200})\)")


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
        raise BadPickle(CUT) from error
    return finished(value, _AMPLIFICATION * len(view))


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
    body, dtype = view[start + length :], ArrayType(kind[1])
    return array_value(shape, dtype, order[1] == "True", loads(body) if dtype.kind == "O" else body)


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
                    raise BadPickle(DAMAGED)
                return self.stack[0]
            step = _STEPS.get(code)
            if step is None:
                raise BadPickle(CODE if code in _ASK_FOR_CODE else OTHER)
            step(self)
        raise BadPickle(f"a pickle of more than {_MAX_OPCODES} steps")

    def take(self, count: int) -> memoryview:
        """Take the next bytes."""
        if count < 0 or self.place + count > len(self.data):
            raise BadPickle(CUT)
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
            raise BadPickle(DAMAGED)
        self.place += end + 1
        return window[:end].decode("latin1")

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def top(self) -> Any:
        """Look at the top of the stack, but never below the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise BadPickle(DAMAGED)
        return self.stack[-1]

    def pop(self) -> Any:
        """Take the top of the stack."""
        value = self.top()
        del self.stack[-1]
        return value

    def since_mark(self) -> list[Any]:
        """Take everything above the last mark."""
        if not self.marks:
            raise BadPickle(DAMAGED)
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
            raise BadPickle(DAMAGED)
        self.push(self.memo[slot])

    def text(self, size: int) -> None:
        """Push text whose length is the next integer of `size` bytes."""
        try:
            self.push(str(self.take(self.number(size)), "utf-8", "strict"))
        except UnicodeDecodeError as error:
            raise BadPickle(DAMAGED) from error

    def integer(self, size: int) -> None:
        """Push a number whose length is the next integer of `size` bytes."""
        length = self.number(size)
        if length > MAX_INTEGER_BYTES:
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
            raise BadPickle(DAMAGED)
        target.extend(items)

    def name(self, module: Any, name: Any) -> None:
        """Push the token of a name, if it is one that array pickles hold."""
        known = KNOWN.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if known is None:
            raise BadPickle(CODE)
        self.push(known)

    def reduce(self) -> None:
        """Push what a token makes of its arguments."""
        arguments, what = self.pop(), self.pop()
        if type(arguments) is not tuple:
            raise BadPickle(DAMAGED)
        self.push(made_by(what, arguments))

    def build(self) -> None:
        """Give the type or array at the top of the stack its state."""
        state, target = self.pop(), self.top()
        if type(state) is not tuple:
            raise BadPickle(OTHER)
        if isinstance(target, ArrayType) and len(state) >= 2 and short_text(state[1]) in ("<", ">", "|", "="):
            target.order = short_text(state[1]).replace("|", "=")
        elif isinstance(target, ArrayInTheMaking) and target.value is None and len(state) == 5:
            target.value = array_value(*state[1:])
        else:
            raise BadPickle(OTHER)


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
