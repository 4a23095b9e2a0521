"""Ramer-Douglas-Peucker: each stroke with as few of its points as stay within a distance of all.

Legend: N drawings, S strokes, P points. Kernels compute in float64 on one stroke at a time.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from ink.table import Ink


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
