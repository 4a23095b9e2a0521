"""The weights of a right-hand side, as the solvers want them.

A network of one or more hidden layers whose first layer gets a constant (from z), the time and the
state, and whose output is either the derivative itself or, for a neural CDE, a matrix contracted with
the derivative of the driving path:

    u1 = W1 y + c + w_t t,   u_k = W_k act(u_{k-1}) + b_k,   o = W act(u_K) + b
    dy/dt = o                        (ODE; o has n entries)
    dy/dt = o.view(n, channels) X'   (CDE; o has n * channels entries)

Legend: B batch, n state, H hidden, C channels of the path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.nn.ode.activations import ACTIVATIONS


@dataclass(frozen=True)
class Network:
    """Weights of the field, the frequencies of the activations already multiplied in.

    Args:
        constant: (B, H) what the first layer adds: bias and the part that depends on z.
        time: (H,) weight of the time in the first layer.
        weights: (H, n); any number of (H, H); (n or n * C, H).
        biases: of every layer but the first, whose bias is in `constant`.
        activation: a key of `ACTIVATIONS`, after every layer but the last.
    """

    constant: Tensor
    time: Tensor
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    activation: str

    def __post_init__(self) -> None:
        if len(self.weights) < 2 or len(self.biases) != len(self.weights) - 1:
            raise ValueError(
                f"a network has at least two weights and one bias less, got {len(self.weights)} and {len(self.biases)}"
            )

    def __call__(self, t: Tensor, y: Tensor, slope: Tensor | None = None) -> Tensor:
        """Return dy/dt, (B, n), at time t (scalar) and state y (B, n).

        Args:
            t: the time.
            y: the state.
            slope: (B, C) derivative of the driving path at t, of a CDE.
        """
        act = ACTIVATIONS[self.activation].function
        out = y @ self.weights[0].t() + self.constant + self.time * t
        for weight, bias in zip(self.weights[1:], self.biases, strict=True):
            out = act(out) @ weight.t() + bias
        if slope is None:
            return out
        return torch.bmm(out.view(*y.shape, -1), slope.unsqueeze(-1))[..., 0]

    def tensors(self) -> tuple[Tensor, ...]:
        """Return every tensor of the network: constant, time, weights, biases."""
        return (self.constant, self.time, *self.weights, *self.biases)

    def holding(self, tensors: Sequence[Tensor]) -> Network:
        """Return the same network with other tensors, in the order of `tensors()`."""
        layers = len(self.weights)
        return Network(
            tensors[0], tensors[1], tuple(tensors[2 : 2 + layers]), tuple(tensors[2 + layers :]), self.activation
        )
