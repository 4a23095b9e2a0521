"""Promise: the numbers on new drawings say how near to real ones they are, and how much of those they cover."""

import numpy as np
import pytest
import torch

from ink import geometry, metrics
from ink.table import Drawings, Ink
from models.base import FullSequence
from pipeline import evaluate
from pipeline.dataset import Dataset


def drawings(count, seed):
    rng = np.random.default_rng(seed)
    made = [[np.column_stack([np.cumsum(rng.normal(size=(9, 2)), 0), np.arange(9)])] for _ in range(count)]
    unit = geometry.unit_circle(Ink.from_strokes(made))[0]
    return Drawings.build(unit, [f"s/{seed}/{i}" for i in range(count)], ["a"] * count)


@pytest.fixture(scope="module")
def data():
    return Dataset("toy", drawings(12, 0), drawings(3, 1), drawings(8, 2), ("a",), "d" * 64, "t" * 64)


def test_drawings_of_the_test_set_are_near_and_cover_as_much_as_they_are(data):
    every = evaluate.sample_scores(data.test, data)
    assert every["sample_nearest"] == every["sample_coverage"] == 0
    one = evaluate.sample_scores(data.test.take([3] * 5), data)
    apart = [metrics.chamfer(data.test.ink.take([3]), data.test.ink.take([n]), 0.05)[0] for n in range(8)]
    assert one["sample_nearest"] == 0
    assert one["sample_coverage"] == pytest.approx(np.mean(apart))


def test_equally_many_training_drawings_set_the_mark_whatever_the_size_and_place(data):
    found = evaluate.sample_scores(data.train, data)
    assert found["sample_nearest"] == pytest.approx(found["sample_nearest_train"])
    assert found["sample_coverage"] == pytest.approx(found["sample_coverage_train"])
    ink = data.train.ink
    moved = data.train.with_ink(Ink(3 * ink.x + 7, 3 * ink.y - 2, ink.t, ink.stroke_offsets, ink.drawing_offsets))
    assert evaluate.sample_scores(moved, data) == pytest.approx(found, rel=1e-4)


class Circle(torch.nn.Module):
    """Samples circles of random size."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def sample(self, count, generator):
        angle = torch.linspace(0, 6, 20)
        size = torch.rand(count, 1, generator=generator)
        return torch.stack([size * angle.cos(), size * angle.sin(), torch.zeros(count, 20)], -1)

    def to_ink(self, decoded):
        return FullSequence(20).to_ink(decoded)


def test_samples_are_the_seeds_and_a_model_without_is_refused():
    first, again, other = (evaluate.samples(Circle(), 4, seed) for seed in (5, 5, 6))
    assert first.column("key").tolist() == ["sample000", "sample001", "sample002", "sample003"]
    assert np.array_equal(first.ink.x, again.ink.x) and not np.array_equal(first.ink.x, other.ink.x)
    with pytest.raises(TypeError, match="Linear cannot make new drawings"):
        evaluate.samples(torch.nn.Linear(2, 2), 4, 0)
