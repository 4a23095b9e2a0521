"""Antialiased rasters of ink, drawn by distance to the segments in a compiled kernel.

A segment is a capsule: its coverage of a pixel is that of a strip of the pen's width, seen through a box
one pixel wide across the line, at the pixel's centre. Overlapping segments do not add up: the largest
coverage counts, so that ink on ink stays ink.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from ink.geometry import bounding_boxes, flat64, path_clock
from ink.table import Ink


def rasterize(ink: Ink, size: int = 64, line_width: float = 2.0, margin: float = 2.0, fit: bool = True) -> np.ndarray:
    """Draw each drawing white on black.

    Args:
        ink: N drawings.
        size: pixels a side.
        line_width: width of the pen, pixels. Below 1 the line gets fainter, its total ink stays length * width.
        margin: pixels between the border and the middle of the outermost line; only for `fit`.
        fit: scale each drawing's box into the square, centred, aspect kept (a drawing without extent becomes
            a dot in the middle). False: the square [-1, 1] x [-1, 1] fills the picture.

    Returns:
        (N, size, size) uint8, row by row from the top; 255 is full ink.

    Raises:
        ValueError: the size, width or margin leaves no room to draw.
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    return _rasterize(ink, size, line_width, margin, fit, np.zeros(0))[0]


def rasterize_clock(
    ink: Ink, size: int = 64, line_width: float = 2.0, margin: float = 2.0, fit: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Draw each drawing, and tell when each of its pixels was drawn.

    Args:
        As in `rasterize`.

    Returns:
        (N, size, size) uint8 coverage, and (N, size, size) float32 moment within [0, 1] of the drawing's time
        (see `clock_fraction`); where lines cross, the later one counts; 0 where there is no ink.

    Raises:
        As `rasterize`.
    """
    return _rasterize(ink, size, line_width, margin, fit, clock_fraction(ink))


def clock_fraction(ink: Ink) -> np.ndarray:
    """Return (P,) float64 in [0, 1]: how much of the drawing's time has passed at each point.

    Time is t, or arc length where t has no duration; 0 throughout in a drawing without either.
    """
    clock, points = path_clock(ink), ink.point_offsets
    count = np.diff(points)
    begin = clock[points[:-1]]
    span = clock[points[1:] - 1] - begin
    span[span <= 0] = 1.0
    return np.clip((clock - np.repeat(begin, count)) / np.repeat(span, count), 0.0, 1.0)


def time_colours(fraction: np.ndarray) -> np.ndarray:
    """Return (..., 3) uint8 RGB of moments in [0, 1]: viridis from dark blue to green, legible on white."""
    from matplotlib import colormaps  # heavy, and only pictures need it

    return np.asarray(colormaps["viridis"](np.asarray(fraction) * 0.88, bytes=True))[..., :3]


def _rasterize(
    ink: Ink, size: int, line_width: float, margin: float, fit: bool, moment: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    if size < 1 or not line_width > 0 or (fit and not 0 <= 2 * margin < size):
        raise ValueError(
            f"expected size of 1 or more, line_width above 0 and 0 <= 2 * margin < size, "
            f"got size {size}, line_width {line_width}, margin {margin}"
        )
    x, y, _, strokes, points = flat64(ink)
    if fit:
        box = bounding_boxes(ink)
        extent = np.maximum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1])
        scale = np.where(extent > 0, (size - 2 * margin) / np.where(extent > 0, extent, 1.0), 1.0)
        middle_x, middle_y = 0.5 * (box[:, 0] + box[:, 2]), 0.5 * (box[:, 1] + box[:, 3])
    else:
        scale, middle_x, middle_y = np.full(len(ink), 0.5 * size), np.zeros(len(ink)), np.zeros(len(ink))
    count = np.diff(points)
    zoom = np.repeat(scale, count)
    x = (x - np.repeat(middle_x, count)) * zoom + 0.5 * size
    y = (y - np.repeat(middle_y, count)) * zoom + 0.5 * size
    out = np.zeros((len(ink), size, size), np.uint8)
    when = np.zeros(out.shape if len(moment) else (1, 1, 1), np.float32)
    _draw_all(x, y, moment, strokes, np.array(ink.drawing_offsets, np.int64), float(line_width), out, when)
    return out, when


@njit(cache=True, nogil=True, parallel=True)
def _draw_all(x, y, moment, strokes, drawings, width, out, when):
    timed = len(moment) > 0
    for d in prange(len(drawings) - 1):
        for s in range(drawings[d], drawings[d + 1]):
            first, last = strokes[s], strokes[s + 1] - 1
            for i in range(first, max(last, first + 1)):  # a stroke of one point is a segment of no length
                j = min(i + 1, last)
                if timed:
                    _draw(x[i], y[i], x[j], y[j], width, out[d], True, moment[i], moment[j], when[d])
                else:
                    _draw(x[i], y[i], x[j], y[j], width, out[d], False, 0.0, 0.0, when[0])


@njit(cache=True, nogil=True)
def _span(low, high, reach, size):
    """Return the pixels whose centres lie within reach of low..high, clipped to the picture, as a range."""
    first = min(max(math.ceil(low - reach - 0.5), 0.0), float(size))
    last = max(min(math.floor(high + reach - 0.5), size - 1.0), -1.0)
    return int(first), int(last) + 1


@njit(cache=True, nogil=True)
def _draw(ax, ay, bx, by, width, out, timed, begin, end, when):
    size = out.shape[0]
    reach = 0.5 * width + 0.5
    most = min(1.0, width)
    dx, dy = bx - ax, by - ay
    squared = dx * dx + dy * dy
    inverse = 1.0 / squared if squared > 0.0 else 0.0
    left, right = _span(min(ax, bx), max(ax, bx), reach, size)
    top, bottom = _span(min(ay, by), max(ay, by), reach, size)
    for row in range(top, bottom):
        py = row + 0.5 - ay
        for column in range(left, right):
            px = column + 0.5 - ax
            along = min(1.0, max(0.0, (px * dx + py * dy) * inverse))
            ox, oy = px - along * dx, py - along * dy
            distance2 = ox * ox + oy * oy
            if distance2 < reach * reach:
                ink = np.uint8(255.0 * min(most, reach - math.sqrt(distance2)) + 0.5)
                if ink > out[row, column] or (timed and ink > 0 and ink == out[row, column]):
                    out[row, column] = ink
                    if timed:
                        when[row, column] = begin + along * (end - begin)
