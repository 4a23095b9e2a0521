"""Newline-delimited JSON, one drawing a line, strokes as [[xs], [ys]] or [[xs], [ys], [ts]], t in ms.

Shared by the Quick, Draw! and DiDi readers. Lines are streamed and bounded; a line that is no drawing
becomes one quarantine row with its number and reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from ink.errors import DataError
from ink.formats import Batch
from ink.formats.collect import NOT_A_NUMBER, BadDrawing, Collector
from ink.quarantine import EXCERPT_LENGTH

MAX_LINE = 1 << 25  # bytes; ten times the longest line of Quick, Draw! raw


class Facts(NamedTuple):
    """What a line says besides its strokes."""

    key: str
    label: str
    split: str = ""


class Skip(Exception):
    """A line to leave out on purpose; the text is the reason."""


def read_lines(path: Path, facts_of: Callable[[dict[str, Any]], Facts], *, timed: bool) -> Iterator[Batch]:
    """Yield the drawings of one file.

    Args:
        path: the file.
        facts_of: gives key, label and split of a parsed line that has a `drawing`; raises BadDrawing or Skip.
        timed: strokes have a third axis, t in ms.

    Raises:
        DataError: the file cannot be read.
    """
    found = Collector(path.name, milliseconds=timed)
    try:
        with path.open("rb") as file:
            for number, line, whole in _lines(file):
                excerpt = line[:EXCERPT_LENGTH].decode("utf-8", "replace").rstrip()
                try:
                    if not whole:
                        raise BadDrawing(f"a line of more than {MAX_LINE >> 20} MiB")
                    record = _record(line)
                    facts = facts_of(record)
                    if _holds_booleans(line, record["drawing"]):
                        raise BadDrawing(NOT_A_NUMBER, facts.key)
                    found.add_lists(
                        record["drawing"], facts.key, facts.label, split=facts.split, line=number, excerpt=excerpt
                    )
                except BadDrawing as error:
                    found.reject(str(error), key=error.key, line=number, excerpt=excerpt)
                except Skip as reason:
                    found.skip(str(reason))
                if found.full:
                    yield found.take()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); download it again") from error
    yield found.take()


def require(record: dict[str, Any], *names: str) -> None:
    """Refuse a line that lacks a field.

    Raises:
        BadDrawing: names the fields.
    """
    missing = [name for name in (*names, "drawing") if name not in record]
    if missing:
        raise BadDrawing(f"no field {', '.join(missing)}")


def text(value: Any, name: str) -> str:
    """Return an identifier as text.

    Raises:
        BadDrawing: it is neither text nor a whole number, or not valid Unicode.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadDrawing(f"{name} is neither text nor a whole number")
    value = str(value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadDrawing(f"{name} is not valid Unicode") from error
    return value


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (number from 1, line, whether it is whole), blank lines left out; never holds more than MAX_LINE."""
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        whole = len(line) < MAX_LINE or line.endswith(b"\n")
        if not whole:
            line = line[:EXCERPT_LENGTH]
            while (rest := file.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                pass
        if not whole or not line.isspace():
            yield number, line, whole


def _record(line: bytes) -> dict[str, Any]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        record = _lenient(line)
    if not isinstance(record, dict):
        raise BadDrawing("not a JSON object")
    return record


def _lenient(line: bytes) -> Any:
    """Read a line that strict JSON refuses: NaN and Infinity are Python's, and get their own reason later."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = "truncated JSON" if not line.rstrip().endswith(b"}") else "not valid JSON"
        raise BadDrawing(reason) from error


def _holds_booleans(line: bytes, drawing: Any) -> bool:
    """Tell whether a coordinate is true or false, which Python takes for 1 and 0. Quick for lines without."""
    if line.count(b"true") + line.count(b"false") < 2:  # one is the field `recognized`
        return False
    try:
        return any(type(value) is bool for stroke in drawing for axis in stroke for value in axis)
    except TypeError:  # not lists of lists: `Collector` says so
        return False
