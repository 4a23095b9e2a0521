"""SVG in and out: one path a stroke when writing, every basic shape when reading.

The writer's text depends on the ink alone: equal drawings give equal bytes. The reader returns strokes in
document order; text, images, fills and styles are not ink.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

import numpy as np
from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException
from svgpathtools import Arc, parse_path

from ink.errors import DataError
from ink.geometry import arc_length_clock, bounding_boxes
from ink.raster import clock_fraction, time_colours
from ink.table import Ink

_LEVELS = 24  # colours of a time-coloured drawing
_INK_COLOUR = "#1a1a1a"
_FONT_PX = 12
_MAX_PIECES = 1_000_000  # of one curve
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_HIDDEN = {"defs", "clipPath", "mask", "pattern", "marker", "symbol"}
_REFUSED = {"use": "a reference (use)", "svg": "an svg inside the svg"}
_IDENTITY = np.eye(3)


def to_svg(
    strokes: Ink | Sequence[np.ndarray],
    *,
    size: int = 256,
    stroke_width: float = 2.0,
    margin: float = 8.0,
    colour: str = "ink",
    decimals: int | None = None,
) -> str:
    """Write one drawing as SVG text, in the ink's own coordinates (the viewBox fits it into the square).

    Args:
        strokes: ink of one drawing, or its strokes, each (points, 3) of x, y, t.
        size: width and height, pixels.
        stroke_width: of the pen, pixels.
        margin: pixels between the border and the middle of the outermost line.
        colour: "ink", one path a stroke, or "time", short polylines from dark (first) to light (last).
        decimals: digits after the point; None: enough for a hundredth of a pixel.

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
    return f"{_open_tag(size, size, corner)}\n<g {_PEN}>\n{body}\n</g>\n</svg>\n"


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


def read_svg(source: Path | str, tolerance: float = 0.25) -> Ink:
    """Read one SVG as one drawing.

    Reads path, line, polyline, polygon, rect, circle and ellipse with nested transforms; each subpath is a
    stroke, closed shapes end where they began, equal neighbouring points become one. Coordinates are user
    units of the root (its viewBox does not scale them); t is arc length at unit speed. Shapes that SVG does not
    show (no size, display none, inside defs and the like) are left out.

    Args:
        source: a path, or the text itself (it begins with `<`).
        tolerance: largest distance between a curve and its polyline, user units.

    Raises:
        ValueError: tolerance is not above 0.
        DataError: the file cannot be read, is not XML or SVG, holds XML entities, has faulty or unsupported
            elements, or no ink.
    """
    if not tolerance > 0:
        raise ValueError(f"tolerance must be above 0, got {tolerance}")
    text = str(source)
    content = text.lstrip("\ufeff \t\r\n")
    where = "SVG text" if content.startswith("<") else text
    strokes: list[np.ndarray] = []
    for element, matrix in _shapes(_parse(content if content.startswith("<") else Path(source), where), where):
        data = _path_data(element, where)
        if data:
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below
                strokes.extend(_flatten(data, matrix, tolerance, where))
    if not strokes:
        raise DataError(f"{where}: expected drawn shapes (path, line, circle, ...), found none; convert text to paths")
    flat = Ink.from_strokes([[_clean(stroke, where) for stroke in strokes]])
    return Ink(flat.x, flat.y, arc_length_clock(flat), flat.stroke_offsets, flat.drawing_offsets)


_PEN = 'fill="none" stroke-linecap="round" stroke-linejoin="round"'


def _open_tag(width: int, height: int, view_box: str) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="{view_box}">'


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


def _parse(source: Path | str, where: str) -> Element:
    try:
        root = ElementTree.fromstring(source.read_bytes() if isinstance(source, Path) else source)
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error.strerror or error}); give the path of an SVG file") from error
    except DefusedXmlException as error:
        raise DataError(f"{where}: XML entities are refused ({error}); save it as plain SVG") from error
    except (ParseError, ValueError, LookupError) as error:
        raise DataError(f"{where}: expected an SVG file, but it is not well-formed XML: {error}") from error
    if _tag(root) != "svg":
        raise DataError(f"{where}: expected an svg root element, got {_tag(root)!r}")
    return root


def _tag(element: Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _shapes(root: Element, where: str) -> Iterator[tuple[Element, np.ndarray]]:
    """Yield the elements below the root that may be drawn, in document order, with their matrices."""
    waiting = [(root, _IDENTITY)]
    while waiting:
        element, matrix = waiting.pop()
        tag = _tag(element)
        if tag in _REFUSED and element is not root:
            raise DataError(f"{where}: holds {_REFUSED[tag]}, which is not supported; save it as plain SVG, unlinked")
        style = re.sub(r"\s", "", element.get("style", ""))
        if tag in _HIDDEN or element.get("display") == "none" or "display:none" in style:
            continue
        if transform := element.get("transform"):
            matrix = matrix @ _transform(transform, where)
        yield element, matrix
        waiting.extend((child, matrix) for child in reversed(element))


def _transform(text: str, where: str) -> np.ndarray:
    """Return the 3 x 3 matrix of a transform list, leftmost outermost."""
    matrix = _IDENTITY
    if re.sub(r"[a-zA-Z]+\s*\([^()]*\)|[\s,]", "", text):
        raise DataError(f"{where}: transform {text!r} is not a list of transforms")
    for name, arguments in re.findall(r"([a-zA-Z]+)\s*\(([^()]*)\)", text):
        matrix = matrix @ _one_transform(name, _floats(arguments, where), where)
    return matrix


def _one_transform(name: str, v: list[float], where: str) -> np.ndarray:
    match name, len(v):
        case "matrix", 6:
            a, b, c, d, e, f = v
        case "translate", 1 | 2:
            a, b, c, d, e, f = 1, 0, 0, 1, v[0], v[1] if len(v) > 1 else 0
        case "scale", 1 | 2:
            a, b, c, d, e, f = v[0], 0, 0, v[-1], 0, 0
        case "rotate", 1 | 3:
            cos, sin = math.cos(math.radians(v[0])), math.sin(math.radians(v[0]))
            px, py = v[1:] if len(v) == 3 else (0, 0)
            a, b, c, d, e, f = cos, sin, -sin, cos, px - cos * px + sin * py, py - sin * px - cos * py
        case "skewX", 1:
            a, b, c, d, e, f = 1, 0, math.tan(math.radians(v[0])), 1, 0, 0
        case "skewY", 1:
            a, b, c, d, e, f = 1, math.tan(math.radians(v[0])), 0, 1, 0, 0
        case _:
            known = "matrix (6), translate (1, 2), scale (1, 2), rotate (1, 3), skewX (1), skewY (1)"
            raise DataError(f"{where}: transform {name!r} with {len(v)} numbers; expected one of {known}")
    return np.array([[a, c, e], [b, d, f], [0, 0, 1]], dtype=np.float64)


def _floats(text: str, where: str) -> list[float]:
    if re.sub(rf"{_NUMBER}|[\s,]", "", text):
        raise DataError(f"{where}: expected numbers, got {text!r}")
    return [float(number) for number in re.findall(_NUMBER, text)]


def _lengths(element: Element, names: str, where: str) -> list[float]:
    """Return attributes given as numbers of user units, 0 where absent."""
    values = []
    for name in names.split():
        text = element.get(name, "0").strip().removesuffix("px")
        if not re.fullmatch(_NUMBER, text):
            raise DataError(f"{where}: {name}={element.get(name)!r}: expected a number of user units (px)")
        values.append(float(text))
    return values


def _path_data(element: Element, where: str) -> str:
    """Return any drawn element as path data; "" for what draws nothing."""
    match _tag(element):
        case "path":
            return element.get("d", "").strip()
        case "line":
            x1, y1, x2, y2 = _lengths(element, "x1 y1 x2 y2", where)
            return f"M{x1} {y1}L{x2} {y2}"
        case "polyline" | "polygon" as tag:
            values = _floats(element.get("points", ""), where)
            if len(values) % 2:
                raise DataError(f"{where}: {tag} with {len(values)} numbers; expected pairs of x and y")
            joined = "L".join(f"{x} {y}" for x, y in zip(values[::2], values[1::2], strict=True))
            return f"M{joined}{'Z' if tag == 'polygon' else ''}" if joined else ""
        case "rect":
            return _rect(element, where)
        case "circle" | "ellipse" as tag:
            cx, cy, r, rx, ry = _lengths(element, "cx cy r rx ry", where)
            if tag == "circle":
                rx = ry = r
            if rx <= 0 or ry <= 0:
                return ""
            return f"M{cx + rx} {cy}A{rx} {ry} 0 0 1 {cx - rx} {cy}A{rx} {ry} 0 0 1 {cx + rx} {cy}Z"
    return ""


def _rect(element: Element, where: str) -> str:
    x, y, width, height, rx, ry = _lengths(element, "x y width height rx ry", where)
    if width <= 0 or height <= 0:
        return ""
    rx, ry = (rx if element.get("rx") else ry), (ry if element.get("ry") else rx)
    rx, ry = min(rx, 0.5 * width), min(ry, 0.5 * height)
    if rx <= 0 or ry <= 0:
        return f"M{x} {y}h{width}v{height}h{-width}Z"
    arc, across, down = f"a{rx} {ry} 0 0 1", width - 2 * rx, height - 2 * ry
    top_right, bottom_right = f"h{across}{arc} {rx} {ry}", f"v{down}{arc} {-rx} {ry}"
    bottom_left, top_left = f"h{-across}{arc} {-rx} {-ry}", f"v{-down}{arc} {rx} {-ry}"
    return f"M{x + rx} {y}{top_right}{bottom_right}{bottom_left}{top_left}Z"


def _flatten(data: str, matrix: np.ndarray, tolerance: float, where: str) -> Iterator[np.ndarray]:
    """Yield the subpaths of path data as complex polylines in root units."""
    if re.search(r"[^MmZzLlHhVvCcSsQqTtAa0-9eE+.,\s-]", data) or data[0] not in "Mm":
        raise DataError(f"{where}: path data must begin with M and hold SVG path commands only, got {data[:40]!r}")
    position = 0j
    for piece in re.findall(r"[Mm][^MmZz]*[Zz]?|[^MmZz]+[Zz]?", data):
        if piece[0] not in "Mm":  # drawn on from where the last subpath closed
            piece = f"M{position.real!r} {position.imag!r}{piece}"
        try:
            start = complex(*(float(number) for number in re.findall(_NUMBER, piece)[:2]))
            start += position if piece[0] == "m" else 0
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an arc of radius 0 is a line: SVG says so
                segments = list(parse_path(piece, current_pos=position))
        except (ValueError, IndexError, TypeError, AssertionError, ArithmeticError) as error:
            raise DataError(f"{where}: faulty path data {piece[:60]!r}: {error or type(error).__name__}") from error
        closed = piece[-1] in "Zz"
        if segments or closed:
            parts = [np.array([start])] + [_segment(segment, matrix, tolerance, where) for segment in segments]
            parts[0] = _apply(matrix, parts[0])
            yield np.concatenate(parts)
        position = start if closed or not segments else segments[-1].end


def _apply(matrix: np.ndarray, z: np.ndarray) -> np.ndarray:
    return (
        complex(matrix[0, 0], matrix[1, 0]) * z.real
        + complex(matrix[0, 1], matrix[1, 1]) * z.imag
        + complex(matrix[0, 2], matrix[1, 2])
    )


def _segment(segment: Any, matrix: np.ndarray, tolerance: float, where: str) -> np.ndarray:
    """Return the points of one line, curve or arc after its first, in root units, within tolerance of it."""
    if isinstance(segment, Arc):
        radius = max(segment.radius.real, segment.radius.imag) * np.linalg.norm(matrix[:2, :2], 2)
        step = 2 * math.acos(max(0.0, 1 - tolerance / radius)) if radius > 0 else math.pi
        pieces = _pieces(abs(math.radians(segment.delta)) / step, where) if step > 0 else _pieces(math.inf, where)
        angle = np.radians(segment.theta + segment.delta * np.arange(1, pieces + 1) / pieces)
        round_ = segment.radius.real * np.cos(angle) + 1j * segment.radius.imag * np.sin(angle)
        points = segment.center + round_ * np.exp(1j * math.radians(segment.rotation))
        points[-1] = segment.end  # exactly, so that the next segment joins on
        return _apply(matrix, points)
    control = _apply(matrix, np.array(segment.bpoints()))
    degree = len(control) - 1
    bend = np.abs(np.diff(control, 2)).max() if degree > 1 else 0.0  # bounds the curve's second derivative
    pieces = _pieces(math.sqrt(degree * (degree - 1) / 8 * bend / tolerance), where)
    u = np.arange(1, pieces + 1) / pieces
    weights = [math.comb(degree, k) * u**k * (1 - u) ** (degree - k) for k in range(degree + 1)]
    return sum(weight * point for weight, point in zip(weights, control, strict=True))


def _pieces(count: float, where: str) -> int:
    if not count <= _MAX_PIECES:
        raise DataError(f"{where}: a curve needs over {_MAX_PIECES} points or is not finite; raise the tolerance")
    return max(1, math.ceil(count))


def _clean(z: np.ndarray, where: str) -> np.ndarray:
    """Return (points, 3) float32 of x, y, 0, without repeated neighbours."""
    with np.errstate(over="ignore", invalid="ignore"):
        points = np.stack([z.real, z.imag, np.zeros(len(z))], axis=1).astype(np.float32)
    if not np.isfinite(points).all():
        raise DataError(f"{where}: a coordinate is not a finite float32 number")
    moved = np.ones(len(points), dtype=bool)
    moved[1:] = np.any(points[1:] != points[:-1], axis=1)
    return points[moved]
