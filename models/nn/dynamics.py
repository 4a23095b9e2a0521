"""The right-hand sides of SketchODE's models, and the one place that chooses how they are solved."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.nn.activations import PERIODIC
from models.nn.fused import solve_network, stage_times
from models.nn.network import Network
from models.nn.ode import odeint


class Dynamics(nn.Module):
    """An MLP with `omega`-scaled activations: F of the neural ODE, G of the neural CDE.

    Args:
        size: n of the state that it reads.
        outputs: of what it gives: n, or n * C for a CDE.
        context: size of a constant input (z); 0 for none.
        hidden: width of the hidden layers.
        layers: number of hidden layers, at least 1.
        activation: a key of `ACTIVATIONS`.
        omega: frequency of a periodic activation.
        learn_omega: learn it per layer, as sigmoid(f) * 2 omega, starting at omega (at 1 if not periodic).
        time_dependent: let it learn a dependence on time.
        output_gain: factor on the initial weights of the last layer.
    """

    def __init__(
        self,
        *,
        size: int,
        outputs: int,
        context: int,
        hidden: int,
        layers: int,
        activation: str,
        omega: float,
        learn_omega: bool,
        time_dependent: bool,
        output_gain: float,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"layers must be at least 1, got {layers}")
        self.state = nn.Linear(size, hidden)
        self.context = nn.Linear(context, hidden, bias=False) if context else None
        self.time = nn.Parameter(torch.zeros(hidden), requires_grad=time_dependent)
        self.hidden = nn.Sequential(*(nn.Linear(hidden, hidden) for _ in range(layers - 1)))
        self.output = nn.Linear(hidden, outputs)
        with torch.no_grad():
            self.output.weight.mul_(output_gain)
        self.frequency = nn.Parameter(torch.zeros(layers), requires_grad=learn_omega)
        self.activation = activation
        self.omega = omega

    def network(self, batch: int, context: Tensor | None = None, omega: float | None = None) -> Network:
        """Return the weights as the solvers want them, with the frequencies multiplied in.

        Args:
            batch: B.
            context: (B, context) constant input, or None.
            omega: replaces the trained frequency of a periodic activation (abstraction, section 5.5).
        """
        top = (self.omega if omega is None else omega) if self.activation in PERIODIC else 1.0
        frequencies = (2 * top * torch.sigmoid(self.frequency)).unbind()
        constant = self.state.bias.expand(batch, -1)
        if self.context is not None:
            constant = constant + self.context(context)
        weights, biases = [frequencies[0] * self.state.weight], []
        for frequency, layer in zip(frequencies[1:], self.hidden, strict=True):
            weight, bias = layer.parameters()
            weights.append(frequency * weight)
            biases.append(frequency * bias)
        return Network(
            constant=frequencies[0] * constant,
            time=frequencies[0] * self.time,
            weights=(*weights, self.output.weight),
            biases=(*biases, self.output.bias),
            activation=self.activation,
        )


def solve(
    start: Tensor,
    network: Network,
    times: Tensor,
    path: Tensor | None,
    method: str,
    gradient: str,
    *,
    keep: int | None = None,
    last: bool = False,
) -> tuple[Tensor, Tensor]:
    """Solve a network's equation, one step per interval of `times`.

    The direct gradient takes the fused path, the adjoint the general engine.

    Args:
        start: (B, n) state at times[0].
        network: the right-hand side.
        times: (T,) ascending.
        path: (2 T - 1, B, C) derivative of a CDE's driving path at each time and each midpoint, in order.
        method: a key of `models.nn.ode.METHODS`.
        gradient: "direct" or "adjoint".
        keep: how many of the state's components are wanted, from the first; all if None. Fewer is faster.
        last: only the last state is wanted.

    Returns:
        (T, B, keep) states, or the last as (1, B, keep), and (T - 1, B, keep) the method's mean of the state in each
        interval (none with `last`): times the step it is the increment of the integral of y, which is what a
        second-order system needs.
    """
    if gradient == "direct":
        return solve_network(start, network, times, path, method, keep, last)
    states, means = _solve_general(start, network, times, path, method, gradient)
    if last:
        return states[-1:, :, :keep], means[:0, :, :keep]
    return states[..., :keep], means[..., :keep]


def _solve_general(
    start: Tensor, network: Network, times: Tensor, path: Tensor | None, method: str, gradient: str
) -> tuple[Tensor, Tensor]:
    """Solve by `models.nn.ode`; the integral of the state rides along as extra state."""
    size, times = start.shape[-1], times.to(start)
    halves = stage_times(times)

    def field(t: Tensor, state: Tensor) -> Tensor:
        y = state[..., :size]
        slope = None if path is None else _interpolate(path, halves, t)
        return torch.cat([network(t, y, slope), y], -1)

    joined = odeint(
        field,
        torch.cat([start, torch.zeros_like(start)], -1),
        times,
        method=method,
        gradient=gradient,
        parameters=[tensor for tensor in network.tensors() if tensor.requires_grad],
    )
    states, integral = joined[..., :size], joined[..., size:]
    return states, (integral[1:] - integral[:-1]) / (times[1:] - times[:-1])[:, None, None]


def _interpolate(path: Tensor, knots: Tensor, t: Tensor) -> Tensor:
    """Return the path's derivative at t, exact at every time and midpoint: it is quadratic between times."""
    last = len(knots) - 3
    i = int(torch.searchsorted(knots, t.detach(), right=True).sub(1).clamp(0, last)) // 2 * 2
    s = (t - knots[i]) / (knots[i + 2] - knots[i])
    return (1 - s) * (1 - 2 * s) * path[i] + 4 * s * (1 - s) * path[i + 1] + s * (2 * s - 1) * path[i + 2]
