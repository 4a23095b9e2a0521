"""Promise: a drawing at its own moments keeps its vertices and its path, and no gap is longer than asked."""

import itertools

import numpy as np
import pytest

from ink import resample
from ink.errors import DataError
from ink.path_times import own_sequence
from ink.table import Ink


def drawings(count, seed=0):
    """Random walks of one to four strokes, two points or more each, on a clock of their own."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        lengths = rng.integers(2, 9, rng.integers(1, 5))
        steps = rng.uniform(0.3, 1.0, (lengths.sum(), 2)) * rng.choice([-1, 1], (lengths.sum(), 2))
        t = np.cumsum(rng.uniform(0.5, 1.5, lengths.sum()))
        made.append(np.split(np.column_stack([np.cumsum(steps, 0), t - t[0]]), np.cumsum(lengths)[:-1]))
    return Ink.from_strokes(made)


def rows(ink, gap):
    samples, offsets = own_sequence(ink, gap)
    assert len(offsets) == len(ink) + 1 and offsets[-1] == len(samples)
    return [samples[a:b] for a, b in itertools.pairwise(offsets)]


@pytest.mark.parametrize("gap", [1.0, 0.2, 1 / 74])
def test_moments_ascend_from_zero_to_one_and_no_gap_is_too_long_or_too_short(gap):
    for row in rows(drawings(40), gap):
        steps = np.diff(row[:, 3])
        assert row[0, 3] == 0 and row[-1, 3] == 1 and len(row) >= 2
        assert steps.min() >= 0.1 * gap * (1 - 1e-9)
        assert steps.max() <= gap * 1.1 + 1e-9  # a merged sample may lengthen the gap before it by as much


@pytest.mark.parametrize("gap", [0.2, 1 / 74])
def test_every_sample_lies_on_the_path_at_its_moment(gap):
    ink = drawings(30, seed=1)
    fine = resample.full_sequence(ink, 20001)
    for row, path in zip(rows(ink, gap), fine, strict=True):
        nearest = np.rint(row[:, 3] * 20000).astype(int)
        np.testing.assert_allclose(row[:, :2], path[nearest, :2], atol=2e-3)
        inside = (path[np.maximum(nearest - 1, 0), 2] == path[nearest, 2]) & (
            path[np.minimum(nearest + 1, 20000), 2] == path[nearest, 2]
        )
        assert np.array_equal(row[inside, 2], path[nearest[inside], 2])


def test_every_vertex_of_a_drawing_without_haste_is_a_sample():
    ink = drawings(20, seed=2)
    for n, row in enumerate(rows(ink, 1 / 74)):
        first, last = ink.point_offsets[n], ink.point_offsets[n + 1]
        xy = np.stack([ink.x[first:last], ink.y[first:last]], 1)
        distance = np.abs(row[:, None, :2] - xy).max(2).min(0)
        assert np.all(distance < 1e-6)
        # each join that takes time is seen
        joins = int(np.diff(ink.drawing_offsets)[n]) - 1
        up = row[:, 2] == 1
        assert np.count_nonzero(up[1:] & ~up[:-1]) == joins


def test_equal_moments_keep_the_point_after_the_move():
    stroke = np.array([(0, 0, 0), (1, 0, 1), (1, 5, 1), (2, 5, 2)], float)
    (row,) = rows(Ink.from_strokes([[stroke]]), 1.0)
    np.testing.assert_allclose(row, [(0, 0, 0, 0), (1, 5, 0, 0.5), (2, 5, 0, 1)])


def test_drawings_without_duration_or_extent_still_have_two_ends():
    still = np.array([(0, 0, 0), (3, 0, 0), (3, 1, 0)], float)
    dots = [np.array([(2, 2, 0)], float), np.array([(2, 2, 0)], float)]
    single = [np.array([(7, 8, 3)], float)]
    first, second, third = rows(Ink.from_strokes([[still], dots, single]), 1.0)
    np.testing.assert_allclose(first, [(0, 0, 0, 0), (3, 0, 0, 0.75), (3, 1, 0, 1)])
    np.testing.assert_allclose(second, [(2, 2, 0, 0), (2, 2, 1, 0.5), (2, 2, 0, 1)])
    np.testing.assert_allclose(third, [(7, 8, 0, 0), (7, 8, 0, 1)])


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"longest_gap must lie in \(0, 1\], got 0"):
        own_sequence(drawings(1), 0)
    with pytest.raises(DataError, match="drawing 0 of the batch"):
        own_sequence(Ink.from_strokes([[]]), 0.5)
