"""Drawings told in other points: whole paths at uniform moments and back, strokes at even steps, long segments cut.

Legend: N drawings, S strokes, P points, n samples of a drawing. Kernels compute in float64 on one
drawing or stroke at a time, so a drawing's result depends neither on its neighbours nor on threads.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from ink.geometry import flat64, path_clock, running_length
from ink.table import Ink

_PEN_TOLERANCE = 1e-6  # of a drawing's duration: a sample this near to a join's end lies on the stroke
_COUNT_SLACK = 1e-9  # of a step: a length of 3.0000000001 steps is cut into 3


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
    running_length(x, y, strokes, length)
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
