"""Quick, Draw! raw NDJSON: one drawing a line, strokes as [[xs], [ys], [ts]], t in ms since its start.

Format: README of the Quick, Draw! data set. Upstream root: the bucket `quickdraw_dataset`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from ink.formats import Batch
from ink.quarantine import EXCERPT_LENGTH, Rejected
from ink.table import Drawings, Ink

_BATCH = 2000
_FOLDER = "full/raw"


class _BadLine(ValueError):
    """A line that is not a drawing; the text is the reason."""

    def __init__(self, reason: str, key: str = "") -> None:
        super().__init__(reason)
        self.key = key


def source_files(categories: list[str]) -> list[str]:
    """Return one file a category."""
    return [f"{_FOLDER}/{category}.ndjson" for category in categories]


def read(path: Path, *, only_recognized: bool) -> Iterator[Batch]:
    """Yield the drawings of one category; keys are `quickdraw/<word>/<key_id>`.

    Args:
        path: `<category>.ndjson`; a line of another word is refused.
        only_recognized: skip, and count, what the game did not recognise.
    """
    category = path.stem
    strokes: list[list[np.ndarray]] = []
    keys: list[str] = []
    lines: list[int] = []
    excerpts: list[str] = []
    rejected: list[Rejected] = []
    skipped: Counter[str] = Counter()

    def batch() -> Batch:
        drawings = Drawings.build(Ink.from_strokes(strokes), keys, [category] * len(keys), timed=True)
        return Batch(drawings, lines, excerpts, rejected, skipped)

    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            excerpt = line[:EXCERPT_LENGTH].decode("utf-8", "replace").rstrip()
            try:
                record = _record(line, category)
                if only_recognized and not record.get("recognized", True):
                    skipped["not recognised by the game"] += 1
                    continue
                key = f"quickdraw/{category}/{record['key_id']}"
                strokes.append(_strokes(record["drawing"], key))
                keys.append(key)
                lines.append(number)
                excerpts.append(excerpt)
            except _BadLine as error:
                rejected.append(Rejected(path.name, number, error.key, str(error), excerpt))
            if len(keys) + len(rejected) >= _BATCH:
                yield batch()
                strokes, keys, lines, excerpts, rejected, skipped = [], [], [], [], [], Counter()
    yield batch()


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
        raise _BadLine("unknown category: the word is not that of the file", str(record["key_id"]))
    return record


def _lenient(line: bytes) -> Any:
    """Read a line that strict JSON refuses: NaN and Infinity are Python's, and get their own reason later."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = "truncated JSON" if not line.rstrip().endswith(b"}") else "not valid JSON"
        raise _BadLine(reason) from error


def _strokes(drawing: Any, key: str) -> list[np.ndarray]:
    if not isinstance(drawing, list) or not drawing:
        raise _BadLine("empty drawing", key)
    strokes = []
    for stroke in drawing:
        if (
            not isinstance(stroke, list)
            or len(stroke) != 3
            or len({len(axis) for axis in stroke if isinstance(axis, list)}) != 1
        ):
            raise _BadLine("a stroke is not three lists of one length", key)
        try:
            values = np.array(stroke)
        except ValueError as error:
            raise _BadLine("a coordinate or time that is not a number", key) from error
        if values.size and values.dtype.kind not in "iuf":
            raise _BadLine("a coordinate or time that is not a number", key)
        points = values.astype(np.float64).T
        if points.ndim != 2 or points.shape[1] != 3:
            raise _BadLine("a stroke is not three lists of one length", key)
        if len(points) == 0:
            raise _BadLine("a stroke without points", key)
        if not np.isfinite(points).all() or np.abs(points).max() > np.finfo(np.float32).max:
            raise _BadLine("a coordinate or time that is not finite", key)
        points[:, 2] /= 1000
        strokes.append(points)
    start = strokes[0][0, 2]
    for points in strokes:
        points[:, 2] -= start
    return strokes
