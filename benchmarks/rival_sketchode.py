"""SketchODE as it is commonly built, on torchcde and torchdiffeq's adjoint, with the very weights of our model.

The reference that `benchmarks/ode.py` times and that a test holds our engine to. As in the authors' code
z is a state with derivative zero and position is integrated beside velocity; the spline is fitted and
evaluated on the same clock (the authors' code fits it on sample numbers).
"""

from __future__ import annotations

import torch
import torchcde
import torchdiffeq
from torch import Tensor, nn

from models.base import Batch, sequence_loss
from models.nn.ode.dynamics import Dynamics
from models.sketchode import SketchODE


def _field(dynamics: Dynamics, t: Tensor, state: Tensor, context: Tensor | None) -> Tensor:
    frequencies = 2 * dynamics.omega * torch.sigmoid(dynamics.frequency)
    u = dynamics.state(state) + dynamics.time * t
    if dynamics.context is not None:
        u = u + dynamics.context(context)
    value = torch.sin(frequencies[0] * u)
    for frequency, layer in zip(frequencies[1:], dynamics.hidden, strict=True):
        value = torch.sin(frequency * layer(value))
    return dynamics.output(value)


class _Controlled(nn.Module):
    """G of the neural CDE, (B, n) -> (B, n, 4)."""

    def __init__(self, dynamics: Dynamics) -> None:
        super().__init__()
        self.dynamics = dynamics

    def forward(self, t: Tensor, state: Tensor) -> Tensor:
        return _field(self.dynamics, t, state, None).view(*state.shape, -1)


class _SecondOrder(nn.Module):
    """(a, a', z) -> (a', F(a', t, z), 0)."""

    def __init__(self, dynamics: Dynamics) -> None:
        super().__init__()
        self.dynamics = dynamics

    def forward(self, t: Tensor, state: Tensor) -> Tensor:
        size = self.dynamics.state.in_features
        _, velocity, z = state[:, :size], state[:, size : 2 * size], state[:, 2 * size :]
        return torch.cat([velocity, _field(self.dynamics, t, velocity, z), torch.zeros_like(z)], 1)


class RivalSketchODE(nn.Module):
    """The same model on torchcde and torchdiffeq.

    Args:
        model: whose weights it shares; with sin dynamics, second order, the summary "last".
        adjoint: solve the gradient backwards in time, else backpropagate through the steps.
    """

    def __init__(self, model: SketchODE, adjoint: bool) -> None:
        super().__init__()
        self.model, self.adjoint = model, adjoint
        self.controlled, self.second_order = _Controlled(model.cde), _SecondOrder(model.ode)

    def encode(self, points: Tensor) -> Tensor:
        """(B, T, 3) -> (B, Z)."""
        times = self._times(points.shape[1], points)
        path = torch.cat([points, times.expand(len(points), -1).unsqueeze(-1)], -1)
        spline = torchcde.CubicSpline(torchcde.natural_cubic_coeffs(path, times), times)
        start = points.new_zeros(len(points), self.model.config.hidden_size)
        states = torchcde.cdeint(spline, self.controlled, start, times, adjoint=self.adjoint, method="rk4")
        return self.model.to_latent(states[:, -1])

    def trajectory(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, Z) -> positions (B, T, 2) and pen logits (B, T)."""
        model, times = self.model, self._times(self.model.config.points, z)
        velocity = torch.cat([model.start_velocity.expand(len(z), -1), model.from_latent(z)], -1)
        state = torch.cat([torch.zeros_like(velocity), velocity, z], 1)
        solve = torchdiffeq.odeint_adjoint if self.adjoint else torchdiffeq.odeint
        states = solve(self.second_order, state, times, method="rk4").transpose(0, 1)
        return states[..., :2], states[..., 2] + model.pen_offset

    def decode(self, z: Tensor) -> Tensor:
        """(B, Z) -> (B, T, 3) of x, y, probability of pen_up."""
        xy, logit = self.trajectory(z)
        return torch.cat([xy, torch.sigmoid(logit).unsqueeze(-1)], -1)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The same loss as the model's."""
        target = batch["points"]
        return sequence_loss(*self.trajectory(self.encode(target)), target, self.model.config.pen_weight)

    def _times(self, count: int, like: Tensor) -> Tensor:
        return torch.linspace(0, self.model.config.duration, count, dtype=like.dtype, device=like.device)
