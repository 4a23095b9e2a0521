"""The solver's two sweeps in torch: what a CUDA graph captures, and what the compiled sweeps are tested against.

Small tensors: what counts is the number of calls. The host decides nothing by a tensor's value.
Legend and equations: `models.nn.ode.fused`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from models.nn.ode.activations import ACTIVATIONS
from models.nn.ode.steps import Grid, constants


def forward(
    grid: Grid,
    activation: str,
    kept: bool,
    path: Tensor | None,
    start: Tensor,
    rate: Tensor,
    lift: Tensor | None,
    last: Tensor,
    readout: Tensor,
    inner: Sequence[Tensor],
    biases: Sequence[Tensor],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Solve the projected equation.

    Args:
        grid: steps and method.
        activation: a key of `ACTIVATIONS`.
        kept: keep what `backward` needs.
        path: (E, B, C) of a CDE.
        start: (B, H) w at the first time.
        rate: (H,) r, or w_t of a CDE.
        lift: (C, H) m_c of a CDE.
        last: (C, H, H) M_c (out, in); C = 1 of an ODE.
        readout: (R, H), what is read of the last layer's values.
        inner: W_2 to W_K, (H, H) each (out, in); biases: theirs.

    Returns:
        Values f of the activations, (K, E, B, H), and slopes f', (E, K, B, H), neither of use unless `kept`; the last
        layer's values times `readout`, transposed, (E, B, R); their sum over the evaluations, times the path (1 of an
        ODE) and their part of a step, (B, C, H).
    """
    of = ACTIVATIONS[activation]
    stages, tableau = len(grid.tableau.weights), grid.tableau
    evaluations, layers = grid.evaluations, len(inner) + 1
    inputs, values = (start.new_empty(layers, evaluations, *start.shape) for _ in range(2))
    slopes = start.new_empty(stages, *start.shape)
    weights = [weight.t().contiguous() for weight in inner]
    across = last.transpose(1, 2).flatten(0, 1).contiguous()  # (C * H, H) in, out
    added = rate.expand(evaluations, 1, -1) if path is None or lift is None else path @ lift + rate
    w = start
    for i, h in enumerate(grid.steps):
        for j in range(stages):
            e = i * stages + j
            inputs[0, e] = _combine(w, slopes, tableau.matrix[j], h)
            for k in range(layers):
                of.function(inputs[k, e], out=values[k, e])
                if k + 1 < layers:
                    torch.addmm(biases[k], values[k, e], weights[k], out=inputs[k + 1, e])
            wide = values[-1, e]
            if path is not None:
                wide = (path[e].unsqueeze(-1) * wide.unsqueeze(1)).flatten(1)  # (B, C * H)
            torch.addmm(added[e], wide, across, out=slopes[j])
        w = _combine(w, slopes, tableau.weights, h)
    in_step = constants(grid, start.dtype, start.device)[0]
    if path is None:
        total = torch.einsum("e,ebh->bh", in_step, values[-1]).unsqueeze(1)
    else:
        total = torch.bmm((in_step[:, None, None] * path).permute(1, 2, 0), values[-1].transpose(0, 1))
    made = of.derivative(inputs).transpose(0, 1).contiguous() if kept else values[:0]
    return values, made, values[-1] @ readout.t(), total


class Walked(NamedTuple):
    """What the walk back gives, from which all gradients follow.

    Args:
        deltas: (K, E, B, H) gradients of the layers' inputs.
        wide: (E, B, C * H) of the slopes dw/dt, times the path.
        of_biases: (K - 1, B, H), of_rate: (B, H), of_lift: (B, C * H) of a CDE, else None: each drawing's part.
        of_start: (B, H).
    """

    deltas: Tensor
    wide: Tensor
    of_biases: Tensor
    of_rate: Tensor
    of_lift: Tensor | None
    of_start: Tensor


def backward(
    grid: Grid,
    of_read: Tensor,
    readout: Tensor,
    of_total: Tensor,
    of_final: Tensor,
    slopes: Tensor,
    path: Tensor | None,
    last: Tensor,
    inner: Sequence[Tensor],
) -> Walked:
    """Walk the steps back: the exact gradient of `forward` and of what is read of its values.

    Args:
        grid, path, last, inner: as in `forward`.
        of_read: (E, B, R) gradient of the last layer's values times `readout` (R, H), transposed.
        of_total: (B, C, H) gradient of the sum, over evaluations, of the values times the path (1 of an ODE) and
            their part of a step.
        of_final: (B, H) gradient of w after the last step.
        slopes: what `forward` gave, of these evaluations.
    """
    tableau, stages = grid.tableau, len(grid.tableau.weights)
    evaluations, batch, _ = of_read.shape
    layers, hidden = slopes.shape[1], slopes.shape[-1]
    deltas = slopes.new_empty(layers, evaluations, batch, hidden)
    of_slopes = slopes.new_empty(evaluations, batch, hidden)
    wide = of_slopes if path is None else slopes.new_empty(evaluations, batch, len(last) * hidden)
    across = last.flatten(0, 1).contiguous()  # (C * H, H) out, in
    in_step = constants(grid, slopes.dtype, slopes.device)[0][:, None, None]
    if path is None:
        of_values = in_step * of_total[:, 0] + of_read @ readout
    else:
        of_values = torch.bmm((in_step * path).transpose(0, 1), of_total).transpose(0, 1) + of_read @ readout
    ahead = of_final
    for i in range(len(grid.steps) - 1, -1, -1):
        h = grid.steps[i]
        reached = deltas[0, i * stages : (i + 1) * stages]  # of the stages' inputs
        for j in range(stages - 1, -1, -1):
            e = i * stages + j
            later = [tableau.matrix[k][j] if k > j else 0.0 for k in range(stages)]
            of_slopes[e] = _combine(tableau.weights[j] * h * ahead, reached, later, h)
            if path is not None:
                torch.mul(of_slopes[e].unsqueeze(1), path[e].unsqueeze(-1), out=wide[e].view(batch, -1, hidden))
            torch.addmm(of_values[e], wide[e], across, out=deltas[-1, e])
            deltas[-1, e].mul_(slopes[e, -1])
            for k in range(layers - 1, 0, -1):
                torch.mm(deltas[k, e], inner[k - 1], out=deltas[k - 1, e])
                deltas[k - 1, e].mul_(slopes[e, k - 1])
        ahead = ahead + reached.sum(0)
    return Walked(deltas, wide, deltas[1:].sum(1), of_slopes.sum(0), None if path is None else wide.sum(0), ahead)


def _combine(first: Tensor, others: Tensor, factors: Sequence[float], h: float) -> Tensor:
    """Return first + h * (sum of factors * others)."""
    for other, factor in zip(others, factors, strict=False):
        if factor:
            first = torch.add(first, other, alpha=factor * h)
    return first
