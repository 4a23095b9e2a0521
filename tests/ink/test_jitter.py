"""Promise: the rivals of Perlin's noise do what they say, and to a drawing the same in any company."""

import numpy as np
import pytest
from scipy import stats

from ink import jitter
from ink.table import Ink
from tests.ink.test_perlin import strokes_of

KEYS = [f"quickdraw/cat/{n}" for n in range(6)]
ALTER = {
    "gaussian": lambda ink, seeds: jitter.gaussian(ink, seeds, 0.2),
    "affine": lambda ink, seeds: jitter.affine(ink, seeds, 20.0, 0.3, 0.2),
    "drop": lambda ink, seeds: jitter.drop_points(ink, seeds, 0.4),
}


def line(points: int, drawings: int = 1) -> Ink:
    x = np.linspace(0, 1, points)
    return Ink.from_strokes([[np.column_stack([x, 2 * x, x])]] * drawings)


def test_the_generator_is_splitmix64():
    """Vigna's reference in C, seed 1234567: the first five numbers."""
    published = [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
    ]  # fmt: skip
    found = jitter.uniform(np.array([1234567], np.uint64), np.arange(5))
    assert found.tolist() == [((number >> 11) + 1) / 2**53 for number in published]


def test_seeds_of_a_drawing_hang_on_seed_key_and_copy():
    seeds = jitter.drawing_seeds(7, KEYS, 3)
    assert np.array_equal(jitter.drawing_seeds(7, KEYS[::-1], 3), seeds[::-1])
    others = [seeds, *(jitter.drawing_seeds(*other) for other in ((8, KEYS, 3), (7, KEYS, 4), (73, KEYS, 3)))]
    assert len(np.unique(np.concatenate(others))) == 24
    assert jitter.drawing_seeds(0, [], 1).shape == (0,)


@pytest.mark.parametrize("kind", ALTER)
def test_a_drawing_is_altered_alike_in_any_company(kind):
    ink, order = strokes_of(8), [4, 0, 5]
    whole = ALTER[kind](ink, jitter.drawing_seeds(0, KEYS, 1)).take(order)
    part = ALTER[kind](ink.take(order), jitter.drawing_seeds(0, [KEYS[n] for n in order], 1))
    assert np.array_equal(part.x, whole.x) and np.array_equal(part.y, whole.y) and np.array_equal(part.t, whole.t)
    assert np.array_equal(part.stroke_offsets, whole.stroke_offsets)


def test_gaussian_moves_are_normal_and_independent():
    ink = line(5000, 4)
    moved = jitter.gaussian(ink, jitter.drawing_seeds(1, KEYS[:4], 1), 0.2)
    dx, dy = (moved.x - ink.x) / 0.2, (moved.y - ink.y) / 0.2
    assert min(stats.kstest(values, "norm").pvalue for values in (dx, dy)) > 1e-3
    pairs = [(dx, dy), (dx[1:], dx[:-1]), (dy[1:], dy[:-1]), (dx[:5000], dx[5000:10000])]
    assert max(abs(stats.pearsonr(*pair).statistic) for pair in pairs) < 5 / np.sqrt(5000)
    assert np.array_equal(moved.t, ink.t)


def test_an_affine_map_is_one_matrix_a_drawing_within_its_bounds():
    ink = strokes_of(3, count=200)
    keys = [str(n) for n in range(200)]
    moved = jitter.affine(ink, jitter.drawing_seeds(0, keys, 1), 20.0, 0.3, 0.25)
    turns, wide, high, shears = [], [], [], []
    for n in range(200):
        before, after = (np.concatenate(part.strokes(n))[:, :2].astype(float) for part in (ink, moved))
        matrix, _, rank, _ = np.linalg.lstsq(before, after, rcond=None)
        assert rank == 2 and np.allclose(before @ matrix, after, atol=1e-6)
        rotation, upper = np.linalg.qr(matrix.T)  # rotation times [[wide, shear high], [0, high]]
        flip = np.sign(np.diag(upper))
        rotation, upper = rotation * flip, upper * flip[:, None]
        turns.append(np.degrees(np.arctan2(rotation[1, 0], rotation[0, 0])))
        wide.append(upper[0, 0]), high.append(upper[1, 1]), shears.append(upper[0, 1] / upper[1, 1])
    for values, low, top in ((turns, -20, 20), (wide, 0.7, 1.3), (high, 0.7, 1.3), (shears, -0.25, 0.25)):
        assert low - 1e-4 <= min(values) and max(values) <= top + 1e-4
        assert stats.kstest(values, "uniform", args=(low, top - low)).pvalue > 1e-3
    still = jitter.affine(ink, jitter.drawing_seeds(0, keys, 1), 0.0, 0.0, 0.0)
    assert np.array_equal(still.x, ink.x) and np.array_equal(still.y, ink.y)


def test_dropped_points_are_inner_ones_at_the_rate_asked_for():
    ink = line(2000, 5)
    thin = jitter.drop_points(ink, jitter.drawing_seeds(0, KEYS[:5], 1), 0.3)
    dropped = 1 - (np.diff(thin.point_offsets) - 2) / 1998
    assert np.abs(dropped - 0.3).max() < 4 * np.sqrt(0.3 * 0.7 / 1998) and len(set(dropped)) > 1
    for n in range(5):
        (before,), (after,) = ink.strokes(n), thin.strokes(n)
        assert np.array_equal(after[[0, -1]], before[[0, -1]]), "the ends stay"
        assert np.isin(after[:, 0], before[:, 0]).all() and np.all(np.diff(after[:, 2]) > 0)
        assert np.allclose(np.diff(after, axis=0).sum(axis=0), np.diff(before, axis=0).sum(axis=0)), "offsets add up"


def test_dropping_nothing_or_everything():
    ink = strokes_of(5)
    seeds = jitter.drawing_seeds(0, KEYS, 1)
    whole, ends = jitter.drop_points(ink, seeds, 0.0), jitter.drop_points(ink, seeds, 1.0)
    assert np.array_equal(whole.x, ink.x) and np.array_equal(whole.stroke_offsets, ink.stroke_offsets)
    assert np.all(np.diff(ends.stroke_offsets) == 2) and np.array_equal(ends.drawing_offsets, ink.drawing_offsets)


def test_a_closed_stroke_is_never_left_without_extent():
    triangle = [np.array([[0, 0, 0], [1, 0, 1], [0, 1, 2], [0, 0, 3]])]
    ink = Ink.from_strokes([triangle, [np.array([[0, 0, 0], [1, 1, 1], [2, 0, 2]])]])
    thin = jitter.drop_points(ink, jitter.drawing_seeds(0, KEYS[:2], 1), 1.0)
    assert np.diff(thin.point_offsets).tolist() == [4, 2]
