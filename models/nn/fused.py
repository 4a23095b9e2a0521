"""RK4 through a small network as one autograd node: the fast path of SketchODE.

Forward keeps the pre-activations of every evaluation. Backward walks the steps once, writes the deltas
of each layer into buffers, and gets every weight gradient from one large matrix product at the end,
instead of accumulating it 4 (T - 1) times. The values are those of `models.nn.ode.odeint` with "rk4",
the gradient is its direct gradient (tests hold both to 1e-10 in float64).

Legend: B batch, T times, E = 4 (T - 1) evaluations, n state, H hidden, C channels of the path.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.nn.activations import ACTIVATIONS
from models.nn.network import Network

_STATE_STEP = (0.0, 0.5, 0.5, 1.0)  # RK4: stage i starts from y + this * h * k_{i-1}
_WEIGHTS = (1 / 6, 1 / 3, 1 / 3, 1 / 6)
_NODE = (0, 1, 1, 2)  # stage i is evaluated at this many half steps


def rk4_network(y0: Tensor, network: Network, times: Tensor, path: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Solve a network's equation by classic RK4, one step per interval of `times`.

    Args:
        y0: (B, n) state at times[0].
        network: the right-hand side.
        times: (T,) equally or unequally spaced.
        path: (2 T - 1, B, C) derivative of the driving path at each time and each midpoint, in order;
            it gets no gradient.

    Returns:
        (T, B, n) states, and (T - 1, B, n) the RK4 mean of the stage states in each interval: times the
        step it is the increment of the integral of y, which is what a second-order system needs.

    Raises:
        ValueError: `path` wants a gradient, or its length does not fit `times`.
    """
    if path is not None and (path.requires_grad or len(path) != 2 * len(times) - 1):
        raise ValueError(f"path must be data of length {2 * len(times) - 1}, got length {len(path)}")
    tensors = (*network.weights, *network.biases)
    return _FusedRK4.apply(times, path, network.activation, y0, network.constant, network.time, *tensors)


class _FusedRK4(torch.autograd.Function):
    """Small tensors: what counts is the number of calls, so sums over stages are one call each."""

    @staticmethod
    def forward(ctx, times, path, activation, y0, constant, time, *tensors):
        act = ACTIVATIONS[activation].function
        layers = len(tensors) // 2  # hidden
        weights, biases = list(tensors[: layers + 1]), list(tensors[layers + 1 :])
        (batch, size), hidden = y0.shape, weights[0].shape[0]
        steps = (times[1:] - times[:-1]).tolist()
        evaluations = 4 * len(steps)
        inputs = y0.new_empty(evaluations + 1, batch, size)  # of every evaluation; the last is the final state
        before, after = ([y0.new_empty(evaluations, batch, hidden) for _ in range(layers)] for _ in range(2))
        slope = y0.new_empty(batch, size)
        channels = 1 if path is None else path.shape[-1]
        out = slope if path is None else y0.new_empty(batch, channels, size)
        weights[-1], biases[-1] = _channels_first(weights[-1], channels), _channels_first(biases[-1], channels)
        transposed = [weight.t().contiguous() for weight in weights]
        evaluated_at = stage_times(times)
        offsets = constant + evaluated_at[:, None, None] * time  # (2 T - 1, B, H)
        inputs[0] = y0
        for i, h in enumerate(steps):
            y = inputs[4 * i]
            for stage in range(4):
                e, node = 4 * i + stage, 2 * i + _NODE[stage]
                if stage:
                    torch.add(y, slope, alpha=_STATE_STEP[stage] * h, out=inputs[e])
                value, bias = inputs[e], offsets[node]
                for k in range(layers):
                    torch.addmm(bias, value, transposed[k], out=before[k][e])
                    value, bias = act(before[k][e], out=after[k][e]), biases[k]
                torch.addmm(bias, value, transposed[-1], out=out.view(batch, -1))
                if path is not None:
                    out.mul_(path[node].unsqueeze(-1))
                    torch.sum(out, 1, out=slope)
            # y + h (k1 + 2 k2 + 2 k3 + k4) / 6, with k1 to k3 read back from the inputs that they made
            ahead = inputs[4 * i + 4]
            torch.add(inputs[4 * i + 1], inputs[4 * i + 2], alpha=2, out=ahead)
            ahead.add_(inputs[4 * i + 3]).sub_(y).mul_(1 / 3).add_(slope, alpha=h / 6)
        ctx.activation, ctx.steps, ctx.channels = activation, steps, channels
        ctx.save_for_backward(inputs, evaluated_at, path, *before, *after, *weights)
        means = torch.einsum("isbn,s->ibn", inputs[:-1].unflatten(0, (-1, 4)), y0.new_tensor(_WEIGHTS))
        return inputs[::4].clone(), means

    @staticmethod
    def backward(ctx, grad_states, grad_means):
        inputs, evaluated_at, path, *saved = ctx.saved_tensors
        layers = len(saved) // 3
        before, after, weights = saved[:layers], saved[layers : 2 * layers], saved[2 * layers :]
        derivative = ACTIVATIONS[ctx.activation].derivative
        deltas = [derivative(u) for u in before]  # become the layers' deltas, evaluation by evaluation
        evaluations, batch, hidden_size = deltas[0].shape
        size, channels = inputs.shape[-1], ctx.channels
        delta_out = inputs.new_empty(evaluations, batch, channels, size)
        flat_out = delta_out.view(evaluations, batch, -1)
        hidden = inputs.new_empty(batch, hidden_size)
        grad_slope = inputs.new_empty(batch, size)
        grad_inputs = inputs.new_empty(5, batch, size)  # of the four stages, and what reaches the state directly
        of_means = grad_means.unsqueeze(1) * inputs.new_tensor(_WEIGHTS)[:, None, None]  # (T - 1, 4, B, n)
        grad_y = grad_states[-1].clone()
        for i in range(len(ctx.steps) - 1, -1, -1):
            h = ctx.steps[i]
            single = grad_y * (h / 6)
            double = single * 2
            torch.add(grad_y, grad_states[i], out=grad_inputs[4])
            for stage in (3, 2, 1, 0):
                e, node = 4 * i + stage, 2 * i + _NODE[stage]
                outer = single if stage in (0, 3) else double
                target = delta_out[e, :, 0] if path is None else grad_slope
                if stage < 3:
                    torch.add(outer, grad_inputs[stage + 1], alpha=_STATE_STEP[stage + 1] * h, out=target)
                else:
                    target.copy_(outer)
                if path is not None:
                    torch.mul(grad_slope.unsqueeze(1), path[node].unsqueeze(-1), out=delta_out[e])
                value = flat_out[e]
                for k in range(layers - 1, -1, -1):
                    torch.mm(value, weights[k + 1], out=hidden)
                    value = deltas[k][e].mul_(hidden)
                torch.addmm(of_means[i, stage], value, weights[0], out=grad_inputs[stage])
            torch.sum(grad_inputs, 0, out=grad_y)
        nodes = (
            torch.tensor(_NODE, device=inputs.device) + 2 * torch.arange(len(ctx.steps), device=inputs.device)[:, None]
        )
        flat = [delta.flatten(0, 1) for delta in (*deltas, flat_out)]
        values = [value.flatten(0, 1) for value in (inputs[:-1], *after)]
        of_weights = [delta.t() @ value for delta, value in zip(flat, values, strict=True)]
        of_biases = [delta.sum(0) for delta in flat[1:]]
        of_weights[-1], of_biases[-1] = (
            _channels_last(of_weights[-1], channels),
            _channels_last(of_biases[-1], channels),
        )
        of_time = evaluated_at[nodes.flatten()] @ deltas[0].sum(1)
        return (None, None, None, grad_y, deltas[0].sum(0), of_time, *of_weights, *of_biases)


def _channels_first(weight: Tensor, channels: int) -> Tensor:
    """(n * C, ...) with the channel running fastest -> (C * n, ...) with the channel running slowest."""
    return weight.unflatten(0, (-1, channels)).transpose(0, 1).flatten(0, 1)


def _channels_last(weight: Tensor, channels: int) -> Tensor:
    """Undo `_channels_first`."""
    return weight.unflatten(0, (channels, -1)).transpose(0, 1).flatten(0, 1)


def stage_times(times: Tensor) -> Tensor:
    """Return (2 T - 1,): the times with the midpoints between them."""
    both = times.new_empty(2 * len(times) - 1)
    both[::2] = times
    both[1::2] = (times[1:] + times[:-1]) / 2
    return both
