"""The time axis of a solve: equal steps over [0, T], and the matrices that lead from samples to it and back."""

from __future__ import annotations

import torch
from torch import Tensor

from models.nn.ode.fused import stage_times
from models.nn.ode.spline import derivative_matrix, hermite_matrix


class TimeGrid:
    """S equal steps over [0, T], whatever the number of samples. It keeps the matrices that it has made.

    Args:
        duration: T.
        steps: S.
    """

    def __init__(self, duration: float, steps: int) -> None:
        self.duration, self.steps = duration, steps
        self._matrices: dict[tuple[str, int, torch.dtype, torch.device], Tensor] = {}

    def times(self, like: Tensor | None = None) -> Tensor:
        """Return (S + 1,): the ends of the steps; dtype and device as of `samples`."""
        return self.samples(self.steps + 1, like)

    def samples(self, points: int, like: Tensor | None = None) -> Tensor:
        """Return (points,) uniform times from 0 to T, of the dtype and device of `like`; None: float64 on the host."""
        like = torch.empty(0, dtype=torch.float64) if like is None else like
        return torch.linspace(0, self.duration, points, dtype=like.dtype, device=like.device)

    def slopes(self, points: int, like: Tensor) -> Tensor:
        """Return (2 S + 1, points): it leads from uniform samples to the derivative of their natural cubic spline at
        each step's end and middle, in order.
        """
        return self._matrix("slope", points, like)

    def path(self, samples: Tensor) -> Tensor:
        """Return (2 S + 1, ..., C + 1) derivative of (samples, time) at each step's end and middle, in order.

        Args:
            samples: (..., T, C) uniform in time, joined by a natural cubic spline.
        """
        points = samples.shape[-2]
        slopes = self.slopes(points, samples) @ samples  # (..., 2 S + 1, C)
        return torch.cat([slopes, torch.ones_like(slopes[..., :1])], -1).movedim(-2, 0).contiguous()

    def positions(self, velocities: Tensor, means: Tensor) -> Tensor:
        """Return (S + 1, B, n): the integral of a velocity from 0, from what `models.nn.ode.dynamics.solve` gives.

        Args:
            velocities: (S + 1, B, n) at the steps' ends; means: (S, B, n) over the steps.
        """
        moves = torch.cumsum(means, 0) * (self.duration / self.steps)
        return torch.cat([torch.zeros_like(velocities[:1]), moves])

    def curve(self, positions: Tensor, velocities: Tensor, points: int) -> Tensor:
        """Return (B, points, n): the cubic Hermite curve through the steps' ends, at uniform times.

        Args:
            positions, velocities: (S + 1, B, n) at the steps' ends.
            points: how many.
        """
        matrix = self._matrix("hermite", points, positions)
        return torch.einsum("qs,sbc->bqc", matrix, torch.cat([positions, velocities]))

    def _matrix(self, kind: str, points: int, like: Tensor) -> Tensor:
        key = (kind, points, like.dtype, like.device)
        if key not in self._matrices:
            samples, steps = self.samples(points), self.times()
            made = derivative_matrix(samples, stage_times(steps)) if kind == "slope" else hermite_matrix(steps, samples)
            self._matrices[key] = made.to(like)
        return self._matrices[key]
