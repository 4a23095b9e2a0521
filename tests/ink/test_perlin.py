"""Promise: the augmentation is Perlin's noise of 2002, the same for a drawing in any company, and never tears ink."""

import math

import numpy as np
import pytest

from ink import perlin
from ink.resample import subdivide
from ink.table import Ink

TABLE = [int(value) for value in perlin._PERMUTATION] * 2


def improved_noise(x, y, z):
    """Ken Perlin's ImprovedNoise.java, line by line."""

    def fade(t):
        return t * t * t * (t * (t * 6 - 15) + 10)

    def lerp(t, a, b):
        return a + t * (b - a)

    def grad(code, x, y, z):
        h = code & 15
        u = x if h < 8 else y
        v = y if h < 4 else x if h in (12, 14) else z
        return (u if h & 1 == 0 else -u) + (v if h & 2 == 0 else -v)

    cx, cy, cz = math.floor(x) & 255, math.floor(y) & 255, math.floor(z) & 255
    x, y, z = x - math.floor(x), y - math.floor(y), z - math.floor(z)
    u, v, w, p = fade(x), fade(y), fade(z), TABLE
    a = p[cx] + cy
    aa, ab = p[a] + cz, p[a + 1] + cz
    b = p[cx + 1] + cy
    ba, bb = p[b] + cz, p[b + 1] + cz
    return lerp(
        w,
        lerp(
            v,
            lerp(u, grad(p[aa], x, y, z), grad(p[ba], x - 1, y, z)),
            lerp(u, grad(p[ab], x, y - 1, z), grad(p[bb], x - 1, y - 1, z)),
        ),
        lerp(
            v,
            lerp(u, grad(p[aa + 1], x, y, z - 1), grad(p[ba + 1], x - 1, y, z - 1)),
            lerp(u, grad(p[ab + 1], x, y - 1, z - 1), grad(p[bb + 1], x - 1, y - 1, z - 1)),
        ),
    )


def strokes_of(seed, count=6):
    rng = np.random.default_rng(seed)
    return Ink.from_strokes(
        [
            [
                np.column_stack([rng.uniform(-1, 1, (12, 2)), k * 2 + np.sort(rng.uniform(0, 1, 12))])
                for k in range(rng.integers(1, 4))
            ]
            for _ in range(count)
        ]
    )


def test_reference_has_the_published_table_and_value():
    assert sorted(perlin._PERMUTATION) == list(range(256))
    assert improved_noise(3.14, 42, 7) == pytest.approx(0.13691995878400012, abs=1e-15)


def test_noise_equals_the_reference_everywhere():
    at = np.random.default_rng(0).uniform(-300, 600, (2000, 2))
    expected = [improved_noise(x, y, 0.0) for x, y in at]
    assert np.allclose(perlin.perlin2d(at[:, 0], at[:, 1]), expected, atol=1e-13)


def test_noise_is_zero_on_the_lattice_and_periodic():
    i, j = np.meshgrid(np.arange(-5.0, 260), np.arange(-5.0, 260))
    assert not perlin.perlin2d(i, j).any()
    x, y = np.random.default_rng(1).uniform(0, 256, (2, 500))
    assert np.allclose(perlin.perlin2d(x, y), perlin.perlin2d(x + 256, y - 512), atol=1e-10)


def test_noise_range_mean_and_bounds():
    x, y = np.random.default_rng(2).uniform(0, 256, (2, 400_000))
    noise = perlin.perlin2d(x, y)
    assert np.abs(noise).max() <= 1.0 and noise.max() > 0.8 and noise.min() < -0.8
    assert abs(noise.mean()) < 0.01


@pytest.mark.parametrize("order", [0, 1, 2])
def test_noise_is_twice_differentiable_across_lattice_lines(order):
    """Quintic fade: value, slope and curvature agree from both sides of x = integer."""
    y = np.random.default_rng(3).uniform(0, 50, 300)
    h = 1e-3
    stencil = {0: [(1, 0)], 1: [(-1, 0), (1, 1)], 2: [(2, 0), (-5, 1), (4, 2), (-1, 3)]}[order]
    right = sum(w * perlin.perlin2d(np.full(300, 17.0 + k * h), y) for w, k in stencil) / h**order
    left = sum(w * perlin.perlin2d(np.full(300, 17.0 - k * h), y) for w, k in stencil) / (-h) ** order
    assert np.abs(right - left).max() < {0: 1e-12, 1: 1e-4, 2: 0.1}[order]  # curvature itself is of size 10


def test_warp_is_the_formula():
    ink = strokes_of(4)
    eps = perlin.sample_seeds(1, [f"k{n}" for n in range(len(ink))], 2)
    bent = perlin.perlin_warp(ink, eps, 0.15, 1.3)
    for n in range(len(ink)):
        before, after = ink.strokes(n), bent.strokes(n)
        shifts, weights = [], []
        for stroke in before:
            s = 1.3 * stroke[:, :2].astype(float) + eps[n]
            shift = [[improved_noise(*(point + seed), 0) for seed in (perlin.SEED_X, perlin.SEED_Y)] for point in s]
            dt = np.diff(stroke[:, 2].astype(float))
            shifts.append(np.array(shift))
            weights.append(0.5 * (np.append(dt, 0) + np.append(0, dt)))
        centre = np.average(np.concatenate(shifts), axis=0, weights=np.concatenate(weights))
        for old, new, shift in zip(before, after, shifts, strict=True):
            assert np.allclose(new[:, :2], old[:, :2] + 0.15 * (shift - centre), atol=1e-6)
            assert np.array_equal(new[:, 2], old[:, 2])


def test_centre_of_gravity_stays():
    ink = strokes_of(5)
    bent = perlin.perlin_warp(ink, perlin.sample_seeds(0, list("abcdef"), 1), 0.2, 1.0)
    for n in range(len(ink)):
        moved = total = 0.0
        for old, new in zip(ink.strokes(n), bent.strokes(n), strict=True):
            t = old[:, 2].astype(float)
            moved += np.trapezoid((new - old)[:, :2].astype(float), t, axis=0)
            total += t[-1] - t[0]
        assert np.abs(moved / total).max() < 1e-6


def test_centre_of_gravity_without_time_is_the_mean_of_the_points():
    ink = strokes_of(6)
    still = Ink(ink.x, ink.y, np.zeros_like(ink.t), ink.stroke_offsets, ink.drawing_offsets)
    bent = perlin.perlin_warp(still, perlin.sample_seeds(0, list("abcdef"), 1), 0.2, 1.0)
    a, b = ink.point_offsets[2:4]
    assert abs((bent.x - ink.x)[a:b].mean()) < 1e-6 and np.abs(bent.x - ink.x).max() > 0.01


def test_touching_strokes_still_touch():
    corner = [0.4, -0.3]
    ink = Ink.from_strokes(
        [[np.array(s) for s in ([[0, 0, 0], [*corner, 1]], [[*corner, 2], [1, 0, 3]], [[-1, 0, 4], [*corner, 5]])]]
    )
    first, second, third = perlin.perlin_warp(ink, np.array([[3.3, 70.1]]), 0.2, 2.0).strokes(0)
    assert np.array_equal(first[1, :2], second[0, :2]) and np.array_equal(first[1, :2], third[1, :2])
    assert np.abs(first[1, :2] - corner).max() > 1e-3


def test_seeds_depend_on_seed_key_and_copy_only():
    keys = ["quickdraw/cat/1", "quickdraw/cat/2", "ключ"]
    seeds = perlin.sample_seeds(7, keys, 3)
    assert np.array_equal(perlin.sample_seeds(7, keys[::-1], 3), seeds[::-1])
    others = [perlin.sample_seeds(8, keys, 3), perlin.sample_seeds(7, keys, 4), perlin.sample_seeds(73, keys, 3)]
    assert len(np.unique(np.concatenate([seeds, *others]).round(9), axis=0)) == 12
    assert seeds.shape == (3, 2) and seeds.min() >= 0 and seeds.max() < 256
    many = perlin.sample_seeds(0, [str(n) for n in range(4000)], 1)
    assert np.allclose(many.mean(axis=0), 128, atol=5) and np.allclose(many.std(axis=0), 256 / math.sqrt(12), atol=3)
    assert perlin.sample_seeds(0, [], 1).shape == (0, 2)


def test_a_drawing_is_bent_alike_in_any_company():
    ink = subdivide(strokes_of(8), 0.1)
    keys = list("abcdef")
    whole = perlin.perlin_warp(ink, perlin.sample_seeds(0, keys, 1), 0.15, 1.0)
    order = [4, 0, 5]
    part = perlin.perlin_warp(ink.take(order), perlin.sample_seeds(0, [keys[n] for n in order], 1), 0.15, 1.0)
    assert np.array_equal(part.x, whole.take(order).x) and np.array_equal(part.y, whole.take(order).y)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"shape \(6, 2\), got \(5, 2\)"):
        perlin.perlin_warp(strokes_of(9), np.zeros((5, 2)), 0.1, 1.0)
    with pytest.raises(ValueError, match="one shape"):
        perlin.perlin2d(np.zeros(3), np.zeros(4))
