"""Distances between a drawing and its reconstruction, in the unit of the ink.

`huber` is the reconstruction loss of the SketchODE paper's Table 1: it compares the two drawings moment by
moment. `chamfer` compares only where the ink lies, whatever the order of the strokes.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from ink.resample import full_sequence, resample_strokes
from ink.table import Ink


def huber(original: Ink, reconstruction: Ink, n: int = 75) -> np.ndarray:
    """Return (N,) float64: mean over n moments of the smooth-L1 distance between positions.

    Both drawings are sampled at n uniform times of their own clock, joins included (`full_sequence`), and each is
    moved so that its first sample is the origin. With d the difference of a sample in x or y, the term is
    d^2 / 2 where |d| < 1, else |d| - 1/2 (delta 1); x and y are summed, samples averaged. The pen is not counted.

    Args:
        original, reconstruction: N drawings each, same order and unit.
        n: samples, 2 or more.

    Raises:
        ValueError: the two hold different numbers of drawings, or n is less than 2.
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    _same_count(original, reconstruction)
    paths = [full_sequence(ink, n)[:, :, :2].astype(np.float64) for ink in (original, reconstruction)]
    first, second = (path - path[:, :1] for path in paths)
    distance = np.abs(first - second)
    smooth = np.where(distance < 1.0, 0.5 * distance**2, distance - 0.5)
    return smooth.sum(axis=2).mean(axis=1)


def chamfer(original: Ink, reconstruction: Ink, spacing: float = 0.02) -> np.ndarray:
    """Return (N,) float64: symmetric Chamfer distance between the two inks.

    Every stroke is sampled evenly, at most `spacing` apart, ends included (joins carry no ink and are left out; a
    dot is one sample). The distance is the mean over the samples of one drawing of the distance to the nearest
    sample of the other, averaged over the two directions. Time and memory grow with (length / spacing), time with
    its square: normalize drawings first, or choose a spacing that suits their unit.

    Args:
        original, reconstruction: N drawings each, same order and unit.
        spacing: of the samples, unit of the ink.

    Raises:
        ValueError: the two hold different numbers of drawings, or spacing is not above 0.
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    _same_count(original, reconstruction)
    first, second = (resample_strokes(ink, spacing) for ink in (original, reconstruction))
    out = np.zeros(len(original))
    _chamfer(first.x, first.y, first.point_offsets, second.x, second.y, second.point_offsets, out)
    return out


def _same_count(original: Ink, reconstruction: Ink) -> None:
    if len(original) != len(reconstruction):
        raise ValueError(
            f"expected one reconstruction for each original, got {len(original)} originals and "
            f"{len(reconstruction)} reconstructions"
        )


@njit(cache=True, nogil=True, parallel=True)
def _chamfer(ax, ay, a_offsets, bx, by, b_offsets, out):
    for d in prange(len(out)):
        a, b = slice(a_offsets[d], a_offsets[d + 1]), slice(b_offsets[d], b_offsets[d + 1])
        out[d] = 0.5 * (_mean_nearest(ax[a], ay[a], bx[b], by[b]) + _mean_nearest(bx[b], by[b], ax[a], ay[a]))


@njit(cache=True, nogil=True)
def _mean_nearest(px, py, qx, qy):
    """Mean over the points p of the distance to the nearest q, by trying all (at 400 points no slower than a tree)."""
    total = 0.0
    for i in range(len(px)):
        x, y = px[i], py[i]
        nearest = np.float32(np.inf)
        for j in range(len(qx)):
            dx, dy = qx[j] - x, qy[j] - y
            nearest = min(nearest, dx * dx + dy * dy)
        total += math.sqrt(nearest)
    return total / len(px)
