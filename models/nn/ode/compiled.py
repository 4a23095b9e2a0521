"""The solver's two sweeps by `models.nn.ode.kernel`, on torch's CPU tensors. Same arguments as those of `sweeps`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from models.nn.ode import kernel
from models.nn.ode.buffers import buffer, precision
from models.nn.ode.kernel import ROW_MULTIPLE, UNIT_MULTIPLE
from models.nn.ode.steps import Grid
from models.nn.ode.sweeps import Walked

__all__ = ["ROW_MULTIPLE", "UNIT_MULTIPLE", "backward", "forward"]


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
    """Solve, see `models.nn.ode.sweeps.forward`."""
    (batch, hidden), reads, none = start.shape, len(readout), start.new_empty(0)
    layers, channels, evaluations = len(inner) + 1, 0 if path is None else path.shape[-1], grid.evaluations
    values = buffer(start, layers, evaluations if kept else 1, batch, hidden)
    slopes = buffer(start, evaluations if kept else 1, layers, batch, hidden)
    wanted = pad(readout, (0, 0, 0, -reads % UNIT_MULTIPLE))
    read = buffer(start, evaluations, batch, len(wanted))
    total = start.new_empty(batch, len(last), hidden)
    steps, matrix, weights = _numbers(grid, start)
    _run(
        kernel.forward,
        start,
        steps,
        matrix,
        weights,
        kernel.CODES[activation],
        (evaluations, batch, hidden, channels, layers, len(wanted)),
        *map(_flat, (start, rate, none if lift is None else lift, none if path is None else path)),
        _packed(torch.stack([weight.t() for weight in inner]) if inner else none),
        _flat(torch.stack(list(biases)) if biases else none),
        _packed(last.transpose(1, 2)),
        _packed(wanted.t() if reads else none),
        *map(_flat, (values, slopes, read, total)),
        kept,
    )
    return values, slopes, read[..., :reads], total


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
    """Walk the steps back, see `models.nn.ode.sweeps.backward`."""
    evaluations, batch, reads = of_read.shape
    layers, hidden, channels = len(inner) + 1, of_final.shape[1], 0 if path is None else path.shape[-1]
    none = of_final.new_empty(0)
    deltas = buffer(of_final, layers, evaluations, batch, hidden)
    wide = buffer(of_final, evaluations, batch, len(last) * hidden)
    of_biases, of_lift = of_final.new_empty(layers - 1, batch, hidden), of_final.new_empty(batch, channels * hidden)
    of_rate, of_start = of_final.new_empty(2, batch, hidden).unbind()
    _run(
        kernel.backward,
        of_start,
        *_numbers(grid, of_final),
        (evaluations, batch, hidden, channels, layers, reads),
        _flat(of_read),
        _packed(readout if reads else none),
        *map(_flat, (of_total, of_final, slopes, none if path is None else path)),
        _packed(torch.stack(list(inner)) if inner else none),
        _packed(last),
        *map(_flat, (deltas, wide, of_biases, of_rate, of_lift, of_start)),
    )
    return Walked(deltas, wide, of_biases, of_rate, of_lift if channels else None, of_start)


def _run(sweep, start: Tensor, *arguments) -> None:
    kernel.in_threads(sweep, len(start), torch.get_num_threads(), *arguments)


def _numbers(grid: Grid, like: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return steps (S,), the tableau's matrix (J, J) and weights (J,)."""
    stages = len(grid.tableau.weights)
    matrix = np.zeros((stages, stages))
    for i, row in enumerate(grid.tableau.matrix):
        matrix[i, : len(row)] = row
    kind = precision(like)
    return np.array(grid.steps, kind), matrix.astype(kind), np.array(grid.tableau.weights, kind)


def _flat(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().view(-1).numpy()


def _packed(matrix: Tensor) -> np.ndarray:
    return kernel.packed(matrix.detach().numpy()) if matrix.dim() > 1 else _flat(matrix)
