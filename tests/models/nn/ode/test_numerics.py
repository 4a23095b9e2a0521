"""Promise: the solvers and splines give the numbers that their mathematics says, and gradients that are theirs."""

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.interpolate
import torch
import torchcde
import torchdiffeq
from torch import nn

from models.nn.ode.activations import ACTIVATIONS
from models.nn.ode.fused import solve_network, stage_times
from models.nn.ode.network import Network
from models.nn.ode.runge_kutta import METHODS, odeint
from models.nn.ode.spline import NaturalCubicSpline, derivative_matrix, hermite_matrix

DOUBLE = torch.float64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def unequal_times(count, duration=2.0, seed=3):
    gaps = 0.5 + torch.rand(count - 1, generator=generator(seed), dtype=DOUBLE)
    return torch.cat([torch.zeros(1, dtype=DOUBLE), gaps.cumsum(0)]) * (duration / gaps.sum())


def slopes(errors):
    """Observed order of convergence between successive halvings of the step."""
    return [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]


class Field(nn.Module):
    """A smooth non-autonomous field of a small network."""

    def __init__(self, size=3, seed=1):
        super().__init__()
        self.a = nn.Parameter(0.7 * torch.randn(size, 5, generator=generator(seed), dtype=DOUBLE))
        self.b = nn.Parameter(0.7 * torch.randn(5, size, generator=generator(seed + 1), dtype=DOUBLE))

    def forward(self, t, y):
        return torch.tanh(y @ self.a + t) @ self.b - 0.3 * y


def loss_gradients(solve, field, y0):
    """Gradients of one fixed scalar of the whole solution, with respect to the start and the weights."""
    y0 = y0.clone().requires_grad_()
    solution = solve(y0)
    weight = torch.linspace(-1, 1, solution.numel() // len(solution), dtype=DOUBLE).reshape(solution.shape[1:])
    loss = (solution[[1, len(solution) // 2, -1]] * weight).pow(2).sum()
    return torch.autograd.grad(loss, [y0, *field.parameters()])


def largest_difference(first, second):
    return max(float((a - b).detach().abs().max()) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_observed_order_equals_claimed_order(method):
    def field(t, y):  # y = (exp(sin t), 1 / (1 + t^2))
        return torch.stack([y[0] * torch.cos(t), -2 * t * y[1] ** 2])

    exact = torch.tensor([math.exp(math.sin(2.0)), 1 / 5], dtype=DOUBLE)
    errors = []
    for steps in (32, 64, 128, 256):
        times = torch.linspace(0, 2, steps + 1, dtype=DOUBLE)
        errors.append(float((odeint(field, torch.ones(2, dtype=DOUBLE), times, method=method)[-1] - exact).norm()))
    assert slopes(errors)[-1] == pytest.approx(METHODS[method].order, abs=0.1), errors


@pytest.mark.parametrize("method", METHODS)
def test_steps_between_times_equal_a_finer_grid(method):
    field, y0 = Field(), torch.ones(2, 3, dtype=DOUBLE)
    fine = odeint(field, y0, torch.linspace(0, 1, 13, dtype=DOUBLE), method=method)
    coarse = odeint(field, y0, torch.linspace(0, 1, 4, dtype=DOUBLE), method=method, steps=4)
    torch.testing.assert_close(coarse, fine[::4], rtol=0, atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_adjoint_gradient_converges_to_direct_gradient_at_the_methods_order(method):
    field, y0 = Field(), torch.randn(4, 3, generator=generator(5), dtype=DOUBLE)
    parameters = tuple(field.parameters())
    differences = []
    for steps in (16, 32, 64):
        times = torch.linspace(0, 1, 5, dtype=DOUBLE)
        of = {
            gradient: loss_gradients(
                lambda y, gradient=gradient, steps=steps, times=times: odeint(
                    field, y, times, method=method, steps=steps, gradient=gradient, parameters=parameters
                ),
                field,
                y0,
            )
            for gradient in ("direct", "adjoint")
        }
        differences.append(largest_difference(of["direct"], of["adjoint"]))
    assert slopes(differences)[-1] > METHODS[method].order - 0.15, differences


def test_three_eighths_rule_equals_torchdiffeq_in_values_and_both_gradients():
    field, y0, times = Field(), torch.randn(4, 3, generator=generator(6), dtype=DOUBLE), unequal_times(9)
    parameters = tuple(field.parameters())
    ours = odeint(field, y0, times, method="rk4_38")
    theirs = torchdiffeq.odeint(field, y0, times, method="rk4")
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)
    direct = loss_gradients(lambda y: odeint(field, y, times, method="rk4_38"), field, y0)
    reference = loss_gradients(lambda y: torchdiffeq.odeint(field, y, times, method="rk4"), field, y0)
    assert largest_difference(direct, reference) < 1e-11
    adjoint = loss_gradients(
        lambda y: odeint(field, y, times, method="rk4_38", gradient="adjoint", parameters=parameters), field, y0
    )
    reference = loss_gradients(lambda y: torchdiffeq.odeint_adjoint(field, y, times, method="rk4"), field, y0)
    assert largest_difference(adjoint, reference) < 1e-11


def test_solution_backwards_in_time_returns_to_the_start():
    field, y0, times = Field(), torch.ones(3, dtype=DOUBLE), torch.linspace(0, 1, 65, dtype=DOUBLE)
    there = odeint(field, y0, times)
    torch.testing.assert_close(odeint(field, there[-1], times.flip(0))[-1], y0, rtol=0, atol=1e-8)


def network(activation, size, channels, batch, seed=8, hidden=6, layers=2):
    g = generator(seed)
    shapes = [(hidden, size), *[(hidden, hidden)] * (layers - 1), (size * channels, hidden)]
    made = [
        (0.4 * torch.randn(s, generator=g, dtype=DOUBLE)).requires_grad_()
        for s in [(batch, hidden), (hidden,), *shapes, *[shape[:1] for shape in shapes[1:]]]
    ]
    return Network(made[0], made[1], tuple(made[2 : layers + 3]), tuple(made[layers + 3 :]), activation)


def field_of(net, spline=None):
    """The field of `models.nn.ode.network`, written by its formula; the path's derivative is the spline's own."""
    f = {"sin": torch.sin, "cos": torch.cos, "tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid}[
        net.activation
    ]

    def field(t, y):
        out = torch.einsum("hn,bn->bh", net.weights[0], y) + net.constant + net.time * t
        for weight, bias in zip(net.weights[1:], net.biases, strict=True):
            out = torch.einsum("oh,bh->bo", weight, f(out)) + bias
        if spline is None:
            return out
        return torch.einsum("bnc,bc->bn", out.view(*y.shape, -1), spline.derivative(t[None])[..., 0, :])

    return field


@pytest.mark.parametrize("kind", ["ode", "cde"])
@pytest.mark.parametrize(("activation", "layers"), [*((name, 2) for name in ACTIVATIONS), ("sin", 1), ("tanh", 3)])
def test_fused_solver_equals_odeint_in_values_and_gradients(activation, layers, kind):
    batch, size, times = 3, 4, unequal_times(8)
    net = network(activation, size, 1 if kind == "ode" else 2, batch, layers=layers)
    spline = path = None
    if kind == "cde":
        spline = NaturalCubicSpline(times, 0.3 * torch.randn(batch, 8, 2, generator=generator(9), dtype=DOUBLE))
        path = spline.derivative(stage_times(times)).transpose(0, 1).contiguous()
    y0 = torch.randn(batch, size, generator=generator(10), dtype=DOUBLE, requires_grad=True)
    field = field_of(net, spline)
    joined = odeint(
        lambda t, y: torch.cat([field(t, y[..., :size]), y[..., :size]], -1),
        torch.cat([y0, torch.zeros_like(y0)], -1),
        times,
    )
    states, means = solve_network(y0, net, times, path)
    steps = (times[1:] - times[:-1])[:, None, None]
    expected = joined[..., :size], (joined[1:] - joined[:-1])[..., size:] / steps
    weights = [torch.randn(part.shape, generator=generator(11), dtype=DOUBLE) for part in expected]
    gradients = []
    for found in ((states, means), expected):
        loss = sum((part.sin() * weight).sum() for part, weight in zip(found, weights, strict=True))
        gradients.append(torch.autograd.grad(loss, [y0, *net.tensors()]))
    assert largest_difference((states, means), expected) < 1e-10
    assert largest_difference(*gradients) < 1e-10


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_derivative_is_autograds(activation):
    x = torch.linspace(-3, 3, 40, dtype=DOUBLE, requires_grad=True)
    (expected,) = torch.autograd.grad(ACTIVATIONS[activation].function(x).sum(), x)
    torch.testing.assert_close(ACTIVATIONS[activation].derivative(x.detach()), expected, rtol=0, atol=1e-14)


def test_fused_solver_refuses_a_path_that_it_would_get_wrong():
    times, net, y0 = unequal_times(5), network("sin", 4, 2, 3), torch.zeros(3, 4, dtype=DOUBLE)
    with pytest.raises(ValueError, match="length 9, got length 8"):
        solve_network(y0, net, times, torch.zeros(8, 3, 2, dtype=DOUBLE))
    with pytest.raises(ValueError, match="path must be data"):
        solve_network(y0, net, times, torch.zeros(9, 3, 2, dtype=DOUBLE, requires_grad=True))


def test_cde_with_constant_matrix_on_a_straight_line_is_exact():
    times, velocity = unequal_times(6), torch.tensor([0.5, -2.0], dtype=DOUBLE)
    spline = NaturalCubicSpline(times, (times[:, None] * velocity)[None])
    net = network("tanh", 3, 2, 1)
    with torch.no_grad():
        net.weights[-1].zero_()
    matrix = net.biases[-1].detach().view(3, 2)
    exact = times[:, None] * (matrix @ velocity)
    path = spline.derivative(stage_times(times)).transpose(0, 1).contiguous()
    y0 = torch.zeros(1, 3, dtype=DOUBLE)
    torch.testing.assert_close(solve_network(y0, net, times, path)[0][:, 0], exact, rtol=0, atol=1e-13)
    torch.testing.assert_close(odeint(field_of(net, spline), y0, times)[:, 0], exact, rtol=0, atol=1e-13)


def test_linear_cde_on_a_straight_line_is_the_matrix_exponential():
    tensor = 0.6 * torch.randn(3, 3, 2, generator=generator(12), dtype=DOUBLE)  # dg = (A_c g) dX_c
    velocity, g0 = torch.tensor([0.8, -0.5], dtype=DOUBLE), torch.randn(3, generator=generator(13), dtype=DOUBLE)
    exact = torch.linalg.matrix_exp(2 * tensor @ velocity) @ g0
    errors = []
    for count in (9, 17, 33):
        times = unequal_times(count)
        spline = NaturalCubicSpline(times, times[:, None] * velocity)
        field = lambda t, g, s=spline: (tensor @ s.derivative(t[None])[0]) @ g  # noqa: E731
        errors.append(float((odeint(field, g0, times)[-1] - exact).norm()))
    assert errors[-1] < 1e-5 and slopes(errors)[-1] > 3.5, errors


def test_scalar_cde_depends_on_the_ends_of_its_path_only():
    times = torch.linspace(0, 2, 9, dtype=DOUBLE)
    values = torch.randn(9, 1, generator=generator(14), dtype=DOUBLE)
    spline = NaturalCubicSpline(times, values)
    solution = odeint(lambda t, g: g * spline.derivative(t[None])[0], torch.ones(1, dtype=DOUBLE), times, steps=64)
    torch.testing.assert_close(solution, (values - values[0]).exp(), rtol=1e-6, atol=0)


@pytest.fixture(params=["equal", "unequal", "two knots"])
def spline_case(request):
    knots = {"equal": torch.linspace(0, 5, 12, dtype=DOUBLE), "unequal": unequal_times(12, 5.0)}.get(request.param)
    knots = torch.tensor([0.0, 5.0], dtype=DOUBLE) if knots is None else knots
    values = torch.randn(3, len(knots), 2, generator=generator(15), dtype=DOUBLE)
    return NaturalCubicSpline(knots, values), knots, values, torch.linspace(0, 5, 211, dtype=DOUBLE)


def test_spline_equals_torchcde(spline_case):
    spline, knots, values, times = spline_case
    theirs = torchcde.CubicSpline(torchcde.natural_cubic_coeffs(values, knots), knots)
    expected = torch.stack([theirs.evaluate(t) for t in times], -2)
    slope = torch.stack([theirs.derivative(t) for t in times], -2)
    torch.testing.assert_close(spline.evaluate(times), expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(spline.derivative(times), slope, rtol=0, atol=1e-11)


def test_spline_equals_scipy_inside_and_outside_its_knots(spline_case):
    spline, knots, values, _ = spline_case
    times = torch.linspace(-0.5, 5.5, 101, dtype=DOUBLE)
    theirs = scipy.interpolate.CubicSpline(knots.numpy(), values.numpy(), axis=1, bc_type="natural")
    np.testing.assert_allclose(spline.evaluate(times), theirs(times.numpy()), rtol=0, atol=1e-11)
    np.testing.assert_allclose(spline.derivative(times), theirs(times.numpy(), 1), rtol=0, atol=1e-11)


def test_spline_meets_its_knots_and_is_smooth_from_both_sides(spline_case):
    spline, knots, values, _ = spline_case
    below = torch.nextafter(knots, torch.tensor(-math.inf, dtype=DOUBLE))
    torch.testing.assert_close(spline.evaluate(knots), values, rtol=0, atol=1e-14)
    torch.testing.assert_close(spline.evaluate(below), values, rtol=0, atol=1e-13)
    torch.testing.assert_close(spline.derivative(below), spline.derivative(knots), rtol=0, atol=1e-12)


def test_spline_derivative_is_autograds(spline_case):
    spline, _, _, times = spline_case
    times = times.clone().requires_grad_()
    for batch in range(3):
        for channel in range(2):
            (expected,) = torch.autograd.grad(spline.evaluate(times)[batch, :, channel].sum(), times)
            found = spline.derivative(times.detach())[batch, :, channel]
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_time_channel_has_slope_one_and_derivative_matrix_is_the_splines_derivative(spline_case):
    spline, knots, values, times = spline_case
    clock = NaturalCubicSpline(knots, knots[:, None])
    torch.testing.assert_close(clock.derivative(times), torch.ones(len(times), 1, dtype=DOUBLE), rtol=0, atol=1e-12)
    torch.testing.assert_close(derivative_matrix(knots, times) @ values, spline.derivative(times), rtol=0, atol=1e-11)


def test_wrong_knots_methods_and_gradients_are_refused():
    with pytest.raises(ValueError, match="3 knots but 4 values"):
        NaturalCubicSpline(torch.arange(3.0), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="ascending"):
        NaturalCubicSpline(torch.tensor([0.0, 1.0, 1.0]), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="method 'rk5' is unknown"):
        odeint(Field(), torch.zeros(3), torch.arange(2.0), method="rk5")
    with pytest.raises(ValueError, match="gradient 'exact' is unknown"):
        odeint(Field(), torch.zeros(3), torch.arange(2.0), gradient="exact")


def test_the_hermite_matrix_gives_scipys_curve():
    knots = unequal_times(9)
    values, slopes_at, times = torch.randn(9, dtype=DOUBLE), torch.randn(9, dtype=DOUBLE), torch.linspace(0, 2, 57)
    expected = scipy.interpolate.CubicHermiteSpline(knots.numpy(), values.numpy(), slopes_at.numpy())(times.numpy())
    found = hermite_matrix(knots, times) @ torch.cat([values, slopes_at])
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)
