"""Continuous normalizing flows: the log-density of what an ODE carries along.

Where y follows dy/dt = F(t, y) from a random start, its log-density follows the instantaneous change of
variables, d log q / dt = -tr(dF/dy) (Chen et al. 2018, theorem 1; SketchODE, appendix A). The trace comes

- exactly: for any field by n vector-Jacobian products (`exact_trace`, the reference); for a `Network`, an
  MLP, by products of its weights with the derivatives of its activations (`network_trace`), no autograd inside;
- by Hutchinson's estimator e' (dF/dy) e, whose mean over e with E[e e'] = I is the trace: one product, whatever n
  (Grathwohl et al. 2019), for any field or a `Network`.

`transport` solves state and density together through `models.nn.ode.runge_kutta`. `log_density_along` is the fast
path: it takes a solution that is there already (of the fused solver) and integrates the trace along it by Simpson's
rule, in one batched call and not step by step, at the fourth order of RK4 itself.

Legend: B batch, T times, n state, H hidden.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from models.nn.ode.activations import ACTIVATIONS
from models.nn.ode.network import Network
from models.nn.ode.runge_kutta import Field, odeint

Trace = Callable[[Field, Tensor, Tensor], Tensor]
"""(field, t: scalar, y: (B, n)) -> (B,) trace of the Jacobian, or an estimate of it."""


def exact_trace(field: Field, t: Tensor, y: Tensor) -> Tensor:
    """Return (B,) tr(dF/dy) by n vector-Jacobian products. Rows of y must not influence each other.

    Args:
        field: (t, (B, n)) -> (B, n).
        t: scalar.
        y: (B, n).
    """
    with torch.enable_grad():
        y = y if y.requires_grad else y.detach().requires_grad_()
        slope = field(t, y)
        total = torch.zeros_like(slope[:, 0])
        for i in range(y.shape[1]):
            total = total + _product(slope[:, i].sum(), y, None)[:, i]
        return total


def hutchinson(noise: Tensor) -> Trace:
    """Return the estimator of the trace that uses one vector-Jacobian product with `noise`.

    The same noise all along a trajectory keeps the equation an ordinary one.

    Args:
        noise: (B, n) with mean 0 and unit covariance, see `rademacher`.
    """

    def trace(field: Field, t: Tensor, y: Tensor) -> Tensor:
        with torch.enable_grad():
            y = y if y.requires_grad else y.detach().requires_grad_()
            return (_product(field(t, y), y, noise) * noise).sum(-1)

    return trace


def rademacher(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return signs, +1 or -1, of the shape of `like`: the noise of least variance for Hutchinson's estimator."""
    coins = torch.randint(0, 2, like.shape, generator=generator, device=like.device)
    return (2 * coins - 1).to(like.dtype)


def transport(
    field: Field, y0: Tensor, log_density: Tensor, times: Tensor, *, trace: Trace, method: str = "rk4", steps: int = 1
) -> tuple[Tensor, Tensor]:
    """Carry states and their log-density from times[0] along the field.

    Args:
        field: (t, (B, n)) -> (B, n).
        y0: (B, n) states at times[0].
        log_density: (B,) of y0, nats.
        times: (T,) monotone.
        trace: `exact_trace`, or `hutchinson(noise)`.
        method: a key of `models.nn.ode.runge_kutta.METHODS`; steps: of the solver between two times.

    Returns:
        (T, B, n) states and (T, B) log-densities.
    """

    def both(t: Tensor, state: Tensor) -> Tensor:
        y = state[:, :-1]
        return torch.cat([field(t, y), -trace(field, t, y)[:, None]], -1)

    joined = odeint(both, torch.cat([y0, log_density[:, None]], -1), times, method=method, steps=steps)
    return joined[..., :-1], joined[..., -1]


def network_trace(network: Network, times: Tensor, states: Tensor, noise: Tensor | None = None) -> Tensor:
    """Return (T, B) tr(dF/dy) of a network along states, in closed form.

    With D_k the derivative of layer k's activation, the Jacobian is W D_K W_K ... D_1 W_1. For one hidden layer the
    trace is d_1 . diag(W_1 W); for two it is d_1 (W_1 W * W_2') d_2: a matrix that is made once, and one product.

    Args:
        network: not of a CDE.
        times: (T,).
        states: (T, B, n).
        noise: (B, n); with it e' (dF/dy) e instead, Hutchinson's estimate.
    """
    return _trace(network, _derivatives(network, times, states)[0], noise)


def log_density_along(
    network: Network, times: Tensor, states: Tensor, log_density: Tensor, noise: Tensor | None = None
) -> Tensor:
    """Return (T, B) log-densities along a solution, from that at its start.

    Simpson's rule over each interval, the state in its middle from the cubic Hermite curve: fourth order.

    Args:
        network: whose equation the states solve.
        times: (T,).
        states: (T, B, n) solution at the times.
        log_density: (B,) of states[0], nats.
        noise: (B, n) for Hutchinson's estimate; None: the exact trace.
    """
    at_times, slopes = _derivatives(network, times, states)
    h = (times[1:] - times[:-1])[:, None, None]
    middle = (states[1:] + states[:-1]) / 2 + h / 8 * (slopes[:-1] - slopes[1:])
    between = _derivatives(network, (times[1:] + times[:-1]) / 2, middle)[0]
    ends, middles = _trace(network, at_times, noise), _trace(network, between, noise)
    pieces = h[..., 0] / 6 * (ends[:-1] + 4 * middles + ends[1:])
    return log_density - torch.cat([torch.zeros_like(pieces[:1]), torch.cumsum(pieces, 0)])


def gaussian_log_density(value: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Return the log-density in nats of independent Gaussians, summed over the last axis."""
    scaled = (value - mean) * torch.exp(-log_std)
    return (-0.5 * scaled**2 - log_std - 0.5 * math.log(2 * math.pi)).sum(-1)


def _product(output: Tensor, y: Tensor, vector: Tensor | None) -> Tensor:
    """Return vector' (d output / dy), itself differentiable."""
    (found,) = torch.autograd.grad(output, y, vector, create_graph=True, materialize_grads=True)
    return found


def _derivatives(network: Network, times: Tensor, states: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return the derivative of each hidden layer's activation, (T, B, H) each, and dy/dt, (T, B, n)."""
    act = ACTIVATIONS[network.activation]
    before = states @ network.weights[0].t() + network.constant + times[:, None, None] * network.time
    derivatives = []
    for weight, bias in zip(network.weights[1:], network.biases, strict=True):
        derivatives.append(act.derivative(before))
        before = act.function(before) @ weight.t() + bias
    return derivatives, before


def _trace(network: Network, derivatives: list[Tensor], noise: Tensor | None) -> Tensor:
    first, *inner, last = network.weights
    if noise is not None:
        tangent = noise @ first.t()
        for derivative, weight in zip(derivatives, (*inner, last), strict=True):
            tangent = (derivative * tangent) @ weight.t()
        return (tangent * noise).sum(-1)
    loop = first @ last  # (H, H): from the last hidden layer through the state to the first
    if not inner:
        return derivatives[0] @ loop.diagonal()
    if len(inner) == 1:
        return ((derivatives[0] @ (loop * inner[0].t())) * derivatives[1]).sum(-1)
    chain = derivatives[1].unsqueeze(-1) * inner[0]  # D_2 W_2, (T, B, H, H)
    for derivative, weight in zip(derivatives[2:], inner[1:], strict=True):
        chain = derivative.unsqueeze(-1) * (weight @ chain)
    return torch.einsum("tbi,ij,tbji->tb", derivatives[0], loop, chain)
