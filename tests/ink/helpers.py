"""Ink for the tests: given by its points, or random."""

import numpy as np

from ink.table import Ink


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
