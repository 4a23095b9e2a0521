"""Promise: ink.geometry says the same as independent libraries, exact solutions and its own inverses."""

import math

import numpy as np
import pytest

from ink import geometry as g
from ink.errors import DataError
from ink.rdp import simplify
from ink.resample import from_full_sequence, full_sequence, resample_strokes, subdivide
from ink.table import Ink
from tests.ink.helpers import make, random_ink


def test_arc_length_clock_runs_over_joins_and_restarts_per_drawing():
    ink = make([[[0, 0, 9], [3, 4, 9]], [[3, 5, 9]]], [[[1, 1, 0], [1, 3, 0]]])
    assert g.arc_length_clock(ink).tolist() == [0, 5, 6, 0, 2]
    assert g.arc_length_clock(ink).dtype == np.float32


def test_a_drawing_does_not_depend_on_its_batch():
    ink = random_ink(4)
    alone = ink.take([7])
    a, b = ink.point_offsets[7], ink.point_offsets[8]
    assert np.array_equal(g.arc_length_clock(ink)[a:b], g.arc_length_clock(alone))
    assert np.array_equal(full_sequence(ink, 33)[7], full_sequence(alone, 33)[0])
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


def test_no_drawings_is_no_special_case():
    none = Ink.from_strokes([])
    assert len(simplify(none, 1.0)) == len(resample_strokes(none, 1.0)) == len(subdivide(none, 1.0)) == 0
    assert full_sequence(none, 5).shape == (0, 5, 4) and g.bounding_boxes(none).shape == (0, 4)
    assert len(g.unit_circle(none)[0]) == 0 and len(from_full_sequence(np.zeros((0, 5, 3)))) == 0


def test_empty_and_broken_ink_is_refused_with_its_place():
    hollow = Ink(np.zeros(1), np.zeros(1), np.zeros(1), np.array([0, 1, 1]), np.array([0, 2]))
    with pytest.raises(DataError, match="stroke 1 of the batch: expected one point or more"):
        g.bounding_boxes(hollow)
    with pytest.raises(DataError, match=r"drawing 1 of the batch, point 1: expected finite x, y, t, got nan"):
        resample_strokes(make([[[0, 0, 0]]], [[[0, 0, 0], [math.nan, 0, 1]]]), 0.1)
    with pytest.raises(ValueError, match="spacing must be finite and above 0"):
        resample_strokes(make([[[0, 0, 0]]]), 0.0)
    with pytest.raises(ValueError, match="2 or more samples, got 1"):
        full_sequence(make([[[0, 0, 0]]]), 1)


def test_read_only_and_narrow_buffers_are_fine():
    ink = random_ink(10)
    frozen = Ink(ink.x.copy(), ink.y.copy(), ink.t.copy(), ink.stroke_offsets, ink.drawing_offsets)
    for name in "xyt":
        getattr(frozen, name).setflags(write=False)
    assert np.array_equal(full_sequence(frozen, 20), full_sequence(ink, 20))
    assert np.array_equal(simplify(frozen, 0.1).x, simplify(ink, 0.1).x)
