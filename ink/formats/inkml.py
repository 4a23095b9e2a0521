"""InkML (W3C Recommendation, 20 September 2011), one drawing a file: MathWriting, CROHME, IAM-OnDB exports, Office.

Read: traces with explicit, velocity and acceleration values, channels in any order, intermittent ones too, contexts
and sources by reference, timestamps, groups, continued traces. Pen-up traces and traces in `definitions` are not
drawn. The label is the first of the annotations normalizedLabel, label, truth, transcription; the split is
MathWriting's splitTagOriginal, or a folder's name. XML entities and external references are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape

import numpy as np
from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException
from numba import njit

from ink.formats import Batch
from ink.formats.many_files import SPLIT_NAMES, Parsed, Unreadable, read_files, split_of_folder, write_files, xml_safe
from ink.table import Drawings

SUFFIXES = (".inkml",)
HOLDS = frozenset({"times", "labels", "splits", "keys"})

_XML_ID = "{http://www.w3.org/XML/1998/namespace}id"
_LABELS = ("normalizedLabel", "label", "truth", "transcription")
_KEY = "inkmill.key"
_LINE_END = {"\r": "&#13;"}
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0}
_HUGE = 1e300  # stands for what is larger: it is refused as not finite
_DEPTH = 16  # of references to references
_VALUE = re.compile(
    r"""([!'"]?)\s*([-+]?\s*(?:\#[0-9A-Fa-f]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))|([*?TF])|(,)""", re.ASCII
)
_PLAIN = re.compile(r"[\d\s.,eE+-]*", re.ASCII)
_ORDER = {"": -1, "!": 0, "'": 1, '"': 2}


def source_files(categories: list[str]) -> list[str]:
    """Return the categories: files or archives of InkML, by their path below the source's root."""
    return list(categories)


def read(path: Path, *, only_recognized: bool) -> Iterator[Batch]:
    """Yield the drawings of an InkML file, a folder or an archive; keys are `inkml/<path without suffix>`.

    Raises:
        DataError: the source cannot be read at all; a faulty file is only rejected.
    """
    return read_files(path, SUFFIXES, "inkml", _parse)


def write(path: Path, drawings: Iterable[Drawings]) -> None:
    """Write one InkML file per drawing, in MathWriting's vocabulary; as `write_files`. Exact to the last bit."""
    write_files(Path(path), drawings, SUFFIXES[0], _render)


def _parse(data: bytes, name: PurePosixPath) -> Iterator[Parsed]:
    try:
        root = ElementTree.fromstring(data)
    except DefusedXmlException as error:
        raise Unreadable(f"XML entities and external references are refused: {type(error).__name__}") from error
    except ParseError as error:
        raise Unreadable("not well-formed XML", line=error.position[0]) from error
    except (ValueError, LookupError, RecursionError) as error:
        raise Unreadable("not readable XML: unknown encoding or too deep") from error
    if _tag(root) != "ink":
        raise Unreadable("not InkML: the root element is not ink")
    said = _annotations(root)
    document = _Document(root)
    strokes, timed = document.strokes()
    split = SPLIT_NAMES.get(said.get("splitTagOriginal", "").lower()) or split_of_folder(name)
    label = next((said[kind] for kind in _LABELS if said.get(kind)), "")
    yield Parsed(strokes, label, split, said.get(_KEY, ""), timed)


def _annotations(root: Element) -> dict[str, str]:
    """Return the first annotation of each type: the root's, and those of a single group that holds everything."""
    groups = [child for child in root if _tag(child) == "traceGroup"]
    only: Iterable[Element] = (
        groups[0] if len(groups) == 1 and not any(_tag(child) == "trace" for child in root) else []
    )
    said: dict[str, str] = {}
    for child in [*root, *only]:
        if _tag(child) == "annotation":
            said.setdefault(child.get("type", ""), (child.text or "").strip())
    return said


class _Document:
    """A parsed file and what its references point to."""

    def __init__(self, root: Element) -> None:
        self._elements = list(_walk(root))
        self._by_id: dict[str, Element] = {}
        self._layouts: dict[Element | None, _Layout] = {}
        for element, _, _, _ in self._elements:
            identity = element.get(_XML_ID) or element.get("id")
            if identity:
                self._by_id.setdefault(identity, element)

    def strokes(self) -> tuple[list[np.ndarray], bool]:
        """Return the strokes, each (points, 3) of x, y, t, and whether t is a clock."""
        strokes: list[np.ndarray] = []
        index: dict[str, int] = {}
        timed = True
        current: Element | None = None
        for element, tag, inherited, defined in self._elements:
            if tag in ("context", "traceFormat", "inkSource") and not defined:
                current = element
            if tag != "trace" or defined or element.get("type", "penDown") == "penUp":
                continue
            reference = element.get("contextRef") or inherited
            context = self._target(reference) if reference not in ("", "#DefaultContext") else current
            stroke, clock = self._stroke(element, self._layout(context), len(strokes))
            timed &= clock
            before = index.get((element.get("priorRef") or "").lstrip("#"), len(strokes) - 1)
            if element.get("continuation") in ("middle", "end") and strokes:
                strokes[before] = np.concatenate([strokes[before], stroke])
            else:
                before = len(strokes)
                strokes.append(stroke)
            identity = element.get(_XML_ID) or element.get("id")
            if identity:
                index[identity] = before
        if not strokes:
            raise Unreadable("no traces")
        return strokes, timed

    def _target(self, reference: str) -> Element:
        if not reference.startswith("#") or reference[1:] not in self._by_id:
            raise Unreadable("a reference to something that is not in the file")
        return self._by_id[reference[1:]]

    def _format(self, element: Element | None, depth: int = 0) -> Element | None:
        """Return the traceFormat that a context, a source or a format amounts to; None for the default one."""
        if element is None or _tag(element) == "traceFormat":
            return element
        if depth > _DEPTH:
            raise Unreadable("references that go round in a circle")
        for child in element:
            if _tag(child) in ("traceFormat", "inkSource"):
                return self._format(child, depth + 1)
        for name in ("traceFormatRef", "inkSourceRef", "contextRef"):
            reference = element.get(name, "")
            if reference not in ("", "#DefaultContext", "#DefaultTraceFormat", "#DefaultInkSource"):
                return self._format(self._target(reference), depth + 1)
        return None

    def _layout(self, context: Element | None) -> _Layout:
        if context not in self._layouts:
            self._layouts[context] = _Layout.of(self._format(context))
        return self._layouts[context]

    def _stroke(self, trace: Element, layout: _Layout, number: int) -> tuple[np.ndarray, bool]:
        """Return a trace's (points, 3) of x, y, t, and whether t is a clock."""
        text = "".join(trace.itertext()) if len(trace) else trace.text or ""
        values = _decode(text, layout, number)
        values[:, :2] *= layout.signs
        if layout.clock is None:
            return values, False
        values[:, 2] = _filled(values[:, 2]) * layout.seconds + 1e-3 * self._start_ms(trace, layout.clock)
        clocked = not np.isnan(values[:, 2]).any()
        if not clocked:
            values[:, 2] = 0
        return values, clocked

    def _start_ms(self, trace: Element, channel: Element) -> float:
        """Return what the times of a trace count from: the channel's timestamp, or the trace's own offset."""
        reference, total = channel.get("respectTo", ""), 0.0
        if not reference:
            return _number(trace.get("timeOffset", "0"), "timeOffset")
        for _ in range(_DEPTH):
            stamp = self._target(reference)
            total += _number(stamp.get("timeOffset", "0"), "timeOffset")
            if text := stamp.get("timeString"):
                try:
                    return total + 1e3 * datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
                except (ValueError, OverflowError, OSError) as error:
                    raise Unreadable("a timeString that is not ISO 8601") from error
            reference = stamp.get("timestampRef", "")
            if not reference:
                return total + _number(stamp.get("time", "0"), "time")
        raise Unreadable("references that go round in a circle")


def _tag(element: Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _walk(root: Element) -> Iterator[tuple[Element, str, str, bool]]:
    """Yield every element in document order: itself, tag, contextRef of its groups, whether it is in definitions."""
    waiting: list[tuple[Element, str, bool]] = [(root, "", False)]
    while waiting:
        element, context, defined = waiting.pop()
        tag = _tag(element)
        yield element, tag, context, defined
        if len(element):
            defined = defined or tag in ("definitions", "context")  # what a context holds is not the document's
            if tag == "traceGroup":
                context = element.get("contextRef") or context
            waiting.extend((child, context, defined) for child in reversed(element))


@dataclass(frozen=True)
class _Layout:
    """Where a trace format has X, Y and T.

    Args:
        regular, most: fewest and most values of a point.
        columns: positions of X, Y and T in a point; -1 for no T.
        signs: of x and y, -1 where the channel runs the other way.
        clock, seconds: the channel T, and its unit in seconds (NaN if it is not known).
    """

    regular: int
    most: int
    columns: tuple[int, int, int]
    signs: tuple[float, float]
    clock: Element | None
    seconds: float

    @classmethod
    def of(cls, trace_format: Element | None) -> _Layout:
        """Read a traceFormat; None is the default one, X and Y.

        Raises:
            Unreadable: X or Y is not a regular channel.
        """
        regular: list[Element] = []
        intermittent: list[Element] = []
        for child in trace_format if trace_format is not None else (Element("channel", name=name) for name in "XY"):
            if _tag(child) == "channel":
                regular.append(child)
            elif _tag(child) in ("regularChannels", "intermittentChannels"):
                to = regular if _tag(child) == "regularChannels" else intermittent
                to.extend(channel for channel in child if _tag(channel) == "channel")
        channels = [*regular, *intermittent]
        names = [channel.get("name", "") for channel in channels]
        if not {"X", "Y"} <= set(names[: len(regular)]):
            raise Unreadable("a trace format without regular channels X and Y")
        x, y, t = (names.index(name) if name in names else -1 for name in "XYT")
        sign_x, sign_y = (-1.0 if channels[c].get("orientation") == "-ve" else 1.0 for c in (x, y))
        clock = channels[t] if t >= 0 else None
        seconds = _SECONDS.get(clock.get("units", "ms"), np.nan) if clock is not None else np.nan
        return cls(len(regular), len(channels), (x, y, t), (sign_x, sign_y), clock, seconds)


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise Unreadable(f"{name} is not a number") from error


def _decode(text: str, layout: _Layout, number: int) -> np.ndarray:
    """Return (points, 3) float64 of X, Y and T; no T gives zeros, an absent one NaN."""
    if _PLAIN.fullmatch(text):  # explicit values alone: what nearly every file holds
        rows = [point.split() for point in text.strip().removesuffix(",").split(",")]
        if all(len(row) == layout.regular for row in rows):
            try:
                explicit = np.array([float(value) for row in rows for value in row]).reshape(len(rows), -1)
            except ValueError:
                pass  # values that touch, like 3-5
            else:
                result = np.zeros((len(rows), 3))
                for column, channel in enumerate(layout.columns):
                    if channel >= 0:
                        result[:, column] = explicit[:, channel] if channel < layout.regular else np.nan
                return result
    return _decode_prefixed(text, layout, number)


def _decode_prefixed(text: str, layout: _Layout, number: int) -> np.ndarray:
    """Decode any trace: values may be explicit (!), velocities (') or accelerations ("), and a prefix stays on."""
    rest = _VALUE.sub("", text).strip()
    if rest:
        raise Unreadable(f"trace {number}: expected InkML values, got {rest[:20]!r}")
    tokens = _VALUE.findall(text)
    while tokens and tokens[-1][3]:
        tokens.pop()
    comma = np.array([bool(token[3]) for token in tokens], dtype=bool)
    point = np.cumsum(comma)[~comma]
    values = [token for token in tokens if not token[3]]
    count = int(comma.sum()) + 1 if values else 0
    sizes = np.bincount(point, minlength=count)
    regular, most = layout.regular, layout.most
    if count and not (regular <= sizes.min() and sizes.max() <= most):
        odd = int(sizes[(sizes < regular) | (sizes > most)][0])
        wanted = regular if regular == most else f"{regular} to {most}"
        raise Unreadable(f"trace {number}: a point of {odd} values where the trace format has {wanted}")
    position = np.arange(len(point)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    result = np.zeros((count, 3))
    for column, channel in enumerate(layout.columns):
        if channel < 0:
            continue
        here = np.flatnonzero(position == channel)
        result[:, column] = np.nan
        order = np.array([_ORDER[values[i][0]] for i in here], dtype=np.int8)
        result[point[here], column] = _integrate(order, np.array([_float(values[i]) for i in here]))
    return result


def _float(token: tuple[str, str, str, str]) -> float:
    """Return a value: NaN for none (?), infinity for the one before again (*)."""
    _, text, special, _ = token
    if special:
        return {"*": np.inf, "?": np.nan, "T": 1.0, "F": 0.0}[special]
    try:
        return max(-_HUGE, min(float(text), _HUGE))
    except ValueError:  # a blank after the sign, or hexadecimal
        text = re.sub(r"\s", "", text)
    sign, digits = (-1.0, text[1:]) if text[0] == "-" else (1.0, text.lstrip("+"))
    if digits[0] == "#":
        return sign * (int(digits[1:], 16) if len(digits) < 20 else _HUGE)
    return sign * min(float(digits), _HUGE)


@njit(cache=True, nogil=True)
def _integrate(order, value):
    """Turn values with their difference orders (-1: as before) into positions."""
    out = np.empty(len(value))
    position = velocity = last = 0.0
    mode = 0
    for i in range(len(value)):
        if order[i] >= 0:
            mode = order[i]
        if np.isnan(value[i]):
            out[i] = np.nan
            continue
        last = last if np.isinf(value[i]) else value[i]
        if mode == 0:
            velocity = last - position if i > 0 else 0.0
            position = last
        else:
            velocity = last if mode == 1 else velocity + last
            position += velocity
        out[i] = position
    return out


def _filled(t: np.ndarray) -> np.ndarray:
    """Fill in the times that an intermittent clock left out, linearly between its neighbours."""
    known = ~np.isnan(t)
    if known.all() or not known.any():
        return t
    rows = np.arange(len(t))
    return np.interp(rows, rows[known], t[known])


def _render(drawings: Drawings, row: int) -> str:
    facts = {name: drawings.facts.column(name)[row].as_py() for name in ("key", "label", "split", "timed")}
    said = {_KEY: facts["key"], "label": facts["label"], "splitTagOriginal": facts["split"]}
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<ink xmlns="http://www.w3.org/2003/InkML">']
    lines += [
        f'<annotation type="{kind}">{escape(xml_safe(text), _LINE_END)}</annotation>'
        for kind, text in said.items()
        if text
    ]
    clock = '<channel name="T" type="decimal" units="s"/>' if facts["timed"] else ""
    axes = '<channel name="X" type="decimal"/><channel name="Y" type="decimal"/>'
    lines.append(f"<traceFormat>{axes}{clock}</traceFormat>")
    columns = 3 if facts["timed"] else 2
    for number, stroke in enumerate(drawings.ink.strokes(row)):
        shortest = stroke[:, :columns].astype(str).tolist()  # the shortest text that gives the same float32
        lines.append(f'<trace id="{number}">{",".join(" ".join(point) for point in shortest)}</trace>')
    return "\n".join([*lines, "</ink>", ""])
