"""Batches whose drawings have their own sample times: one natural spline each, one union of times for all.

SketchODE, appendix D: the trajectory of a batch is evaluated at the union of its drawings' times, and each
drawing reads its own times there. Samples are padded to the longest drawing; padding is never read.

Legend: B drawings, P samples of the longest, C channels, Q or U moments.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Samples:
    """Values at moments of their own; what lies where `valid` is false is not looked at.

    Args:
        times: (B, P), strictly ascending over the valid ones, which come first, two or more of each drawing.
        values: (B, P, C).
        valid: (B, P) bool.
    """

    times: Tensor
    values: Tensor
    valid: Tensor

    @classmethod
    def of(cls, points: Tensor, duration: float) -> Samples:
        """Read (B, P, 5) of x, y, pen_up, time in [0, 1], valid; values are x, y, pen_up and the time in [0, T]."""
        valid = points[..., 4] > 0.5
        points = points[:, : int(valid.sum(1).max())]
        times = points[..., 3] * duration
        return cls(times, torch.cat([points[..., :3], times.unsqueeze(-1)], -1), valid[:, : points.shape[1]])

    def derivative(self, at: Tensor) -> Tensor:
        """Return the derivative of each drawing's natural cubic spline at the moments `at` (Q,), as (Q, B, C)."""
        counts = self.valid.sum(1, keepdim=True)
        knots = self.times.masked_fill(~self.valid, torch.inf)
        wanted = at.expand(len(knots), -1).contiguous()
        left = torch.searchsorted(knots, wanted, right=True).sub(1).clamp(min=0).minimum(counts - 2)  # (B, Q)
        h = (knots.gather(1, left + 1) - knots.gather(1, left)).unsqueeze(-1)
        b = (wanted - knots.gather(1, left)).unsqueeze(-1) / h
        second = _second_derivatives(self)
        values, bends = ((_at(of, left), _at(of, left + 1)) for of in (self.values, second))
        slope = (values[1] - values[0]) / h
        bend = (3 * b**2 - 1) * bends[1] - (3 * (1 - b) ** 2 - 1) * bends[0]
        return (slope + h / 6 * bend).transpose(0, 1)

    def union(self) -> tuple[Tensor, Tensor]:
        """Return the union of all times (U,), ascending, and each time's place in it (B, P), 0 for padding."""
        moments, places = torch.unique(self.times[self.valid], return_inverse=True)
        where = torch.zeros(self.valid.shape, dtype=torch.int64, device=self.valid.device)
        where[self.valid] = places
        return moments, where


def at_own_times(union: Tensor, where: Tensor) -> Tensor:
    """(U, B, C) at the union's moments, (B, P) places -> (B, P, C)."""
    drawing = torch.arange(union.shape[1], device=union.device).unsqueeze(1)
    return union[where, drawing]


def _at(values: Tensor, index: Tensor) -> Tensor:
    """(B, P, C), (B, Q) -> (B, Q, C)."""
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


def _second_derivatives(samples: Samples) -> Tensor:
    """Return (B, P, C): of each natural spline at its knots, 0 at both ends and in the padding.

    One tridiagonal system a drawing, eliminated for all at once (Thomas; diagonally dominant, so stable).
    """
    valid = samples.valid
    inner = valid[:, 1:-1] & valid[:, 2:]  # (B, P - 2)
    times = samples.times.masked_fill(~valid, 0)
    values = samples.values.masked_fill(~valid.unsqueeze(-1), 0)
    h = torch.where(valid[:, 1:], times[:, 1:] - times[:, :-1], 1)
    slope = (values[:, 1:] - values[:, :-1]) / h.unsqueeze(-1)
    right = torch.where(inner.unsqueeze(-1), slope[:, 1:] - slope[:, :-1], 0)
    diagonal = torch.where(inner, (h[:, 1:] + h[:, :-1]) / 3, 1)
    lower = torch.where(inner, h[:, :-1] / 6, 0)
    upper = torch.where(inner, h[:, 1:] / 6, 0)
    factors: list[Tensor] = []
    reduced: list[Tensor] = []
    for i in range(inner.shape[1]):
        pivot, known = diagonal[:, i], right[:, i]
        if i:
            pivot = pivot - lower[:, i] * factors[-1]
            known = known - lower[:, i, None] * reduced[-1]
        factors.append(upper[:, i] / pivot)
        reduced.append(known / pivot[:, None])
    edge = values.new_zeros(len(values), values.shape[-1])
    solved = [edge]
    for factor, known in zip(reversed(factors), reversed(reduced), strict=True):
        solved.append(known - factor[:, None] * solved[-1])
    return torch.stack([edge, *reversed(solved)], 1)
