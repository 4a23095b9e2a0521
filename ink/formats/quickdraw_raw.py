"""Quick, Draw! raw NDJSON: one drawing a line, strokes as [[xs], [ys], [ts]], t in ms since its start.

Format: README of the Quick, Draw! data set. Upstream root: the bucket `quickdraw_dataset`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from ink.formats import Batch
from ink.quarantine import Rejected
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
    rejected: list[Rejected] = []
    skipped: Counter[str] = Counter()

    def batch() -> Batch:
        return Batch(Drawings.build(Ink.from_strokes(strokes), keys, [category] * len(keys), timed=True), rejected, skipped)

    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = _record(line, category)
                if only_recognized and not record.get("recognized", True):
                    skipped["not recognised by the game"] += 1
                    continue
                key = f"quickdraw/{category}/{record['key_id']}"
                strokes.append(_strokes(record["drawing"], key))
                keys.append(key)
            except _BadLine as error:
                excerpt = line[:200].decode("utf-8", "replace").rstrip()
                rejected.append(Rejected(path.name, number, error.key, str(error), excerpt))
            if len(keys) >= _BATCH:
                yield batch()
                strokes, keys, rejected, skipped = [], [], [], Counter()
    yield batch()


def _record(line: bytes, category: str) -> dict[str, Any]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        reason = "truncated JSON" if not line.rstrip().endswith(b"}") else "not valid JSON"
        raise _BadLine(reason) from error
    if not isinstance(record, dict):
        raise _BadLine("not a JSON object")
    missing = [name for name in ("key_id", "word", "drawing") if name not in record]
    if missing:
        raise _BadLine(f"no field {', '.join(missing)}")
    if record["word"] != category:
        raise _BadLine("unknown category: the word is not that of the file", str(record["key_id"]))
    return record


def _strokes(drawing: Any, key: str) -> list[np.ndarray]:
    if not isinstance(drawing, list) or not drawing:
        raise _BadLine("empty drawing", key)
    strokes = []
    for stroke in drawing:
        if not isinstance(stroke, list) or len(stroke) != 3 or len({len(axis) for axis in stroke if isinstance(axis, list)}) != 1:
            raise _BadLine("a stroke is not three lists of one length", key)
        try:
            points = np.array(stroke, dtype=np.float64).T
        except (TypeError, ValueError) as error:
            raise _BadLine("a coordinate or time that is not a number", key) from error
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
