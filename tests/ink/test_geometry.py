"""Promise: ink.geometry says the same as independent libraries, exact solutions and its own inverses."""

import math

import numpy as np
import pytest

from ink import geometry as g
from ink.errors import DataError
from ink.table import Ink
from tests.ink.rdp_truth import kept


def make(*drawings):
    return Ink.from_strokes([[np.asarray(stroke, np.float32) for stroke in drawing] for drawing in drawings])


def random_ink(seed, count=40, walk=0.2):
    rng = np.random.default_rng(seed)
    drawings = []
    for _ in range(count):
        clock, drawing = 0.0, []
        for _ in range(rng.integers(1, 6)):
            points = rng.integers(1, 40)
            t = clock + np.cumsum(rng.uniform(0.01, 0.1, points))
            clock = t[-1] + rng.uniform(0.01, 0.3)
            xy = rng.normal(size=2) + np.cumsum(rng.normal(scale=walk, size=(points, 2)), axis=0)
            drawing.append(np.column_stack([xy, t]))
        drawings.append(drawing)
    return Ink.from_strokes(drawings)


def test_simplify_takes_an_epsilon_per_drawing_and_keeps_structure():
    ink = random_ink(3)
    epsilon = np.random.default_rng(3).uniform(0, 0.5, len(ink))
    thin = g.simplify(ink, epsilon)
    assert np.array_equal(thin.drawing_offsets, ink.drawing_offsets)
    for n in range(len(ink)):
        for before, after in zip(ink.strokes(n), thin.strokes(n), strict=True):
            index = kept(before[:, :2], epsilon[n])
            assert np.array_equal(after, before[index])


def test_arc_length_clock_runs_over_joins_and_restarts_per_drawing():
    ink = make([[[0, 0, 9], [3, 4, 9]], [[3, 5, 9]]], [[[1, 1, 0], [1, 3, 0]]])
    assert g.arc_length_clock(ink).tolist() == [0, 5, 6, 0, 2]
    assert g.arc_length_clock(ink).dtype == np.float32


def test_a_drawing_does_not_depend_on_its_batch():
    ink = random_ink(4)
    alone = ink.take([7])
    a, b = ink.point_offsets[7], ink.point_offsets[8]
    assert np.array_equal(g.arc_length_clock(ink)[a:b], g.arc_length_clock(alone))
    assert np.array_equal(g.full_sequence(ink, 33)[7], g.full_sequence(alone, 33)[0])
    assert np.array_equal(g.unit_circle(ink)[0].take([7]).x, g.unit_circle(alone)[0].x)


def test_unit_circle_is_centred_touches_the_circle_and_inverts():
    ink = random_ink(5)
    far = Ink(ink.x * 300 + 500, ink.y * 100 - 40, ink.t, ink.stroke_offsets, ink.drawing_offsets)
    unit, cx, cy, scale = g.unit_circle(far)
    box = g.bounding_boxes(unit)
    assert np.allclose(box[:, :2] + box[:, 2:], 0, atol=1e-6)
    radius = np.maximum.reduceat(np.hypot(unit.x, unit.y), unit.point_offsets[:-1])
    one_point = np.diff(far.point_offsets) == 1
    assert np.allclose(radius[~one_point], 1, atol=1e-6)
    back = g.restore(unit, cx, cy, scale)
    assert np.allclose(back.x, far.x, rtol=1e-6, atol=1e-3) and np.allclose(back.y, far.y, rtol=1e-6, atol=1e-3)


def test_unit_circle_of_a_point_has_scale_1():
    unit, cx, cy, scale = g.unit_circle(make([[[7, 8, 0], [7, 8, 1]], [[7, 8, 2]]]))
    assert (cx[0], cy[0], scale[0]) == (7, 8, 1) and not unit.x.any() and not unit.y.any()


def test_full_sequence_by_hand():
    ink = make([[[0, 0, 0], [2, 0, 2]], [[2, 4, 4], [0, 4, 8]]])
    sampled = g.full_sequence(ink, 9)[0]
    assert sampled[:, 0].tolist() == [0, 1, 2, 2, 2, 1.5, 1, 0.5, 0]
    assert sampled[:, 1].tolist() == [0, 0, 0, 2, 4, 4, 4, 4, 4]
    assert sampled[:, 2].tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0]  # up strictly inside the join only
    assert sampled[:, 3].tolist() == list(range(9))
    by_length = g.full_sequence(ink, 9, by_time=False)[0]
    assert by_length[:, 0].tolist() == [0, 1, 2, 2, 2, 2, 2, 1, 0]
    assert by_length[:, 2].tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0]
    assert by_length[:, 3].tolist() == [0, 1, 2, 2.5, 3, 3.5, 4, 6, 8]


def test_full_sequence_agrees_with_numpy_interpolation():
    ink = random_ink(6)
    sampled = g.full_sequence(ink, 50)
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
    sampled = g.full_sequence(timeless, 5)[0]
    assert sampled[:, 0].tolist() == [0, 1, 2, 3, 3] and sampled[:, 3].tolist() == [5, 6, 7, 8, 9]
    assert g.full_sequence(make([[[2, 3, 1]]]), 4)[0].tolist() == [[2, 3, 0, 1]] * 4
    assert g.full_sequence(make([[[2, 3, 1]] * 3, [[2, 3, 1]]]), 4)[0].tolist() == [[2, 3, 0, 1]] * 4
    jump = g.full_sequence(make([[[0, 0, 0], [1, 0, 1], [9, 0, 1], [10, 0, 2]]]), 5)[0]
    assert jump[:, 0].tolist() == [0, 0.5, 9, 9.5, 10]  # the moment of the jump shows the place after it
    still = g.full_sequence(make([[[0, 0, 0], [4, 0, 0], [4, 0, 1]]]), 3)[0]
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
        back = g.from_full_sequence(g.full_sequence(one, int(one.t[-1]) + 1))
        assert np.array_equal(back.stroke_offsets, one.stroke_offsets)
        for name in "xyt":
            assert np.allclose(getattr(back, name), getattr(one, name), atol=1e-5)


def test_from_full_sequence_cuts_at_pen_up():
    pen = np.array([[0, 0.4, 0.9, 0.1, 0.6], [1, 1, 1, 1, 1], [0.51, 0.5, 0, 0, 0]])
    points = np.stack([np.arange(15.0).reshape(3, 5), np.zeros((3, 5)), pen], axis=2)
    ink = g.from_full_sequence(points, duration=2.0)
    assert [[stroke[:, 0].tolist() for stroke in ink.strokes(n)] for n in range(3)] == [
        [[0, 1], [3]],
        [[5]],
        [[11, 12, 13, 14]],
    ]
    assert ink.t.tolist() == [0, 0.5, 1.5, 0, 0.5, 1, 1.5, 2]
    with pytest.raises(ValueError, match=r"\(N, n, 3 or 4\)"):
        g.from_full_sequence(points[0])


def test_resample_strokes_keeps_ends_and_spacing():
    ink = random_ink(8)
    fine = g.resample_strokes(ink, 0.05)
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
    first, dot, still = g.resample_strokes(ink, 1.0).strokes(0)
    assert first.tolist() == [[0, 0, 0], [1, 0, 4], [2, 0, 6], [3, 0, 8]]
    assert dot.tolist() == [[5, 5, 9]] and still.tolist() == [[1, 1, 9], [1, 1, 10]]


def test_subdivide_inserts_in_long_segments_only():
    ink = make([[[0, 0, 0], [1, 0, 1], [4, 0, 4]], [[9, 9, 5]]], [[[0, 0, 0], [0, 0, 1]]])
    fine = g.subdivide(ink, 1.5)
    assert [stroke.tolist() for stroke in fine.strokes(0)] == [
        [[0, 0, 0], [1, 0, 1], [2.5, 0, 2.5], [4, 0, 4]],
        [[9, 9, 5]],
    ]
    assert fine.strokes(1)[0].tolist() == [[0, 0, 0], [0, 0, 1]]
    ink = random_ink(9)
    fine = g.subdivide(ink, 0.1)
    inside = np.ones(fine.n_points - 1, dtype=bool)
    inside[fine.stroke_offsets[1:-1] - 1] = False
    assert np.hypot(np.diff(fine.x), np.diff(fine.y))[inside].max() <= 0.1 + 1e-5
    vertices = set(zip(fine.x.tolist(), fine.y.tolist(), fine.t.tolist(), strict=True))
    assert vertices >= set(zip(ink.x.tolist(), ink.y.tolist(), ink.t.tolist(), strict=True))
    assert np.isclose(g.arc_length_clock(fine)[-1], g.arc_length_clock(ink)[-1], rtol=1e-5)


def test_no_drawings_is_no_special_case():
    none = Ink.from_strokes([])
    assert len(g.simplify(none, 1.0)) == len(g.resample_strokes(none, 1.0)) == len(g.subdivide(none, 1.0)) == 0
    assert g.full_sequence(none, 5).shape == (0, 5, 4) and g.bounding_boxes(none).shape == (0, 4)
    assert len(g.unit_circle(none)[0]) == 0 and len(g.from_full_sequence(np.zeros((0, 5, 3)))) == 0


def test_empty_and_broken_ink_is_refused_with_its_place():
    hollow = Ink(np.zeros(1), np.zeros(1), np.zeros(1), np.array([0, 1, 1]), np.array([0, 2]))
    with pytest.raises(DataError, match="stroke 1 of the batch: expected one point or more"):
        g.bounding_boxes(hollow)
    with pytest.raises(DataError, match=r"drawing 1 of the batch, point 1: expected finite x, y, t, got nan"):
        g.resample_strokes(make([[[0, 0, 0]]], [[[0, 0, 0], [math.nan, 0, 1]]]), 0.1)
    with pytest.raises(ValueError, match="spacing must be finite and above 0"):
        g.resample_strokes(make([[[0, 0, 0]]]), 0.0)
    with pytest.raises(ValueError, match="2 or more samples, got 1"):
        g.full_sequence(make([[[0, 0, 0]]]), 1)


def test_read_only_and_narrow_buffers_are_fine():
    ink = random_ink(10)
    frozen = Ink(ink.x.copy(), ink.y.copy(), ink.t.copy(), ink.stroke_offsets, ink.drawing_offsets)
    for name in "xyt":
        getattr(frozen, name).setflags(write=False)
    assert np.array_equal(g.full_sequence(frozen, 20), g.full_sequence(ink, 20))
    assert np.array_equal(g.simplify(frozen, 0.1).x, g.simplify(ink, 0.1).x)
