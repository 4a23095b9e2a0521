"""Promise: the metrics are what their docstrings say: they agree with SciPy, PyTorch and hand counts."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from ink.errors import DataError
from ink.metrics import chamfer, huber
from ink.resample import full_sequence, resample_strokes
from ink.table import Ink


def random_ink(seed, count=15, size=1.0):
    rng = np.random.default_rng(seed)
    return Ink.from_strokes(
        [
            [
                np.column_stack([size * np.cumsum(rng.normal(scale=0.2, size=(k, 2)), axis=0), 50 * i + np.arange(k)])
                for i, k in enumerate(rng.integers(1, 20, 3))
            ]
            for _ in range(count)
        ]
    )


def moved(ink, dx, dy):
    return Ink(ink.x + np.float32(dx), ink.y + np.float32(dy), ink.t, ink.stroke_offsets, ink.drawing_offsets)


@pytest.mark.parametrize("size", [0.5, 8.0])
def test_huber_is_pytorchs_smooth_l1(size):
    a, b = random_ink(0, size=size), random_ink(1, size=size)
    first, second = (torch.from_numpy(full_sequence(ink, 75)[:, :, :2]).double() for ink in (a, b))
    terms = torch.nn.functional.smooth_l1_loss(first - first[:, :1], second - second[:, :1], beta=1.0, reduction="none")
    assert np.allclose(huber(a, b), terms.sum(2).mean(1).numpy(), rtol=1e-12)


def test_huber_by_hand():
    a = Ink.from_strokes([[np.array([[5, 5, 0], [9, 5, 1]])]])
    b = Ink.from_strokes([[np.array([[0, 0, 0], [0, 0.5, 7]])]])
    # five moments: x differs by 0 1 2 3 4, y by 0 .125 .25 .375 .5
    expected = (0.5 + 1.5 + 2.5 + 3.5 + 0.5 * (0.125**2 + 0.25**2 + 0.375**2 + 0.5**2)) / 5
    assert huber(a, b, n=5)[0] == pytest.approx(expected)


def test_huber_ignores_place_and_speed_but_not_order():
    ink = random_ink(2)
    assert huber(ink, moved(ink, 4, -2)).max() < 1e-9
    slow = Ink(ink.x, ink.y, ink.t * 4, ink.stroke_offsets, ink.drawing_offsets)
    assert huber(ink, slow).max() < 1e-9
    backwards = Ink.from_strokes([[stroke[::-1] for stroke in ink.strokes(n)[::-1]] for n in range(15)])
    backwards = Ink(backwards.x, backwards.y, ink.t, backwards.stroke_offsets, ink.drawing_offsets)
    assert huber(ink, backwards).min() > 1e-3


def test_chamfer_equals_scipy():
    a, b = random_ink(3), random_ink(4)
    fine_a, fine_b = resample_strokes(a, 0.02), resample_strokes(b, 0.02)
    for n, ours in enumerate(chamfer(a, b)):
        p, q = (np.concatenate(ink.strokes(n))[:, :2] for ink in (fine_a, fine_b))
        assert ours == pytest.approx(0.5 * (cKDTree(q).query(p)[0].mean() + cKDTree(p).query(q)[0].mean()), rel=1e-5)


def test_chamfer_of_parallel_lines_is_their_distance():
    a = Ink.from_strokes([[np.array([[0, 0, 0], [4, 0, 1]])]])
    assert chamfer(a, moved(a, 0, 0.3))[0] == pytest.approx(0.3, rel=1e-6)
    dot, other = (Ink.from_strokes([[np.array([[x, 0, 0]])]]) for x in (0, 3))
    assert chamfer(dot, other)[0] == pytest.approx(3)


def test_chamfer_sees_ink_only():
    ink = random_ink(5)
    assert not chamfer(ink, ink).any()
    turned = Ink.from_strokes([[s[::-1] for s in ink.strokes(n)[::-1]] for n in range(len(ink))])
    assert chamfer(ink, turned).max() < 1e-6  # order, direction and joins do not matter
    a, b = random_ink(6), random_ink(7)
    assert np.allclose(chamfer(a, b), chamfer(b, a), rtol=1e-12)
    assert np.allclose(chamfer(moved(a, 2, 2), moved(b, 2, 2)), chamfer(a, b), atol=1e-5)


def test_metrics_do_not_depend_on_the_batch():
    a, b = random_ink(8), random_ink(9)
    for metric in (huber, chamfer):
        assert np.array_equal(metric(a.take([5, 2]), b.take([5, 2])), metric(a, b)[[5, 2]])
        assert metric(Ink.from_strokes([]), Ink.from_strokes([])).shape == (0,)


def test_mismatch_and_diverged_reconstructions_are_refused():
    ink = random_ink(10)
    with pytest.raises(ValueError, match="got 15 originals and 1 reconstructions"):
        huber(ink, ink.take([0]))
    with pytest.raises(DataError, match="drawing 0 of the batch, point 0: expected finite"):
        chamfer(ink, moved(ink, math.nan, 0))
