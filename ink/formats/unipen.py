"""UNIPEN 1.0 (Guyon et al., 1994): pen-down and pen-up components, and the segments that name them.

One drawing per labelled segment of the finest level of .HIERARCHY that has labels; without segments, one per set.
Components are numbered from 0 in each set, pen-up ones too, empty ones not; a delineation `1:3-5:10,7` counts
points from 0 and includes its ends; only pen-down points are ink. UNIPEN's y grows upwards and is turned over; where
x and y have different resolutions, y takes that of x. T is in ms; without it, .POINTS_PER_SECOND is the clock, if
every pen-up has samples or a .DT (ms). .INCLUDE is refused: it names a file of the author's disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from ink.formats import Batch
from ink.formats.many_files import Parsed, Unreadable, read_files, split_of_folder

SUFFIXES = (".unp", ".unipen", ".upn", ".dat")

_STATEMENT = re.compile(r"^\.([A-Za-z_]+)([^\n]*(?:\n(?!\.[A-Za-z])[^\n]*)*)", re.MULTILINE)
_LIST = r"\d+(?::\d+)?(?:-\d+(?::\d+)?)?"
_SEGMENT = re.compile(
    rf'\s*(\S+)(?:\s+({_LIST}(?:\s*,\s*{_LIST})*))?(?:\s+([^\s"]+))?(?:\s+"((?:[^"\\]|\\.)*)")?\s*$', re.S
)
_PIECE = re.compile(r"(\d+)(?::(\d+))?(?:-(\d+)(?::(\d+))?)?")
_PER_MM = {"MM": 1.0, "INCH": 1 / 25.4}
_MAX_REPEATS = 100  # how often segments may cover a point, on average


@dataclass
class _Component:
    points: np.ndarray  # (points, 3) of x, y, t in seconds
    down: bool
    gap_known: bool  # the time since the pen-down component before is known


@dataclass
class _Set:
    components: list[_Component] = field(default_factory=list)
    segments: list[tuple[str, str, str, int]] = field(default_factory=list)  # level, delineation, label, line


def source_files(categories: list[str]) -> list[str]:
    """Return the categories: files or archives of UNIPEN, by their path below the source's root."""
    return list(categories)


def read(path: Path, *, only_recognized: bool) -> Iterator[Batch]:
    """Yield the drawings of a UNIPEN file, a folder or an archive; keys are `unipen/<path without suffix>/<number>`.

    Raises:
        DataError: the source cannot be read at all; a faulty file or segment is only rejected.
    """
    return read_files(path, SUFFIXES, "unipen", _parse)


def _parse(data: bytes, name: PurePosixPath) -> Iterator[Parsed | Unreadable]:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    parser = _Parser()
    parser.run(text.replace("\r\n", "\n").replace("\r", "\n"))
    base, split = f"unipen/{name.with_suffix('')}", split_of_folder(name)
    level = parser.level()
    allowance = _MAX_REPEATS * max(1, sum(len(c.points) for s in parser.sets for c in s.components))
    number = 0
    for group in parser.sets:
        segments = [s for s in group.segments if s[0] == level] if group.segments else [("", "", "", 0)]
        for _, delineation, label, line in segments if group.components else []:
            key = f"{base}/{number:05d}"
            number += 1
            try:
                strokes, timed = _cut(group.components, delineation, line, key, parser.clocked)
            except Unreadable as error:
                yield error
                continue
            allowance -= sum(map(len, strokes))
            if allowance < 0:
                raise Unreadable("segments that repeat the ink over and over", line, key)
            yield Parsed(strokes, label, split, key, timed)
    if not number:
        raise Unreadable("no pen data")


class _Parser:
    """Statements to sets of components and segments."""

    def __init__(self) -> None:
        self.sets = [_Set()]
        self.clocked = False
        self._coordinates: list[str] = []
        self._hierarchy: list[str] = []
        self._scale: dict[str, float] = {}
        self._rate = 0.0
        self._clock = 0.0
        self._gap_known = True

    def run(self, text: str) -> None:
        """Read a whole file.

        Raises:
            Unreadable: a statement that the ink depends on is faulty, or .INCLUDE.
        """
        line, position = 1, 0
        for match in _STATEMENT.finditer(text):
            line += text.count("\n", position, match.start())
            position = match.start()
            self._statement(match[1].upper(), match[2], line)

    def level(self) -> str:
        """Return the finest level that has labels, or segments at all; "" if there are none."""
        segments = [segment for group in self.sets for segment in group.segments]
        order = [*self._hierarchy, *sorted({level for level, *_ in segments} - set(self._hierarchy))]
        for candidates in ({level for level, _, label, _ in segments if label}, {level for level, *_ in segments}):
            if candidates:
                return max(candidates, key=order.index)
        return ""

    def _statement(self, keyword: str, body: str, line: int) -> None:
        match keyword:
            case "INCLUDE":
                raise Unreadable(".INCLUDE is refused; put the included file's text in its place", line)
            case "COORD":
                self._coordinates = body.upper().split()
                if not {"X", "Y"} <= set(self._coordinates):
                    raise Unreadable(".COORD without X and Y", line)
            case "HIERARCHY":
                self._hierarchy = list(dict.fromkeys(body.split()))
            case "POINTS_PER_SECOND":
                self._rate = _number(body, line)
            case "X_POINTS_PER_MM" | "Y_POINTS_PER_MM" | "X_POINTS_PER_INCH" | "Y_POINTS_PER_INCH":
                self._scale[keyword[0]] = _number(body, line) * _PER_MM[keyword.rpartition("_")[2]]
            case "START_SET":
                self.sets.append(_Set())
                self._clock, self._gap_known = 0.0, True
            case "DT":
                self._clock += _number(body, line) / 1000
                self._gap_known = True
            case "PEN_DOWN" | "PEN_UP":
                self._pen(body, keyword == "PEN_DOWN", line)
            case "SEGMENT":
                found = _SEGMENT.match(body)
                if not found:
                    raise Unreadable("a .SEGMENT that is not level, delineation, quality and label", line)
                self.sets[-1].segments.append((found[1], found[2] or "", _unescape(found[4] or ""), line))

    def _pen(self, body: str, down: bool, line: int) -> None:
        if not self._coordinates:
            raise Unreadable("pen data before .COORD", line)
        try:
            values = np.array(body.split(), dtype=np.float64)
        except ValueError as error:
            raise Unreadable("pen data that is not numbers", line) from error
        width = len(self._coordinates)
        if len(values) % width:
            raise Unreadable(f"pen data of {len(values)} numbers, for points of {width} coordinates", line)
        if not len(values):
            self._gap_known = self._gap_known and down
            return
        rows = values.reshape(-1, width)
        points = np.zeros((len(rows), 3))
        points[:, 0] = rows[:, self._coordinates.index("X")]
        points[:, 1] = -rows[:, self._coordinates.index("Y")]
        if self._scale.get("X", 0) > 0 and self._scale.get("Y", 0) > 0:
            points[:, 1] *= self._scale["X"] / self._scale["Y"]
        if "T" in self._coordinates:
            points[:, 2] = rows[:, self._coordinates.index("T")] / 1000
            self.clocked = True
        elif self._rate > 0:
            points[:, 2] = self._clock + np.arange(len(rows)) / self._rate
            self._clock += len(rows) / self._rate
            self.clocked = True
        known = self._gap_known or "T" in self._coordinates
        self.sets[-1].components.append(_Component(points, down, known))
        self._gap_known = not down


def _cut(
    components: list[_Component], delineation: str, line: int, key: str, clocked: bool
) -> tuple[list[np.ndarray], bool]:
    """Return the pen-down strokes that a delineation names ("": all), and whether their times are a clock."""
    strokes: list[np.ndarray] = []
    known: list[bool] = []
    for first, first_point, last, last_point in _pieces(delineation, len(components)):
        if not first <= last < len(components):
            raise Unreadable(f"a segment of components {first} to {last}, there are {len(components)}", line, key)
        for index in range(first, last + 1):
            component = components[index]
            start = first_point if index == first else 0
            stop = last_point + 1 if index == last and last_point is not None else len(component.points)
            if component.down and start < stop:
                strokes.append(component.points[start:stop])
                known.append(component.gap_known)
    return strokes, clocked and all(known[1:])


def _pieces(delineation: str, count: int) -> Iterator[tuple[int, int, int, int | None]]:
    """Yield (first component, its first point, last component, its last point or None) of each piece."""
    if not delineation:
        yield 0, 0, count - 1, None
    for first, first_point, last, last_point in _PIECE.findall(delineation):
        if last:
            yield int(first), int(first_point or 0), int(last), int(last_point) if last_point else None
        else:  # a single component, or a single point of it
            yield int(first), int(first_point or 0), int(first), int(first_point) if first_point else None


def _number(body: str, line: int) -> float:
    try:
        value = float(body.split()[0])
    except (ValueError, IndexError) as error:
        raise Unreadable("a setting that is not a number", line) from error
    if not np.isfinite(value):
        raise Unreadable("a setting that is not a finite number", line)
    return value


def _unescape(label: str) -> str:
    plain = re.sub(r"\s", " ", label)
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), plain)
