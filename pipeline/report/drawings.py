"""Drawings as compact inline SVG for a page: ink colour runs with time and follows the reader's theme.

`ink.svg` writes files that stand alone, each drawing fitted into its own square. A page of comparisons
needs the opposite: one frame for an original and its reconstructions, so that misplaced ink is seen, colours
from the style sheet (`.a` to `.p`, first to last sixteenth of the drawing's time), and few bytes.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

import numpy as np

from ink.raster import clock_fraction
from ink.rdp import simplify
from ink.table import Drawings, validate

BANDS = "abcdefghijklmnop"
_SIDE = 200  # of the viewBox
_MARGIN = 9
_EPSILON = 0.006  # unit-circle units: half a unit of the viewBox, a quarter of a pixel at the size shown
_LARGEST_HALF = 1.5  # ink further out than this is cut off rather than shrinking its whole row

Strokes = list[np.ndarray]
"""Strokes of one drawing, each (points, 3) float64 of x, y, moment within [0, 1] of the drawing's time."""


def by_key(drawings: Drawings) -> dict[str, Strokes]:
    """Return key -> strokes, thinned to what a small picture shows; drawings that cannot be drawn are left out."""
    drawings = drawings.take(np.flatnonzero(validate(drawings) == ""))
    if len(drawings) == 0:
        return {}
    ink = simplify(drawings.ink, _EPSILON)
    points = np.stack([ink.x, ink.y, clock_fraction(ink)], axis=1).astype(np.float64)
    bounds = ink.stroke_offsets
    return {
        key: [points[bounds[s] : bounds[s + 1]] for s in range(ink.drawing_offsets[n], ink.drawing_offsets[n + 1])]
        for n, key in enumerate(drawings.column("key"))
    }


def half_extent(drawings: Sequence[Strokes | None]) -> float:
    """Return the half side of the square around the origin that holds all these drawings, from 1 to 1.5."""
    farthest = [np.abs(stroke[:, :2]).max() for strokes in drawings if strokes for stroke in strokes]
    return float(np.clip(max(farthest, default=1.0), 1.0, _LARGEST_HALF))


def ink_svg(strokes: Strokes | None, half: float, label: str, ghost: Strokes | None = None) -> str:
    """Return one drawing as an `svg` element.

    Args:
        strokes: what to draw; None: a drawing without ink, shown as an empty frame that says so.
        half: the frame is [-half, half] in x and y, in the ink's unit.
        label: for screen readers and tooltips; escaped here.
        ghost: a drawing to lay faintly underneath.
    """
    text = html.escape(label, quote=True)
    under = f'<path class="ghost" d="{_outline(ghost, half)}"/>' if ghost else ""
    marks = _bands(strokes, half) if strokes else '<text x="100" y="107">no ink</text>'
    opening = f'<svg class="ink" viewBox="0 0 {_SIDE} {_SIDE}" role="img" aria-label="{text}">'
    return f"{opening}<title>{text}</title>{under}{marks}</svg>"


def band_colours(first: float, last: float) -> list[str]:
    """Return the hex colours of the bands: viridis between two of its positions in [0, 1]."""
    from matplotlib import colormaps  # heavy, and needed once a page

    rgb = colormaps["viridis"](np.linspace(first, last, len(BANDS)), bytes=True)[:, :3]
    return ["#" + bytes(colour).hex() for colour in rgb]


def _bands(strokes: Strokes, half: float) -> str:
    """Return one path a colour, in order of time, and a dot where each stroke begins."""
    lines: dict[int, list[str]] = {}
    dots: dict[int, list[str]] = {}
    for stroke in strokes:
        start = min(int(stroke[0, 2] * len(BANDS)), len(BANDS) - 1)
        x, y = _pixels(stroke[:1], half)[0]
        dots.setdefault(start, []).append(f"M{x} {y}h0")
        for band, piece in _pieces(stroke):
            lines.setdefault(band, []).append(_path(_pixels(piece, half)))
    marks = []
    for band in sorted(lines.keys() | dots.keys()):
        name = BANDS[band]
        if band in lines:
            marks.append(f'<path class="{name}" d="{"".join(lines[band])}"/>')
        if band in dots:
            marks.append(f'<path class="{name} dot" d="{"".join(dots[band])}"/>')
    return "".join(marks)


def _outline(strokes: Strokes, half: float) -> str:
    return "".join(_path(_pixels(stroke, half)) for stroke in strokes)


def _pieces(stroke: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Cut one stroke where the colour changes; yield (band, points), neighbours sharing their end points."""
    moment = stroke[:, 2]
    edges = np.arange(1, len(BANDS)) / len(BANDS)
    inner = edges[(edges > moment[0]) & (edges < moment[-1])]
    extra = np.stack([np.interp(inner, moment, stroke[:, column]) for column in range(3)], axis=1)
    order = np.argsort(np.concatenate([moment, inner]), kind="stable")
    points = np.concatenate([stroke, extra])[order]
    if len(points) == 1:
        return  # a dot: its start is drawn anyway
    middle = (points[1:, 2] + points[:-1, 2]) / 2
    band = np.minimum((middle * len(BANDS)).astype(np.int64), len(BANDS) - 1)
    starts = np.flatnonzero(np.diff(band, prepend=-1))
    for first, last in zip(starts, [*starts[1:], len(band)], strict=True):
        yield int(band[first]), points[first : last + 1]


def _pixels(points: np.ndarray, half: float) -> np.ndarray:
    """Return (n, 2) int64 places in the viewBox."""
    scale = (_SIDE / 2 - _MARGIN) / half
    return np.rint(_SIDE / 2 + np.clip(points[:, :2], -9.0, 9.0) * scale).astype(np.int64)


def _path(pixels: np.ndarray) -> str:
    """Return path data: an absolute start, then relative lines; steps that round to nothing are left out."""
    steps = np.diff(pixels, axis=0)
    steps = steps[np.any(steps != 0, axis=1)]
    x, y = pixels[0]
    if len(steps) == 0:
        return f"M{x} {y}h0"
    return f"M{x} {y}l" + " ".join(f"{dx} {dy}" for dx, dy in steps.tolist()).replace(" -", "-")
