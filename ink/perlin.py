"""Perlin-noise augmentation of ink (SketchODE, section 4.6).

The noise is Perlin's of 2002 ("Improving noise", SIGGRAPH; reference code `ImprovedNoise.java`) in the
plane z = 0: a hashed lattice of 8 gradient directions, faded by 6t^5 - 15t^4 + 10t^3. One field bends a
whole drawing, so points that touched still touch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from numba import njit, prange

from ink.geometry import flat64
from ink.table import Ink

PERIOD = 256.0  # the lattice repeats after so many cells
SEED_X = 31.416  # the paper's eps_x and eps_y: where in the field the two displacements are read,
SEED_Y = 173.205  # far apart and off each other's lattice

_PERMUTATION = np.frombuffer(
    bytes.fromhex(
        "97 a0 89 5b 5a 0f 83 0d c9 5f 60 35 c2 e9 07 e1 8c 24 67 1e 45 8e 08 63 25 f0 15 0a 17 be 06 94"
        "f7 78 ea 4b 00 1a c5 3e 5e fc db cb 75 23 0b 20 39 b1 21 58 ed 95 38 57 ae 14 7d 88 ab a8 44 af"
        "4a a5 47 86 8b 30 1b a6 4d 92 9e e7 53 6f e5 7a 3c d3 85 e6 dc 69 5c 29 37 2e f5 28 f4 66 8f 36"
        "41 19 3f a1 01 d8 50 49 d1 4c 84 bb d0 59 12 a9 c8 c4 87 82 74 bc 9f 56 a4 64 6d c6 ad ba 03 40"
        "34 d9 e2 fa 7c 7b 05 ca 26 93 76 7e ff 52 55 d4 cf ce 3b e3 2f 10 3a 11 b6 bd 1c 2a df b7 aa d5"
        "77 f8 98 02 2c 9a a3 46 dd 99 65 9b a7 2b ac 09 81 16 27 fd 13 62 6c 6e 4f 71 e0 e8 b2 b9 70 68"
        "da f6 61 e4 fb 22 f2 c1 ee d2 90 0c bf b3 a2 f1 51 33 91 eb f9 0e ef 6b 31 c0 d6 1f b5 c7 6a 9d"
        "b8 54 cc b0 73 79 32 2d 7f 04 96 fe 8a ec cd 5d de 72 43 1d 18 48 f3 8d 80 c3 4e 42 d7 3d 9c b4"
    ),
    np.uint8,
).astype(np.int64)


def perlin2d(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return Perlin's noise of 2002 at (x, y, 0): same shape, float64, within [-1, 1], 0 on the lattice.

    Args:
        x, y: finite coordinates of one shape, in cells of the lattice.

    Raises:
        ValueError: the shapes differ.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.shape != y.shape:
        raise ValueError(f"x and y must have one shape, got {x.shape} and {y.shape}")
    out = np.empty(x.size)
    _noise_at(np.array(x.ravel()), np.array(y.ravel()), out)
    return out.reshape(x.shape)


def perlin_warp(ink: Ink, eps: np.ndarray, sigma: float, frequency: float) -> Ink:
    """Bend each drawing by a smooth random field: s' = s + sigma * p.

    p(t) = [noise(f s(t) + eps_x + eps), noise(f s(t) + eps_y + eps)] minus its centre of gravity: its mean over the
    time spent drawing (trapezoids over ink; joins have none), or over the points where that time is 0.
    Straight segments stay straight between their points: `ink.resample.subdivide` long ones first.

    Args:
        ink: N drawings.
        eps: (N, 2) place of each drawing in the field, lattice cells; see `sample_seeds`.
        sigma: strength, in the unit of the ink.
        frequency: f, lattice cells per unit of the ink.

    Returns:
        The same drawings with moved points; t untouched.

    Raises:
        ValueError: eps has another shape.
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    eps = np.array(eps, np.float64)
    if eps.shape != (len(ink), 2):
        raise ValueError(f"eps must hold one 2-vector a drawing, shape ({len(ink)}, 2), got {eps.shape}")
    x, y, t, strokes, _ = flat64(ink)
    shift = np.zeros((2, len(x)))
    _warp(x, y, t, strokes, np.array(ink.drawing_offsets, np.int64), eps, float(frequency), shift)
    return ink.with_xy(x + sigma * shift[0], y + sigma * shift[1])


def sample_seeds(seed: int, keys: Sequence[str], copy: int) -> np.ndarray:
    """Return (N, 2) float64 in [0, 256): each drawing's eps, hashed from (seed, key, copy).

    A drawing's noise thus depends on nothing else: not on order, shards or workers.
    """
    prefix = f"{int(seed)}/{int(copy)}/".encode()
    digests = b"".join(hashlib.blake2b(prefix + str(key).encode(), digest_size=16).digest() for key in keys)
    whole = np.frombuffer(digests, dtype="<u8").reshape(-1, 2) >> np.uint64(11)  # 53 bits: exact in float64
    return whole * (PERIOD / 2.0**53)


@njit(cache=True, nogil=True)
def _gradient(hashed, x, y):
    """Perlin's 12 gradients (16 with repeats) in the plane z = 0, times (x, y)."""
    h = hashed & 15
    u = x if h < 8 else y
    v = y if h < 4 else (x if h == 12 or h == 14 else 0.0)
    return (u if h & 1 == 0 else -u) + (v if h & 2 == 0 else -v)


@njit(cache=True, nogil=True)
def _noise(x, y):
    table = _PERMUTATION
    floor_x, floor_y = math.floor(x), math.floor(y)
    i, j = int(floor_x) & 255, int(floor_y) & 255
    x, y = x - floor_x, y - floor_y
    u = x * x * x * (x * (x * 6.0 - 15.0) + 10.0)
    v = y * y * y * (y * (y * 6.0 - 15.0) + 10.0)
    left, right = table[i] + j, table[(i + 1) & 255] + j
    g00 = _gradient(table[table[left & 255]], x, y)
    g10 = _gradient(table[table[right & 255]], x - 1.0, y)
    g01 = _gradient(table[table[(left + 1) & 255]], x, y - 1.0)
    g11 = _gradient(table[table[(right + 1) & 255]], x - 1.0, y - 1.0)
    low, high = g00 + u * (g10 - g00), g01 + u * (g11 - g01)
    return low + v * (high - low)


@njit(cache=True, nogil=True, parallel=True)
def _noise_at(x, y, out):
    for i in prange(len(x)):
        out[i] = _noise(x[i], y[i])


@njit(cache=True, nogil=True, parallel=True)
def _warp(x, y, t, strokes, drawings, eps, frequency, shift):
    for d in prange(len(drawings) - 1):
        first, last = strokes[drawings[d]], strokes[drawings[d + 1]]
        for i in range(first, last):
            at_x, at_y = frequency * x[i] + eps[d, 0], frequency * y[i] + eps[d, 1]
            shift[0, i] = _noise(at_x + SEED_X, at_y + SEED_X)
            shift[1, i] = _noise(at_x + SEED_Y, at_y + SEED_Y)
        total_x = total_y = duration = 0.0
        for s in range(drawings[d], drawings[d + 1]):
            for i in range(strokes[s] + 1, strokes[s + 1]):
                dt = t[i] - t[i - 1]
                duration += dt
                total_x += 0.5 * dt * (shift[0, i] + shift[0, i - 1])
                total_y += 0.5 * dt * (shift[1, i] + shift[1, i - 1])
        if duration <= 0.0:
            duration = float(last - first)
            total_x, total_y = shift[0, first:last].sum(), shift[1, first:last].sum()
        for i in range(first, last):
            shift[0, i] -= total_x / duration
            shift[1, i] -= total_y / duration
