"""Batches of bounded size from drawings that come one by one, into flat buffers.

`Collector` is what the readers fill; `to_batch` is the one place where buffers become a `Batch`: what has
no points, an empty stroke, or a number that float32 cannot hold is refused there, with its place.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ink import geometry
from ink.formats import Batch
from ink.quarantine import Rejected
from ink.table import Drawings, Ink

MAX_DRAWINGS = 2000  # of a batch
MAX_POINTS = 1 << 20  # of a batch; one drawing may pass it
NOT_FINITE = "a coordinate or time that is not finite"
NOT_A_NUMBER = "a coordinate or time that is not a number"
_LARGEST = float(np.finfo(np.float32).max)
_COUNT_WORDS = {2: "two", 3: "three"}


class BadDrawing(ValueError):
    """What came is not a drawing; the text is the reason, in words that repeat for equal faults."""

    def __init__(self, reason: str, key: str = "") -> None:
        super().__init__(reason)
        self.key = key


class Row(NamedTuple):
    """Facts of one drawing: those of the table, and its place in the file for the quarantine."""

    key: str
    label: str
    split: str = ""
    line: int = 0
    excerpt: str = ""


class Collector:
    """Gathers the drawings of one file until a batch is full.

    Args:
        file: the source file's name, for the quarantine.
        milliseconds: the source has a clock, in ms; False: none, and the third axis is arc length.
    """

    def __init__(self, file: str, milliseconds: bool) -> None:
        self.file = file
        self.milliseconds = milliseconds
        self._clear()

    def _clear(self) -> None:
        self._axes = tuple(array("d") for _ in range(3 if self.milliseconds else 2))
        self._strokes: list[int] = [0]  # end of each stroke, in points
        self._drawings: list[int] = [0]  # end of each drawing, in strokes
        self._rows: list[Row] = []
        self._rejected: list[Rejected] = []
        self._skipped: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        """Tell whether the batch should be taken."""
        return len(self._rows) + len(self._rejected) >= MAX_DRAWINGS or len(self._axes[0]) >= MAX_POINTS

    def add_lists(
        self, drawing: Any, key: str, label: str, *, split: str = "", line: int = 0, excerpt: str = ""
    ) -> None:
        """Add a drawing given as parsed JSON, one [xs, ys] or [xs, ys, ts] a stroke.

        Raises:
            BadDrawing: it is not that; nothing was added.
        """
        if not isinstance(drawing, list) or not drawing:
            raise BadDrawing("empty drawing", key)
        points, strokes = len(self._axes[0]), len(self._strokes)
        try:
            for stroke in drawing:
                self._add_stroke(stroke, key)
        except BadDrawing:
            for values in self._axes:
                del values[points:]
            del self._strokes[strokes:]
            raise
        self._end_drawing(key, label, split, line, excerpt)

    def add_points(
        self, points: np.ndarray, ends: Sequence[int] | np.ndarray, key: str, label: str, *, split: str = "",
        line: int = 0, excerpt: str = "",
    ) -> None:  # fmt: skip
        """Add a drawing given as (points, 2 or 3) of x, y and t in ms, and the end of each of its strokes."""
        before = len(self._axes[0])
        for values, column in zip(self._axes, np.asarray(points, np.float64).T, strict=True):
            values.frombytes(column.tobytes())
        self._strokes += [before + int(end) for end in ends]
        self._end_drawing(key, label, split, line, excerpt)

    def reject(self, reason: str, *, key: str = "", line: int = 0, excerpt: str = "") -> None:
        """Note a drawing that could not be read."""
        self._rejected.append(Rejected(self.file, line, key, reason, excerpt))

    def skip(self, reason: str) -> None:
        """Note a drawing that was left out on purpose."""
        self._skipped[reason] += 1

    def take(self) -> Batch:
        """Return what was gathered, and begin anew."""
        x, y, *rest = (np.frombuffer(values) if values else np.zeros(0) for values in self._axes)
        t = rest[0] / 1000 if rest else None
        strokes, drawings = np.array(self._strokes, np.int64), np.array(self._drawings, np.int64)
        batch = to_batch(self.file, x, y, t, strokes, drawings, self._rows, self._rejected, self._skipped)
        self._clear()
        return batch

    def _add_stroke(self, stroke: Any, key: str) -> None:
        wanted = len(self._axes)
        if (
            not isinstance(stroke, list)
            or len(stroke) != wanted
            or not isinstance(stroke[0], list)
            or any(not isinstance(axis, list) or len(axis) != len(stroke[0]) for axis in stroke)
        ):
            raise BadDrawing(f"a stroke is not {_COUNT_WORDS[wanted]} lists of one length", key)
        if not stroke[0]:
            raise BadDrawing("a stroke without points", key)
        try:
            for values, axis in zip(self._axes, stroke, strict=True):
                values.fromlist(axis)
        except TypeError as error:
            raise BadDrawing(NOT_A_NUMBER, key) from error
        except OverflowError as error:
            raise BadDrawing(NOT_FINITE, key) from error
        self._strokes.append(len(self._axes[0]))

    def _end_drawing(self, key: str, label: str, split: str, line: int, excerpt: str) -> None:
        self._drawings.append(len(self._strokes) - 1)
        self._rows.append(Row(key, label, split, line, excerpt))


def to_batch(
    file: str,
    x: np.ndarray,
    y: np.ndarray,
    t: np.ndarray | None,
    stroke_offsets: np.ndarray,
    drawing_offsets: np.ndarray,
    rows: list[Row],
    rejected: list[Rejected],
    skipped: Counter[str],
) -> Batch:
    """Make a batch of the drawings that can be held, refuse the others.

    Args:
        file: the source file's name.
        x, y: (P,) coordinates, y downwards; t: (P,) seconds from any start, or None: arc length, untimed.
        stroke_offsets, drawing_offsets: as in `Ink`.
        rows: one a drawing.
        rejected, skipped: what was refused and left out before.
    """
    points = stroke_offsets[drawing_offsets]
    timed = t is not None
    clock = np.zeros(len(x)) if t is None else t - np.repeat(t[np.minimum(points[:-1], len(t) - 1)], np.diff(points))
    why = np.full(len(rows), "", dtype=object)
    held = (np.abs(x) <= _LARGEST) & (np.abs(y) <= _LARGEST) & (np.abs(clock) <= _LARGEST)
    why[np.repeat(np.arange(len(rows)), np.diff(points))[~held]] = NOT_FINITE
    empty = np.diff(stroke_offsets) == 0
    why[np.repeat(np.arange(len(rows)), np.diff(drawing_offsets))[empty]] = "a stroke without points"
    why[np.diff(drawing_offsets) == 0] = "empty drawing"
    x32, y32, t32 = (_float32(values) for values in (x, y, clock))
    ink = Ink(x32, y32, t32, stroke_offsets, drawing_offsets)
    bad = np.flatnonzero(why != "").tolist()
    if bad:
        rejected = [*rejected, *(Rejected(file, rows[n].line, rows[n].key, why[n], rows[n].excerpt) for n in bad)]
        rejected.sort(key=lambda row: row.line)
        good = np.flatnonzero(why == "")
        ink, rows = ink.take(good), [rows[n] for n in good.tolist()]
    if not timed:
        with np.errstate(over="ignore"):  # a length beyond float32 becomes infinite, which `validate` refuses
            length = geometry.arc_length_clock(ink)
        ink = ink.with_t(length)
    keys, labels, splits = [row.key for row in rows], [row.label for row in rows], [row.split for row in rows]
    drawings = Drawings.build(ink, keys, labels, split=splits, timed=timed)
    return Batch(drawings, [row.line for row in rows], lambda n: rows[n].excerpt, rejected, skipped)


def _float32(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit was refused
        return values.astype(np.float32)
