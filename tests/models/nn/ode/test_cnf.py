"""Promise: a density carried by an ODE is the true density, by whichever trace and along whichever path."""

import itertools
import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from models.nn.ode import cnf
from models.nn.ode.activations import ACTIVATIONS
from models.nn.ode.fused import solve_network
from models.nn.ode.network import Network

DOUBLE = torch.float64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random(*shape, seed):
    return torch.randn(shape, generator=generator(seed), dtype=DOUBLE)


def network(layers=2, size=4, batch=3, activation="sin", hidden=6, gain=0.7):
    sizes = [size, *[hidden] * layers, size]
    weights = tuple(
        gain * random(b, a, seed=i) / math.sqrt(a) * 1.5 for i, (a, b) in enumerate(itertools.pairwise(sizes))
    )
    biases = tuple(random(len(weight), seed=20 + i) for i, weight in enumerate(weights[1:]))
    return Network(random(batch, hidden, seed=31), random(hidden, seed=32), weights, biases, activation)


@pytest.fixture(params=[1, 2, 3])
def net(request):
    return network(request.param)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_closed_form_of_a_network_is_the_trace_by_vector_jacobian_products(net, activation):
    net = Network(net.constant, net.time, net.weights, net.biases, activation)
    times, states = torch.linspace(-1, 2, 5, dtype=DOUBLE), random(5, 3, 4, seed=2)
    noise = cnf.rademacher(states[0], generator(5))
    closed, estimate = cnf.network_trace(net, times, states), cnf.network_trace(net, times, states, noise)
    for i, t in enumerate(times):
        jacobian = torch.autograd.functional.jacobian(lambda y, t=t: net(t, y).sum(0), states[i])  # (n, B, n)
        truth = jacobian.diagonal(dim1=0, dim2=2).sum(-1)
        torch.testing.assert_close(cnf.exact_trace(net, t, states[i]), truth, rtol=0, atol=1e-13)
        torch.testing.assert_close(closed[i], truth, rtol=0, atol=1e-13)
        quadratic = torch.einsum("bi,ibj,bj->b", noise, jacobian, noise)
        torch.testing.assert_close(cnf.hutchinson(noise)(net, t, states[i]), quadratic, rtol=0, atol=1e-13)
        torch.testing.assert_close(estimate[i], quadratic, rtol=0, atol=1e-13)


def test_the_mean_of_hutchinsons_estimates_is_the_exact_trace_within_its_error():
    net, count = network(size=8, batch=20000, hidden=9), 20000
    y = random(1, 8, seed=3).expand(count, -1)
    constant = net.constant[:1].expand(count, -1)
    net = Network(constant, net.time, net.weights, net.biases, net.activation)
    t = torch.tensor(0.3, dtype=DOUBLE)
    one = Network(constant[:1], net.time, net.weights, net.biases, net.activation)
    exact = float(cnf.exact_trace(one, t, y[:1]).detach())
    for noise in (cnf.rademacher(y, generator(6)), random(count, 8, seed=7)):
        estimates = cnf.hutchinson(noise)(net, t, y).detach()
        error = float(estimates.std()) / math.sqrt(count)
        assert abs(float(estimates.mean()) - exact) < 4 * error
        assert 0 < error < 0.05 * max(1.0, abs(exact))


@pytest.mark.parametrize("how", ["exact", "hutchinson, all signs"])
def test_on_a_linear_equation_the_density_is_the_gaussian_of_the_matrix_exponential(how):
    matrix, mean, spread = random(3, 3, seed=8), random(3, seed=9), random(3, 3, seed=10)
    covariance = spread @ spread.t() + torch.eye(3, dtype=DOUBLE)
    start = torch.distributions.MultivariateNormal(mean, covariance)
    y0 = random(4, 3, seed=11)
    times = torch.tensor([0.0, 0.4, 1.1], dtype=DOUBLE)

    def field(t, y):
        return y @ matrix.t()

    signs = [torch.tensor(s, dtype=DOUBLE).expand(4, 3) for s in itertools.product([-1, 1], repeat=3)]
    traces = [cnf.exact_trace] if how == "exact" else [cnf.hutchinson(noise) for noise in signs]
    found = [cnf.transport(field, y0, start.log_prob(y0), times, trace=trace, steps=25) for trace in traces]
    log_density = torch.stack([log_q for _, log_q in found]).mean(0)  # over all signs: the trace itself
    for i, t in enumerate(times):
        flow = scipy.linalg.expm(float(t) * matrix.numpy())
        at = scipy.stats.multivariate_normal(flow @ mean.numpy(), flow @ covariance.numpy() @ flow.T)
        states = y0.numpy() @ flow.T
        np.testing.assert_allclose(found[0][0][i].numpy(), states, rtol=0, atol=1e-6)
        np.testing.assert_allclose(log_density[i].numpy(), at.logpdf(states), rtol=0, atol=1e-6)


@torch.no_grad()
def test_along_a_fused_solution_the_density_is_that_of_the_joint_solve_at_the_fourth_order(net):
    y0, log_q = random(3, 4, seed=12), random(3, seed=13)
    finest = torch.linspace(0, 2, 161, dtype=DOUBLE)
    truth = cnf.transport(net, y0, log_q, finest, trace=cnf.exact_trace)[1][-1]
    errors = []
    for steps in (10, 20, 40):
        times = torch.linspace(0, 2, steps + 1, dtype=DOUBLE)
        states = solve_network(y0, net, times)[0]
        errors.append(float((cnf.log_density_along(net, times, states, log_q)[-1] - truth).abs().max()))
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert orders[-1] == pytest.approx(4, abs=0.5), (errors, orders)
    noise = cnf.rademacher(y0, generator(14))
    sampled = cnf.transport(net, y0, log_q, times, trace=cnf.hutchinson(noise))[1]
    along = cnf.log_density_along(net, times, states, log_q, noise)
    torch.testing.assert_close(along, sampled, rtol=0, atol=20 * errors[-1])


def test_gradients_of_the_density_are_those_of_the_joint_solve(net):
    y0, log_q = random(3, 4, seed=12).requires_grad_(), random(3, seed=13)
    times = torch.linspace(0, 1, 21, dtype=DOUBLE)
    tensors = [tensor.clone().requires_grad_() for tensor in net.tensors()]
    count = len(net.weights)
    leaf = Network(tensors[0], tensors[1], tuple(tensors[2 : 2 + count]), tuple(tensors[2 + count :]), net.activation)
    joint = cnf.transport(leaf, y0, log_q, times, trace=cnf.exact_trace)[1][-1].sum()
    along = cnf.log_density_along(leaf, times, solve_network(y0, leaf, times)[0], log_q)[-1].sum()
    for first, second in zip(
        *(torch.autograd.grad(value, [y0, *tensors], materialize_grads=True) for value in (joint, along)), strict=True
    ):
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1, 2])
def test_the_flow_keeps_the_mass_and_its_density_is_where_the_samples_are(size):
    """Integrate exp(log q) at the end over a grid there, by solving the flow backwards from the grid."""
    net = network(2, size=size, batch=1, gain=0.5)
    side = torch.linspace(-8, 8, 801 if size == 1 else 121, dtype=DOUBLE)
    grid = torch.cartesian_prod(*[side] * size).reshape(-1, size)
    times, zeros = torch.linspace(0, 1, 13, dtype=DOUBLE), torch.zeros(size, dtype=DOUBLE)
    back = times.flip(0)
    states = solve_network(grid, net, back)[0]
    gained = cnf.log_density_along(net, back, states, torch.zeros(len(grid), dtype=DOUBLE))[-1]
    density = torch.exp(cnf.gaussian_log_density(states[-1], zeros, zeros) - gained)
    cell = float(side[1] - side[0]) ** size
    assert float(density.sum()) * cell == pytest.approx(1, abs=1e-4)
    assert float(gained.abs().max()) > 0.2, "the flow changes the density"
    moved = solve_network(random(20000, size, seed=15), net, times)[0][-1]
    torch.testing.assert_close(moved.mean(0), (density[:, None] * grid).sum(0) * cell, rtol=0, atol=0.03)
    torch.testing.assert_close(
        moved.var(0), (density[:, None] * grid**2).sum(0) * cell - moved.mean(0) ** 2, rtol=0, atol=0.06
    )


def test_gaussian_log_density_is_scipys():
    value, mean, log_std = random(3, 5, seed=16), random(5, seed=17), random(5, seed=18)
    expected = scipy.stats.norm(mean.numpy(), np.exp(log_std.numpy())).logpdf(value.numpy()).sum(-1)
    np.testing.assert_allclose(cnf.gaussian_log_density(value, mean, log_std).numpy(), expected, rtol=1e-13)
