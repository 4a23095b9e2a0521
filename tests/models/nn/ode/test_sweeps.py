"""Promise: the compiled sweeps give the torch sweeps' numbers, in both precisions, however many threads share them."""

import numpy as np
import pytest
import torch

from models.nn.ode import compiled, fused, kernel, sweeps
from models.nn.ode.activations import ACTIVATIONS
from models.nn.ode.fused import solve_network, stage_times
from models.nn.ode.network import Network
from models.nn.ode.runge_kutta import METHODS
from models.nn.ode.steps import Grid

TIMES = torch.tensor([0.0, 0.3, 0.5, 1.0, 1.2], dtype=torch.float64)


def problem(channels, *, batch=6, size=5, hidden=12, layers=2, activation="sin", dtype=torch.float64):
    """Start, network and path of random numbers; channels = 0 is an ODE."""
    g = torch.Generator().manual_seed(4)
    shapes = [(hidden, size), *[(hidden, hidden)] * (layers - 1), (size * max(channels, 1), hidden)]
    weights = [0.5 * torch.randn(shape, generator=g, dtype=torch.float64) for shape in shapes]
    vectors = [0.5 * torch.randn(shape[0], generator=g, dtype=torch.float64) for shape in shapes]
    constant = torch.randn(batch, hidden, generator=g, dtype=torch.float64)
    path = torch.randn(2 * len(TIMES) - 1, batch, channels, generator=g, dtype=torch.float64) if channels else None
    start = torch.randn(batch, size, generator=g, dtype=torch.float64)
    leaves = [of.to(dtype).requires_grad_() for of in (start, constant, *vectors, *weights)]
    biases, made = leaves[3 : 3 + layers], leaves[3 + layers :]
    network = Network(leaves[1], leaves[2], tuple(made), tuple(biases), activation)
    return leaves, network, None if path is None else path.to(dtype)


def solved(leaves, network, path, method="rk4", **wanted):
    """States, means, and the gradients of one scalar of both."""
    states, means = solve_network(leaves[0], network, TIMES, path, method, **wanted)
    loss = states.sin().sum() + (means * torch.linspace(-1, 1, means.shape[-1], dtype=means.dtype)).sum()
    return states.detach(), means.detach(), *torch.autograd.grad(loss, leaves)


def assert_close(found, expected, tolerance):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.double(), b.double(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("channels", [0, 3])
@pytest.mark.parametrize(
    ("activation", "method", "layers"),
    [*((name, "rk4", 2) for name in ACTIVATIONS), *(("sin", name, 2) for name in METHODS), ("sin", "rk4", 1)],
)
def test_compiled_sweeps_equal_the_torch_sweeps(activation, method, layers, channels, monkeypatch):
    of = problem(channels, activation=activation, layers=layers)
    found = solved(*of, method)
    single = solved(*problem(channels, activation=activation, layers=layers, dtype=torch.float32), method)
    with monkeypatch.context() as patch:
        patch.setattr(fused, "compiled", sweeps)
        patch.setattr(sweeps, "UNIT_MULTIPLE", 1, raising=False)
        patch.setattr(sweeps, "ROW_MULTIPLE", 1, raising=False)
        expected = solved(*of, method)
    assert_close(found, expected, 1e-11)
    assert_close(single, expected, 2e-4)


@pytest.mark.parametrize("channels", [0, 3])
def test_what_is_not_wanted_changes_nothing(channels):
    of = problem(channels)
    states, means = solve_network(of[0][0], of[1], TIMES, of[2])
    few, few_means = solve_network(of[0][0], of[1], TIMES, of[2], keep=2)
    last, none = solve_network(of[0][0], of[1], TIMES, of[2], last=True)
    with torch.no_grad():
        again = solve_network(of[0][0], of[1], TIMES, of[2])
    assert_close((few, few_means, last), (states[..., :2], means[..., :2], states[-1:]), 1e-13)
    assert torch.equal(again[0], states) and torch.equal(again[1], means) and len(none) == 0


@pytest.mark.parametrize("channels", [0, 3])
def test_gradients_do_not_depend_on_how_many_steps_are_walked_back_at_once(channels, monkeypatch):
    of = problem(channels)
    whole = solved(*of)
    for rows in (1, 80):  # of 4 evaluations by 8 drawings a step: one step at once, and two
        monkeypatch.setattr(fused, "_ROWS_AT_ONCE", rows)
        assert_close(solved(*of), whole, 1e-12)


@pytest.mark.parametrize("channels", [0, 3])
def test_threads_share_the_drawings_bit_for_bit(channels):
    g = torch.Generator().manual_seed(5)
    batch, hidden, count = 52, 16, 3
    path = torch.randn(4 * count, batch, channels, generator=g) if channels else None
    lift = torch.randn(channels, hidden, generator=g) if channels else None
    last = torch.randn(max(channels, 1), hidden, hidden, generator=g)
    inner, bias = torch.randn(hidden, hidden, generator=g), torch.randn(hidden, generator=g)
    start, of_total = torch.randn(batch, hidden, generator=g), torch.randn(batch, len(last), hidden, generator=g)
    of_read, readout = torch.randn(4 * count, batch, 5, generator=g), torch.randn(5, hidden, generator=g)
    grid, results, threads = Grid((0.1,) * count, METHODS["rk4"]), [], torch.get_num_threads()
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            solved = compiled.forward(grid, "sin", True, path, start, bias, lift, last, readout, [inner], [bias])
            given = of_read, readout, of_total, torch.ones_like(start)
            back = compiled.backward(grid, *given, solved[1], path, last, [inner])
            results.append((*solved, *(of for of in back if of is not None)))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, results[0], strict=True))


def test_a_drawing_alone_equals_it_in_a_batch_of_any_size():
    leaves, network, path = problem(3, batch=9)
    together = solve_network(leaves[0], network, TIMES, path)[0]
    for i in range(9):
        one = Network(network.constant[i : i + 1], network.time, network.weights, network.biases, network.activation)
        alone = solve_network(leaves[0][i : i + 1], one, TIMES, path[:, i : i + 1].contiguous())[0]
        torch.testing.assert_close(alone, together[:, i : i + 1], rtol=0, atol=1e-13)


def test_sine_and_cosine_of_the_kernel_are_numpys():
    x = np.concatenate([np.linspace(-40, 40, 4001), np.linspace(-1e-3, 1e-3, 21), [0.0, -0.0, 1000.0]])
    x = np.concatenate([x, np.zeros(-len(x) % 8)]).astype(np.float32)
    value, slope = np.empty_like(x), np.empty_like(x)
    kernel._activate(kernel.CODES["sin"], x, value, slope)
    np.testing.assert_allclose(value, np.sin(x.astype(np.float64)), rtol=0, atol=1.2e-7)
    np.testing.assert_allclose(slope, np.cos(x.astype(np.float64)), rtol=0, atol=1.2e-7)
    for bad in (np.nan, np.inf):
        kernel._activate(kernel.CODES["sin"], np.full(8, bad, np.float32), value[:8], slope[:8])
        assert np.isnan(value[:8]).all() and np.isnan(slope[:8]).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_state_that_is_not_finite_is_never_made_finite(activation):
    leaves, network, _ = problem(0, activation=activation, dtype=torch.float32)
    start = leaves[0].detach().clone()
    start[2] = torch.nan
    states = solve_network(start, network, TIMES)[0]
    assert bool(states[:, 2].isnan().all()) and bool(states[:, [0, 1, 3, 4, 5]].isfinite().all())


def test_stage_times_hold_the_midpoints():
    assert stage_times(TIMES).tolist() == pytest.approx([0, 0.15, 0.3, 0.4, 0.5, 0.75, 1.0, 1.1, 1.2])
