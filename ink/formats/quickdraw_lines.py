"""Quick, Draw! drawings from lines of JSON: plain lines by `json_strokes`, any other one by one, with reasons."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from ink.formats import Batch
from ink.formats.json_strokes import BLANK, PLAIN, Scan, scan
from ink.formats.lines import Lines, read_chunks
from ink.quarantine import Rejected
from ink.table import Drawings, Ink

_NOT_RECOGNISED = "not recognised by the game"
_WRONG_WORD = "unknown category: the word is not that of the file"


class _BadLine(ValueError):
    """A line that is not a drawing; the text is the reason."""

    def __init__(self, reason: str, key: str = "") -> None:
        super().__init__(reason)
        self.key = key


def read_lines(path: Path, *, axes: int, only_recognized: bool, span: tuple[int, int] | None = None) -> Iterator[Batch]:
    """Yield the drawings of a category's file in batches; keys are `quickdraw/<word>/<key_id>`.

    Args:
        path: `<category>.ndjson`; a line of another word is refused.
        axes: 3 with times in ms, 2 without.
        only_recognized: skip, and count, what the game did not recognise.
        span: read the lines that begin in these bytes [start, end); line numbers then count from there.
    """
    for lines in read_chunks(path, span):
        yield _batch(lines, path, axes, only_recognized)


def _batch(lines: Lines, path: Path, axes: int, only_recognized: bool) -> Batch:
    found = scan(lines.buffer, lines.starts, lines.ends, axes)
    good = (found.status == PLAIN) & (found.key[:, 0] >= 0)
    good &= _strings_equal(lines.buffer, found.word, path.stem.encode())
    to_explain = np.flatnonzero((found.status != BLANK) & ~good)
    skipped: Counter[str] = Counter()
    if only_recognized:
        skipped[_NOT_RECOGNISED] += int((good & (found.recognized == 0)).sum())
        good &= found.recognized != 0
    rows = np.flatnonzero(good)
    spans = found.key[rows].tolist()
    keys = [f"quickdraw/{path.stem}/{lines.buffer[a:b].tobytes().decode()}" for a, b in spans]
    drawings = Drawings.build(_plain_ink(found, rows), keys, [path.stem] * len(keys), timed=axes == 3)
    more, more_rows, rejected = _explained(lines, to_explain, path, axes, only_recognized, skipped)
    if len(more):
        rows = np.concatenate([rows, more_rows])
        order = np.argsort(rows)
        drawings, rows = Drawings.concat([drawings, more]).take(order), rows[order]
    return Batch(
        drawings,
        (lines.first + rows).tolist(),
        lambda row: lines.excerpt(rows[row]),
        [*lines.rejected, *rejected],
        +skipped,
        len(lines.starts) + len(lines.rejected),
    )


def _plain_ink(found: Scan, rows: np.ndarray) -> Ink:
    """Return the ink of some plain lines, t in seconds from each drawing's first point."""
    plain = np.flatnonzero(found.status == PLAIN)
    stroke_offsets = np.concatenate([[0], np.cumsum(found.points)])
    drawing_offsets = np.concatenate([[0], np.cumsum(found.strokes[plain])])
    x, y = found.axes[:2]
    if len(found.axes) == 3:
        t = found.axes[2] / 1000
        point_offsets = stroke_offsets[drawing_offsets]
        t = t - np.repeat(t[point_offsets[:-1]], np.diff(point_offsets))
    else:
        t = np.zeros_like(x)
    x, y, t = (axis.astype(np.float32) for axis in (x, y, t))
    ink = Ink(x, y, t, stroke_offsets, drawing_offsets)
    return ink if len(rows) == len(plain) else ink.take(np.searchsorted(plain, rows))


def _explained(
    lines: Lines, rows: np.ndarray, path: Path, axes: int, only_recognized: bool, skipped: Counter[str]
) -> tuple[Drawings, np.ndarray, list[Rejected]]:
    """Read lines one by one; return the drawings, their rows, and the others with the reason."""
    strokes: list[list[np.ndarray]] = []
    keys: list[str] = []
    kept: list[int] = []
    rejected: list[Rejected] = []
    for row in rows.tolist():
        try:
            record = _record(lines.line(row), path.stem)
            if only_recognized and not record.get("recognized", True):
                skipped[_NOT_RECOGNISED] += 1
                continue
            key = f"quickdraw/{path.stem}/{record['key_id']}"
            strokes.append(_strokes(record["drawing"], key, axes))
            keys.append(key)
            kept.append(row)
        except _BadLine as error:
            rejected.append(Rejected(path.name, lines.first + row, error.key, str(error), lines.excerpt(row)))
    drawings = Drawings.build(Ink.from_strokes(strokes), keys, [path.stem] * len(keys), timed=axes == 3)
    return drawings, np.array(kept, np.int64), rejected


def _record(line: bytes, category: str) -> dict[str, Any]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        record = _lenient(line)
    if not isinstance(record, dict):
        raise _BadLine("not a JSON object")
    missing = [name for name in ("key_id", "word", "drawing") if name not in record]
    if missing:
        raise _BadLine(f"no field {', '.join(missing)}")
    if record["word"] != category:
        raise _BadLine(_WRONG_WORD, str(record["key_id"]))
    return record


def _lenient(line: bytes) -> Any:
    """Read a line that strict JSON refuses: NaN and Infinity are Python's, and get their own reason later."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = "truncated JSON" if not line.rstrip().endswith(b"}") else "not valid JSON"
        raise _BadLine(reason) from error


def _strokes(drawing: Any, key: str, axes: int) -> list[np.ndarray]:
    """Return (points, 3) float64 arrays of x, y, seconds since the first point."""
    if not isinstance(drawing, list) or not drawing:
        raise _BadLine("empty drawing", key)
    shape = f"a stroke is not {('', '', 'two', 'three')[axes]} lists of one length"
    strokes = []
    for stroke in drawing:
        if (
            not isinstance(stroke, list)
            or len(stroke) != axes
            or len({len(axis) for axis in stroke if isinstance(axis, list)}) != 1
        ):
            raise _BadLine(shape, key)
        try:
            values = np.array(stroke)
        except ValueError as error:
            raise _BadLine("a coordinate or time that is not a number", key) from error
        if values.size and values.dtype.kind not in "iuf":
            raise _BadLine("a coordinate or time that is not a number", key)
        points = values.astype(np.float64).T
        if points.ndim != 2 or points.shape[1] != axes:
            raise _BadLine(shape, key)
        if len(points) == 0:
            raise _BadLine("a stroke without points", key)
        if not np.isfinite(points).all() or np.abs(points).max() > np.finfo(np.float32).max:
            raise _BadLine("a coordinate or time that is not finite", key)
        strokes.append(np.column_stack([points, np.zeros(len(points))]) if axes == 2 else points)
    start = strokes[0][0, 2]
    for points in strokes:
        points[:, 2] = points[:, 2] / 1000 - start / 1000
    return strokes


def _strings_equal(buffer: np.ndarray, spans: np.ndarray, wanted: bytes) -> np.ndarray:
    """Tell which of the strings in the buffer are `wanted`."""
    equal = spans[:, 1] - spans[:, 0] == len(wanted)
    for place, byte in enumerate(wanted):
        equal[equal] = buffer[spans[equal, 0] + place] == byte
    return equal
