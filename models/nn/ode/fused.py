"""Explicit Runge-Kutta through a network as one autograd node: the fast path of SketchODE's models.

The state y enters the network by its first layer alone, so the solve is done in that layer's input
w = W1 y + c + w_t t, of H numbers instead of n. With s = act(W_K ... act(W_2 act(w) + b_2) ... + b_K),
the last hidden layer's values,

    dw/dt = M s + r,                 M = W1 W, r = W1 b + w_t             (ODE)
    dw/dt = sum_c X'_c (M_c s + m_c) + w_t,  M_c = W1 W_c, m_c = W1 b_c   (CDE)

which is one product less an evaluation, and exact: a Runge-Kutta method commutes with affine maps.
The state comes back as the same method's sum over s, y_{i+1} = y_i + h sum_j b_j (W s_j + b), in one
product after the loop, and of the components that are wanted only.

Forward keeps values and slopes of the activations of every evaluation, and gives what is read of the last
layer's values: some components' slopes, and their weighted sum. The gradients of those are few numbers,
which backward takes up as it walks the steps once. It writes the deltas of each layer into buffers, and
gets every weight gradient from one large product of many steps. The two sweeps are the seam for a kernel:
on the CPU they are compiled (`models.nn.ode.kernel`), elsewhere they are the loops of `models.nn.ode.sweeps`, which
a CUDA graph can capture. Values and direct gradient are those of `models.nn.ode.runge_kutta.odeint` with the same
method (tests hold both to 1e-10 in float64).

Legend: B drawings, S steps, J stages of the method, E = S J evaluations, n state, H hidden, K hidden
layers, C channels of the path.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from models.nn.ode import compiled, sweeps
from models.nn.ode.network import Network
from models.nn.ode.runge_kutta import METHODS, Tableau
from models.nn.ode.steps import Grid, constants

_ROWS_AT_ONCE = 16384  # evaluations times drawings: as many are walked back before their weight gradients


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
        method: a key of `models.nn.ode.runge_kutta.METHODS`.
        keep: how many of the state's components are wanted, from the first; all if None.
        last: only the last state is wanted.

    Returns:
        (T, B, keep) states, or (1, B, keep), and (T - 1, B, keep) the method's mean of the stage states in each
        interval, or (0, B, keep).

    Raises:
        ValueError: `path` wants a gradient, or its length does not fit `times`.
    """
    keep = keep or start.shape[-1]
    if last:
        solved = Solved.of(start, network, times, path, method, keep=0)
        return solved.last(keep).unsqueeze(0), start.new_empty(0, len(start), keep)
    return Solved.of(start, network, times, path, method, keep=keep).states()


@dataclass(frozen=True)
class Solved:
    """A solution, as what was read of the last hidden layer's values, from which states follow.

    Args:
        start, network: what was solved; grid: by which steps; path: (E, B, C) or None.
        read: (E, B, keep * C) values times the output's weight, of the components whose states are wanted.
        total: (B, C, H or more: padded units carry nothing) sum over all evaluations of the values times the path
            and their part of a step; C = 1 of an ODE.
    """

    start: Tensor
    network: Network
    grid: Grid
    path: Tensor | None
    read: Tensor
    total: Tensor

    @classmethod
    def of(
        cls, start: Tensor, network: Network, times: Tensor, path: Tensor | None, method: str, *, keep: int
    ) -> Solved:
        """Solve; `keep`: of how many components all states are wanted, or 0. Else as `solve_network`, errors too."""
        if path is not None and (path.requires_grad or len(path) != 2 * len(times) - 1):
            raise ValueError(f"path must be data of length {2 * len(times) - 1}, got length {len(path)}")
        host = times.detach().cpu().double()
        grid = Grid(tuple((host[1:] - host[:-1]).tolist()), METHODS[method])
        driven = None if path is None else _at_stages(path, grid.tableau)
        return cls(start, network, grid, driven, *_solve(start, network, float(host[0]), grid, driven, keep))

    def last(self, keep: int) -> Tensor:
        """Return the first `keep` components of the last state, (B, keep)."""
        weight = self.network.weights[-1][: keep * self.total.shape[1]].view(keep, -1)  # (keep, C * H)
        bias = self.network.biases[-1][: keep * self.total.shape[1]].view(keep, -1)
        in_step = constants(self.grid, self.total.dtype, self.total.device)[0]
        lengths = in_step.sum().expand(1, 1) if self.path is None else torch.einsum("e,ebc->bc", in_step, self.path)
        hidden = self.network.weights[-1].shape[-1]
        return self.start[:, :keep] + self.total[..., :hidden].flatten(1) @ weight.t() + lengths @ bias.t()

    def states(self) -> tuple[Tensor, Tensor]:
        """Return the wanted components of all states and means, as `solve_network` does."""
        channels = 1 if self.path is None else self.path.shape[-1]
        keep = self.read.shape[-1] // channels
        _, steps, b, of_stages = constants(self.grid, self.read.dtype, self.read.device)
        slopes = self.read + self.network.biases[-1][: keep * channels]
        if self.path is not None:
            slopes = torch.einsum("ebnc,ebc->ebn", slopes.unflatten(-1, (keep, -1)), self.path)
        slopes = slopes.unflatten(0, (len(self.grid.steps), -1))  # (S, J, B, keep)
        moves = torch.einsum("i,j,ijbn->ibn", steps, b, slopes)
        start = self.start[:, :keep]
        states = torch.cat([start.unsqueeze(0), start + torch.cumsum(moves, 0)])
        return states, states[:-1] + torch.einsum("i,j,ijbn->ibn", steps, of_stages, slopes)


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


def _solve(
    start: Tensor, network: Network, time: float, grid: Grid, path: Tensor | None, keep: int
) -> tuple[Tensor, Tensor]:
    """Return `read` and `total` of `Solved`."""
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
    read, total = _Solve.apply(
        grid,
        network.activation,
        torch.is_grad_enabled(),
        None if path is None else pad(path, (0, 0, 0, rows)),
        pad(begin, (0, more, 0, rows)),
        pad(rate, (0, more)),
        None if path is None else pad(lift.t(), (0, more)),
        last,
        pad(out[: keep * channels], (0, more)),
        *inner,
        *biases,
    )
    return (read[:, : len(start)], total[: len(start)]) if rows else (read, total)


class _Solve(torch.autograd.Function):
    """`read` and `total` of `Solved`, from the projected equation's weights."""

    @staticmethod
    def forward(ctx, grid, activation, kept, path, start, rate, lift, last, readout, *tensors):
        inner, biases = tensors[: len(tensors) // 2], tensors[len(tensors) // 2 :]
        ctx.grid, ctx.runner = grid, compiled if start.device.type == "cpu" else sweeps
        solved = ctx.runner.forward(grid, activation, kept, path, start, rate, lift, last, readout, inner, biases)
        values, slopes, read, total = solved
        ctx.save_for_backward(values, slopes, path, last, readout, *inner)
        return read, total

    @staticmethod
    def backward(ctx, of_read, of_total):
        values, slopes, path, last, readout, *inner = ctx.saved_tensors
        stages, ahead = len(ctx.grid.tableau.weights), torch.zeros_like(of_total[:, 0])
        of_rate, of_lift = torch.zeros_like(ahead[0]), torch.zeros_like(last[:, 0])
        of_last = last.new_zeros(last.shape[0] * last.shape[1], last.shape[2])
        of_readout = of_read.flatten(0, 1).t() @ values[-1].flatten(0, 1)
        of_inner, of_biases = [torch.zeros_like(weight) for weight in inner], last.new_zeros(len(inner), last.shape[1])
        some = max(1, _ROWS_AT_ONCE // (stages * len(ahead)))
        for first in reversed(range(0, len(ctx.grid.steps), some)):
            part = slice(first * stages, (first + some) * stages)
            grid = Grid(ctx.grid.steps[first : first + some], ctx.grid.tableau)
            driven = None if path is None else path[part]
            made = ctx.runner.backward(grid, of_read[part], readout, of_total, ahead, slopes[part], driven, last, inner)
            ahead = made.of_start
            of_rate += made.of_rate.sum(0)
            of_biases += made.of_biases.sum(1)
            of_last.addmm_(made.wide.flatten(0, 1).t(), values[-1, part].flatten(0, 1))
            if made.of_lift is not None:
                of_lift += made.of_lift.sum(0).view_as(of_lift)
            for k, delta in enumerate(made.deltas[1:]):
                of_inner[k].addmm_(delta.flatten(0, 1).t(), values[k, part].flatten(0, 1))
        gradients = ahead, of_rate, None if path is None else of_lift, of_last.view_as(last), of_readout
        return (None, None, None, None, *gradients, *of_inner, *of_biases)
