"""An invertible linear map with a known determinant."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class InvertibleLinear(nn.Module):
    """y = L U x + b, L unit lower and U upper triangular: invertible whatever the weights; starts as the identity.

    Args:
        size: n of x and of y.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.zeros(size, size))  # L below the diagonal, U above it
        self.log_diagonal = nn.Parameter(torch.zeros(size))  # of U
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        """(..., n) -> (..., n)."""
        lower, upper = self._triangles()
        return x @ (lower @ upper).t() + self.bias

    def inverse(self, y: Tensor) -> Tensor:
        """(..., n) -> (..., n): the x that `forward` takes to y."""
        lower, upper = self._triangles()
        shifted = torch.linalg.solve_triangular(lower, (y - self.bias).reshape(-1, y.shape[-1]).t(), upper=False)
        return torch.linalg.solve_triangular(upper, shifted, upper=True).t().reshape(y.shape)

    def log_determinant(self) -> Tensor:
        """Return log |det dy/dx|, a scalar in nats."""
        return self.log_diagonal.sum()

    def _triangles(self) -> tuple[Tensor, Tensor]:
        lower = torch.tril(self.factors, -1) + torch.eye(len(self.bias), dtype=self.bias.dtype, device=self.bias.device)
        return lower, torch.triu(self.factors, 1) + torch.diag(torch.exp(self.log_diagonal))
