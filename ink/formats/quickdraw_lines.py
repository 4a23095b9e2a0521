"""Lines of Quick, Draw!, raw and simplified: plain ones by `json_strokes`, any other one by one, with reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from ink import arrow, geometry
from ink.formats import Batch
from ink.formats.collect import BadDrawing
from ink.formats.json_lines import Facts, FactsOf, Skip, explain, require, text
from ink.formats.json_strokes import BLANK, PLAIN, Scan, scan, texts_of
from ink.formats.lines import Lines, read_chunks
from ink.table import Drawings, Ink

UNRECOGNIZED = "not recognised by the game"


def read_quickdraw(
    path: Path, *, timed: bool, only_recognized: bool, span: tuple[int, int] | None = None
) -> Iterator[Batch]:
    """Yield the drawings of one category; keys are `quickdraw/<word>/<key_id>`.

    Args:
        path: `<category>.ndjson`, as `file_stem` has it; a line of another word is refused, one of no word unlabelled.
        timed: strokes are [[xs], [ys], [ts]], t in ms; else [[xs], [ys]].
        only_recognized: skip, and count, what the game did not recognise.
        span: read the lines that begin in these bytes [start, end); line numbers then count from there.

    Raises:
        DataError: the file cannot be read.
    """
    facts = facts_of(unquote(path.stem), only_recognized)
    for lines in read_chunks(path, span):
        yield _batch(lines, path, timed, only_recognized, facts)


def file_stem(category: str) -> str:
    """Return the name, without suffix, of a category's file: its own, but for what a name of a file cannot hold."""
    return quote(category, safe=" !'(),;=@&+$#[]{}~^")


def facts_of(category: str, only_recognized: bool) -> FactsOf:
    """Return what reads the facts of a parsed line of `category`."""

    def facts(record: dict[str, Any]) -> Facts:
        require(record, "key_id", "word")
        key_id = text(record["key_id"], "key_id")
        if record["word"] not in (category, ""):
            raise BadDrawing("unknown category: the word is not that of the file", key_id)
        if only_recognized and not record.get("recognized", True):
            raise Skip(UNRECOGNIZED)
        return Facts(f"quickdraw/{category}/{key_id}", record["word"])

    return facts


def _batch(lines: Lines, path: Path, timed: bool, only_recognized: bool, facts: FactsOf) -> Batch:
    category = unquote(path.stem)
    found = scan(lines.buffer, lines.starts, lines.ends, 3 if timed else 2)
    good = (found.status == PLAIN) & (found.key[:, 0] >= 0)
    good &= _strings_equal(lines.buffer, found.word, category.encode())
    to_explain = np.flatnonzero((found.status != BLANK) & ~good)
    skipped: Counter[str] = Counter()
    if only_recognized:
        skipped[UNRECOGNIZED] += int((good & (found.recognized == 0)).sum())
        good &= found.recognized != 0
    rows = np.flatnonzero(good)
    keys = texts_of(lines.buffer, found.key[rows], f"quickdraw/{category}/")
    drawings = Drawings.build(_plain_ink(found, rows), keys, arrow.same(category, len(rows)), timed=timed)
    rejected = lines.rejected
    if len(to_explain):
        other = explain(lines, to_explain.tolist(), path.name, facts, timed=timed)
        rejected, skipped = [*rejected, *other.rejected], skipped + other.skipped
        rows = np.concatenate([rows, np.array(other.lines, np.int64) - lines.first])
        order = np.argsort(rows)
        drawings, rows = Drawings.concat([drawings, other.drawings]).take(order), rows[order]
    numbers = (lines.first + rows).tolist()
    return Batch(drawings, numbers, lambda row: lines.excerpt(rows[row]), rejected, +skipped, lines.count)


def _plain_ink(found: Scan, rows: np.ndarray) -> Ink:
    """Return the ink of some plain lines: t in seconds from each drawing's first point, or arc length."""
    plain = np.flatnonzero(found.status == PLAIN)
    stroke_offsets = np.concatenate([[0], np.cumsum(found.points)])
    drawing_offsets = np.concatenate([[0], np.cumsum(found.strokes[plain])])
    x, y, *clock = found.axes
    t = np.zeros_like(x)
    if clock:
        seconds, points = clock[0] / 1000, stroke_offsets[drawing_offsets]
        t = seconds - np.repeat(seconds[points[:-1]], np.diff(points))
    ink = Ink(x.astype(np.float32), y.astype(np.float32), t.astype(np.float32), stroke_offsets, drawing_offsets)
    ink = ink if len(rows) == len(plain) else ink.take(np.searchsorted(plain, rows))
    if not clock:
        ink = geometry.with_arc_length_clock(ink)
    return ink


def _strings_equal(buffer: np.ndarray, spans: np.ndarray, wanted: bytes) -> np.ndarray:
    """Tell which of the strings in the buffer are `wanted`."""
    equal = spans[:, 1] - spans[:, 0] == len(wanted)
    for place, byte in enumerate(wanted):
        equal[equal] = buffer[spans[equal, 0] + place] == byte
    return equal
