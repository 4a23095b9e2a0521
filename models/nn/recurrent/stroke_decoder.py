"""SketchRNN's decoder: a recurrent net that predicts each stroke-5 row from those before it (Ha and Eck 2018).

Shared by the model with an encoder (`models.sketchrnn`) and the one without (`models.sketchrnn_decoder`).
Rows come and go in pixels; inside, offsets are divided by `offset_std`, which is saved with the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.base import require
from models.nn.recurrent.lstm import LSTM, HyperLSTM, LayerNormLSTM, Recurrence, State
from models.nn.recurrent.mixture import Mixture, outputs
from models.nn.recurrent.stroke5 import CHANNELS, DOWN, END, Stroke5, from_parts, lengths, states

_CELLS = ("lstm", "layer_norm", "hyper")
_STARTS = ("pen_down", "zeros")
_PEN_STEPS = ("all", "batch")
_CHECKED_EVERY = 16  # steps between two looks at whether all drawings have ended: a look waits for the device


@dataclass(frozen=True)
class StrokeDecoderConfig:
    """Settings that both SketchRNN models share.

    Args:
        cell: lstm | layer_norm | hyper.
        decoder_size: units of the decoder (public code: 512).
        hyper_size, hyper_embedding: units and embedding of HyperLSTM's small LSTM.
        mixtures: M, Gaussians of an offset.
        recurrent_dropout: probability that an entry of a candidate is dropped.
        compiled: compile the cell's step for training; the plain LSTM without dropout has torch's own kernel instead.
        max_points: N_max; side, epsilon, keep_dots: see `Stroke5`.
        stretch, drop_points: variation of training drawings, see `vary`.
        start: the first input: "pen_down", (0, 0, 1, 0, 0) (paper), or "zeros" (the browser's code).
        pen_steps: steps that train: "all" N_max (paper), or those of the "batch" up to its longest drawing's end:
            what is left out is the same end row again and again.
        sorted_batches: training batches that are sorted by length together, see `order_by_length`; 1: none.
        temperature: tau of `sample` and `complete` where none is asked for.
    """

    cell: str
    decoder_size: int
    hyper_size: int
    hyper_embedding: int
    mixtures: int
    recurrent_dropout: float
    compiled: bool
    max_points: int
    side: float
    epsilon: float
    keep_dots: bool
    stretch: float
    drop_points: float
    start: str
    pen_steps: str
    sorted_batches: int
    temperature: float

    def __post_init__(self) -> None:
        for name in ("decoder_size", "hyper_size", "hyper_embedding", "mixtures", "max_points", "sorted_batches"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}")
        require(self.cell in _CELLS, f"cell must be one of {', '.join(_CELLS)}, got {self.cell!r}")
        require(self.start in _STARTS, f"start must be one of {', '.join(_STARTS)}, got {self.start!r}")
        require(self.pen_steps in _PEN_STEPS, f"pen_steps must be one of {', '.join(_PEN_STEPS)}")
        for name in ("recurrent_dropout", "drop_points", "stretch"):
            require(0 <= getattr(self, name) < 1, f"{name} must be in [0, 1), got {getattr(self, name)}")
        require(self.side > 0 and self.epsilon >= 0, f"side must be above 0 and epsilon 0 or more, got {self.side}")
        check_temperature(self.temperature)

    @property
    def representation(self) -> Stroke5:
        """What the model sees of a drawing."""
        return Stroke5(self.max_points, self.side, self.epsilon, self.keep_dots)


def check_temperature(temperature: float) -> None:
    """Raise ValueError unless tau is 0 (greedy: the likeliest pen, the mean of the heaviest Gaussian) or in (0, 10]."""
    require(0 <= temperature <= 10, f"temperature must be in [0, 10], 0 being greedy; got {temperature}")


class StrokeDecoder(nn.Module):
    """The recurrence and its mixture head.

    Args:
        config: of the model; context: size of a vector that stands beside every input, 0 for none.
    """

    offset_std: Tensor

    def __init__(self, config: StrokeDecoderConfig, context: int) -> None:
        super().__init__()
        self.config = config
        self.cell = _cell(config, CHANNELS + context)
        if config.compiled:
            self.cell.compile_step()
        self.output = nn.Linear(config.decoder_size, outputs(config.mixtures))
        self.register_buffer("offset_std", torch.ones(()))

    def predictions(self, rows: Tensor, context: Tensor | None, state: State) -> Mixture:
        """Return the distribution of every row given the true rows before it.

        Args:
            rows: (B, T, 5) pixels; context: (B, C) or None; state: of the cell before the first row.
        """
        inputs = torch.cat([self._first(rows), self.scaled(rows)[:, :-1]], 1)
        if context is not None:
            inputs = torch.cat([inputs, context.unsqueeze(1).expand(-1, inputs.shape[1], -1)], -1)
        return Mixture.of(self.output(self.cell(inputs, state)[0]))

    def terms(self, rows: Tensor, context: Tensor | None, state: State) -> dict[str, Tensor]:
        """Return the reconstruction's terms of each drawing, (B,) in nats over N_max (equations 9 and 10).

        `offsets` sums over the real rows. `pen` sums over all rows that are given (N_max in the paper), `pen_real`
        over the real ones only, as the public code evaluates.
        """
        mixture = self.predictions(rows, context, state)
        target = states(rows)
        real = torch.arange(rows.shape[1], device=rows.device) < lengths(target).unsqueeze(1)  # (B, T)
        log_density = mixture.log_density(self.scaled(rows)[..., :2])
        log_pen = mixture.pen.gather(-1, target.unsqueeze(-1)).squeeze(-1)
        most = -1.0 / self.config.max_points
        return {
            "offsets": most * torch.where(real, log_density, 0.0).sum(1),
            "pen": most * log_pen.sum(1),
            "pen_real": most * torch.where(real, log_pen, 0.0).sum(1),
        }

    @torch.no_grad()
    def draw(
        self,
        state: State,
        context: Tensor | None,
        steps: int,
        temperature: float,
        generator: torch.Generator,
        prefix: Tensor | None = None,
    ) -> Tensor:
        """Return (B, steps, 5) rows in pixels, sampled one after another; the state stays on its device.

        Args:
            state: of the cell, for B drawings; context: (B, C) or None.
            steps: most rows; a drawing that has not ended by then is cut.
            temperature: tau, 0 for greedy; generator: of the same device.
            prefix: (B, P, 5) rows that a drawing begins with, up to the first that ends it.
        """
        check_temperature(temperature)
        previous = self._first(state[0].new_zeros(len(state[0]), 1, CHANNELS))
        given = None if prefix is None else lengths(states(prefix))
        ended = torch.zeros(len(previous), dtype=torch.bool, device=previous.device)
        rows: list[Tensor] = []
        for step in range(steps):
            inputs = previous if context is None else torch.cat([previous, context.unsqueeze(1)], -1)
            hidden, state = self.cell(inputs, state)
            offset, pen = Mixture.of(self.output(hidden[:, 0])).sample(temperature, generator)
            row = from_parts(offset, torch.where(ended, END, pen))
            if prefix is not None and given is not None and step < prefix.shape[1]:
                row = torch.where((step < given).unsqueeze(1), self.scaled(prefix[:, step]), row)
            ended = states(row) == END
            rows.append(row)
            previous = row.unsqueeze(1)
            if step % _CHECKED_EVERY == 0 and bool(ended.all()):
                break
        made = torch.stack(rows, 1)
        padding = from_parts(made.new_zeros(1, 1, 2), torch.full((1, 1), END, device=made.device))
        made = torch.cat([made, padding.expand(len(made), steps - len(rows), -1)], 1)
        return torch.cat([made[..., :2] * self.offset_std, made[..., 2:]], -1)

    def scaled(self, rows: Tensor) -> Tensor:
        """Divide the offsets of rows by the model's scalar."""
        return torch.cat([rows[..., :2] / self.offset_std, rows[..., 2:]], -1)

    def _first(self, rows: Tensor) -> Tensor:
        """Return S_0 for each drawing, (B, 1, 5)."""
        first = torch.zeros_like(rows[:, :1])
        if self.config.start == "pen_down":
            first[..., 2 + DOWN] = 1
        return first


def trained_rows(rows: Tensor, pen_steps: str) -> Tensor:
    """Return the rows that training looks at: all, or up to the end row of the batch's longest drawing."""
    if pen_steps == "all":
        return rows
    return rows[:, : min(rows.shape[1], int(lengths(states(rows)).max()) + 1)]


def _cell(config: StrokeDecoderConfig, inputs: int) -> Recurrence:
    if config.cell == "lstm":
        return LSTM(inputs, config.decoder_size, config.recurrent_dropout)
    if config.cell == "layer_norm":
        return LayerNormLSTM(inputs, config.decoder_size, config.recurrent_dropout)
    return HyperLSTM(inputs, config.decoder_size, config.recurrent_dropout, config.hyper_size, config.hyper_embedding)
