"""RNN-RNN, the discrete rival of SketchODE (ICLR 2022, section 5.1 and table 1): LSTM encoder, LSTM decoder.

A bidirectional LSTM reads the drawing, its maximum over time gives z; an LSTM started from z writes
the points one after another, with z beside each input. The paper trains it teacher-forced: it never sees
its own errors before it is used. Here the inputs of training may be its own outputs, in part or all
(scheduled sampling, Bengio et al. 2015, with the gradient through them), and the output may be the move
from the point before. Everything that is reported (validation included) is free-running.
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
        own_inputs: probability that an input of training is the decoder's own last output, not the true last
            point; 0 is teacher forcing (paper), 1 trains what is used.
        output: what the decoder writes of a point: its "position" (paper) or the "offset" from its input.
        pen_weight: weight of the pen's loss against the position's.
    """

    hidden_size: int
    latent_size: int
    points: int
    own_inputs: float
    output: str
    pen_weight: float

    def __post_init__(self) -> None:
        for name in ("hidden_size", "latent_size", "points"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}")
        require(0 <= self.own_inputs <= 1, f"own_inputs must lie in [0, 1], got {self.own_inputs}")
        require(self.output in ("position", "offset"), f"output must be 'position' or 'offset', got {self.output!r}")


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
        xy, logit = self._step_by_step(z, points or self.config.points)
        return torch.cat([xy, torch.sigmoid(logit).unsqueeze(-1)], -1)

    def to_ink(self, decoded: Tensor) -> Ink:
        """(B, T, 3) -> drawings, each centred on its box."""
        return self.representation.to_ink(decoded)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Each point is predicted from true points before it, or, where `own_inputs` says so, from the own ones."""
        target = batch["points"]
        z = self.encode(target)
        if self.config.own_inputs == 0:
            xy, logit = self._teacher_forced(z, target)
        else:
            own = torch.rand(target.shape[1], len(z), 1, device=z.device) < self.config.own_inputs
            xy, logit = self._step_by_step(z, target.shape[1], target, own)
        return sequence_loss(xy, logit, target, self.config.pen_weight)

    def validation_loss(self, batch: Batch) -> Tensor:
        """The same loss on free-running output, comparable with SketchODE's."""
        target = batch["points"]
        xy, logit = self._step_by_step(self.encode(target), target.shape[1])
        return sequence_loss(xy, logit, target, self.config.pen_weight)["loss"]

    def _teacher_forced(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """All steps in one call: no input waits for an output."""
        previous = torch.cat([torch.zeros_like(target[:, :1]), target[:, :-1]], 1)
        inputs = torch.cat([previous, z.unsqueeze(1).expand(-1, target.shape[1], -1)], -1)
        hidden, cell = self._initial(z)
        written = self._written(self.decoder(inputs, (hidden.unsqueeze(0), cell.unsqueeze(0)))[0], previous)
        return written[..., :2], written[..., 2]

    def _step_by_step(
        self, z: Tensor, points: int, target: Tensor | None = None, own: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Write point after point from the origin; without a target every input is the own last point.

        Args:
            z: (B, Z); points: T; target: (B, T, 3).
            own: (T, B, 1), where the point at that step, as the next input, is the own one.
        """
        state = self._initial(z)
        weights = self.decoder.all_weights[0]  # of the input, of the state, and their biases
        previous, points_written = z.new_zeros(len(z), 3), []
        for i in range(points):
            state = torch.lstm_cell(torch.cat([previous, z], -1), state, *weights)
            written = self._written(state[0], previous)  # (B, 3)
            points_written.append(written)
            previous = torch.cat([written[..., :2], (written[..., 2:] > 0).to(written.dtype)], -1)
            if target is not None and own is not None:
                previous = torch.where(own[i], previous, target[:, i])
        joined = torch.stack(points_written, 1)
        return joined[..., :2], joined[..., 2]

    def _written(self, hidden: Tensor, previous: Tensor) -> Tensor:
        """(..., H), (..., 3) inputs -> (..., 3) of x, y, pen logit."""
        out = self.output(hidden)
        if self.config.output == "position":
            return out
        return torch.cat([previous[..., :2] + out[..., :2], out[..., 2:]], -1)

    def _initial(self, z: Tensor) -> tuple[Tensor, Tensor]:
        hidden, cell = torch.tanh(self.from_latent(z)).chunk(2, -1)
        return hidden.contiguous(), cell.contiguous()
