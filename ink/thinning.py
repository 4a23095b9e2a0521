"""How drawings are thinned: resampling, Ramer-Douglas-Peucker and the canvas, by recipe.

sketch-rnn's recipe (the Quick, Draw! data set's README): align to the top left corner, scale the longest side to 255,
resample all strokes with a spacing of 1 pixel, simplify with epsilon 2, round. SketchODE's: epsilon in the unit of the
unit circle, coordinates as they are.

Legend: N drawings, S strokes, P points.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ink import geometry, rdp, resample
from ink.table import Ink

SIDE = 255.0  # longest side of sketch-rnn's canvas
Unit = Literal["radius", "unit_circle", "side255"]
_AT_ONCE = 2_000_000  # resampled points that are held at once


def unit_sizes(ink: Ink, unit: Unit) -> np.ndarray:
    """Return (N,) float64: how much one unit is in each drawing's own coordinates.

    Args:
        ink: N drawings.
        unit: radius (half the diagonal of the box), unit_circle (the radius that `geometry.unit_circle` makes 1), or
            side255 (the longest side / 255).

    Raises:
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    if unit == "unit_circle":
        return geometry.unit_circle(ink)[3].astype(np.float64)
    box = geometry.bounding_boxes(ink)
    sides = box[:, 2:] - box[:, :2]
    return np.hypot(*sides.T) / 2 if unit == "radius" else sides.max(axis=1, initial=0) / SIDE


def thin(ink: Ink, epsilon: np.ndarray, spacing: np.ndarray | None) -> Ink:
    """Resample strokes, where a spacing is given, then drop points by Ramer-Douglas-Peucker.

    Args:
        ink: N drawings.
        epsilon: (N,) largest distance of a dropped point; spacing: (N,) from point to point; in the ink's own unit.

    Raises:
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    if spacing is None:
        return rdp.simplify(ink, epsilon)
    parts = []
    batch: np.ndarray = np.cumsum(resampled_points(ink, spacing)) // _AT_ONCE
    for some in np.split(np.arange(len(ink)), np.flatnonzero(np.diff(batch)) + 1):
        dense = resample.resample_strokes(ink.take(some), spacing[some], even=False)
        parts.append(rdp.simplify(dense, epsilon[some]))
    return Ink.concat(parts)


def resampled_points(ink: Ink, spacing: np.ndarray) -> np.ndarray:
    """Return (N,) int64: how many points each drawing would have with so much from point to point.

    Args:
        ink: N drawings.
        spacing: (N,) in the ink's own unit.
    """
    step = np.hypot(*(np.diff(v.astype(np.float64), prepend=0) for v in (ink.x, ink.y)))
    step[ink.stroke_offsets[:-1]] = 0.0
    strokes = np.ceil(np.add.reduceat(step, ink.stroke_offsets[:-1]) / np.repeat(spacing, np.diff(ink.drawing_offsets)))
    return (np.add.reduceat(strokes + 1, ink.drawing_offsets[:-1])).astype(np.int64)


def without_dots(ink: Ink) -> Ink:
    """Leave out strokes whose points are all equal; a drawing of nothing else keeps them."""
    low, high = (
        np.stack([extreme.reduceat(v, ink.stroke_offsets[:-1]) for v in (ink.x, ink.y)])
        for extreme in (np.minimum, np.maximum)
    )
    keep = np.any(low != high, axis=0)
    keep |= np.repeat(~np.logical_or.reduceat(keep, ink.drawing_offsets[:-1]), np.diff(ink.drawing_offsets))
    points = np.repeat(keep, np.diff(ink.stroke_offsets))
    offsets = np.concatenate([[0], np.cumsum(np.diff(ink.stroke_offsets)[keep])])
    drawings = np.concatenate([[0], np.cumsum(keep)])[ink.drawing_offsets]
    return Ink(ink.x[points], ink.y[points], ink.t[points], offsets, drawings)


def on_canvas(ink: Ink, box: np.ndarray, rounded: bool) -> tuple[Ink, np.ndarray, np.ndarray, np.ndarray]:
    """Move each drawing's box to the top left corner, its longest side to 255.

    Args:
        ink: N drawings of some extent.
        box: (N, 4) x0, y0, x1, y1 of each, as it was before points were dropped.
        rounded: to whole numbers.

    Returns:
        The ink, and center_x, center_y (the corner) and scale, (N,) float32: original = here * scale + center.
    """
    corner = box[:, :2].astype(np.float32)
    scale = ((box[:, 2:] - box[:, :2]).max(axis=1, initial=0) / SIDE).astype(np.float32)
    scale[scale == 0] = 1.0  # smaller than float32 can say
    count = np.diff(ink.point_offsets)
    x, y = ((v - np.repeat(corner[:, axis].astype(np.float64), count)) for axis, v in enumerate((ink.x, ink.y)))
    x, y = (v / np.repeat(scale.astype(np.float64), count) for v in (x, y))
    if rounded:
        x, y = np.rint(x), np.rint(y)
    moved = ink.with_xy(x, y)
    return moved, corner[:, 0], corner[:, 1], scale
