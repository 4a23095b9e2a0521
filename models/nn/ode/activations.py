"""Pointwise non-linearities of the dynamics, each with its derivative (for the fused solver)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Activation:
    """A pointwise function and its derivative, both of the input x.

    Args:
        function: x -> f(x); accepts `out=`.
        derivative: x -> f'(x), a new tensor.
    """

    function: Callable[..., Tensor]
    derivative: Callable[[Tensor], Tensor]


def _relu(x: Tensor, *, out: Tensor | None = None) -> Tensor:
    return torch.clamp(x, min=0, out=out)


ACTIVATIONS = {
    "sin": Activation(torch.sin, torch.cos),
    "cos": Activation(torch.cos, lambda x: torch.sin(x).neg_()),
    "tanh": Activation(torch.tanh, lambda x: 1 - torch.tanh(x) ** 2),
    "relu": Activation(_relu, lambda x: (x > 0).to(x.dtype)),
    "sigmoid": Activation(torch.sigmoid, lambda x: torch.sigmoid(x) * torch.sigmoid(-x)),
}

PERIODIC = ("sin", "cos")  # those that a frequency belongs to
