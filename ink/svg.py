"""SVG out: one path a stroke (`ink.svg_reader` reads it back). Equal drawings give equal bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from ink.geometry import bounding_boxes
from ink.raster import clock_fraction, time_colours
from ink.table import Ink, common_length

_LEVELS = 24  # colours of a time-coloured drawing
_INK_COLOUR = "#1a1a1a"
_FONT_PX = 12


def to_svg(
    strokes: Ink | Sequence[np.ndarray],
    *,
    size: int = 256,
    stroke_width: float = 2.0,
    margin: float = 8.0,
    colour: str = "ink",
    decimals: int | None = None,
    data: Mapping[str, str] | None = None,
) -> str:
    """Write one drawing as SVG text, in the ink's own coordinates (the viewBox fits it into the square).

    Args:
        strokes: ink of one drawing, or its strokes, each (points, 3) of x, y, t.
        size: width and height, pixels.
        stroke_width: of the pen, pixels.
        margin: pixels between the border and the middle of the outermost line.
        colour: "ink", one path a stroke, or "time", short polylines from dark (first) to light (last).
        decimals: digits after the point; None: enough for a hundredth of a pixel.
        data: what the root element carries beside the drawing, as `data-*` attributes.

    Raises:
        ValueError: not exactly one drawing, an unknown colour, or no room inside the margin.
        DataError: the drawing or a stroke is empty, or a number not finite.
    """
    ink = strokes if isinstance(strokes, Ink) else Ink.from_strokes([strokes])
    if len(ink) != 1:
        raise ValueError(f"to_svg writes one drawing, got {len(ink)}; take one, or use grid_svg")
    x0, y0, unit = (float(values[0]) for values in _frame(ink, size, margin))
    digits = _decimals(unit) if decimals is None else decimals
    corner = " ".join(_numbers(np.array([x0, y0, size * unit, size * unit]), digits + 1))
    body = _marks(ink, colour, [stroke_width * unit], [digits])[0]
    more = "".join(f" data-{name}={quoteattr(value)}" for name, value in (data or {}).items())
    return f"{_open_tag(size, size, corner, more)}\n<g {_PEN}>\n{body}\n</g>\n</svg>\n"


def grid_svg(
    rows: Sequence[Ink],
    titles: Sequence[str] | None = None,
    *,
    cell: int = 96,
    stroke_width: float = 1.5,
    margin: float = 6.0,
    colour: str = "ink",
) -> str:
    """Write rows of drawings as one SVG, each drawing fitted into its cell, titles on the left.

    Args:
        rows: one batch of drawings per row.
        titles: one a row, or None.
        cell: side of a cell, pixels.
        stroke_width, margin, colour: as in `to_svg`, pixels.

    Raises:
        ValueError: another number of titles than rows, or as `to_svg`.
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    if titles is not None and len(titles) != len(rows):
        raise ValueError(f"expected one title a row, got {len(titles)} titles for {len(rows)} rows")
    left = round(max((0.62 * _FONT_PX * len(title) for title in titles or []), default=-8)) + 8
    width, height = left + cell * max((len(row) for row in rows), default=0), cell * len(rows)
    lines = [_open_tag(width, height, f"0 0 {width} {height}")]
    for index, row in enumerate(rows):
        if titles is not None:
            y = cell * index + cell // 2 + _FONT_PX // 3
            font = f'font-family="sans-serif" font-size="{_FONT_PX}"'
            lines.append(f'<text x="4" y="{y}" {font}>{escape(titles[index])}</text>')
        x0, y0, unit = _frame(row, cell, margin)
        marks = _marks(row, colour, list(stroke_width * unit), [_decimals(value) for value in unit])
        for column, body in enumerate(marks):
            zoom = 1.0 / unit[column]
            shift_x = left + cell * column - x0[column] * zoom
            shift_y = cell * index - y0[column] * zoom
            place = f"translate({shift_x:.4f} {shift_y:.4f}) scale({zoom:.8g})"
            lines.append(f'<g {_PEN} transform="{place}">\n{body}\n</g>')
    return "\n".join([*lines, "</svg>", ""])


def animation_svg(rows: Mapping[str, Ink], *, seconds: float, cell: int = 160, stroke_width: float = 2.5) -> str:
    """Write frames as one SVG that plays them in a loop, the rows beside each other, without script.

    Args:
        rows: name to frames, all of one length; the names stand under the pictures.
        seconds: that the loop lasts.
        cell: side of a drawing's square, pixels: [-1, 1] x [-1, 1], more where ink lies outside.
        stroke_width: pixels.

    Raises:
        ValueError: no rows, no frames, or rows of different lengths.
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    count, width, height = common_length(rows), cell * len(rows), cell + 2 * _FONT_PX
    lines = [
        _open_tag(width, height, f"0 0 {width} {height}"),
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for column, (name, ink) in enumerate(rows.items()):
        half = max(float(np.abs(ink.x).max()), float(np.abs(ink.y).max()), 1.0) / 0.92
        zoom = cell / (2 * half)
        place = f"translate({cell * column + cell / 2:.1f} {cell / 2:.1f}) scale({zoom:.6g})"
        lines.append(
            f'<text x="{cell * column + 4}" y="{cell + _FONT_PX}" font-family="sans-serif" font-size="{_FONT_PX}">'
            f'{escape(name)}</text>\n<g {_PEN} transform="{place}">'
        )
        digits = _decimals(1 / zoom)
        bodies = _marks(ink, "ink", [stroke_width / zoom] * count, [digits] * count)
        for frame, body in enumerate(bodies):
            lines.append(f'<g visibility="hidden">{_showing(frame, count, seconds)}\n{body}\n</g>')
        lines.append("</g>")
    return "\n".join([*lines, "</svg>", ""])


def _showing(frame: int, count: int, seconds: float) -> str:
    """Return the animation that makes one frame of a loop visible in its turn."""
    turns = [(0.0, "hidden"), (frame / count, "visible"), ((frame + 1) / count, "hidden")]
    turns = [turn for turn in turns if turn[0] < 1][0 if frame else 1 :]
    values, times = ";".join(value for _, value in turns), ";".join(f"{time:.6g}" for time, _ in turns)
    return (
        f'<animate attributeName="visibility" calcMode="discrete" dur="{seconds:g}s" repeatCount="indefinite" '
        f'values="{values}" keyTimes="{times}"/>'
    )


_PEN = 'fill="none" stroke-linecap="round" stroke-linejoin="round"'


def _open_tag(width: int, height: int, view_box: str, more: str = "") -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="{view_box}"{more}>'


def _frame(ink: Ink, size: int, margin: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the left, the top and the units per pixel, each (N,), that centre each box in a square."""
    if not 0 <= 2 * margin < size:
        raise ValueError(f"expected 0 <= 2 * margin < size, got size {size}, margin {margin}")
    box = bounding_boxes(ink)
    extent = np.maximum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1])
    unit = np.where(extent > 0, extent, 1.0) / (size - 2 * margin)
    return 0.5 * (box[:, 0] + box[:, 2] - size * unit), 0.5 * (box[:, 1] + box[:, 3] - size * unit), unit


def _decimals(unit: float) -> int:
    return max(0, math.ceil(-math.log10(0.01 * unit)))


def _numbers(values: np.ndarray, decimals: int) -> list[str]:
    """Format numbers in fixed point without trailing zeros or negative zero."""
    text = np.char.mod(f"%.{decimals}f", np.round(np.asarray(values, np.float64), decimals) + 0.0)
    return (np.char.rstrip(np.char.rstrip(text, "0"), ".") if decimals > 0 else text).tolist()


def _marks(ink: Ink, colour: str, widths: Sequence[float], decimals: Sequence[int]) -> list[str]:
    """Return each drawing's elements as text."""
    if colour not in ("ink", "time"):
        raise ValueError(f"colour must be 'ink' or 'time', got {colour!r}")
    fraction = clock_fraction(ink)
    palette = ["#" + bytes(rgb).hex() for rgb in time_colours((np.arange(_LEVELS) + 0.5) / _LEVELS)]
    bodies = []
    for n, (width, digits) in enumerate(zip(widths, decimals, strict=True)):
        bounds = ink.stroke_offsets[ink.drawing_offsets[n] : ink.drawing_offsets[n + 1] + 1].tolist()
        pen = f'stroke-width="{_numbers(np.array([width]), digits + 1)[0]}"'
        marks = []
        for a, b in pairwise(bounds):
            x, y = _numbers(ink.x[a:b], digits), _numbers(ink.y[a:b], digits)
            points = [f"{px},{py}" for px, py in zip(x, y, strict=True)]
            if colour == "ink":
                data = "L".join(points if b - a > 1 else points * 2)
                marks.append(f'<path d="M{data}" stroke="{_INK_COLOUR}" {pen}/>')
                continue
            for level, first, last in _colour_runs(fraction[a:b]):
                piece = points[first : last + 1] if last > first else points[first:] * 2
                marks.append(f'<polyline points="{" ".join(piece)}" stroke="{palette[level]}" {pen}/>')
        bodies.append("\n".join(marks))
    return bodies


def _colour_runs(fraction: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yield (level, first point, last point) of the longest pieces of a stroke within one colour level."""
    middle = 0.5 * (fraction[1:] + fraction[:-1]) if len(fraction) > 1 else fraction
    level = np.minimum((middle * _LEVELS).astype(np.int64), _LEVELS - 1)
    starts = np.flatnonzero(np.diff(level, prepend=-1))
    for first, last in zip(starts, [*starts[1:], len(fraction) - 1], strict=True):
        yield int(level[first]), int(first), int(last)
