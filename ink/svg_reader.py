"""SVG in: every basic shape becomes strokes; text, images, fills and styles are not ink.

Strokes come in document order. XML is parsed with everything switched off that could fetch or multiply text.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException
from svgpathtools import Arc, parse_path

from ink.errors import DataError, one_line
from ink.geometry import with_arc_length_clock
from ink.table import Ink

_MAX_PIECES = 1_000_000  # of one curve
_MAX_POINTS = 5_000_000  # of one file
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_HIDDEN = {"defs", "clipPath", "mask", "pattern", "marker", "symbol"}
_REFUSED = {"use": "a reference (use)", "svg": "an svg inside the svg"}
_IDENTITY = np.eye(3)


def read_svg(source: Path | str | bytes, tolerance: float = 0.25) -> Ink:
    """Read one SVG as one drawing.

    Reads path, line, polyline, polygon, rect, circle and ellipse with nested transforms; each subpath is a
    stroke, closed shapes end where they began, equal neighbouring points become one. Coordinates are user
    units of the root (its viewBox does not scale them); t is arc length at unit speed. Shapes that SVG does not
    show (no size, display none, inside defs and the like) are left out.

    Args:
        source: a path, or the content itself (bytes, or text that begins with `<`).
        tolerance: largest distance between a curve and its polyline, user units.

    Raises:
        ValueError: tolerance is not above 0.
        DataError: the file cannot be read, is not XML or SVG, holds XML entities, has faulty or unsupported
            elements, needs over five million points, or has no ink.
    """
    if isinstance(source, bytes):
        return ink_of(parse_svg(source, "SVG"), "SVG", tolerance)
    text = str(source)
    content = text.lstrip("\ufeff \t\r\n")
    where = "SVG text" if content.startswith("<") else text
    return ink_of(parse_svg(content if content.startswith("<") else Path(source), where), where, tolerance)


def ink_of(root: Element, where: str, tolerance: float) -> Ink:
    """Return the ink below a parsed root; `where` names it in errors. As `read_svg`."""
    if not tolerance > 0:
        raise ValueError(f"tolerance must be above 0, got {tolerance}")
    strokes: list[np.ndarray] = []
    points = 0
    for element, matrix in _shapes(root, where):
        data = _path_data(element, where)
        if not data:
            continue
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below
            for stroke in _flatten(data, matrix, tolerance, where):
                points += len(stroke)
                _refuse_if_large(points, where)
                strokes.append(stroke)
    if not strokes:
        raise DataError(f"{where}: expected drawn shapes (path, line, circle, ...), found none; convert text to paths")
    flat = Ink.from_strokes([[_clean(stroke, where) for stroke in strokes]])
    return with_arc_length_clock(flat)


def side_of(root: Element) -> float | None:
    """Return the longer side of the picture in user units, by its viewBox or else its size; None if neither says."""
    sides = re.findall(_NUMBER, root.get("viewBox", ""))[2:4]
    if len(sides) < 2:
        sides = [
            m[1] for name in ("width", "height") if (m := re.match(rf"\s*({_NUMBER})(?:px)?\s*$", root.get(name, "")))
        ]
    longest = max((float(side) for side in sides), default=0.0)
    return longest if 0 < longest < math.inf else None


def parse_svg(source: Path | str | bytes, where: str) -> Element:
    """Return the root element of an SVG; raises `DataError` as `read_svg`."""
    try:
        root = ElementTree.fromstring(source.read_bytes() if isinstance(source, Path) else source)
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error.strerror or error}); give the path of an SVG file") from error
    except DefusedXmlException as error:
        raise DataError(f"{where}: XML entities are refused ({one_line(error)}); save it as plain SVG") from error
    except (ParseError, ValueError, LookupError, RecursionError) as error:
        raise DataError(f"{where}: expected an SVG file, but it is not well-formed XML: {one_line(error)}") from error
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
        if (line := _straight(piece)) is not None:
            yield _apply(matrix, line)
            position = line[0] if piece[-1] in "Zz" else line[-1]
            continue
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
            parts, points = [_apply(matrix, np.array([start]))], 0
            for segment in segments:
                parts.append(_segment(segment, matrix, tolerance, where))
                points += len(parts[-1])
                _refuse_if_large(points, where)
            yield np.concatenate(parts)
        position = start if closed or not segments else segments[-1].end


def _straight(piece: str) -> np.ndarray | None:
    """Return a subpath of absolute M and L alone as complex points; None if it is not one. The fast way for ink."""
    body = piece.rstrip("Zz \t\r\n")
    if not re.fullmatch(r"M[^a-df-zA-DF-KMN-Z]*", body) or re.search(r"L[\s,]*(?:L|$)", body):
        return None
    if not re.fullmatch(r"[ML\s,]*", re.sub(_NUMBER, "", body)):
        return None
    numbers = np.array(re.findall(_NUMBER, body), dtype=np.float64)
    if len(numbers) < 4 or len(numbers) % 2:
        return None
    line = numbers[::2] + 1j * numbers[1::2]
    return np.append(line, line[0]) if piece[-1] in "Zz" else line


def _refuse_if_large(points: int, where: str) -> None:
    if points > _MAX_POINTS:
        raise DataError(f"{where}: needs over {_MAX_POINTS} points; raise the tolerance or split the file")


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
