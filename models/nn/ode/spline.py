"""Natural cubic splines: knots and coefficients in one object, derivatives in one batched call."""

from __future__ import annotations

import torch
from torch import Tensor


class NaturalCubicSpline:
    """The natural cubic spline through values at knots (second derivative zero at both ends).

    Args:
        knots: (T,) strictly ascending times, T >= 2.
        values: (..., T, channels).

    Raises:
        ValueError: the shapes disagree or the knots do not ascend.
    """

    def __init__(self, knots: Tensor, values: Tensor) -> None:
        if values.shape[-2] != len(knots):
            raise ValueError(f"{len(knots)} knots but {values.shape[-2]} values along dimension -2")
        self.knots, self.values = knots, values
        second = second_derivative_matrix(knots).to(values)
        self.second_derivatives = second @ values  # (..., T, channels)

    def evaluate(self, times: Tensor) -> Tensor:
        """Return the spline at `times` (Q,), as (..., Q, channels); outside the knots the end pieces go on."""
        i, h, a, b = self._locate(times)
        left, right = self.second_derivatives[..., i, :], self.second_derivatives[..., i + 1, :]
        bend = (a**3 - a) * left + (b**3 - b) * right
        return a * self.values[..., i, :] + b * self.values[..., i + 1, :] + bend * h**2 / 6

    def derivative(self, times: Tensor) -> Tensor:
        """Return the spline's first derivative at `times` (Q,), as (..., Q, channels)."""
        i, h, a, b = self._locate(times)
        slope = (self.values[..., i + 1, :] - self.values[..., i, :]) / h
        left, right = self.second_derivatives[..., i, :], self.second_derivatives[..., i + 1, :]
        return slope + h / 6 * ((3 * b**2 - 1) * right - (3 * a**2 - 1) * left)

    def _locate(self, times: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        i = torch.searchsorted(self.knots, times.contiguous(), right=True).sub(1).clamp(0, len(self.knots) - 2)
        h = (self.knots[i + 1] - self.knots[i])[:, None]
        b = (times - self.knots[i])[:, None] / h
        return i, h, 1 - b, b


def second_derivative_matrix(knots: Tensor) -> Tensor:
    """Return the (T, T) float64 matrix that maps values at the knots to the spline's second derivatives there.

    Raises:
        ValueError: fewer than two knots, or knots that do not ascend.
    """
    knots = knots.detach().double()
    size = len(knots)
    if size < 2 or bool((knots[1:] <= knots[:-1]).any()):
        raise ValueError("knots must be at least two strictly ascending times")
    if size == 2:
        return knots.new_zeros(2, 2)
    h = knots[1:] - knots[:-1]
    system = torch.diag((h[:-1] + h[1:]) / 3) + torch.diag(h[1:-1] / 6, 1) + torch.diag(h[1:-1] / 6, -1)
    right = knots.new_zeros(size - 2, size)
    rows = torch.arange(size - 2)
    right[rows, rows] = 1 / h[:-1]
    right[rows, rows + 1] = -1 / h[:-1] - 1 / h[1:]
    right[rows, rows + 2] = 1 / h[1:]
    inner = torch.linalg.solve(system, right)
    return torch.cat([inner.new_zeros(1, size), inner, inner.new_zeros(1, size)])


def derivative_matrix(knots: Tensor, times: Tensor) -> Tensor:
    """Return the (Q, T) float64 matrix that maps values at the knots to the spline's derivative at `times`.

    For fixed knots the derivative is linear in the values: one matrix product serves a whole batch.
    """
    identity = torch.eye(len(knots), dtype=torch.float64, device=knots.device)
    return NaturalCubicSpline(knots.double(), identity).derivative(times.double())


def hermite_matrix(knots: Tensor, times: Tensor) -> Tensor:
    """Return the (Q, 2 T) float64 matrix of the cubic Hermite curve through values and slopes at knots.

    Exact at the knots, fourth order between them.

    Args:
        knots: (T,) ascending, T >= 2; its product takes T values above T slopes.
        times: (Q,) at which the curve is wanted.
    """
    knots, times = knots.double(), times.double()
    i = torch.searchsorted(knots, times.contiguous(), right=True).sub(1).clamp(0, len(knots) - 2)
    h = knots[i + 1] - knots[i]
    s = (times - knots[i]) / h
    matrix = times.new_zeros(len(times), 2 * len(knots))
    rows = torch.arange(len(times), device=times.device)
    matrix[rows, i] = (1 + 2 * s) * (1 - s) ** 2
    matrix[rows, i + 1] = s**2 * (3 - 2 * s)
    matrix[rows, len(knots) + i] = h * s * (1 - s) ** 2
    matrix[rows, len(knots) + i + 1] = h * s**2 * (s - 1)
    return matrix
