"""SketchRNN's mixture density head: a pen of three states and M bivariate Gaussians (Ha and Eck 2018, section 3.2).

Stable in float32 for any finite output of the network: densities stay logarithms until they are added
(log-sum-exp), log sigma and atanh rho are bounded, and a distance is at most `_FARTHEST` sigmas.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

PEN_STATES = 3  # down, up after this point, end of the drawing
_LOG_SIGMA = 30.0  # |log sigma| is at most this. Trained nets go below -9: whole pixels make many offsets exactly 0
_ATANH_RHO = 8.0  # |rho| is at most 1 - 2e-7
_FARTHEST = 1e9  # sigmas; its square over 1 - rho^2 is still a number of float32


def outputs(mixtures: int) -> int:
    """Return how many numbers the network gives per step: 3 pen logits, then pi, mu, log sigma (x, y), atanh rho."""
    return PEN_STATES + 6 * mixtures


@dataclass(frozen=True)
class Mixture:
    """Distributions of the next point, `...` any leading dimensions.

    Args:
        pen: (..., 3) log probabilities of the pen's state.
        weight: (..., M) log weights.
        mean: (..., M, 2); log_sigma: (..., M, 2).
        atanh_rho: (..., M).
    """

    pen: Tensor
    weight: Tensor
    mean: Tensor
    log_sigma: Tensor
    atanh_rho: Tensor

    @classmethod
    def of(cls, numbers: Tensor) -> Mixture:
        """Read the network's (..., 6 M + 3) numbers, in the order of `outputs`."""
        pen, rest = numbers[..., :PEN_STATES], numbers[..., PEN_STATES:]
        weight, mean_x, mean_y, sigma_x, sigma_y, rho = rest.chunk(6, -1)
        return cls(
            functional.log_softmax(pen, -1),
            functional.log_softmax(weight, -1),
            torch.stack([mean_x, mean_y], -1),
            torch.stack([sigma_x, sigma_y], -1).clamp(-_LOG_SIGMA, _LOG_SIGMA),
            rho.clamp(-_ATANH_RHO, _ATANH_RHO),
        )

    def log_density(self, offset: Tensor) -> Tensor:
        """Return the log density, in nats, of offsets (..., 2): equations 5 and 9 of the paper, as (...)."""
        distance = (offset.unsqueeze(-2) - self.mean) * torch.exp(-self.log_sigma)  # (..., M, 2), in sigmas
        dx, dy = distance.clamp(-_FARTHEST, _FARTHEST).unbind(-1)
        rho = torch.tanh(self.atanh_rho)
        log_left = -2 * _log_cosh(self.atanh_rho)  # log(1 - rho^2), without cancellation
        square = (dx - rho * dy) ** 2 * torch.exp(-log_left) + dy**2  # = (dx^2 - 2 rho dx dy + dy^2) / (1 - rho^2)
        log_normal = -0.5 * square - self.log_sigma.sum(-1) - 0.5 * log_left - math.log(2 * math.pi)
        return torch.logsumexp(self.weight + log_normal, -1)

    def sample(self, temperature: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw offsets (..., 2) and pen states (...): logits over tau, sigma^2 times tau (equation 8).

        Args:
            temperature: tau; 0 is `greedy`.
            generator: of the device of the numbers.
        """
        if temperature == 0:
            return self.greedy()
        shape = self.pen.shape[:-1]
        chosen = _categorical(self.weight / temperature, generator)
        pen = _categorical(self.pen / temperature, generator)
        mean, log_sigma, atanh_rho = self._component(chosen)
        noise = torch.randn((*shape, 2), dtype=self.pen.dtype, device=self.pen.device, generator=generator)
        rho = torch.tanh(atanh_rho)
        second = rho * noise[..., 0] + torch.exp(-_log_cosh(atanh_rho)) * noise[..., 1]
        spread = torch.stack([noise[..., 0], second], -1) * math.sqrt(temperature)
        return mean + torch.exp(log_sigma) * spread, pen

    def greedy(self) -> tuple[Tensor, Tensor]:
        """Return the mean of the heaviest Gaussian and the likeliest pen state: the limit tau -> 0."""
        return self._component(self.weight.argmax(-1))[0], self.pen.argmax(-1)

    def _component(self, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        one = chosen.unsqueeze(-1)
        two = one.unsqueeze(-1).expand(*one.shape, 2)
        mean, log_sigma = (values.gather(-2, two).squeeze(-2) for values in (self.mean, self.log_sigma))
        return mean, log_sigma, self.atanh_rho.gather(-1, one).squeeze(-1)


def _log_cosh(x: Tensor) -> Tensor:
    return x.abs() + functional.softplus(-2 * x.abs()) - math.log(2)


def _categorical(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Draw an index of the last dimension, by Gumbel's maximum: no probability has to be formed."""
    uniform = torch.rand(logits.shape, dtype=logits.dtype, device=logits.device, generator=generator)
    tiny = torch.finfo(logits.dtype).tiny
    return (logits - torch.log(-torch.log(uniform.clamp(tiny, 1 - torch.finfo(logits.dtype).eps)))).argmax(-1)
