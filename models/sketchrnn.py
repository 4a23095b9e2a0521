"""SketchRNN: a bidirectional LSTM reads a drawing into a Gaussian code, a recurrent net writes it, point by point.

Ha and Eck: A Neural Representation of Sketch Drawings, ICLR 2018. Notable: a variational autoencoder on pen
offsets, whose decoder is a density of the next offset and pen state; temperature makes it bold or careful. How we
differ from the public code: densities are added as logarithms, without its floor of 1e-6; a plain LSTM without
recurrent dropout runs on torch's kernel; gradients are clipped by their norm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ink.table import Ink
from models.base import Batch, SketchModel, require
from models.nn.recurrent.lstm import State, final_outputs
from models.nn.recurrent.stroke5 import CHANNELS, Stroke5, lengths, offset_deviation, order_by_length, states, vary
from models.nn.recurrent.stroke_decoder import StrokeDecoder, StrokeDecoderConfig, trained_rows

_SMALL_ANGLE = 1e-3  # radians
_EVALUATION_SEED = 0  # of the codes' noise in evaluation, so that a score is a number and no draw


@dataclass(frozen=True)
class SketchRNNConfig(StrokeDecoderConfig):
    """Settings of SketchRNN beside those of the decoder (public code's values in brackets).

    Args:
        encoder_size: units of the encoder, each way (256).
        latent_size: N_z (128).
        kl_weight: w_KL (0.5).
        kl_floor: KL_min, below which the divergence is not pressed further (0.2).
        kl_start, kl_rate: eta_min and R of the weight's growth, 1 - (1 - eta_min) R^step (0.01, 0.99995).
        decode_temperature: tau of `decode`, 0 for greedy.
    """

    encoder_size: int
    latent_size: int
    kl_weight: float
    kl_floor: float
    kl_start: float
    kl_rate: float
    decode_temperature: float

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("encoder_size", "latent_size"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}")
        require(self.kl_weight >= 0 and self.kl_floor >= 0, "kl_weight and kl_floor must be 0 or more")
        require(0 <= self.kl_start <= 1, f"kl_start must be in [0, 1], got {self.kl_start}")
        require(0 < self.kl_rate < 1, f"kl_rate must be in (0, 1), got {self.kl_rate}")


class SketchRNN(SketchModel):
    """Bidirectional LSTM to z, mixture density decoder from z. Shapes: see `models.base`."""

    Config = SketchRNNConfig
    trains_on_copies = False  # it varies the originals itself

    def __init__(self, config: SketchRNNConfig) -> None:
        super().__init__()
        self.config = config
        size = config.encoder_size
        self.encoder = nn.LSTM(CHANNELS, size, batch_first=True, bidirectional=True)
        self.to_mean = nn.Linear(2 * size, config.latent_size)
        self.to_log_variance = nn.Linear(2 * size, config.latent_size)
        self.decoder = StrokeDecoder(config, config.latent_size)
        self.from_latent = nn.Linear(config.latent_size, sum(self.decoder.cell.sizes))

    @property
    def representation(self) -> Stroke5:
        """Offsets in pixels and the pen."""
        return self.config.representation

    def prepare(self, ink: Ink) -> None:
        """Take the scalar of the offsets from the training drawings."""
        self.decoder.offset_std.copy_(offset_deviation(self.representation.collate(ink)))

    def posterior(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance (B, Z) of the code: of the final states both ways (equations 1 and 2)."""
        real = lengths(states(rows)).clamp(min=1)
        hidden = final_outputs(self.encoder, self.decoder.scaled(rows[:, : int(real.max())]), real)
        return self.to_mean(hidden), self.to_log_variance(hidden)

    def encode(self, points: Tensor) -> Tensor:
        """(B, T, 5) -> (B, Z): the code's mean."""
        return self.posterior(points)[0]

    def decode(self, z: Tensor, points: int | None = None) -> Tensor:
        """(B, Z) -> (B, T, 5) rows in pixels, at `decode_temperature`; equal codes give equal drawings.

        Args:
            z: codes.
            points: T, most rows; N_max unless given.
        """
        generator = torch.Generator(z.device).manual_seed(_EVALUATION_SEED)
        return self.draw(z, generator, self.config.decode_temperature, points)

    def between(self, a: Tensor, b: Tensor, alpha: Tensor) -> Tensor:
        """Spherical interpolation: codes of a Gaussian prior lie near a sphere, a straight line cuts through it."""
        cosine = (a @ b / (a.norm() * b.norm()).clamp(min=torch.finfo(a.dtype).tiny)).clamp(-1, 1)
        angle = torch.arccos(cosine)
        if float(angle) < _SMALL_ANGLE or float(angle) > torch.pi - _SMALL_ANGLE:  # one direction, or no plane between
            return super().between(a, b, alpha)
        return (torch.sin((1 - alpha) * angle) * a + torch.sin(alpha * angle) * b) / torch.sin(angle)

    def draw(
        self,
        z: Tensor,
        generator: torch.Generator,
        temperature: float | None = None,
        points: int | None = None,
        prefix: Tensor | None = None,
    ) -> Tensor:
        """(B, Z) -> (B, T, 5) rows in pixels, drawn at a temperature, after `prefix` (B, P, 5) if there is one."""
        tau = self.config.temperature if temperature is None else temperature
        return self.decoder.draw(self._initial(z), z, points or self.config.max_points, tau, generator, prefix)

    def sample(self, count: int, generator: torch.Generator, temperature: float | None = None) -> Tensor:
        """Return `count` drawings of codes from the prior, as rows (count, N_max, 5) in pixels."""
        like = self.to_mean.weight
        z = torch.randn(count, self.config.latent_size, dtype=like.dtype, device=like.device, generator=generator)
        return self.draw(z, generator, temperature)

    def prefix(self, ink: Ink, extent: float, points: int | None = None) -> Tensor:
        """Return beginnings of drawings as rows (N, P, 5) in pixels; see `Completer`."""
        return self.representation.beginning(ink, extent, points)

    def complete(self, prefix: Tensor, generator: torch.Generator, temperature: float | None = None) -> Tensor:
        """Return (B, N_max, 5) rows that begin with `prefix` (B, P, 5); the code is that of the prefix.

        A prefix without rows gives a new drawing, its code from the prior.
        """
        z = torch.randn(
            len(prefix), self.config.latent_size, dtype=prefix.dtype, device=prefix.device, generator=generator
        )
        begun = lengths(states(prefix)) > 0
        if bool(begun.any()):
            z = torch.where(begun.unsqueeze(1), self.encode(prefix), z)
        return self.draw(z, generator, temperature, prefix=prefix)

    def to_ink(self, decoded: Tensor) -> Ink:
        """(B, T, 5) -> drawings in the unit circle."""
        return self.representation.to_ink(decoded)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """L_R + w_KL eta max(L_KL, KL_min) (equation 11 with the public code's annealing), and its terms.

        eta grows with `batch["step"]`; without a step it is 1.
        """
        rows = batch["points"]
        if self.training:
            rows = trained_rows(vary(rows, self.config.stretch, self.config.drop_points), self.config.pen_steps)
        terms = {name: values.mean() for name, values in self._terms(rows).items()}
        weight = self.config.kl_weight * self._growth(batch.get("step"))
        return {"loss": terms["offsets"] + terms["pen"] + weight * terms["kl"].clamp(min=self.config.kl_floor), **terms}

    def order(self, points: Tensor, batch_size: int, generator: np.random.Generator) -> np.ndarray:
        """Return an epoch's order, its batches of similar length."""
        return order_by_length(lengths(states(points)).numpy(), batch_size, self.config.sorted_batches, generator)

    def likelihood(self, points: Tensor) -> dict[str, Tensor]:
        """L_R of each drawing, at one draw of its code, as `nll`, in nats over N_max; and L_KL, over N_z, as `kl`.

        The pen's term counts all N_max rows in `nll` and the real ones in `nll_real`.
        """
        terms = self._terms(points)
        return {"nll": terms["offsets"] + terms["pen"], "nll_real": terms["offsets"] + terms["pen_real"], **terms}

    def _terms(self, rows: Tensor) -> dict[str, Tensor]:
        mean, log_variance = self.posterior(rows)
        z = mean + torch.exp(log_variance / 2) * self._noise(mean)
        terms = self.decoder.terms(rows, z, self._initial(z))
        terms["kl"] = -0.5 * (1 + log_variance - mean**2 - torch.exp(log_variance)).mean(1)
        return terms

    def _growth(self, step: Tensor | None) -> float:
        return 1.0 if step is None else 1 - (1 - self.config.kl_start) * self.config.kl_rate ** int(step)

    def _noise(self, mean: Tensor) -> Tensor:
        if self.training:
            return torch.randn_like(mean)
        generator = torch.Generator(mean.device).manual_seed(_EVALUATION_SEED)
        return torch.randn(mean.shape, dtype=mean.dtype, device=mean.device, generator=generator)

    def _initial(self, z: Tensor) -> State:
        return torch.tanh(self.from_latent(z)).split(self.decoder.cell.sizes, -1)
