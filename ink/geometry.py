"""Geometry of ink: lengths, clocks, boxes and frames, all over the flat buffers.

Legend: N drawings, S strokes, P points. Kernels compute in float64 on one drawing or stroke at a time, so a
drawing's result depends neither on its neighbours nor on threads.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from ink.errors import DataError
from ink.table import Ink


def flat64(ink: Ink) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return x, y, t (P,) float64, stroke offsets (S + 1,) and point offsets (N + 1,): fresh copies.

    Kernels are fed these, so that each is compiled for one type only, whatever buffers the ink came with.

    Raises:
        DataError: a drawing has no stroke, a stroke no point, or a number is not finite.
    """
    for name, part, offsets in (("drawing", "stroke", ink.drawing_offsets), ("stroke", "point", ink.stroke_offsets)):
        empty = np.flatnonzero(np.diff(offsets) == 0)
        if len(empty):
            raise DataError(
                f"{name} {empty[0]} of the batch: expected one {part} or more, got none; "
                f"drawings that ink.table.validate refuses belong in quarantine"
            )
    x, y, t = (np.array(values, np.float64) for values in (ink.x, ink.y, ink.t))
    with np.errstate(over="ignore", invalid="ignore"):  # a sum is finite only if every number is
        suspicious = not np.isfinite(x.sum() + y.sum() + t.sum())
    if suspicious and len(broken := np.flatnonzero(~np.isfinite(x + y + t))):
        drawing = np.searchsorted(ink.point_offsets, broken[0], side="right") - 1
        raise DataError(
            f"drawing {drawing} of the batch, point {broken[0] - ink.point_offsets[drawing]}: expected finite x, y, t, "
            f"got {x[broken[0]]}, {y[broken[0]]}, {t[broken[0]]}; a model that diverged or a damaged source"
        )
    return x, y, t, np.array(ink.stroke_offsets, np.int64), np.array(ink.point_offsets, np.int64)


def arc_length_clock(ink: Ink) -> np.ndarray:
    """Return (P,) float32: length of the path from the drawing's first point, pen-up joins included.

    As a clock: seconds at unit speed, with straight joins between strokes.
    """
    return path_clock(ink, by_time=False).astype(np.float32)


def with_arc_length_clock(ink: Ink) -> Ink:
    """Return the ink with `arc_length_clock` as its t."""
    return ink.with_t(arc_length_clock(ink))


def path_clock(ink: Ink, by_time: bool = True) -> np.ndarray:
    """Return (P,) float64: a clock that runs along each drawing's path, joins between strokes included.

    Args:
        ink: N drawings.
        by_time: the ink's own t, or, where a drawing's t has no duration, t + arc length; False: arc length.

    Raises:
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    x, y, t, _, points = flat64(ink)
    length = np.zeros(len(x))
    running_length(x, y, points, length)
    if not by_time:
        return length
    timeless = t[points[1:] - 1] <= t[points[:-1]]
    return np.where(np.repeat(timeless, np.diff(points)), np.repeat(t[points[:-1]], np.diff(points)) + length, t)


def bounding_boxes(ink: Ink) -> np.ndarray:
    """Return (N, 4) float64: x0, y0, x1, y1 of each drawing.

    Raises:
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    x, y, _, _, points = flat64(ink)
    out = np.empty((len(ink), 4))
    _boxes(x, y, points, out)
    return out


def unit_circle(ink: Ink) -> tuple[Ink, np.ndarray, np.ndarray, np.ndarray]:
    """Centre each drawing on its box and scale it so that its farthest point has radius 1.

    Returns:
        The unit ink (t untouched), and center_x, center_y, scale, each (N,) float32, as the drawing table
        stores them: original = unit * scale + center. A drawing whose points are all equal gets scale 1.

    Raises:
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    x, y, _, _, points = flat64(ink)
    box, count = bounding_boxes(ink), np.diff(points)
    center_x = (0.5 * (box[:, 0] + box[:, 2])).astype(np.float32)
    center_y = (0.5 * (box[:, 1] + box[:, 3])).astype(np.float32)
    x -= np.repeat(center_x, count)
    y -= np.repeat(center_y, count)
    scale = np.maximum.reduceat(np.hypot(x, y), points[:-1]).astype(np.float32)
    flat = (box[:, 0] == box[:, 2]) & (box[:, 1] == box[:, 3])
    scale[flat | (scale == 0)] = 1.0
    divisor = np.repeat(scale, count)
    return ink.with_xy(x / divisor, y / divisor), center_x, center_y, scale


def from_first_point(ink: Ink, scale: float = 1.0) -> tuple[Ink, np.ndarray, np.ndarray]:
    """Move each drawing's first point to the origin, where stroke-5 begins, and divide all by one scale.

    Returns:
        The ink (t untouched), and center_x, center_y (N,) float32: original = here * scale + center.

    Raises:
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    x, y, _, _, points = flat64(ink)
    center_x, center_y = x[points[:-1]].astype(np.float32), y[points[:-1]].astype(np.float32)
    x, y = (v - np.repeat(center, np.diff(points)) for v, center in ((x, center_x), (y, center_y)))
    return ink.with_xy(x / scale, y / scale), center_x, center_y


def offset_moments(ink: Ink) -> np.ndarray:
    """Return (3,) float64: number, sum and sum of squares of all offsets, dx and dy together, pen-up moves included.

    An offset leads from a point to the next of the same drawing; a drawing's first point has none.
    """
    step = np.stack([np.diff(v.astype(np.float64)) for v in (ink.x, ink.y)])
    inner = np.ones(max(0, ink.n_points - 1), np.bool_)
    starts = ink.point_offsets[1:-1]
    inner[starts[(starts > 0) & (starts < ink.n_points)] - 1] = False
    step = step[:, inner]
    return np.array([step.size, step.sum(), (step * step).sum()])


def restore(ink: Ink, center_x: np.ndarray, center_y: np.ndarray, scale: np.ndarray) -> Ink:
    """Undo `unit_circle`: unit * scale + center, each (N,)."""
    count = np.diff(ink.point_offsets)
    factor, dx, dy = (np.repeat(np.asarray(values, np.float64), count) for values in (scale, center_x, center_y))
    return ink.with_xy(ink.x * factor + dx, ink.y * factor + dy)


@njit(cache=True, nogil=True)
def _boxes(x, y, points, out):
    for d in range(len(points) - 1):
        x0 = x1 = x[points[d]]
        y0 = y1 = y[points[d]]
        for i in range(points[d] + 1, points[d + 1]):
            x0, x1, y0, y1 = min(x0, x[i]), max(x1, x[i]), min(y0, y[i]), max(y1, y[i])
        out[d, 0], out[d, 1], out[d, 2], out[d, 3] = x0, y0, x1, y1


@njit(cache=True, nogil=True, parallel=True)
def running_length(x, y, offsets, out):
    """Running length of the path of each ragged row, 0 at its first point."""
    for row in prange(len(offsets) - 1):
        total = 0.0
        for i in range(offsets[row] + 1, offsets[row + 1]):
            total += math.hypot(x[i] - x[i - 1], y[i] - y[i - 1])
            out[i] = total
