"""Promise: ink.resample says the same as independent interpolation, cases by hand and its own inverses."""

import math

import numpy as np
import pytest

from ink.geometry import arc_length_clock
from ink.resample import from_full_sequence, full_sequence, resample_strokes, subdivide
from ink.table import Ink
from tests.ink.helpers import make, random_ink


def test_full_sequence_by_hand():
    ink = make([[[0, 0, 0], [2, 0, 2]], [[2, 4, 4], [0, 4, 8]]])
    sampled = full_sequence(ink, 9)[0]
    assert sampled[:, 0].tolist() == [0, 1, 2, 2, 2, 1.5, 1, 0.5, 0]
    assert sampled[:, 1].tolist() == [0, 0, 0, 2, 4, 4, 4, 4, 4]
    assert sampled[:, 2].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0]  # up strictly inside the join only
    assert sampled[:, 3].tolist() == list(range(9))
    by_length = full_sequence(ink, 9, by_time=False)[0]
    assert by_length[:, 0].tolist() == [0, 1, 2, 2, 2, 2, 2, 1, 0]
    assert by_length[:, 2].tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0]
    assert by_length[:, 3].tolist() == [0, 1, 2, 2.5, 3, 3.5, 4, 6, 8]


def test_full_sequence_agrees_with_numpy_interpolation():
    ink = random_ink(6)
    sampled = full_sequence(ink, 50)
    for n in range(len(ink)):
        points = np.concatenate(ink.strokes(n)).astype(np.float64)
        when = np.linspace(points[0, 2], points[-1, 2], 50)
        for axis in range(2):
            assert np.allclose(sampled[n, :, axis], np.interp(when, points[:, 2], points[:, axis]), atol=1e-5)
        inside = np.zeros(50, dtype=bool)
        for a, b in zip(ink.strokes(n)[:-1], ink.strokes(n)[1:], strict=True):
            inside |= (when > a[-1, 2] + 1e-5) & (when < b[0, 2] - 1e-5)
        assert np.array_equal(sampled[n, :, 2] > 0.5, inside)


def test_full_sequence_without_a_clock():
    timeless = make([[[0, 0, 5], [3, 0, 5]], [[3, 1, 5]]])
    sampled = full_sequence(timeless, 5)[0]
    assert sampled[:, 0].tolist() == [0, 1, 2, 3, 3] and sampled[:, 3].tolist() == [5, 6, 7, 8, 9]
    assert full_sequence(make([[[2, 3, 1]]]), 4)[0].tolist() == [[2, 3, 0, 1]] * 4
    assert full_sequence(make([[[2, 3, 1]] * 3, [[2, 3, 1]]]), 4)[0].tolist() == [[2, 3, 0, 1]] * 4
    jump = full_sequence(make([[[0, 0, 0], [1, 0, 1], [9, 0, 1], [10, 0, 2]]]), 5)[0]
    assert jump[:, 0].tolist() == [0, 0.5, 9, 9.5, 10]  # the moment of the jump shows the place after it
    still = full_sequence(make([[[0, 0, 0], [4, 0, 0], [4, 0, 1]]]), 3)[0]
    assert still[:, 0].tolist() == [0, 4, 4]  # starts at the first point even if that moment is over at once


def test_full_sequence_round_trip():
    rng = np.random.default_rng(7)
    drawings = []
    for _ in range(20):
        lengths = rng.integers(3, 9, rng.integers(1, 5))
        ticks, drawing = 0, []
        for length in lengths:
            drawing.append(np.column_stack([rng.normal(size=(length, 2)), ticks + np.arange(length)]))
            ticks += length + 1  # one sample falls inside each join
        drawings.append(drawing)
    ink = Ink.from_strokes(drawings)
    for n in range(len(ink)):
        one = ink.take([n])
        back = from_full_sequence(full_sequence(one, int(one.t[-1]) + 1))
        assert np.array_equal(back.stroke_offsets, one.stroke_offsets)
        for name in "xyt":
            assert np.allclose(getattr(back, name), getattr(one, name), atol=1e-5)


def test_from_full_sequence_cuts_at_pen_up():
    pen = np.array([[0, 0.4, 0.9, 0.1, 0.6], [1, 1, 1, 1, 1], [0.51, 0.5, 0, 0, 0]])
    points = np.stack([np.arange(15.0).reshape(3, 5), np.zeros((3, 5)), pen], axis=2)
    ink = from_full_sequence(points, duration=2.0)
    assert [[stroke[:, 0].tolist() for stroke in ink.strokes(n)] for n in range(3)] == [
        [[0, 1], [3]],
        [[5]],
        [[11, 12, 13, 14]],
    ]
    assert ink.t.tolist() == [0, 0.5, 1.5, 0, 0.5, 1, 1.5, 2]
    with pytest.raises(ValueError, match=r"\(N, n, 3 or 4\)"):
        from_full_sequence(points[0])


def test_resample_strokes_keeps_ends_and_spacing():
    ink = random_ink(8)
    fine = resample_strokes(ink, 0.05)
    assert np.array_equal(fine.drawing_offsets, ink.drawing_offsets)
    for n in range(len(ink)):
        for before, after in zip(ink.strokes(n), fine.strokes(n), strict=True):
            assert np.array_equal(before[[0, -1]], after[[0, -1]])
            length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(before[:, :2].astype(float), axis=0).T))])
            assert len(after) == (1 if len(before) == 1 else max(1, math.ceil(length[-1] / 0.05 - 1e-9)) + 1)
            where = np.linspace(0, length[-1], len(after))
            for axis in range(3):
                assert np.allclose(after[:, axis], np.interp(where, length, before[:, axis]), atol=1e-5)
    assert np.all(np.diff(fine.t)[np.diff(np.repeat(np.arange(len(fine)), np.diff(fine.point_offsets))) == 0] >= 0)


def test_resample_of_a_line_is_exact():
    ink = make([[[0, 0, 0], [1, 0, 4], [3, 0, 8]], [[5, 5, 9]], [[1, 1, 9], [1, 1, 10]]])
    first, dot, still = resample_strokes(ink, 1.0).strokes(0)
    assert first.tolist() == [[0, 0, 0], [1, 0, 4], [2, 0, 6], [3, 0, 8]]
    assert dot.tolist() == [[5, 5, 9]] and still.tolist() == [[1, 1, 9], [1, 1, 10]]


def test_subdivide_inserts_in_long_segments_only():
    ink = make([[[0, 0, 0], [1, 0, 1], [4, 0, 4]], [[9, 9, 5]]], [[[0, 0, 0], [0, 0, 1]]])
    fine = subdivide(ink, 1.5)
    assert [stroke.tolist() for stroke in fine.strokes(0)] == [
        [[0, 0, 0], [1, 0, 1], [2.5, 0, 2.5], [4, 0, 4]],
        [[9, 9, 5]],
    ]
    assert fine.strokes(1)[0].tolist() == [[0, 0, 0], [0, 0, 1]]
    ink = random_ink(9)
    fine = subdivide(ink, 0.1)
    inside = np.ones(fine.n_points - 1, dtype=bool)
    inside[fine.stroke_offsets[1:-1] - 1] = False
    assert np.hypot(np.diff(fine.x), np.diff(fine.y))[inside].max() <= 0.1 + 1e-5
    vertices = set(zip(fine.x.tolist(), fine.y.tolist(), fine.t.tolist(), strict=True))
    assert vertices >= set(zip(ink.x.tolist(), ink.y.tolist(), ink.t.tolist(), strict=True))
    assert np.isclose(arc_length_clock(fine)[-1], arc_length_clock(ink)[-1], rtol=1e-5)
