"""SketchRNN without its encoder: draws, and finishes drawings, from no code (Ha and Eck 2018, section 3.3).

Trained on the reconstruction loss alone. The weights that sketch-rnn's authors released for browsers are of this
kind: `pipeline.sketchrnn_js` imports them. What it reports is a likelihood, hence teacher-forced by definition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ink.table import Ink
from models.base import Batch, SketchModel
from models.nn.recurrent.stroke5 import Stroke5, lengths, offset_deviation, order_by_length, states, vary
from models.nn.recurrent.stroke_decoder import StrokeDecoder, StrokeDecoderConfig, trained_rows


@dataclass(frozen=True)
class SketchRNNDecoderConfig(StrokeDecoderConfig):
    """Settings of the decoder-only model: those of the decoder."""


class SketchRNNDecoder(SketchModel):
    """Recurrent net on stroke-5 rows, zero initial state."""

    Config = SketchRNNDecoderConfig
    trains_on_copies = False  # it varies the originals itself

    def __init__(self, config: SketchRNNDecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.decoder = StrokeDecoder(config, 0)

    @property
    def representation(self) -> Stroke5:
        """Offsets in pixels and the pen."""
        return self.config.representation

    def prepare(self, ink: Ink) -> None:
        """Take the scalar of the offsets from the training drawings."""
        self.decoder.offset_std.copy_(offset_deviation(self.representation.collate(ink)))

    def order(self, points: Tensor, batch_size: int, generator: np.random.Generator) -> np.ndarray:
        """Return an epoch's order, its batches of similar length."""
        return order_by_length(lengths(states(points)).numpy(), batch_size, self.config.sorted_batches, generator)

    def likelihood(self, points: Tensor) -> dict[str, Tensor]:
        """L_R of each drawing as `nll`, in nats over N_max, with its pen term over all rows (`nll_real`: real ones)."""
        terms = self.decoder.terms(points, None, self.decoder.cell.zero_state(points[:, 0]))
        return {"nll": terms["offsets"] + terms["pen"], "nll_real": terms["offsets"] + terms["pen_real"], **terms}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """L_R = L_s + L_p, and its terms; in training on varied drawings."""
        rows = batch["points"]
        if self.training:
            rows = trained_rows(vary(rows, self.config.stretch, self.config.drop_points), self.config.pen_steps)
        terms = self.decoder.terms(rows, None, self.decoder.cell.zero_state(rows[:, 0]))
        terms = {name: values.mean() for name, values in terms.items()}
        return {"loss": terms["offsets"] + terms["pen"], **terms}

    def sample(self, count: int, generator: torch.Generator, temperature: float | None = None) -> Tensor:
        """Return `count` new drawings as rows (count, N_max, 5) in pixels."""
        return self._draw(count, generator, temperature, None)

    def prefix(self, ink: Ink, extent: float, points: int | None = None) -> Tensor:
        """Return beginnings of drawings as rows (N, P, 5) in pixels; see `Completer`."""
        return self.representation.beginning(ink, extent, points)

    def complete(self, prefix: Tensor, generator: torch.Generator, temperature: float | None = None) -> Tensor:
        """Return (B, N_max, 5) rows that begin with `prefix` (B, P, 5), each with an ending of its own.

        A prefix without rows gives a new drawing; one of N_max rows or more comes back cut to N_max.
        """
        return self._draw(len(prefix), generator, temperature, prefix)

    def to_ink(self, decoded: Tensor) -> Ink:
        """(B, T, 5) -> drawings in the unit circle."""
        return self.representation.to_ink(decoded)

    def _draw(self, count: int, generator: torch.Generator, temperature: float | None, prefix: Tensor | None) -> Tensor:
        tau = self.config.temperature if temperature is None else temperature
        state = self.decoder.cell.zero_state(self.decoder.offset_std.expand(count, 1))
        return self.decoder.draw(state, None, self.config.max_points, tau, generator, prefix)
