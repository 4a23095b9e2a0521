"""Explicit Runge-Kutta through a network as one autograd node: the fast path of SketchODE's models.

The state y enters the network by its first layer alone, so the solve is done in that layer's input
w = W1 y + c + w_t t, of H numbers instead of n. With s = act(W_K ... act(W_2 act(w) + b_2) ... + b_K),
the last hidden layer's values,

    dw/dt = M s + r,                 M = W1 W, r = W1 b + w_t             (ODE)
    dw/dt = sum_c X'_c (M_c s + m_c) + w_t,  M_c = W1 W_c, m_c = W1 b_c   (CDE)

which is one product less an evaluation, and exact: a Runge-Kutta method commutes with affine maps.
The state comes back as the same method's sum over s, y_{i+1} = y_i + h sum_j b_j (W s_j + b), in one
product after the loop, and of the components that are wanted only.

Forward keeps values and slopes of the activations of every evaluation. Backward walks the steps once,
writes the deltas of each layer into buffers, and gets every weight gradient from one large product at
the end. The two sweeps are the seam for a kernel: on the CPU they are compiled (`models.nn.kernel`),
elsewhere they are the loops of `models.nn.sweeps`, which a CUDA graph can capture. Values and direct
gradient are those of `models.nn.ode.odeint` with the same method (tests hold both to 1e-10 in float64).

Legend: B drawings, S steps, J stages of the method, E = S J evaluations, n state, H hidden, K hidden
layers, C channels of the path.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from models.nn import compiled, sweeps
from models.nn.network import Network
from models.nn.ode import METHODS, Tableau

_ROWS_AT_ONCE = 16384  # evaluations times drawings: as many are walked back before their weight gradients


@dataclass(frozen=True)
class Grid:
    """The steps of a solve, on the host.

    Args:
        steps: S lengths.
        tableau: the method.
    """

    steps: tuple[float, ...]
    tableau: Tableau


def stage_times(times: Tensor) -> Tensor:
    """Return (2 T - 1,): the times with the midpoints between them."""
    both = times.new_empty(2 * len(times) - 1)
    both[::2] = times
    both[1::2] = (times[1:] + times[:-1]) / 2
    return both


def solve_network(
    start: Tensor,
    network: Network,
    times: Tensor,
    path: Tensor | None = None,
    method: str = "rk4",
    keep: int | None = None,
    last: bool = False,
) -> tuple[Tensor, Tensor]:
    """Solve a network's equation by an explicit method, one step per interval of `times`.

    Args:
        start: (B, n) state at times[0].
        network: the right-hand side.
        times: (T,) equally or unequally spaced.
        path: (2 T - 1, B, C) derivative of a CDE's driving path at each time and each midpoint, in order; it gets
            no gradient.
        method: a key of `models.nn.ode.METHODS`.
        keep: how many of the state's components are wanted, from the first; all if None.
        last: only the last state is wanted.

    Returns:
        (T, B, keep) states, or (1, B, keep), and (T - 1, B, keep) the method's mean of the stage states in each
        interval, or (0, B, keep).

    Raises:
        ValueError: `path` wants a gradient, or its length does not fit `times`.
    """
    solved = Solved.of(start, network, times, path, method)
    keep = keep or start.shape[-1]
    return (solved.last(keep).unsqueeze(0), start.new_empty(0, len(start), keep)) if last else solved.states(keep)


@dataclass(frozen=True)
class Solved:
    """A solution, as the last hidden layer's values, from which states are read.

    Args:
        start, network: what was solved; grid: by which steps; path: (E, B, C) or None.
        values: (E, B, H or more: padded units carry nothing).
    """

    start: Tensor
    network: Network
    grid: Grid
    path: Tensor | None
    values: Tensor

    @classmethod
    def of(cls, start: Tensor, network: Network, times: Tensor, path: Tensor | None, method: str) -> Solved:
        """Solve; arguments and errors as of `solve_network`."""
        if path is not None and (path.requires_grad or len(path) != 2 * len(times) - 1):
            raise ValueError(f"path must be data of length {2 * len(times) - 1}, got length {len(path)}")
        host = times.detach().cpu().double()
        grid = Grid(tuple((host[1:] - host[:-1]).tolist()), METHODS[method])
        driven = None if path is None else _at_stages(path, grid.tableau)
        return cls(start, network, grid, driven, _last_values(start, network, float(host[0]), grid, driven))

    def last(self, keep: int) -> Tensor:
        """Return the first `keep` components of the last state, (B, keep): one sum over all evaluations."""
        steps, b, _ = _constants(self.grid, self.values.dtype, self.values.device)
        weight, bias = self._output(keep)
        in_step = (steps[:, None] * b).flatten()  # (E,)
        if self.path is None:
            total = torch.einsum("e,ebh->bh", in_step, self.values)
            return self.start[:, :keep] + total @ weight.t() + in_step.sum() * bias
        driven = (in_step[:, None, None] * self.path).permute(1, 2, 0)  # (B, C, E)
        total = torch.bmm(driven, self.values.transpose(0, 1)).flatten(1)  # (B, C * H)
        of_bias = driven.sum(-1) @ bias.view(keep, -1).t()
        return self.start[:, :keep] + total @ weight.reshape(keep, -1).t() + of_bias

    def states(self, keep: int) -> tuple[Tensor, Tensor]:
        """Return the first `keep` components of all states and means, as `solve_network` does."""
        steps, b, of_stages = _constants(self.grid, self.values.dtype, self.values.device)
        weight, bias = self._output(keep)
        slopes = (self.values.flatten(0, 1) @ weight.t() + bias).unflatten(0, self.values.shape[:2])
        if self.path is not None:
            slopes = torch.einsum("ebnc,ebc->ebn", slopes.unflatten(-1, (keep, -1)), self.path)
        slopes = slopes.unflatten(0, (len(self.grid.steps), -1))  # (S, J, B, keep)
        moves = torch.einsum("i,j,ijbn->ibn", steps, b, slopes)
        start = self.start[:, :keep]
        states = torch.cat([start.unsqueeze(0), start + torch.cumsum(moves, 0)])
        return states, states[:-1] + torch.einsum("i,j,ijbn->ibn", steps, of_stages, slopes)

    def _output(self, keep: int) -> tuple[Tensor, Tensor]:
        """Return weight and bias of `keep` components, (keep * C, H) and (keep * C,), the channel running fastest."""
        rows = keep * (1 if self.path is None else self.path.shape[-1])
        weight = self.network.weights[-1][:rows]
        return pad(weight, (0, self.values.shape[-1] - weight.shape[-1])), self.network.biases[-1][:rows]


def _at_stages(path: Tensor, tableau: Tableau) -> Tensor:
    """(2 T - 1, B, C) at times and midpoints -> (E, B, C) at the stages, by the parabola through each interval."""
    parts = []
    for s in tableau.nodes:
        if s in (0.0, 0.5, 1.0):
            first = round(2 * s)
            parts.append(path[first : len(path) - 2 + first : 2])
        else:
            weights = (1 - s) * (1 - 2 * s), 4 * s * (1 - s), s * (2 * s - 1)
            parts.append(weights[0] * path[:-2:2] + weights[1] * path[1::2] + weights[2] * path[2::2])
    return torch.stack(parts, 1).flatten(0, 1)


def _last_values(start: Tensor, network: Network, time: float, grid: Grid, path: Tensor | None) -> Tensor:
    """Return s, (E, B, H padded to the kernel's multiple); padded units carry nothing."""
    size, first, out = start.shape[-1], network.weights[0], network.weights[-1]
    hidden = first.shape[0]
    channels = 1 if path is None else path.shape[-1]
    more, rows = -hidden % compiled.UNIT_MULTIPLE, -len(start) % compiled.ROW_MULTIPLE
    begin = start @ first.t() + network.constant + network.time * time  # (B, H)
    lift = first @ network.biases[-1].view(size, channels)  # (H, C)
    last = torch.einsum("hn,nck->chk", first, out.view(size, channels, hidden))  # (C, out, in)
    rate = network.time if path is not None else network.time + lift[:, 0]
    inner = [pad(weight, (0, more, 0, more)) for weight in network.weights[1:-1]]
    biases = [pad(bias, (0, more)) for bias in network.biases[:-1]]
    last = pad(last, (0, more, 0, more))
    values = _Solve.apply(
        grid,
        network.activation,
        torch.is_grad_enabled(),
        None if path is None else pad(path, (0, 0, 0, rows)),
        pad(begin, (0, more, 0, rows)),
        pad(rate, (0, more)),
        None if path is None else pad(lift.t(), (0, more)),
        last,
        *inner,
        *biases,
    )
    return values[:, : len(start)] if rows else values


@lru_cache(maxsize=64)
def _constants(grid: Grid, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return, made once since a CUDA graph cannot: (S,) steps, (J,) weights, and (J,) what each stage's slope,
    times the step, adds to the weighted mean of the stage states."""
    means = [0.0] * len(grid.tableau.weights)
    for weight, row in zip(grid.tableau.weights, grid.tableau.matrix, strict=True):
        for j, value in enumerate(row):
            means[j] += weight * value
    steps, b, of_stages = (
        torch.tensor(numbers, dtype=dtype, device=device) for numbers in (grid.steps, grid.tableau.weights, means)
    )
    return steps, b, of_stages


class _Solve(torch.autograd.Function):
    """(E, B, H) values of the last hidden layer, from the projected equation's weights."""

    @staticmethod
    def forward(ctx, grid, activation, kept, path, start, rate, lift, last, *tensors):
        inner, biases = tensors[: len(tensors) // 2], tensors[len(tensors) // 2 :]
        ctx.grid, ctx.runner = grid, compiled if start.device.type == "cpu" else sweeps
        values, slopes = ctx.runner.forward(grid, activation, kept, path, start, rate, lift, last, inner, biases)
        ctx.save_for_backward(values, slopes, path, last, *inner)
        return values[-1]

    @staticmethod
    def backward(ctx, of_values):
        values, slopes, path, last, *inner = ctx.saved_tensors
        stages, ahead = len(ctx.grid.tableau.weights), torch.zeros_like(of_values[0])
        of_rate, of_lift = torch.zeros_like(ahead), None if path is None else last.new_zeros(len(last) * last.shape[1])
        of_last = last.new_zeros(last.shape[0] * last.shape[1], last.shape[2])
        of_inner, of_biases = [torch.zeros_like(weight) for weight in inner], [last.new_zeros(len(w)) for w in inner]
        some = max(1, _ROWS_AT_ONCE // (stages * len(ahead)))
        for first in reversed(range(0, len(ctx.grid.steps), some)):
            part = slice(first * stages, (first + some) * stages)
            grid = Grid(ctx.grid.steps[first : first + some], ctx.grid.tableau)
            driven = None if path is None else path[part]
            made = ctx.runner.backward(grid, of_values[part], ahead, slopes[part], driven, last, inner)
            deltas, wide, of_slopes, ahead = made
            of_rate += of_slopes
            of_last.addmm_(wide.flatten(0, 1).t(), values[-1, part].flatten(0, 1))
            if of_lift is not None:
                of_lift += wide.sum((0, 1))
            for k, delta in enumerate(deltas[1:]):
                of_inner[k].addmm_(delta.flatten(0, 1).t(), values[k, part].flatten(0, 1))
                of_biases[k] += delta.sum((0, 1))
        of_lift = None if of_lift is None else of_lift.view(last.shape[:2])
        return (None, None, None, None, ahead, of_rate.sum(0), of_lift, of_last.view_as(last), *of_inner, *of_biases)
