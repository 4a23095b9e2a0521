"""RK4 through a small network as one autograd node: the fast path of SketchODE.

The field is a two-hidden-layer network whose first layer gets a constant (from z), the time and the
state, and whose output is either the derivative itself or, for a neural CDE, a matrix contracted with
the derivative of the driving path:

    u1 = W1 y + c + w_t t,   u2 = W2 act(u1) + b2,   o = W3 act(u2) + b3
    dy/dt = o                        (ODE; o has n entries)
    dy/dt = o.view(n, channels) X'   (CDE; o has n * channels entries)

Forward keeps the pre-activations of every evaluation. Backward walks the steps once, writes the deltas
of each layer into buffers, and gets every weight gradient from one large matrix product at the end,
instead of accumulating it 4 (T - 1) times. The values are those of `models.nn.ode.odeint` with "rk4",
the gradient is its direct gradient (tests hold both to 1e-10 in float64).

Legend: B batch, T times, E = 4 (T - 1) evaluations, n state, H hidden, C channels of the path.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.nn.activations import ACTIVATIONS

_STATE_STEP = (0.0, 0.5, 0.5, 1.0)  # RK4: stage i starts from y + this * h * k_{i-1}
_WEIGHTS = (1 / 6, 1 / 3, 1 / 3, 1 / 6)
_NODE = (0, 1, 1, 2)  # stage i is evaluated at this many half steps


@dataclass(frozen=True)
class Network:
    """Weights of the field, the frequencies of the activations already multiplied in.

    Args:
        constant: (B, H) what the first layer adds: bias and the part that depends on z.
        time: (H,) weight of the time in the first layer.
        w1: (H, n); w2: (H, H); b2: (H,); w3: (n or n * C, H); b3: (n or n * C,).
        activation: a key of `ACTIVATIONS`.
    """

    constant: Tensor
    time: Tensor
    w1: Tensor
    w2: Tensor
    b2: Tensor
    w3: Tensor
    b3: Tensor
    activation: str


def rk4_network(y0: Tensor, network: Network, times: Tensor, path: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Solve the field of the module's docstring by classic RK4, one step per interval of `times`.

    Args:
        y0: (B, n) state at times[0].
        network: the field.
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
    n = network
    return _FusedRK4.apply(y0, n.constant, n.time, n.w1, n.w2, n.b2, n.w3, n.b3, times, path, n.activation)


class _FusedRK4(torch.autograd.Function):
    """Small tensors: what counts is the number of calls, so sums over stages are one call each."""

    @staticmethod
    def forward(ctx, y0, constant, time, w1, w2, b2, w3, b3, times, path, activation):
        act = ACTIVATIONS[activation].function
        (batch, size), hidden = y0.shape, w2.shape[0]
        steps = (times[1:] - times[:-1]).tolist()
        evaluations = 4 * len(steps)
        inputs = y0.new_empty(evaluations + 1, batch, size)  # of every evaluation; the last is the final state
        u1, s1, u2, s2 = (y0.new_empty(evaluations, batch, hidden) for _ in range(4))
        slope = y0.new_empty(batch, size)
        channels = 1 if path is None else path.shape[-1]
        out = slope if path is None else y0.new_empty(batch, channels, size)
        w3, b3 = _channels_first(w3, channels), _channels_first(b3, channels)
        w1t, w2t, w3t = w1.t().contiguous(), w2.t().contiguous(), w3.t().contiguous()
        evaluated_at = stage_times(times)
        offsets = constant + evaluated_at[:, None, None] * time  # (2 T - 1, B, H)
        inputs[0] = y0
        for i, h in enumerate(steps):
            y = inputs[4 * i]
            for stage in range(4):
                e, node = 4 * i + stage, 2 * i + _NODE[stage]
                if stage:
                    torch.add(y, slope, alpha=_STATE_STEP[stage] * h, out=inputs[e])
                torch.addmm(offsets[node], inputs[e], w1t, out=u1[e])
                act(u1[e], out=s1[e])
                torch.addmm(b2, s1[e], w2t, out=u2[e])
                act(u2[e], out=s2[e])
                torch.addmm(b3, s2[e], w3t, out=out.view(batch, -1))
                if path is not None:
                    out.mul_(path[node].unsqueeze(-1))
                    torch.sum(out, 1, out=slope)
            # y + h (k1 + 2 k2 + 2 k3 + k4) / 6, with k1 to k3 read back from the inputs that they made
            ahead = inputs[4 * i + 4]
            torch.add(inputs[4 * i + 1], inputs[4 * i + 2], alpha=2, out=ahead)
            ahead.add_(inputs[4 * i + 3]).sub_(y).mul_(1 / 3).add_(slope, alpha=h / 6)
        ctx.activation, ctx.steps, ctx.channels = activation, steps, channels
        ctx.save_for_backward(inputs, u1, s1, u2, s2, w1, w2, w3, evaluated_at, path)
        weights = y0.new_tensor(_WEIGHTS)
        means = torch.einsum("isbn,s->ibn", inputs[:-1].unflatten(0, (-1, 4)), weights)
        return inputs[::4].clone(), means

    @staticmethod
    def backward(ctx, grad_states, grad_means):
        inputs, u1, s1, u2, s2, w1, w2, w3, evaluated_at, path = ctx.saved_tensors
        derivative = ACTIVATIONS[ctx.activation].derivative
        d1, d2 = derivative(u1), derivative(u2)  # become the layers' deltas, evaluation by evaluation
        evaluations, batch, hidden_size = d1.shape
        size, channels = inputs.shape[-1], ctx.channels
        delta3 = inputs.new_empty(evaluations, batch, channels, size)
        flat3 = delta3.view(evaluations, batch, -1)
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
                target = delta3[e, :, 0] if path is None else grad_slope
                if stage < 3:
                    torch.add(outer, grad_inputs[stage + 1], alpha=_STATE_STEP[stage + 1] * h, out=target)
                else:
                    target.copy_(outer)
                if path is not None:
                    torch.mul(grad_slope.unsqueeze(1), path[node].unsqueeze(-1), out=delta3[e])
                torch.mm(flat3[e], w3, out=hidden)
                d2[e].mul_(hidden)
                torch.mm(d2[e], w2, out=hidden)
                d1[e].mul_(hidden)
                torch.addmm(of_means[i, stage], d1[e], w1, out=grad_inputs[stage])
            torch.sum(grad_inputs, 0, out=grad_y)
        flat1, flat2, flat3 = d1.flatten(0, 1), d2.flatten(0, 1), flat3.flatten(0, 1)
        nodes = torch.tensor(_NODE, device=d1.device) + 2 * torch.arange(len(ctx.steps), device=d1.device)[:, None]
        return (
            grad_y,
            d1.sum(0),
            evaluated_at[nodes.flatten()] @ d1.sum(1),
            flat1.t() @ inputs[:-1].flatten(0, 1),
            flat2.t() @ s1.flatten(0, 1),
            flat2.sum(0),
            _channels_last(flat3.t() @ s2.flatten(0, 1), channels),
            _channels_last(flat3.sum(0), channels),
            None,
            None,
            None,
        )


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
