"""Published protocols of measurement, so that a number can stand beside another's."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ink.errors import DataError
from models.base import SketchModel
from models.nn.recurrent.stroke5 import DOWN, END, UP, from_parts, lengths, states
from models.nn.recurrent.stroke_decoder import StrokeDecoder

B_STEPS = 250  # protocol B's N_max
_B_FLOOR = 1e-6  # added to every density, as the public code does


def load_b(path: Path, label: str) -> tuple[Tensor, float]:
    """Return protocol B's drawings of a class as rows (N, 250, 5) in pixels, and their divisor.

    Raises:
        DataError: the file is not there or has no such class.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            points, offsets = file[f"{label}_points"], file[f"{label}_offsets"]
            return stroke5(points, offsets, B_STEPS), float(file[f"{label}_scale"])
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path}: expected protocol B's {label}_points, _offsets and _scale ({error})") from error


def stroke5(points: np.ndarray, offsets: np.ndarray, steps: int) -> Tensor:
    """Return stroke-3 drawings, (P, 3) rows of dx, dy, pen lifted after it, as rows (N, steps, 5)."""
    out = np.zeros((len(offsets) - 1, steps, 3), np.float32)
    out[..., 2] = END
    for row, (first, last) in enumerate(itertools.pairwise(offsets)):
        part = points[first:last][:steps]
        out[row, : len(part), :2] = part[:, :2]
        out[row, : len(part), 2] = np.where(part[:, 2] > 0, UP, DOWN)
    return from_parts(torch.from_numpy(out[..., :2]), torch.from_numpy(out[..., 2]).long())


@torch.no_grad()
def score_b(model: SketchModel, rows: Tensor, divisor: float, own_scale: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return L_s and L_p, (N,) each, of a decoder-only SketchRNN under protocol B; the score is their sum.

    L_s sums ln(density + 1e-6) of offset / divisor over the real rows, L_p over all 250, both over 250; teacher-forced.

    Args:
        model: in evaluation mode.
        rows: (N, 250, 5) in pixels; divisor: of the offsets: the deviation of all offsets of the class.
        own_scale: the model divides pixels by its own scalar, as it was trained to, and its density is carried over to
            the protocol's unit; False: it is fed the protocol's numbers (a model that was trained in other pixels).
    """
    decoder = getattr(model, "decoder", None)
    if not isinstance(decoder, StrokeDecoder):
        raise TypeError(f"{type(model).__name__} has no SketchRNN decoder: protocol B does not apply")
    factor = 1.0 if own_scale else float(decoder.offset_std) / divisor
    scaled = torch.cat([rows[..., :2] * factor, rows[..., 2:]], -1)
    mixture = decoder.predictions(scaled, None, decoder.cell.zero_state(rows[:, 0]))
    target = states(rows)
    real = torch.arange(rows.shape[1]) < lengths(target).unsqueeze(1)
    unit = 2 * math.log(divisor * factor / float(decoder.offset_std))  # of area, from the model's to the protocol's
    log_density = mixture.log_density(decoder.scaled(scaled)[..., :2]) + unit
    floored = torch.logaddexp(log_density, torch.tensor(math.log(_B_FLOOR)))
    log_pen = mixture.pen.gather(-1, target.unsqueeze(-1)).squeeze(-1)
    offsets, pen = -torch.where(real, floored, 0.0).sum(1) / B_STEPS, -log_pen.sum(1) / B_STEPS
    return offsets.numpy(), pen.numpy()
