"""Promise: samples at their own times mean the same whatever drawings lie beside them and fills the padding."""

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from models.nn.ode.ragged import Samples, at_own_times
from models.nn.ode.spline import derivative_matrix

COUNTS = (2, 3, 9, 30, 17)


def samples(counts=COUNTS, longest=None, filler=float("nan"), seed=0):
    """Random values at random times; the padding holds `filler`."""
    rng = np.random.default_rng(seed)
    longest = longest or max(counts)
    times, values = np.full((len(counts), longest), filler), np.full((len(counts), longest, 3), filler)
    for row, count in enumerate(counts):
        steps = rng.uniform(0.05, 1.0, count - 1)
        times[row, :count] = np.concatenate([[0], np.cumsum(steps) / steps.sum()]) * 5
        values[row, :count] = rng.normal(size=(count, 3))
    valid = torch.arange(longest) < torch.tensor(counts)[:, None]
    return Samples(torch.from_numpy(times), torch.from_numpy(values), valid)


def test_the_derivative_is_that_of_scipys_natural_spline():
    made, at = samples(), torch.linspace(0, 5, 41, dtype=torch.float64)
    found = made.derivative(at)
    assert found.shape == (41, len(COUNTS), 3)
    for row, count in enumerate(COUNTS):
        times, values = made.times[row, :count].numpy(), made.values[row, :count].numpy()
        if count == 2:
            expected = np.broadcast_to((values[1] - values[0]) / (times[1] - times[0]), (41, 3))
        else:
            expected = CubicSpline(times, values, bc_type="natural")(at.numpy(), 1)
        np.testing.assert_allclose(found[:, row].numpy(), expected, rtol=1e-9, atol=1e-9)


def test_shared_times_give_the_derivative_of_uniform_sampling():
    knots, at = torch.linspace(0, 5, 20, dtype=torch.float64), torch.linspace(0, 5, 51, dtype=torch.float64)
    values = torch.randn(4, 20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = Samples(knots.expand(4, -1), values, torch.ones(4, 20, dtype=torch.bool)).derivative(at)
    expected = torch.einsum("qt,btc->qbc", derivative_matrix(knots, at), values)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("filler", [0.0, -3.0, 1e30, float("nan")])
def test_neither_padding_nor_neighbours_alter_a_drawings_spline(filler):
    at = torch.linspace(0, 5, 23, dtype=torch.float64)
    together = samples(longest=40, filler=filler).derivative(at)
    plain = samples()
    for row, count in enumerate(COUNTS):
        alone = Samples(
            plain.times[row : row + 1, :count], plain.values[row : row + 1, :count], plain.valid[row : row + 1, :count]
        )
        torch.testing.assert_close(together[:, row : row + 1], alone.derivative(at), rtol=0, atol=1e-11)


def test_the_union_holds_every_time_once_and_gives_each_drawing_its_own_back():
    made = samples(counts=(4, 6, 6))
    shared = Samples(made.times[[0, 1, 1]], made.values, made.valid)
    union, where = shared.union()
    assert len(union) == 4 + 6 - 2  # the ends are common
    assert bool((union[1:] > union[:-1]).all())
    signal = torch.stack([union * (row + 1) for row in range(3)], 1).unsqueeze(-1)  # (U, B, 1)
    own = at_own_times(signal, where)[..., 0]
    for row in range(3):
        assert torch.equal(own[row, shared.valid[row]], shared.times[row, shared.valid[row]] * (row + 1))
    assert bool((where[~shared.valid] == 0).all())
