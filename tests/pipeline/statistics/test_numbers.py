"""Promise: the numbers of a dataset's ink are those of its drawings, however they are batched."""

from __future__ import annotations

import numpy as np
import pytest

from ink.table import Drawings, Ink
from pipeline.statistics.numbers import (
    COUNT_EDGES,
    LOG_EDGES,
    PROFILE_BINS,
    SHARE_EDGES,
    Histogram,
    InkStatistics,
    lowest_hashes,
    measure,
    speed_profiles,
)


def strokes(*drawings: list[list[tuple[float, float, float]]], timed: bool = True) -> Drawings:
    ink = Ink.from_strokes([[np.array(stroke) for stroke in drawing] for drawing in drawings])
    return Drawings.build(ink, [f"k{n}" for n in range(len(ink))], ["a"] * len(ink), timed=timed)


def walks(count: int, seed: int = 0) -> Drawings:
    rng = np.random.default_rng(seed)
    drawings = []
    for _ in range(count):
        lengths, clock, drawing = rng.integers(1, 30, rng.integers(1, 6)), 0.0, []
        for n in lengths:
            t = clock + np.cumsum(rng.exponential(0.02, n) * (rng.random(n) < 0.9))
            drawing.append(np.stack([*rng.normal(0, 20, (2, n)).cumsum(1), t], axis=1))
            clock = t[-1] + rng.random()
        drawings.append(drawing)
    labels = [("a", "b", "c")[n % 3] for n in range(count)]
    return Drawings.build(Ink.from_strokes(drawings), [f"w{n}" for n in range(count)], labels, timed=True)


def plain(statistics: InkStatistics) -> list[object]:
    """Every number of the statistics, the histograms' included."""
    found: list[object] = []
    for value in vars(statistics).values():
        if isinstance(value, Histogram):
            rest = (value.below, value.above, value.millionths, value.smallest, value.largest)
            found += [value.counts.tolist(), *rest]
        else:
            found.append(value.tolist() if isinstance(value, np.ndarray) else value)
    return found


def test_numbers_of_two_drawings_are_those_worked_out_by_hand() -> None:
    """A 3 by 4 box (diagonal 5): 7 long in 2 s, a pause of 1 s, a dot; and a line as long as its diagonal in 4 s."""
    found = measure([strokes(
        [[(0, 0, 0), (3, 0, 1), (3, 4, 2)], [(1, 1, 3)]],
        [[(0, 0, 0), (10, 0, 4)]],
    )])  # fmt: skip
    assert (found.drawings, found.timed, found.n_points, found.n_strokes) == (2, 2, 6, 3)
    assert (found.points.mean, found.points.smallest, found.points.largest) == (3, 2, 4)
    assert (found.strokes.quantile(0.5), found.strokes.largest) == (1, 2)
    assert found.stroke_length.mean == pytest.approx((7 / 5 + 0 + 1) / 3, abs=1e-6) and found.stroke_length.below == 1
    assert found.duration.mean == pytest.approx((3 + 4) / 2) and found.duration.largest == 4
    assert found.pen_down.mean == pytest.approx((2 / 3 + 1) / 2, abs=1e-6) and found.pen_down.largest == 1
    assert found.speed.total == 2 and found.speed.largest == pytest.approx(0.7) and found.speed.smallest == 0.25
    assert found.profile_strokes == 0


def test_a_speed_profile_is_the_derivative_of_the_way() -> None:
    """Way t² has speed 2 t of its mean; a pen at rest for the first half covers all in the second."""
    t = np.linspace(0, 1, 2001)
    ink = Ink.from_strokes([
        [np.stack([t**2, 0 * t, 3 * t], axis=1)],
        [np.array([[0, 0, 0], [0, 0, 1], [5, 0, 2]])],
    ])  # fmt: skip
    travelled = ink.x.astype(np.float64)
    speed = speed_profiles(ink, travelled, np.array([0, 1])) * PROFILE_BINS
    assert np.allclose(speed[0], 2 * (np.arange(PROFILE_BINS) + 0.5) / PROFILE_BINS, atol=1e-3)
    assert np.allclose(speed[1], np.repeat([0, 2], PROFILE_BINS // 2), atol=1e-6)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_the_cut_into_batches_changes_no_number_and_no_sample(size: int) -> None:
    drawings = walks(200)
    order = np.random.default_rng(size).permutation(200)
    batches = [drawings.take(order[first : first + size]) for first in range(0, 200, size)]
    assert plain(measure(batches)) == plain(measure([drawings]))
    whole, kept = lowest_hashes(Drawings.concat([]), drawings, ["a", "c"], 5), Drawings.concat([])
    for batch in batches:
        kept = lowest_hashes(kept, batch, ["a", "c"], 5)
    assert kept.column("key").tolist() == whole.column("key").tolist()
    assert sorted(kept.column("label").tolist()) == ["a"] * 5 + ["c"] * 5


@pytest.mark.parametrize("edges", [COUNT_EDGES, LOG_EDGES, SHARE_EDGES], ids=["counts", "sizes", "shares"])
def test_quantiles_and_means_agree_with_numpy(edges: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    values = {0.5: rng.integers(1, 400, 999), 1e-5: rng.lognormal(0, 2, 999), 0.0: rng.random(999)}[edges[0]]
    found = Histogram.empty(edges).plus(values[:500]).plus(values[500:])
    assert found.total == 999 and found.mean == pytest.approx(values.mean(), abs=1e-6)
    for q in (0.0, 0.05, 0.5, 0.95, 1.0):
        true = np.quantile(values, q, method="inverted_cdf")
        assert found.quantile(q) == pytest.approx(true, rel=0 if edges is COUNT_EDGES else 0.02, abs=0.005)


def test_values_outside_the_bins_are_counted_and_no_sum_overflows() -> None:
    found = Histogram.empty(LOG_EDGES).plus(np.array([0.0, -1.0, 1e30])).plus(np.full(10**5, 9e11))
    assert (found.below, found.above, found.smallest, found.largest) == (2, 100_001, -1.0, 1e30)
    assert found.millionths == 10**5 * 9 * 10**17 + 10**18 - 10**6
