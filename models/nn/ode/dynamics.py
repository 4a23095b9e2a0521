"""The right-hand sides of SketchODE's models, and the one place that chooses how they are solved."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from models.nn.ode.activations import PERIODIC
from models.nn.ode.fused import Solved, solve_network, stage_times
from models.nn.ode.network import Network
from models.nn.ode.runge_kutta import odeint
from models.nn.ode.spline import hermite_matrix
from models.nn.recompute import in_pieces

Path = Tensor | Callable[[int, int], Tensor]

GRADIENTS = {
    "direct": "backpropagation through the steps; memory grows with their number",
    "adjoint": "the same gradient in constant memory: a few states are kept, the rest is computed again",
    "continuous": "a second solve backwards in time (Chen et al. 2018), as torchdiffeq's adjoint",
}

_STEPS_IN_PIECE = 16  # of the adjoint, between states that it could start from


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
    path: Path | None,
    method: str,
    gradient: str,
    *,
    keep: int | None = None,
    last: bool = False,
) -> tuple[Tensor, Tensor]:
    """Solve a network's equation, one step per interval of `times`.

    Args:
        start: (B, n) state at times[0].
        network: the right-hand side.
        times: (T,) ascending.
        path: (2 T - 1, B, C) derivative of a CDE's driving path at each time and each midpoint, in order, or what
            gives it from step `first` to step `end` (2 (end - first) + 1 of them), so that it need not all be held.
        method: a key of `models.nn.ode.runge_kutta.METHODS`.
        gradient: a key of `GRADIENTS`.
        keep: how many of the state's components are wanted, from the first; all if None. Fewer is faster.
        last: only the last state is wanted.

    Returns:
        (T, B, keep) states, or the last as (1, B, keep), and (T - 1, B, keep) the method's mean of the state in each
        interval (none with `last`): times the step it is the increment of the integral of y, which is what a
        second-order system needs.
    """
    keep = keep or start.shape[-1]
    if gradient == "adjoint":
        return _solve_in_pieces(start, network, times, path, method, keep, last)
    whole = path(0, len(times) - 1) if callable(path) else path
    if gradient == "direct":
        return solve_network(start, network, times, whole, method, keep, last)
    states, means = _solve_general(start, network, times, whole, method)
    if last:
        return states[-1:, :, :keep], means[:0, :, :keep]
    return states[..., :keep], means[..., :keep]


def solve_curve(
    start: Tensor,
    network: Network,
    times: Tensor,
    moments: Sequence[float],
    method: str,
    gradient: str,
    *,
    order: int,
    keep: int,
) -> Tensor:
    """Solve a' = F(a, t), or a'' = F(a', t) with a = 0 at first, and return the curve a at any moments.

    Between the solver's steps the curve is the cubic through its values and slopes at both ends.

    Args:
        start: (B, n) a, or a', at times[0].
        network, times, method, gradient: as of `solve`.
        moments: Q ascending numbers, at which the curve is wanted.
        order: 1 or 2.
        keep: how many components of a are wanted, from the first.

    Returns:
        (Q, B, keep).
    """
    position = start.new_zeros(len(start), keep)
    size = start.shape[-1]
    if gradient != "adjoint":
        solved = solve(start, network, times, None, method, gradient, keep=keep if order == 2 else size)
        return _curve(network, position, solved, times, moments, order)[0]
    pieces, owned = _pieces(times), _owned(times, moments)

    def run(i: int, carried: Sequence[Tensor], weights: Sequence[Tensor]) -> tuple[Sequence[Tensor], Tensor]:
        first, end = pieces[i]
        here, held = times[first : end + 1], network.holding(weights)
        solved = Solved.of(carried[0], held, here, None, method, keep=keep if order == 2 else size)
        curve, position = _curve(held, carried[1], solved.states(), here, owned[i], order)
        return (solved.last(size), position), curve

    return in_pieces(run, len(pieces), (start, position), network.tensors())[0]


def _curve(
    network: Network,
    position: Tensor,
    solved: tuple[Tensor, Tensor],
    times: Tensor,
    moments: Sequence[float],
    order: int,
) -> tuple[Tensor, Tensor]:
    """Return the curve at the moments, (Q, B, keep), and where it ends, from where it begins: `position` (B, keep)."""
    states, means = solved
    keep = position.shape[-1]
    if order == 1:
        values, slopes = states[..., :keep], network(times.to(states)[:, None, None], states)[..., :keep]
    else:
        steps = (times[1:] - times[:-1]).to(means)[:, None, None]
        values = torch.cat([position.unsqueeze(0), position + torch.cumsum(means * steps, 0)])
        slopes = states
    matrix = _hermite(tuple(times.tolist()), tuple(moments), states.dtype, states.device)
    return torch.einsum("qs,sbc->qbc", matrix, torch.cat([values, slopes])), values[-1]


@lru_cache(maxsize=64)
def _hermite(times: tuple[float, ...], moments: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    double = torch.float64
    made = hermite_matrix(torch.tensor(times, dtype=double), torch.tensor(moments, dtype=double))
    return made.to(dtype=dtype, device=device)


def _solve_in_pieces(
    start: Tensor, network: Network, times: Tensor, path: Path | None, method: str, keep: int, last: bool
) -> tuple[Tensor, Tensor]:
    pieces = _pieces(times)

    def run(i: int, carried: Sequence[Tensor], weights: Sequence[Tensor]) -> tuple[Sequence[Tensor], Tensor]:
        first, end = pieces[i]
        driven = path(first, end) if callable(path) else None if path is None else path[2 * first : 2 * end + 1]
        here = times[first : end + 1]
        solved = Solved.of(carried[0], network.holding(weights), here, driven, method, keep=0 if last else keep)
        ahead = solved.last(start.shape[-1])
        if last:
            return (ahead,), ahead.new_empty(0, 2, len(start), keep)
        states, means = solved.states()
        return (ahead,), torch.stack([states[1:], means], 1)

    output, ahead = in_pieces(run, len(pieces), (start,), network.tensors())
    if last:
        return ahead[None, :, :keep], output[:, 1]
    return torch.cat([start[None, :, :keep], output[:, 0]]), output[:, 1]


def _pieces(times: Tensor) -> list[tuple[int, int]]:
    """Return first and last step of each piece."""
    count = len(times) - 1
    return [(first, min(first + _STEPS_IN_PIECE, count)) for first in range(0, count, _STEPS_IN_PIECE)]


def _owned(times: Tensor, moments: Sequence[float]) -> list[list[float]]:
    """Return the moments of each piece; one that ends a piece belongs to it."""
    ends = [float(times[end]) for _, end in _pieces(times)]
    owned: list[list[float]] = [[] for _ in ends]
    for moment in moments:
        owned[min(bisect_left(ends, moment), len(ends) - 1)].append(moment)
    return owned


def _solve_general(
    start: Tensor, network: Network, times: Tensor, path: Tensor | None, method: str, gradient: str = "adjoint"
) -> tuple[Tensor, Tensor]:
    """Solve by `models.nn.ode.runge_kutta`; the integral of the state rides along as extra state."""
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
