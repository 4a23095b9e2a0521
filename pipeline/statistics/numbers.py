"""A dataset's ink in numbers: from batches of drawings to histograms, in memory that does not grow with them.

Bins are fixed, sums are whole numbers and every number of a drawing comes from that drawing alone: how the
drawings are cut into batches changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ink import geometry
from ink.table import Drawings, Ink, hash64

COUNT_EDGES = np.unique(np.concatenate([np.arange(513), np.geomspace(512, 1e7, 430).round()])) + 0.5
"""Bins of counts: one a number up to 512, then 1 % of a decade wide."""
LOG_EDGES = np.geomspace(1e-5, 1e7, 12 * 64 + 1)
"""Bins of lengths, times and speeds: 64 a decade, so that a quantile is right within 2 %."""
SHARE_EDGES = np.linspace(0.0, 1.0, 101)

PROFILE_BINS = 20
PROFILE_POINTS = 8  # a stroke with fewer says nothing of how its speed runs
_MICRO = 1e6  # sums are of millionths, as whole numbers
_LARGEST = 1e12


@dataclass(frozen=True, eq=False)
class Histogram:
    """How often values fell into fixed bins, and their exact extremes.

    Args:
        edges: (bins + 1,) ascending; a value on an edge belongs to the bin above, on the last one to the last.
        counts: (bins,) int64; below, above: values outside the edges.
        millionths: sum of all values; smallest, largest: of all values, NaN without any.
    """

    edges: np.ndarray
    counts: np.ndarray
    below: int = 0
    above: int = 0
    millionths: int = 0
    smallest: float = float("nan")
    largest: float = float("nan")

    @classmethod
    def empty(cls, edges: np.ndarray) -> Histogram:
        """Return a histogram of nothing."""
        return cls(edges, np.zeros(len(edges) - 1, np.int64))

    def plus(self, values: np.ndarray) -> Histogram:
        """Return the histogram with finite values added."""
        if len(values) == 0:
            return self
        values = np.asarray(values, np.float64)
        place = np.searchsorted(self.edges, values, side="right") - 1
        place[values == self.edges[-1]] = len(self.counts) - 1
        inside = (place >= 0) & (place < len(self.counts))
        whole = np.rint(np.clip(values, -_LARGEST, _LARGEST) * _MICRO).astype(np.int64)
        high, low = int((whole >> 20).sum()), int((whole & 0xFFFFF).sum())  # neither sum can overflow
        return replace(
            self,
            counts=self.counts + np.bincount(place[inside], minlength=len(self.counts)),
            below=self.below + int((place < 0).sum()),
            above=self.above + int((place >= len(self.counts)).sum()),
            millionths=self.millionths + (high << 20) + low,
            smallest=float(np.fmin(self.smallest, values.min())),
            largest=float(np.fmax(self.largest, values.max())),
        )

    @property
    def total(self) -> int:
        """Number of values."""
        return self.below + int(self.counts.sum()) + self.above

    @property
    def mean(self) -> float:
        """Mean of the values; NaN without any."""
        return self.millionths / _MICRO / self.total if self.total else float("nan")

    def quantile(self, q: float) -> float:
        """Return the smallest value that at least a fraction q of the values do not exceed, to the middle of its bin.

        NaN without values; what lies outside the edges counts as the smallest or largest value.
        """
        if not self.total:
            return float("nan")
        passed = np.cumsum([self.below, *self.counts.tolist(), self.above])
        place = int(np.searchsorted(passed, max(1, np.ceil(q * self.total - 1e-9)))) - 1
        if place < 0:
            return self.smallest
        if place == len(self.counts):
            return self.largest
        middle = (self.edges[place] + self.edges[place + 1]) / 2
        return float(np.clip(middle, self.smallest, self.largest))

    def summary(self) -> dict[str, float | int | None]:
        """Return count, mean, min, p5, median, p95 and max; None where there is no value."""
        values = {
            "mean": self.mean,
            "min": self.smallest,
            "p5": self.quantile(0.05),
            "median": self.quantile(0.5),
            "p95": self.quantile(0.95),
            "max": self.largest,
        }
        return {"count": self.total, **{name: value if self.total else None for name, value in values.items()}}


def _no_counts() -> Histogram:
    return Histogram.empty(COUNT_EDGES)


def _no_sizes() -> Histogram:
    return Histogram.empty(LOG_EDGES)


def _no_shares() -> Histogram:
    return Histogram.empty(SHARE_EDGES)


@dataclass(frozen=True, eq=False)
class InkStatistics:
    """What some drawings are like. A length is in diagonals of the drawing's box, a time in seconds.

    Times are those of drawings with a real clock; untimed ones add nothing to them.

    Args:
        drawings, timed: how many, and how many of them have a real clock.
        points, strokes: per drawing; stroke_points, stroke_length: per stroke.
        duration: of a drawing, first pen-down to last pen-up; pen_down: the share of it that the pen is down.
        speed: mean of a stroke, diagonals per second, of strokes that take time and go somewhere.
        profile: (PROFILE_BINS,) millionths of its length that a stroke covers in each equal part of its time, summed
            over `profile_strokes` strokes of `PROFILE_POINTS` points or more.
    """

    drawings: int = 0
    timed: int = 0
    points: Histogram = field(default_factory=_no_counts)
    strokes: Histogram = field(default_factory=_no_counts)
    stroke_points: Histogram = field(default_factory=_no_counts)
    stroke_length: Histogram = field(default_factory=_no_sizes)
    duration: Histogram = field(default_factory=_no_sizes)
    pen_down: Histogram = field(default_factory=_no_shares)
    speed: Histogram = field(default_factory=_no_sizes)
    profile: np.ndarray = field(default_factory=lambda: np.zeros(PROFILE_BINS, np.int64))
    profile_strokes: int = 0

    def plus(self, drawings: Drawings) -> InkStatistics:
        """Return the statistics with a batch added.

        Raises:
            DataError: a drawing or stroke is empty, or a number not finite.
        """
        if len(drawings) == 0:
            return self
        ink, timed = drawings.ink, drawings.column("timed").astype(bool)
        box = geometry.bounding_boxes(ink)
        diagonal = np.hypot(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1])
        strokes = np.diff(ink.drawing_offsets)
        owner = np.repeat(np.arange(len(ink)), strokes)
        travelled = geometry.path_clock(ink, by_time=False)
        first, last = ink.stroke_offsets[:-1], ink.stroke_offsets[1:] - 1
        length = (travelled[last] - travelled[first]) / np.where(diagonal > 0, diagonal, 1.0)[owner]
        t = ink.t.astype(np.float64)
        taken = t[last] - t[first]
        duration = t[ink.point_offsets[1:] - 1] - t[ink.point_offsets[:-1]]
        with_time = timed & (duration > 0)
        down = np.add.reduceat(taken, ink.drawing_offsets[:-1])[with_time] / duration[with_time]
        moving = timed[owner] & (taken > 0) & (length > 0)
        profiled = np.flatnonzero(moving & (np.diff(ink.stroke_offsets) >= PROFILE_POINTS))
        shares = speed_profiles(ink, travelled, profiled)
        return replace(
            self,
            drawings=self.drawings + len(ink),
            timed=self.timed + int(timed.sum()),
            points=self.points.plus(np.diff(ink.point_offsets)),
            strokes=self.strokes.plus(strokes),
            stroke_points=self.stroke_points.plus(np.diff(ink.stroke_offsets)),
            stroke_length=self.stroke_length.plus(length),
            duration=self.duration.plus(duration[timed]),
            pen_down=self.pen_down.plus(np.minimum(down, 1.0)),
            speed=self.speed.plus(length[moving] / taken[moving]),
            profile=self.profile + np.rint(shares * _MICRO).astype(np.int64).sum(0),
            profile_strokes=self.profile_strokes + len(profiled),
        )

    @property
    def n_points(self) -> int:
        """Points of all drawings."""
        return round(self.points.millionths / _MICRO)

    @property
    def n_strokes(self) -> int:
        """Strokes of all drawings."""
        return self.stroke_points.total

    @property
    def speed_profile(self) -> np.ndarray:
        """(PROFILE_BINS,) mean speed in each equal part of a stroke's time; 1 is the stroke's own mean speed."""
        return self.profile * PROFILE_BINS / _MICRO / max(1, self.profile_strokes)


def measure(batches: Iterable[Drawings]) -> InkStatistics:
    """Return the statistics of a stream of drawings."""
    statistics = InkStatistics()
    for drawings in batches:
        statistics = statistics.plus(drawings)
    return statistics


def speed_profiles(ink: Ink, travelled: np.ndarray, strokes: np.ndarray) -> np.ndarray:
    """Return (len(strokes), PROFILE_BINS): the share of its length that a stroke covers in each part of its time.

    Args:
        ink: N drawings; travelled: (P,) length of the path up to each point.
        strokes: indices of strokes that take time and have a length.
    """
    if len(strokes) == 0:
        return np.zeros((0, PROFILE_BINS))
    counts = np.diff(ink.stroke_offsets)[strokes]
    start = np.cumsum(counts) - counts
    point = np.arange(counts.sum()) + np.repeat(ink.stroke_offsets[strokes] - start, counts)
    moment, way = ink.t[point].astype(np.float64), travelled[point]
    last = start + counts - 1
    moment = (moment - np.repeat(moment[start], counts)) / np.repeat(moment[last] - moment[start], counts)
    way = (way - np.repeat(way[start], counts)) / np.repeat(way[last] - way[start], counts)
    reached = np.zeros((len(strokes), PROFILE_BINS + 1))
    reached[:, -1] = 1.0
    for edge in range(1, PROFILE_BINS):
        place = edge / PROFILE_BINS
        before = start + np.add.reduceat((moment <= place).astype(np.int64), start) - 1
        span = moment[before + 1] - moment[before]
        part = (place - moment[before]) / span
        reached[:, edge] = way[before] + part * (way[before + 1] - way[before])
    return np.diff(reached, axis=1)


def lowest_hashes(kept: Drawings, batch: Drawings, labels: Sequence[str], per_label: int) -> Drawings:
    """Return, of each label, the drawings of lowest key hash: a fair sample, whatever the order they come in.

    Args:
        kept: what earlier calls returned.
        batch: further drawings.
        labels: to keep drawings of; per_label: how many of each.
    """
    wanted = np.flatnonzero(np.isin(batch.column("label").astype(str), labels))
    if len(wanted) == 0:
        return kept
    return _lowest(Drawings.concat([kept, _lowest(batch.take(wanted), per_label)]), per_label)


def _lowest(drawings: Drawings, per_label: int) -> Drawings:
    keys, labels = drawings.column("key").astype(str), drawings.column("label").astype(str)
    order = np.lexsort((keys, hash64(keys, "sheet/"), labels))
    _, sizes = np.unique(labels, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return drawings.take(order[rank < per_label])
