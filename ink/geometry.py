"""Geometry of ink: simplification, clocks, frames, resampling, all over the flat buffers.

Legend: N drawings, S strokes, P points, n samples of a drawing. Kernels compute in float64 on one
drawing or stroke at a time, so a drawing's result depends neither on its neighbours nor on threads.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from ink.errors import DataError
from ink.table import Ink

_PEN_TOLERANCE = 1e-6  # of a drawing's duration: a sample this near to a join's end lies on the stroke
_COUNT_SLACK = 1e-9  # of a step: a length of 3.0000000001 steps is cut into 3


def simplify(ink: Ink, epsilon: float | np.ndarray) -> Ink:
    """Thin every stroke by Ramer-Douglas-Peucker; see `rdp_mask`.

    Args:
        ink: N drawings.
        epsilon: largest distance of a dropped point, in the unit of the ink; scalar or (N,) per drawing.

    Returns:
        The same drawings and strokes with the kept points, untouched.
    """
    per_drawing = np.broadcast_to(np.asarray(epsilon, np.float64), len(ink))
    keep = rdp_mask(ink.x, ink.y, ink.stroke_offsets, np.repeat(per_drawing, np.diff(ink.drawing_offsets)))
    kept = np.flatnonzero(keep)
    offsets = np.searchsorted(kept, ink.stroke_offsets)
    return Ink(ink.x[kept], ink.y[kept], ink.t[kept], offsets, ink.drawing_offsets)


def rdp_mask(x: np.ndarray, y: np.ndarray, stroke_offsets: np.ndarray, epsilon: float | np.ndarray) -> np.ndarray:
    """Tell which points Ramer-Douglas-Peucker keeps, stroke by stroke.

    A point is kept where its distance to the segment (not the infinite line) between the kept points
    around it is greater than epsilon; of several farthest points the first is kept. First and last points
    always stay. The distance formula is that of the Rust crate `geo` (the package `simplification`), which
    however keeps the last of several farthest points, and every point where epsilon is 0.

    Args:
        x, y: (P,) coordinates.
        stroke_offsets: (S + 1,) first point of each stroke, and P.
        epsilon: largest distance of a dropped point, unit of x; scalar or (S,) per stroke.

    Returns:
        (P,) bool.

    Raises:
        ValueError: epsilon is negative or NaN, or not broadcastable to (S,).
    """
    offsets = np.array(stroke_offsets, np.int64)
    tolerance = np.array(np.broadcast_to(np.asarray(epsilon, np.float64), len(offsets) - 1))
    if not np.all(tolerance >= 0):
        raise ValueError(f"epsilon must be 0 or more, got {tolerance[~(tolerance >= 0)][0]}")
    keep = np.zeros(len(x), dtype=np.bool_)
    _rdp(np.array(x, np.float64), np.array(y, np.float64), offsets, tolerance, keep)
    return keep


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
    _arc_length(x, y, points, length)
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
    return _with_xy(ink, x / divisor, y / divisor), center_x, center_y, scale


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
    return _with_xy(ink, x / scale, y / scale), center_x, center_y


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
    return _with_xy(ink, ink.x * factor + dx, ink.y * factor + dy)


def full_sequence(ink: Ink, n: int, by_time: bool = True) -> np.ndarray:
    """Sample each drawing's whole path, pen-up joins included, at n uniform moments of its clock.

    SketchODE's full-sequence representation: joins are straight, and the third channel is the pen's STATE.
    The first and last samples are the path's first and last points. Where the pen moves in no time (equal t),
    a sample at that moment is the point after the move.

    Args:
        ink: N drawings.
        n: samples per drawing, 2 or more.
        by_time: uniform in the ink's t; a drawing of no duration falls back to t + arc length, one without
            extent repeats its point. False: uniform in arc length, joins included.

    Returns:
        (N, n, 4) float32 of x, y, pen_up, t. pen_up is 1 strictly inside a join (no ink), else 0; t is the
        ink's t along the path (with the fallback's clock where that was used).

    Raises:
        ValueError: n is less than 2.
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    if n < 2:
        raise ValueError(f"full_sequence needs n of 2 or more samples, got {n}")
    x, y, t, strokes, points = flat64(ink)
    clock = path_clock(ink, by_time)
    time = clock if by_time else t
    join = np.zeros(len(x), dtype=np.bool_)
    join[strokes[1:] - 1] = True
    out = np.zeros((len(ink), n, 4), np.float32)
    _sample_paths(x, y, time, clock, join, points, out)
    return out


def from_full_sequence(points: np.ndarray, duration: float = 1.0) -> Ink:
    """Cut sampled paths back into strokes: each run of pen-down samples becomes one.

    Strokes whose join held no sample come back as one; a stroke that no sample met is lost.

    Args:
        points: (N, n, 3 or 4) of x, y, probability that the pen is up, and t where there is a fourth channel.
            Samples with a probability over 0.5 carry no ink. A drawing without any ink becomes a dot at its
            first sample.
        duration: without t, samples are spread evenly over [0, duration] seconds.

    Raises:
        ValueError: the shape is another.
    """
    points = np.asarray(points)
    if points.ndim != 3 or points.shape[1] < 1 or points.shape[2] not in (3, 4):
        raise ValueError(f"expected points of shape (N, n, 3 or 4), n of 1 or more, got {points.shape}")
    count, n, channels = points.shape
    down = ~(points[:, :, 2] > 0.5)
    down[~down.any(axis=1), 0] = True
    starts = down.copy()
    starts[:, 1:] &= ~down[:, :-1]
    t = points[:, :, 3] if channels == 4 else np.broadcast_to(np.linspace(0.0, duration, n), (count, n))
    kept_before: np.ndarray = np.cumsum(down) - down.ravel()
    return Ink(
        points[:, :, 0][down].astype(np.float32),
        points[:, :, 1][down].astype(np.float32),
        t[down].astype(np.float32),
        np.append(kept_before[starts.ravel()], down.sum()).astype(np.int64),
        np.concatenate([[0], np.cumsum(starts.sum(axis=1))]).astype(np.int64),
    )


def resample_strokes(ink: Ink, spacing: float | np.ndarray, even: bool = True) -> Ink:
    """Place points along each stroke, at most `spacing` of arc length apart; ends stay, t is interpolated.

    Args:
        ink: N drawings.
        spacing: largest step, in the unit of the ink; scalar or (N,) per drawing.
        even: all steps of a stroke are equally long; False: as long as the spacing, but the last.

    Raises:
        ValueError: spacing is not above 0.
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    step = np.repeat(_positive(spacing, len(ink), "spacing"), np.diff(ink.drawing_offsets))
    x, y, t, strokes, _ = flat64(ink)
    length = np.zeros(len(x))
    _arc_length(x, y, strokes, length)
    pieces = np.maximum(1, np.ceil(length[strokes[1:] - 1] / step - _COUNT_SLACK)).astype(np.int64)
    pieces[np.diff(strokes) == 1] = 0
    offsets = np.concatenate([[0], np.cumsum(pieces + 1)]).astype(np.int64)
    out = np.zeros((3, offsets[-1]), np.float32)
    _resample(x, y, t, length, strokes, np.zeros_like(step) if even else step, offsets, out)
    return Ink(out[0], out[1], out[2], offsets, ink.drawing_offsets)


def subdivide(ink: Ink, max_segment: float | np.ndarray) -> Ink:
    """Cut every segment longer than `max_segment` into equal parts; all vertices stay, t is interpolated.

    Args:
        ink: N drawings.
        max_segment: longest segment to leave, in the unit of the ink; scalar or (N,) per drawing.

    Raises:
        ValueError: max_segment is not above 0.
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    x, y, t, strokes, points = flat64(ink)
    limit = np.repeat(_positive(max_segment, len(ink), "max_segment"), np.diff(points))
    following = np.minimum(np.arange(len(x)) + 1, max(len(x) - 1, 0))
    following[strokes[1:] - 1] = strokes[1:] - 1  # a stroke's last point starts no segment
    length = np.hypot(x[following] - x, y[following] - y)
    pieces = np.maximum(1, np.ceil(length / limit - _COUNT_SLACK)).astype(np.int64)
    placed = np.concatenate([[0], np.cumsum(pieces)]).astype(np.int64)
    owner = np.repeat(np.arange(len(x)), pieces)
    fraction = (np.arange(placed[-1]) - placed[owner]) / pieces[owner]
    moved_x, moved_y, moved_t = (
        (v[owner] + fraction * (v[following] - v)[owner]).astype(np.float32) for v in (x, y, t)
    )
    return Ink(moved_x, moved_y, moved_t, placed[strokes], ink.drawing_offsets)


def _positive(value: float | np.ndarray, count: int, name: str) -> np.ndarray:
    values = np.broadcast_to(np.asarray(value, np.float64), count)
    if not np.all((values > 0) & np.isfinite(values)):
        raise ValueError(f"{name} must be finite and above 0, got {value}")
    return values


def _with_xy(ink: Ink, x: np.ndarray, y: np.ndarray) -> Ink:
    return Ink(x.astype(np.float32), y.astype(np.float32), ink.t, ink.stroke_offsets, ink.drawing_offsets)


@njit(cache=True, nogil=True)
def _boxes(x, y, points, out):
    for d in range(len(points) - 1):
        x0 = x1 = x[points[d]]
        y0 = y1 = y[points[d]]
        for i in range(points[d] + 1, points[d + 1]):
            x0, x1, y0, y1 = min(x0, x[i]), max(x1, x[i]), min(y0, y[i]), max(y1, y[i])
        out[d, 0], out[d, 1], out[d, 2], out[d, 3] = x0, y0, x1, y1


@njit(cache=True, nogil=True)
def _farthest(x, y, first, last):
    """Return the inner point of first..last that is farthest from the segment between them, and how far."""
    ax, ay = x[first], y[first]
    dx, dy = x[last] - ax, y[last] - ay
    squared, chord = dx * dx + dy * dy, math.hypot(dx, dy)
    closed = ax == x[last] and ay == y[last]
    best, distance = first, -1.0
    for i in range(first + 1, last):
        px, py = x[i] - ax, y[i] - ay
        along = 0.0 if closed else (px * dx + py * dy) / squared
        if along <= 0.0:
            d = math.hypot(px, py)
        elif along >= 1.0:
            d = math.hypot(x[i] - x[last], y[i] - y[last])
        else:
            d = abs((px * dy - py * dx) / squared) * chord
        if d > distance:
            best, distance = i, d
    return best, distance


@njit(cache=True, nogil=True, parallel=True)
def _rdp(x, y, offsets, epsilon, keep):
    for s in prange(len(offsets) - 1):
        if offsets[s + 1] > offsets[s]:
            _rdp_stroke(x, y, offsets[s], offsets[s + 1] - 1, epsilon[s], keep)


@njit(cache=True, nogil=True)
def _rdp_stroke(x, y, first, last, epsilon, keep):
    keep[first] = keep[last] = True
    waiting = np.empty((64, 2), np.int64)  # the larger half waits: its depth is below log2 of the points
    waiting[0, 0], waiting[0, 1] = first, last
    depth = 1
    while depth > 0:
        depth -= 1
        a, b = waiting[depth, 0], waiting[depth, 1]
        while b - a > 1:
            middle, distance = _farthest(x, y, a, b)
            if not distance > epsilon:
                break
            keep[middle] = True
            if middle - a > b - middle:
                waiting[depth, 0], waiting[depth, 1] = a, middle
                a = middle
            else:
                waiting[depth, 0], waiting[depth, 1] = middle, b
                b = middle
            depth += 1


@njit(cache=True, nogil=True, parallel=True)
def _arc_length(x, y, offsets, out):
    """Running length of the path of each ragged row, 0 at its first point."""
    for row in prange(len(offsets) - 1):
        total = 0.0
        for i in range(offsets[row] + 1, offsets[row + 1]):
            total += math.hypot(x[i] - x[i - 1], y[i] - y[i - 1])
            out[i] = total


@njit(cache=True, nogil=True, parallel=True)
def _sample_paths(x, y, time, clock, join, points, out):
    n = out.shape[1]
    for d in prange(len(points) - 1):
        first, last = points[d], points[d + 1] - 1
        span = clock[last] - clock[first]
        tolerance = _PEN_TOLERANCE * span
        i = first
        for k in range(n):
            when = clock[first] + span * (k / (n - 1))
            while k > 0 and i < last - 1 and clock[i + 1] <= when:
                i += 1
            if k == 0 or i == last:
                j, fraction = i, 0.0
            else:
                j, width = i + 1, clock[i + 1] - clock[i]
                fraction = 1.0 if k == n - 1 or width <= 0.0 else min(1.0, max(0.0, (when - clock[i]) / width))
            out[d, k, 0] = x[i] + fraction * (x[j] - x[i])
            out[d, k, 1] = y[i] + fraction * (y[j] - y[i])
            out[d, k, 3] = time[i] + fraction * (time[j] - time[i])
            if join[i] and i < last and when - clock[i] > tolerance and clock[i + 1] - when > tolerance:
                out[d, k, 2] = 1.0


@njit(cache=True, nogil=True, parallel=True)
def _resample(x, y, t, length, strokes, step, offsets, out):
    """Fill out[:, offsets[s]:offsets[s + 1]] with points `step[s]` apart; a step of 0 is an even share."""
    for s in prange(len(strokes) - 1):
        i, last = strokes[s], strokes[s + 1] - 1
        pieces = offsets[s + 1] - offsets[s] - 1
        for k in range(pieces + 1):
            where = step[s] * k if k == 0 or step[s] > 0.0 else length[last] * (k / pieces)
            while k > 0 and i < last - 1 and length[i + 1] <= where:
                i += 1
            fraction = 0.0
            if k == pieces and k > 0:
                i, fraction = last - 1, 1.0
            elif k > 0 and length[i + 1] > length[i]:
                fraction = min(1.0, (where - length[i]) / (length[i + 1] - length[i]))
            j = min(i + 1, last)
            out[0, offsets[s] + k] = x[i] + fraction * (x[j] - x[i])
            out[1, offsets[s] + k] = y[i] + fraction * (y[j] - y[i])
            out[2, offsets[s] + k] = t[i] + fraction * (t[j] - t[i])
