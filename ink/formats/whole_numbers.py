"""Drawings as whole numbers, for the formats that hold nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from ink import geometry
from ink.table import Drawings

_WHOLE = 1e-3  # so far from a whole number a coordinate may be: `normalize` and its undoing cost some float32


def whole_strokes(drawings: Drawings, *, low: int, high: int, side: int) -> Iterator[list[np.ndarray]]:
    """Yield each drawing's strokes, (points, 2) int64, in the source's own unit (what `normalize` took is given back).

    A drawing of whole numbers within low to high stays as it is. Any other is moved to the top left corner (0, 0)
    and scaled, both axes alike, so that its longer side is `side`, as Quick, Draw! does; then rounded.

    Raises:
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    if len(drawings) == 0:
        return
    center_x, center_y, scale = (drawings.column(name) for name in ("center_x", "center_y", "scale"))
    untouched = (center_x == 0) & (center_y == 0) & (scale == 1)
    ink = drawings.ink if untouched.all() else geometry.restore(drawings.ink, center_x, center_y, scale)
    boxes = geometry.bounding_boxes(ink)
    points = np.stack([ink.x, ink.y], axis=1).astype(np.float64)
    for n, (first, last) in enumerate(itertools.pairwise(ink.point_offsets)):
        xy = points[first:last]
        rounded = np.rint(xy)
        if np.abs(xy - rounded).max() > _WHOLE or rounded.min() < low or rounded.max() > high:
            corner, size = boxes[n, :2], (boxes[n, 2:] - boxes[n, :2]).max()
            rounded = np.rint((xy - corner) * (side / size if size > 0 else 0.0))
        bounds = ink.stroke_offsets[ink.drawing_offsets[n] : ink.drawing_offsets[n + 1] + 1] - first
        yield [rounded[a:b].astype(np.int64) for a, b in itertools.pairwise(bounds)]
