"""RNN-RNN, the discrete rival of SketchODE (ICLR 2022, section 5.1 and table 1): LSTM encoder, LSTM decoder.

A bidirectional LSTM reads the drawing, its maximum over time gives z; an LSTM started from z writes
the points one after another, with z beside each input. Training is teacher-forced, everything that is
reported (validation included) is free-running.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ink.table import Ink
from models.base import Batch, FullSequence, SketchModel, require, sequence_loss


@dataclass(frozen=True)
class RNNSeq2SeqConfig:
    """Settings of RNN-RNN.

    Args:
        hidden_size: d, size of the LSTM states, each way in the encoder.
        latent_size: size of z.
        points: samples per drawing.
        pen_weight: weight of the pen's loss against the position's.
    """

    hidden_size: int
    latent_size: int
    points: int
    pen_weight: float

    def __post_init__(self) -> None:
        for name in ("hidden_size", "latent_size", "points"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}")


class RNNSeq2Seq(SketchModel):
    """Bidirectional LSTM to z, LSTM from z. Shapes: see `models.base`."""

    Config = RNNSeq2SeqConfig

    def __init__(self, config: RNNSeq2SeqConfig) -> None:
        super().__init__()
        self.config = config
        size, latent = config.hidden_size, config.latent_size
        self.encoder = nn.LSTM(3, size, batch_first=True, bidirectional=True)
        self.to_latent = nn.Linear(2 * size, latent)
        self.from_latent = nn.Linear(latent, 2 * size)
        self.decoder = nn.LSTM(3 + latent, size, batch_first=True)
        self.output = nn.Linear(size, 3)

    @property
    def representation(self) -> FullSequence:
        """Uniform samples of the whole drawing, pen-up joins included."""
        return FullSequence(self.config.points)

    def encode(self, points: Tensor) -> Tensor:
        """(B, T, 3) -> (B, Z): maximum over time of the encoder's outputs, then linear."""
        return self.to_latent(self.encoder(points)[0].max(1).values)

    def decode(self, z: Tensor, points: int | None = None) -> Tensor:
        """(B, Z) -> (B, T, 3) of x, y, probability of pen_up, free-running from the origin."""
        xy, logit = self._free_running(z, points or self.config.points)
        return torch.cat([xy, torch.sigmoid(logit).unsqueeze(-1)], -1)

    def to_ink(self, decoded: Tensor) -> Ink:
        """(B, T, 3) -> drawings, each centred on its box."""
        return self.representation.to_ink(decoded)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Teacher-forced: each point is predicted from the true points before it."""
        target = batch["points"]
        z = self.encode(target)
        previous = torch.cat([torch.zeros_like(target[:, :1]), target[:, :-1]], 1)
        inputs = torch.cat([previous, z.unsqueeze(1).expand(-1, target.shape[1], -1)], -1)
        out = self.output(self.decoder(inputs, self._initial(z))[0])  # (B, T, 3)
        return sequence_loss(out[..., :2], out[..., 2], target, self.config.pen_weight)

    def validation_loss(self, batch: Batch) -> Tensor:
        """The same loss on free-running output, comparable with SketchODE's."""
        target = batch["points"]
        xy, logit = self._free_running(self.encode(target), target.shape[1])
        return sequence_loss(xy, logit, target, self.config.pen_weight)["loss"]

    def _free_running(self, z: Tensor, points: int) -> tuple[Tensor, Tensor]:
        previous, state = z.new_zeros(len(z), 1, 3), self._initial(z)
        outputs = []
        for _ in range(points):
            hidden, state = self.decoder(torch.cat([previous, z.unsqueeze(1)], -1), state)
            out = self.output(hidden)  # (B, 1, 3)
            outputs.append(out)
            previous = torch.cat([out[..., :2], (out[..., 2:] > 0).to(out.dtype)], -1)
        joined = torch.cat(outputs, 1)
        return joined[..., :2], joined[..., 2]

    def _initial(self, z: Tensor) -> tuple[Tensor, Tensor]:
        hidden, cell = torch.tanh(self.from_latent(z)).chunk(2, -1)
        return hidden.unsqueeze(0).contiguous(), cell.unsqueeze(0).contiguous()
