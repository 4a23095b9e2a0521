"""Whether a choice of points is one that Ramer-Douglas-Peucker may make, whichever of equally far points it takes."""

from __future__ import annotations

import numpy as np

from ink.rdp import rdp_mask

_TIE = 1e-9  # relative: distances this near are equal, for formulas round differently


def segment_distance(point: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
    """Textbook distance from a point to a segment, for the package `rdp`."""
    chord = end - start
    squared = chord @ chord
    along = 0.0 if squared == 0 else min(1.0, max(0.0, (point - start) @ chord / squared))
    return float(np.hypot(*(point - start - along * chord)))


def follows_rdp(kept: list[int], points: np.ndarray, epsilon: float) -> bool:
    """Tell whether `kept` are points that the algorithm may keep: at every step one of the farthest, beyond epsilon.

    Args:
        kept: ascending indices into points, the ends among them; points: (n, 2) float64.
        epsilon: largest distance of a dropped point, to the segment.
    """
    if not kept or kept[0] != 0 or kept[-1] != len(points) - 1:
        return False
    return _explained(kept, 0, len(kept) - 1, points, epsilon)


def _explained(kept: list[int], first: int, last: int, points: np.ndarray, epsilon: float) -> bool:
    """Tell the same of the points between two that are kept."""
    a, b = kept[first], kept[last]
    if b - a < 2:
        return True
    distance = _distances(points[a + 1 : b], points[a], points[b])
    most = distance.max()
    if last - first < 2:
        return bool(most <= epsilon * (1 + _TIE))
    farthest = [place for place in range(first + 1, last) if distance[kept[place] - a - 1] >= most * (1 - _TIE)]
    return most > epsilon * (1 - _TIE) and any(  # which of several came first is not known
        _explained(kept, first, place, points, epsilon) and _explained(kept, place, last, points, epsilon)
        for place in farthest
    )


def _distances(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    chord = end - start
    squared = chord @ chord
    along = np.clip((points - start) @ chord / squared, 0, 1) if squared > 0 else np.zeros(len(points))
    return np.hypot(*(points - start - along[:, None] * chord).T)


def kept(points, epsilon):
    """The indices that Inkmill keeps of one stroke."""
    points = np.asarray(points, np.float64).reshape(-1, 2)
    return np.flatnonzero(rdp_mask(points[:, 0], points[:, 1], np.array([0, len(points)]), epsilon)).tolist()
