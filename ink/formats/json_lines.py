"""Newline-delimited JSON, one drawing a line, strokes as [[xs], [ys]] or [[xs], [ys], [ts]], t in ms.

Shared by the Quick, Draw! and DiDi readers. Lines are streamed and bounded; a line that is no drawing
becomes one quarantine row with its number and reason.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from ink.formats import Batch
from ink.formats.collect import NOT_A_NUMBER, BadDrawing, Collector
from ink.formats.lines import Lines, read_chunks


class Facts(NamedTuple):
    """What a line says besides its strokes."""

    key: str
    label: str
    split: str = ""


FactsOf = Callable[[dict[str, Any]], Facts]


class Skip(Exception):
    """A line to leave out on purpose; the text is the reason."""


def read_lines(path: Path, facts_of: FactsOf, *, timed: bool, span: tuple[int, int] | None = None) -> Iterator[Batch]:
    """Yield the drawings of one file, or of the lines that begin in the bytes [start, end) of it.

    Args:
        path: the file.
        facts_of: gives key, label and split of a parsed line that has a `drawing`; raises BadDrawing or Skip.
        timed: strokes have a third axis, t in ms.
        span: line numbers then count from its start.

    Raises:
        DataError: the file cannot be read.
    """
    for lines in read_chunks(path, span):
        batch = explain(lines, range(len(lines.starts)), path.name, facts_of, timed=timed)
        yield dataclasses.replace(batch, rejected=[*lines.rejected, *batch.rejected], n_lines=lines.count)


def explain(lines: Lines, rows: Iterable[int], file: str, facts_of: FactsOf, *, timed: bool) -> Batch:
    """Read some lines one by one, each with its reason if it is no drawing; blank lines are nothing."""
    found = Collector(file, milliseconds=timed)
    for row in rows:
        line, number = lines.line(row), lines.first + row
        if not line or line.isspace():
            continue
        try:
            record = _record(line)
            facts = facts_of(record)
            if _holds_booleans(line, record["drawing"]):
                raise BadDrawing(NOT_A_NUMBER, facts.key)
            excerpt = lines.excerpt(row)
            found.add_lists(record["drawing"], facts.key, facts.label, split=facts.split, line=number, excerpt=excerpt)
        except BadDrawing as error:
            found.reject(str(error), key=error.key, line=number, excerpt=lines.excerpt(row))
        except Skip as reason:
            found.skip(str(reason))
    return found.take()


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
