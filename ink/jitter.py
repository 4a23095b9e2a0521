"""Augmentation of ink by independent noise, by affine maps and by dropped points: what Perlin's noise is held against.

Every number is drawn from (seed of the drawing, its place in the drawing) by a counter generator, SplitMix64 (Steele,
Lea and Flood, 2014, "Fast splittable pseudorandom number generators"), over whole buffers at once: what happens to a
drawing depends neither on its neighbours nor on order or workers.

Legend: N drawings, P points.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ink.geometry import bounding_boxes
from ink.table import Ink

_GAMMA = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's step, and the two multipliers of its mixer
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def drawing_seeds(seed: int, keys: Sequence[str], copy: int) -> np.ndarray:
    """Return (N,) uint64: each drawing's seed, hashed from (seed, key, copy)."""
    prefix = f"{int(seed)}/{int(copy)}/".encode()
    digests = b"".join(hashlib.blake2b(prefix + str(key).encode(), digest_size=8).digest() for key in keys)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def uniform(seeds: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Return float64 in (0, 1]: for each seed, draw `number` (counted from 0) of its sequence; shapes broadcast."""
    z = np.asarray(seeds, np.uint64) + (np.asarray(number).astype(np.uint64) + np.uint64(1)) * _GAMMA
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    z ^= z >> np.uint64(31)
    return ((z >> np.uint64(11)) + np.uint64(1)) * 2.0**-53


def gaussian(ink: Ink, seeds: np.ndarray, sigma: float) -> Ink:
    """Move every point on its own: x and y each by a normal deviate of standard deviation sigma.

    Args:
        ink: N drawings.
        seeds: (N,) uint64; see `drawing_seeds`.
        sigma: in the unit of the ink.
    """
    owner, place = _places(ink)
    u, v = (uniform(seeds[owner], 2 * place + axis) for axis in (0, 1))
    radius = sigma * np.sqrt(-2.0 * np.log(u))  # Box and Muller's pair
    x, y = ink.x + radius * np.cos(2 * np.pi * v), ink.y + radius * np.sin(2 * np.pi * v)
    return ink.with_xy(x, y)


def affine(ink: Ink, seeds: np.ndarray, rotation_deg: float, stretch: float, shear: float) -> Ink:
    """Map each drawing by one random matrix about the origin: rotation times shear times stretch of either axis.

    Args:
        ink: N drawings.
        seeds: (N,) uint64; see `drawing_seeds`.
        rotation_deg: largest angle, either way; uniform within.
        stretch: x and y are each scaled by a factor uniform in [1 - stretch, 1 + stretch].
        shear: x gains up to so much of y, either way; uniform within.
    """
    angle, wide, high, slant = (2 * uniform(seeds, np.full(len(ink), axis)) - 1 for axis in range(4))
    angle, wide, high, slant = np.deg2rad(rotation_deg) * angle, 1 + stretch * wide, 1 + stretch * high, shear * slant
    cos, sin = np.cos(angle), np.sin(angle)
    owner, _ = _places(ink)
    x = (wide * cos)[owner] * ink.x + (high * (slant * cos - sin))[owner] * ink.y
    y = (wide * sin)[owner] * ink.x + (high * (slant * sin + cos))[owner] * ink.y
    return ink.with_xy(x, y)


def drop_points(ink: Ink, seeds: np.ndarray, probability: float) -> Ink:
    """Leave out inner points of strokes, each with the same probability; as offsets, the next takes over its own.

    The second augmentation of SketchRNN's public code (there with probability 0.10). First and
    last points of strokes stay, and a drawing that would lose all extent (a closed stroke's ends alone) stays whole.

    Args:
        ink: N drawings.
        seeds: (N,) uint64; see `drawing_seeds`.
        probability: of each inner point.

    Raises:
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    owner, place = _places(ink)
    keep = uniform(seeds[owner], place) > probability
    keep[ink.stroke_offsets[:-1]] = keep[ink.stroke_offsets[1:] - 1] = True
    box = bounding_boxes(_where(ink, keep))
    return _where(ink, keep | ((box[:, 0] == box[:, 2]) & (box[:, 1] == box[:, 3]))[owner])


def _where(ink: Ink, keep: np.ndarray) -> Ink:
    offsets = np.concatenate([[0], np.cumsum(keep)])[ink.stroke_offsets]
    return Ink(ink.x[keep], ink.y[keep], ink.t[keep], offsets, ink.drawing_offsets)


def _places(ink: Ink) -> tuple[np.ndarray, np.ndarray]:
    """Return each point's drawing and its number in that drawing, (P,) int64 both."""
    points = ink.point_offsets
    owner = np.repeat(np.arange(len(ink)), np.diff(points))
    return owner, np.arange(ink.n_points) - points[:-1][owner]
