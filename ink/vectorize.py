"""Rasters of handwriting to strokes: the way from scikit-learn's digits and MNIST to ink.

Upsample by a cubic spline, threshold, thin to a skeleton, trace it into pen strokes (`ink.skeleton`), smooth.
No single threshold serves a raster of 8x8: a low one fills the holes of 6, 8, 9 and 0, a high one breaks faint
strokes. So several are tried, and the strokes that draw the raster best, in the sense of least squares, are kept.

Skeletons: T. Y. Zhang and C. Y. Suen, "A fast parallel algorithm for thinning digital patterns", CACM 27 (1984),
as scikit-image implements it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.ndimage import distance_transform_edt, find_objects, gaussian_filter, gaussian_filter1d, label, zoom
from skimage.morphology import reconstruction, skeletonize

from ink.skeleton import trace_strokes
from ink.table import Ink

_WORKING_SIZE = 60  # pixels along the longer side after upsampling, about
_PADDING = 2  # empty source pixels around the raster, so that ink at its border has a background
_BACK_PROJECTIONS = 8
_BLUR = 0.25  # source pixels
_LEVELS = (0.45, 0.6)  # of the peak, as the three below
_BASIN_DEPTH = 0.03  # a basin this deep is a hole
_RIDGE_LEVEL = 0.2
_RIDGE_BENDS = (0.05, 0.2)  # curvature across a ridge, of the peak per squared pen
_SOLID_LEVEL = 0.45
# Lengths in pens. A pen is a source pixel up to rasters of 14 pixels a side, then grows with them: 8x8 digits are
# drawn with a pen of about one pixel, MNIST's 28x28 with one of about two.
_PEN_SIDE = 14
_RIM, _CORE_SIZE = 1.0, 1.8  # ink deeper than the rim, in a lump no larger than the core, is a filled hole
_SPECK_AREA = 0.35  # smaller components are noise; squared pens
_SMOOTHING = 0.45  # of the traced path
_HALF_WIDTHS = np.array([0.35, 0.5, 0.65, 0.8, 1.0, 1.2])  # of the ink that is compared with the raster
_STROKE_COST, _LENGTH_COST = 0.03, 0.005  # share of the energy that a stroke, and a pen of length, must explain


@dataclass(frozen=True)
class _Trace:
    strokes: list[np.ndarray]  # (n, 2) row, column in working pixels
    residual: float  # share of the raster's energy that the strokes do not explain

    def cost(self, unit: float) -> float:
        """Return the residual and the price of every stroke and of their length in pens of `unit` working pixels."""
        length = sum(float(np.hypot(*np.diff(stroke, axis=0).T).sum()) for stroke in self.strokes)
        return self.residual + _STROKE_COST * len(self.strokes) + _LENGTH_COST * length / unit


def vectorize(images: np.ndarray) -> Ink:
    """Turn rasters into strokes.

    Args:
        images: (N, H, W) intensities of ink, 0 for paper; any scale, finite.

    Returns:
        Ink of N drawings in the raster's pixels: x to the right, y down, the centre of the first pixel at
        (0.5, 0.5). t is arc length, pen-up joins included (no clock: `timed` is false). A blank raster
        gives a drawing without strokes.

    Raises:
        ValueError: the array has another number of axes, or holds NaN, infinity or negative numbers.
    """
    images = np.asarray(images, np.float64)
    if images.ndim != 3:
        raise ValueError(f"expected rasters of shape (N, H, W), got {images.shape}")
    if not np.all(np.isfinite(images)) or np.any(images < 0):
        raise ValueError("expected finite intensities of 0 or more; some are NaN, infinite or negative")
    return Ink.from_strokes([_with_clock(vectorize_one(image)) for image in images])


def vectorize_one(image: np.ndarray) -> list[np.ndarray]:
    """Return the strokes of one raster, each (n, 2) float64 of x, y in its pixels; see `vectorize`."""
    peak = float(image.max(initial=0.0))
    if peak <= 0:
        return []
    factor = max(2, round(_WORKING_SIZE / (max(image.shape) + 2 * _PADDING)))
    padded = np.pad(image / peak, _PADDING)
    fine = _sharpened(padded, factor)
    pen = max(1.0, max(image.shape) / _PEN_SIDE)
    traces = [_trace(mask, padded, factor, pen) for mask in _masks(fine, factor, pen)]
    best = min(traces, key=lambda trace: trace.cost(factor * pen))
    return [_to_source(stroke, factor) for stroke in best.strokes]


def _sharpened(padded: np.ndarray, factor: int) -> np.ndarray:
    """Return the smooth fine image within [0, 1] whose block means are the raster's, nearly.

    A raster's value is the mean of the ink in its pixel. Interpolation alone flattens valleys one pixel wide, the
    holes of 6, 8 and 9; iterated back-projection (M. Irani and S. Peleg, "Improving resolution by image
    registration", 1991) puts them back.
    """
    height, width = padded.shape
    fine = np.clip(zoom(padded, factor, order=3, grid_mode=True, mode="grid-constant"), 0.0, 1.0)
    for _ in range(_BACK_PROJECTIONS):
        missing = padded - fine.reshape(height, factor, width, factor).mean(axis=(1, 3))
        coarse = np.repeat(np.repeat(missing, factor, axis=0), factor, axis=1)
        fine = np.clip(fine + gaussian_filter(coarse, _BLUR * factor), 0.0, 1.0)
    return gaussian_filter(fine, _BLUR * factor)


def _masks(fine: np.ndarray, factor: int, pen: float) -> list[np.ndarray]:
    """Return the candidate masks of ink, as (H, W) bool, none empty; `pen` is in source pixels."""
    peak, unit = fine.max(), factor * pen
    row_row, row_column, column_column = _curvature(fine)
    half_trace = 0.5 * (row_row + column_column)
    spread = np.hypot(0.5 * (row_row - column_column), row_column)
    across = (half_trace - spread) * unit * unit  # along the sharpest bend: clearly negative on a ridge
    basin = _basins(fine) > _BASIN_DEPTH * peak
    masks = [fine > level * peak for level in _LEVELS]
    masks += [mask & ~basin for mask in masks if np.any(mask & basin)]
    masks += [(fine > _RIDGE_LEVEL * peak) & (across < -bend * peak) for bend in _RIDGE_BENDS]
    solid = fine > _SOLID_LEVEL * peak  # a filled hole is a blob thicker than a pen: keep its rim
    core = _compact(distance_transform_edt(solid) > _RIM * unit, _CORE_SIZE * unit)
    if core.any():
        masks.append(solid & ~core)
    return [_without_specks(mask, _SPECK_AREA * unit * unit) for mask in masks if mask.any()]


def _compact(mask: np.ndarray, size: float) -> np.ndarray:
    """Keep the components that fit into a square of side `size`: longer ones are thick strokes, not filled holes."""
    parts, _ = label(mask, structure=np.ones((3, 3)))
    kept = np.zeros_like(mask)
    for number, (rows, columns) in enumerate(find_objects(parts), start=1):
        if max(rows.stop - rows.start, columns.stop - columns.start) <= size:
            kept |= parts == number
    return kept


def _basins(fine: np.ndarray) -> np.ndarray:
    """Return how deep each pixel lies under the rim of the basin that encloses it; 0 outside basins."""
    seed = np.full_like(fine, fine.max())
    seed[[0, -1]], seed[:, [0, -1]] = fine[[0, -1]], fine[:, [0, -1]]
    return reconstruction(seed, fine, method="erosion") - fine


def _curvature(fine: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    by_row, by_column = np.gradient(fine)
    row_row, row_column = np.gradient(by_row)
    return row_row, row_column, np.gradient(by_column, axis=1)


def _without_specks(mask: np.ndarray, area: float) -> np.ndarray:
    """Remove components smaller than `area`, but never the largest one."""
    parts, count = label(mask, structure=np.ones((3, 3)))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    return mask & (sizes >= min(area, sizes.max()))[parts]


def _trace(mask: np.ndarray, padded: np.ndarray, factor: int, pen: float) -> _Trace:
    radius = distance_transform_edt(mask)
    strokes = trace_strokes(skeletonize(mask), radius)
    strokes = [_smooth(_extended(stroke, radius), _SMOOTHING * factor * pen) for stroke in strokes]
    return _Trace(strokes, _residual(strokes, padded, factor, pen))


def _residual(strokes: list[np.ndarray], padded: np.ndarray, factor: int, pen: float) -> float:
    """Return the share of the raster's energy that ink of one width along the strokes leaves unexplained."""
    points = np.concatenate(strokes)
    offsets = np.cumsum([0, *(len(stroke) for stroke in strokes)])
    errors = _drawing_error((points + 0.5) / factor, offsets, padded, _HALF_WIDTHS * pen)
    return float(errors.min() / (padded**2).sum())


@njit(cache=True, nogil=True)
def _drawing_error(points, offsets, raster, half_widths):
    """Return the squared error of the strokes' block means, per half width of the pen (source pixels)."""
    height, width = raster.shape
    cells = 4  # samples along a source pixel's side
    squared = np.full((height * cells, width * cells), np.inf)
    reach = half_widths.max() + 1.0
    for stroke in range(len(offsets) - 1):
        for i in range(offsets[stroke], max(offsets[stroke + 1] - 1, offsets[stroke] + 1)):
            j = min(i + 1, offsets[stroke + 1] - 1)
            ay, ax, by, bx = points[i, 0], points[i, 1], points[j, 0], points[j, 1]
            length = (by - ay) ** 2 + (bx - ax) ** 2
            top, bottom = int((min(ay, by) - reach) * cells), int((max(ay, by) + reach) * cells) + 1
            left, right = int((min(ax, bx) - reach) * cells), int((max(ax, bx) + reach) * cells) + 1
            for row in range(max(top, 0), min(bottom + 1, height * cells)):
                y = (row + 0.5) / cells
                for column in range(max(left, 0), min(right + 1, width * cells)):
                    x = (column + 0.5) / cells
                    along = 0.0 if length == 0 else ((y - ay) * (by - ay) + (x - ax) * (bx - ax)) / length
                    along = min(max(along, 0.0), 1.0)
                    d = (y - ay - along * (by - ay)) ** 2 + (x - ax - along * (bx - ax)) ** 2
                    squared[row, column] = min(squared[row, column], d)
    errors = np.zeros(len(half_widths))
    for k in range(len(half_widths)):
        for row in range(height):
            for column in range(width):
                ink = 0.0
                for r in range(row * cells, (row + 1) * cells):
                    for c in range(column * cells, (column + 1) * cells):
                        edge = (half_widths[k] - math.sqrt(squared[r, c])) * cells + 0.5
                        ink += min(max(edge, 0.0), 1.0)
                errors[k] += (ink / (cells * cells) - raster[row, column]) ** 2
    return errors


def _extended(stroke: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Lengthen a stroke's free ends: thinning eats about the inscribed radius there."""
    if len(stroke) < 3 or np.array_equal(stroke[0], stroke[-1]):
        return stroke
    height, width = radius.shape
    ends = []
    for path in (stroke, stroke[::-1]):
        reach = radius[int(path[0, 0]), int(path[0, 1])]
        back = path[min(len(path) - 1, max(2, int(1.5 * reach)))]
        direction = (path[0] - back) / max(float(np.hypot(*(path[0] - back))), 1e-12)
        tip = path[0] + 0.6 * reach * direction
        row, column = min(max(round(tip[0]), 0), height - 1), min(max(round(tip[1]), 0), width - 1)
        free = reach > 0 and radius[row, column] < 0.75 * reach
        ends.append(tip[None] if free else np.zeros((0, 2)))
    return np.concatenate([ends[0], stroke, ends[1]])


def _smooth(stroke: np.ndarray, sigma: float) -> np.ndarray:
    """Take the staircase out of a pixel path: a Gaussian along it; free ends stay, rings stay closed."""
    if len(stroke) < 3:
        return stroke
    path = _evenly(stroke, 1.0)
    if np.array_equal(stroke[0], stroke[-1]):
        ring = gaussian_filter1d(path[:-1], sigma, axis=0, mode="wrap")
        return np.concatenate([ring, ring[:1]])
    margin = min(len(path) - 1, math.ceil(4 * sigma))
    before = 2 * path[0] - path[margin:0:-1]
    after = 2 * path[-1] - path[-2 : -margin - 2 : -1]
    return gaussian_filter1d(np.concatenate([before, path, after]), sigma, axis=0)[margin : margin + len(path)]


def _evenly(path: np.ndarray, spacing: float) -> np.ndarray:
    """Return points about `spacing` apart along a path, its ends kept."""
    walked = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    count = max(2, math.ceil(walked[-1] / spacing) + 1)
    at = np.linspace(0.0, walked[-1], count)
    return np.stack([np.interp(at, walked, path[:, axis]) for axis in (0, 1)], axis=1)


def _to_source(stroke: np.ndarray, factor: int) -> np.ndarray:
    return (stroke[:, ::-1] + 0.5) / factor - _PADDING


def _with_clock(strokes: list[np.ndarray]) -> list[np.ndarray]:
    """Add arc length, joins included, as the third column of each stroke."""
    if not strokes:
        return []
    points = np.concatenate(strokes)
    clock = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    stamped = np.column_stack([points, clock]).astype(np.float32)
    return np.split(stamped, np.cumsum([len(stroke) for stroke in strokes])[:-1])
