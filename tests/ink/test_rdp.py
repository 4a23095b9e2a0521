"""Promise: Ramer-Douglas-Peucker here keeps the points that independent libraries keep, but for ties."""

import math
import time

import numpy as np
import orjson
import pytest
from rdp import rdp
from simplification.cutil import simplify_coords_idx

from ink.rdp import rdp_mask, simplify
from tests.ink.helpers import random_ink
from tests.ink.rdp_truth import follows_rdp, kept, segment_distance
from tests.stages.helpers import mirror


def crate_rdp(points, epsilon, last_wins):
    """RDP in plain Python with the formula of the Rust crate, and either rule for equal distances."""
    keep, waiting = {0, len(points) - 1}, [(0, len(points) - 1)]
    while waiting:
        a, b = waiting.pop()
        (ax, ay), (bx, by) = points[a], points[b]
        dx, dy = bx - ax, by - ay
        best, farthest = -1.0, a
        for i in range(a + 1, b):
            px, py = points[i][0] - ax, points[i][1] - ay
            along = (px * dx + py * dy) / (dx * dx + dy * dy) if dx or dy else 0.0
            if along <= 0:
                d = math.hypot(px, py)
            elif along >= 1:
                d = math.hypot(points[i][0] - bx, points[i][1] - by)
            else:
                d = abs((px * dy - py * dx) / (dx * dx + dy * dy)) * math.hypot(dx, dy)
            if d > best or (last_wins and d == best):
                best, farthest = d, i
        if best > epsilon:
            keep.add(farthest)
            waiting += [(a, farthest), (farthest, b)]
    return sorted(keep)


def test_rdp_equals_simplification_on_random_strokes():
    rng = np.random.default_rng(0)
    strokes = [np.cumsum(rng.normal(size=(rng.integers(1, 80), 2)), axis=0) for _ in range(3000)]
    epsilon = rng.choice([0.1, 0.5, 1.0, 2.0], 3000)
    flat = np.concatenate(strokes)
    offsets = np.concatenate([[0], np.cumsum([len(stroke) for stroke in strokes])])
    mask = rdp_mask(flat[:, 0], flat[:, 1], offsets, epsilon)
    for s, stroke in enumerate(strokes):
        ours = np.flatnonzero(mask[offsets[s] : offsets[s + 1]]).tolist()
        assert ours == list(simplify_coords_idx(stroke, epsilon[s])), f"stroke {s}, epsilon {epsilon[s]}"


def test_rdp_differs_from_simplification_only_where_distances_tie():
    rng = np.random.default_rng(1)
    differing = 0
    for _ in range(600):
        stroke = np.cumsum(rng.integers(-3, 4, size=(rng.integers(1, 40), 2)), axis=0).astype(np.float64)
        epsilon = rng.choice([0.5, 1.0, 2.0, 3.0])
        ours, theirs = kept(stroke, epsilon), list(simplify_coords_idx(stroke, epsilon))
        if ours != theirs:
            assert ours == crate_rdp(stroke.tolist(), epsilon, last_wins=False)
            assert theirs == crate_rdp(stroke.tolist(), epsilon, last_wins=True)
            differing += 1
    assert 150 < differing < 300, f"{differing} of 600 integer strokes tie and differ; about 220 were expected"


def test_rdp_equals_rdp_package_with_segment_distance():
    rng = np.random.default_rng(2)
    for _ in range(200):
        stroke = np.cumsum(rng.normal(size=(rng.integers(2, 40), 2)), axis=0)
        expected = np.flatnonzero(rdp(stroke, 0.7, dist=segment_distance, return_mask=True))
        assert kept(stroke, 0.7) == expected.tolist()


@pytest.mark.parametrize(
    ("points", "epsilon", "expected"),
    [
        ([[3, 4]], 1, [0]),
        ([[0, 0], [0, 0]], 1, [0, 1]),
        ([[2, 2]] * 5, 0, [0, 4]),
        ([[0, 0], [1, 1], [2, 0]], 1.0, [0, 2]),  # not farther than epsilon: dropped
        ([[0, 0], [1, 1], [2, 0]], 0.999, [0, 1, 2]),
        ([[0, 0], [5, 0], [2, 0]], 1.0, [0, 1, 2]),  # on the line, off the segment
        ([[0, 0], [5, 0], [0, 0]], 1.0, [0, 1, 2]),  # closed
        ([[0, 0], [1, 5], [2, 5], [3, 5], [4, 0]], 4.9, [0, 1, 4]),  # a tie: the first is kept
    ],
)
def test_rdp_special_strokes(points, epsilon, expected):
    assert kept(points, epsilon) == expected


def test_rdp_of_a_long_stroke_is_quick_and_within_epsilon():
    turn = np.linspace(0, 60 * np.pi, 200_000)
    spiral = np.stack([turn * np.cos(turn), turn * np.sin(turn)], axis=1)
    kept(spiral[:10], 0.1)
    begin = time.perf_counter()
    index = kept(spiral, 0.1)
    assert time.perf_counter() - begin < 5.0
    a, b = spiral[index[:-1]], spiral[index[1:]]
    owner = np.clip(np.searchsorted(index, np.arange(len(spiral)), side="right") - 1, 0, len(a) - 1)
    chord = (b - a)[owner]
    along = np.clip(((spiral - a[owner]) * chord).sum(1) / (chord**2).sum(1), 0, 1)
    assert np.linalg.norm(spiral - a[owner] - along[:, None] * chord, axis=1).max() <= 0.1 + 1e-12


def test_rdp_worst_case_depth_neither_recurses_nor_overflows():
    saw = np.stack([np.arange(3000.0), np.arange(3000) % 2 * np.linspace(1, 2, 3000)], axis=1)
    assert len(kept(saw, 0.0)) == 3000


def test_rdp_refuses_a_bad_epsilon():
    for epsilon in (-1.0, math.nan):
        with pytest.raises(ValueError, match="epsilon must be 0 or more"):
            rdp_mask(np.zeros(2), np.zeros(2), np.array([0, 2]), epsilon)


def test_rdp_equals_simplification_on_real_drawings_but_for_ties():
    """Some categories; `benchmarks/thinning.py` compares every stroke of the mirror, and the package `rdp` too."""
    paths = sorted((mirror() / "quickdraw" / "full" / "raw").glob("*.ndjson"))[::16]
    equal = ties = 0
    for line in (line for path in paths for line in path.read_bytes().splitlines()[:12]):
        for x, y, _ in orjson.loads(line)["drawing"]:
            stroke = np.stack([x, y], axis=1).astype(np.float64)
            ours, theirs = kept(stroke, 2.0), list(simplify_coords_idx(stroke, 2.0))
            equal += ours == theirs
            if ours != theirs:
                assert follows_rdp(ours, stroke, 2.0) and follows_rdp(theirs, stroke, 2.0)
                ties += 1
    assert 0 < ties < 0.15 * equal


def test_what_tells_ties_from_faults_refuses_other_choices():
    rng = np.random.default_rng(7)
    for _ in range(100):
        stroke = np.cumsum(rng.normal(size=(30, 2)), axis=0)
        right = kept(stroke, 0.5)
        assert follows_rdp(right, stroke, 0.5)
        for other in (right[:-1], right[1:], sorted({0, 29, *rng.integers(1, 29, 5).tolist()}), list(range(30))):
            assert other == right or not follows_rdp(other, stroke, 0.5)
        inner = right[1:-1]
        for gone in inner:  # without a point that was the farthest, and beyond epsilon, at its step
            assert not follows_rdp([index for index in right if index != gone], stroke, 0.5)


def test_simplify_takes_an_epsilon_per_drawing_and_keeps_structure():
    ink = random_ink(3)
    epsilon = np.random.default_rng(3).uniform(0, 0.5, len(ink))
    thin = simplify(ink, epsilon)
    assert np.array_equal(thin.drawing_offsets, ink.drawing_offsets)
    for n in range(len(ink)):
        for before, after in zip(ink.strokes(n), thin.strokes(n), strict=True):
            index = kept(before[:, :2], epsilon[n])
            assert np.array_equal(after, before[index])
