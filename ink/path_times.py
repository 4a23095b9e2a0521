"""Drawings at their own moments: every vertex kept at its time, long gaps filled, nothing resampled.

What SketchODE's appendix D calls non-uniform time-points. Legend: N drawings, P points, M samples.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ink import geometry
from ink.table import Ink

_CLOSEST = 0.1  # of the longest gap: samples nearer in time are merged, a spline through them would overshoot
_COUNT_SLACK = 1e-9  # of a gap: a span of 3.0000000001 gaps is cut into 3


def own_sequence(ink: Ink, longest_gap: float) -> tuple[np.ndarray, np.ndarray]:
    """Return each drawing's path, pen-up joins included, at the moments of its own points.

    A gap longer than `longest_gap` is cut into equal parts, and a join that takes time into two or more: the
    pen is up strictly inside a join, where no vertex lies. Of samples closer than a tenth of the longest gap the
    last stays (the first, at the start), so that the moments ascend strictly and there are at most
    10 / longest_gap + 1 of them. A drawing of no duration runs along its arc length, one of no extent along
    the number of its points; a single point is sampled at both ends of the time range.

    Args:
        ink: N drawings.
        longest_gap: largest distance of two moments, fraction of the drawing's duration, in (0, 1].

    Returns:
        (M, 4) float64 of x, y, pen_up, time in [0, 1], each drawing from 0 to 1; and (N + 1,) int64 offsets.

    Raises:
        ValueError: longest_gap lies outside (0, 1].
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    if not 0 < longest_gap <= 1:
        raise ValueError(f"longest_gap must lie in (0, 1], got {longest_gap}")
    x, y, _, strokes, points = geometry.flat64(ink)
    clock = _unit_clock(geometry.path_clock(ink), points)
    last = np.zeros(len(x), dtype=np.bool_)
    last[points[1:] - 1] = True
    join = np.zeros(len(x), dtype=np.bool_)
    join[strokes[1:] - 1] = True
    join &= ~last
    following = np.arange(len(x)) + ~last  # a drawing's last point starts no segment
    span = clock[following] - clock
    pieces = np.maximum(1, np.ceil(span / longest_gap - _COUNT_SLACK)).astype(np.int64)
    pieces[join & (span > 0)] = np.maximum(2, pieces[join & (span > 0)])
    placed = np.concatenate([[0], np.cumsum(pieces)])
    owner = np.repeat(np.arange(len(x)), pieces)
    fraction = (np.arange(placed[-1]) - placed[owner]) / pieces[owner]
    samples = np.stack([v[owner] + fraction * (v[following] - v)[owner] for v in (x, y, x, clock)], axis=1)
    samples[:, 2] = join[owner] & (fraction > 0)
    return _merged(samples, placed[points], _CLOSEST * longest_gap)


def _unit_clock(clock: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return each drawing's clock from 0 to 1; where it stands still, the points' numbers are the clock."""
    count = np.diff(points)
    number = np.arange(len(clock)) - np.repeat(points[:-1], count)
    still = np.repeat(clock[points[1:] - 1] <= clock[points[:-1]], count)
    clock = np.where(still, number, clock - np.repeat(clock[points[:-1]], count))
    return clock / np.repeat(np.maximum(clock[points[1:] - 1], np.finfo(np.float64).tiny), count)


def _merged(samples: np.ndarray, offsets: np.ndarray, closest: float) -> tuple[np.ndarray, np.ndarray]:
    kept = np.zeros(len(samples) + len(offsets), np.int64)  # a single point is taken twice
    counts = np.zeros(len(offsets) - 1, np.int64)
    total = _keep(samples[:, 3].copy(), offsets, closest, kept, counts)
    out = samples[kept[:total]]
    ends = np.concatenate([[0], np.cumsum(counts)])
    out[ends[1:] - 1, 3] = 1.0
    return out, ends


@njit(cache=True, nogil=True)
def _keep(time, offsets, closest, kept, counts):
    """Write the numbers of the samples that stay, two or more of each drawing; return how many."""
    total = 0
    for d in range(len(offsets) - 1):
        begin = total
        kept[total] = offsets[d]
        total += 1
        for i in range(offsets[d] + 1, offsets[d + 1]):
            if time[i] - time[kept[total - 1]] >= closest:
                kept[total] = i
                total += 1
            elif total - begin > 1:
                kept[total - 1] = i
        if total - begin == 1:
            kept[total] = offsets[d + 1] - 1
            total += 1
        counts[d] = total - begin
    return total
