"""The steps of a solve, and the numbers of its method as tensors: what `fused` and both sweeps agree on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from models.nn.ode.runge_kutta import Tableau


@dataclass(frozen=True)
class Grid:
    """The steps of a solve, on the host.

    Args:
        steps: S lengths.
        tableau: the method.
    """

    steps: tuple[float, ...]
    tableau: Tableau

    @property
    def evaluations(self) -> int:
        """E: of the right-hand side, over all steps."""
        return len(self.steps) * len(self.tableau.weights)


@lru_cache(maxsize=64)
def constants(grid: Grid, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return, made once since a CUDA graph cannot: (E,) each evaluation's part of its step, (S,) steps, (J,) weights,
    and (J,) what each stage's slope, times the step, adds to the weighted mean of the stage states."""
    means = [0.0] * len(grid.tableau.weights)
    for weight, row in zip(grid.tableau.weights, grid.tableau.matrix, strict=True):
        for j, value in enumerate(row):
            means[j] += weight * value
    in_step = [step * weight for step in grid.steps for weight in grid.tableau.weights]
    in_each, steps, b, of_stages = (
        torch.tensor(numbers, dtype=dtype, device=device)
        for numbers in (in_step, grid.steps, grid.tableau.weights, means)
    )
    return in_each, steps, b, of_stages
