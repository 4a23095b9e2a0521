"""The protocol of a model: what it wants to see of a drawing, its loss, and what it can do.

The pipeline asks what a model can (`isinstance(model, Autoencoder)`), never which model it is.

Legend for every model file: B drawings, T points, H hidden, Z latent; xy in unit-circle units, the
first sample at the origin; pen_up is the pen's state, 1 where the pen leaves no ink.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from ink import geometry, path_times, raster, resample
from ink.errors import ParamsError
from ink.params import suggest
from ink.table import Ink

Batch = Mapping[str, Tensor]
"""`points`: what the representation's `collate` made, B first; `label`: (B,) int64 class indices.

In training also `step` and `steps`, () int64: optimiser steps taken before this one, and of the whole run. A model
that anneals a weight reads them and keeps no count of its own, so that a resumed run goes as an undisturbed one.
"""


@dataclass(frozen=True)
class FullSequence:
    """All strokes and the pen-up joins between them as one sequence (SketchODE, section 4.4).

    Args:
        points: T, uniform in the drawing's clock.
    """

    points: int

    def collate(self, ink: Ink) -> Tensor:
        """Return (N, T, 3) float32 of x, y, pen_up; each drawing starts at the origin."""
        sequence = resample.full_sequence(ink, self.points)[..., :3]
        sequence[..., :2] -= sequence[:, :1, :2]
        return torch.from_numpy(np.ascontiguousarray(sequence, dtype=np.float32))

    def to_ink(self, sequence: Tensor) -> Ink:
        """Return drawings, each centred on its box: the format does not hold where a drawing began.

        Args:
            sequence: (N, T, 3) of x, y, probability of pen_up.
        """
        return _centred(resample.from_full_sequence(sequence.detach().cpu().double().numpy()))


@dataclass(frozen=True)
class MultiStroke:
    """Every stroke as a sequence of its own (SketchODE, section 4.4 and appendix C).

    A drawing with more strokes than fit loses its last ones; `dropped` counts them.

    Args:
        points: G, samples per stroke, uniform in the stroke's clock.
        max_strokes: K.
    """

    points: int
    max_strokes: int

    def collate(self, ink: Ink) -> Tensor:
        """Return (N, K, G, 3) float32 of x, y, pen_up; each drawing starts at the origin.

        pen_up is 0 all along a stroke, and 1 all along the padding behind the last stroke, whose x and y are 0.
        """
        out = np.zeros((len(ink), self.max_strokes, self.points, 3), np.float32)
        out[..., 2] = 1.0
        strokes = np.diff(ink.drawing_offsets)
        drawing = np.repeat(np.arange(len(ink)), strokes)
        place = np.arange(ink.n_strokes) - np.repeat(ink.drawing_offsets[:-1], strokes)
        alone = Ink(ink.x, ink.y, ink.t, ink.stroke_offsets, np.arange(ink.n_strokes + 1))
        sampled = resample.full_sequence(alone, self.points)[..., :2]
        sampled -= sampled[ink.drawing_offsets[:-1], :1][drawing]
        held = place < self.max_strokes
        out[drawing[held], place[held], :, :2] = sampled[held]
        out[drawing[held], place[held], :, 2] = 0.0
        return torch.from_numpy(out)

    def dropped(self, ink: Ink) -> int:
        """Return how many strokes of the drawings do not fit."""
        return int(np.maximum(np.diff(ink.drawing_offsets) - self.max_strokes, 0).sum())

    def to_ink(self, strokes: Tensor) -> Ink:
        """Return drawings, each centred on its box, with arc length as clock: the format does not hold durations.

        Args:
            strokes: (N, K, G, 3) of x, y, probability of pen_up; a stroke is there where its mean is at most 1/2.
                A drawing without any keeps its first.
        """
        points = strokes.detach().cpu().double().numpy()
        there = points[..., 2].mean(2) <= 0.5
        there[~there.any(1), 0] = True
        x, y = points[there][..., :2].reshape(-1, 2).astype(np.float32).T.copy()
        stroke_offsets = np.arange(there.sum() + 1) * points.shape[2]
        drawing_offsets = np.concatenate([[0], np.cumsum(there.sum(1))])
        ink = Ink(x, y, np.zeros(len(x), np.float32), stroke_offsets, drawing_offsets)
        return _centred(Ink(ink.x, ink.y, geometry.arc_length_clock(ink), stroke_offsets, drawing_offsets))


@dataclass(frozen=True)
class OwnTimes:
    """The whole drawing at the moments of its own points, each drawing with as many as it has (appendix D).

    Args:
        points: a gap longer than the interval between so many uniform samples is filled.
    """

    points: int

    def collate(self, ink: Ink) -> Tensor:
        """Return (N, P, 5) float32 of x, y, pen_up, time in [0, 1], and 1 for a sample or 0 for padding.

        Each drawing starts at the origin; P is the longest's count.
        """
        samples, offsets = path_times.own_sequence(ink, 1 / (self.points - 1))
        counts = np.diff(offsets)
        samples[:, :2] -= np.repeat(samples[offsets[:-1], :2], counts, axis=0)
        padded = np.zeros((len(counts), counts.max(initial=0), 5), np.float32)
        padded[..., 4] = np.arange(padded.shape[1]) < counts[:, None]
        padded[padded[..., 4] == 1, :4] = samples
        return torch.from_numpy(padded)

    def to_ink(self, sequence: Tensor) -> Ink:
        """As `FullSequence.to_ink`: what is decoded is uniform in time."""
        return FullSequence(self.points).to_ink(sequence)


@dataclass(frozen=True)
class Raster:
    """An antialiased picture of the drawing, fitted into a square.

    Args:
        size: side in pixels.
        line_width: of the ink, in pixels.
    """

    size: int
    line_width: float

    def collate(self, ink: Ink) -> Tensor:
        """Return (N, 1, size, size) float32 in [0, 1], ink = 1."""
        pictures = raster.rasterize(ink, size=self.size, line_width=self.line_width)
        return torch.from_numpy(pictures)[:, None].float() / 255


def _centred(ink: Ink) -> Ink:
    """Return each drawing centred on its box."""
    boxes = geometry.bounding_boxes(ink)
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    of_drawing = np.repeat(center, np.diff(ink.point_offsets), axis=0).astype(np.float32)
    return Ink(ink.x - of_drawing[:, 0], ink.y - of_drawing[:, 1], ink.t, ink.stroke_offsets, ink.drawing_offsets)


class Representation(Protocol):
    """What a model wants to see of a drawing; `models.nn` holds those of a single system."""

    def collate(self, ink: Ink) -> Tensor:
        """Return one row per drawing, float32, whatever the drawings' frame."""


class SketchModel(nn.Module, ABC):
    """Base of every system. Built from its own frozen config; `forward` depends on its arguments only."""

    Config: ClassVar[type]
    config: Any
    trains_on_copies: ClassVar[bool] = True
    """Train on the shards' augmented copies too; False: a model that varies the originals itself."""

    @property
    @abstractmethod
    def representation(self) -> Representation:
        """What the model wants to see of a drawing."""

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the training objective as `loss`, and the named terms that it is made of (scalars)."""

    def validation_loss(self, batch: Batch) -> Tensor:
        """Return the scalar that validation reports, the mean over the drawings: never teacher-forced, unless it is a
        likelihood, which is that by definition. Default: the training loss.
        """
        return self.loss(batch)["loss"]

    def prepare(self, ink: Ink) -> None:
        """Take from the original training drawings what is fixed before training, into buffers that are saved with the
        weights. Default: nothing.
        """

    def augment(self, ink: Ink, generator: np.random.Generator) -> Ink:
        """Return the training drawings as this epoch shall see them. Default: unchanged."""
        return ink

    def order(self, points: Tensor, batch_size: int, generator: np.random.Generator) -> np.ndarray:
        """Return (N,) the order in which an epoch sees `points` (N, ...), cut into batches from the first on.

        Each index once, a function of the arguments alone. Default: at random.
        """
        return generator.permutation(len(points))

    def between(self, a: Tensor, b: Tensor, alpha: Tensor) -> Tensor:
        """Return codes from `a` to `b` (Z,) at shares `alpha` (F, 1) of the way, (F, Z). Default: a straight line."""
        return (1 - alpha) * a + alpha * b

    def decayed_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that weight decay applies to. Default: none."""
        return iter(())


@runtime_checkable
class Autoencoder(Protocol):
    """A model that turns a drawing into one latent vector and back."""

    def encode(self, points: Tensor) -> Tensor:
        """(B, ...) of the representation -> (B, Z)."""

    def decode(self, z: Tensor, points: int | None = None) -> Tensor:
        """(B, Z) -> (B, T, channels) as `to_ink` takes it; T is the config's unless given."""

    def to_ink(self, decoded: Tensor) -> Ink:
        """What `decode` gave -> drawings."""


@runtime_checkable
class Density(Protocol):
    """A model that knows how likely a drawing is."""

    def likelihood(self, points: Tensor) -> dict[str, Tensor]:
        """Return negative log likelihoods of drawings in nats, (B,) each: `nll`, and what it consists of."""


@runtime_checkable
class Sampler(Protocol):
    """A model that makes new drawings from noise."""

    def sample(self, count: int, generator: torch.Generator, temperature: float | None = None) -> Tensor:
        """Return `count` drawings as `to_ink` takes them; equal generators give equal drawings.

        Args:
            count: how many; generator: of the model's device.
            temperature: 1 is the learned distribution, less is nearer to its middle; None: the model's own choice.
        """

    def to_ink(self, decoded: Tensor) -> Ink:
        """What `sample` gave -> drawings."""


@runtime_checkable
class Redrawer(Protocol):
    """An autoencoder whose decoder is a distribution: one code gives many drawings."""

    def draw(self, z: Tensor, generator: torch.Generator, temperature: float | None = None) -> Tensor:
        """(B, Z) -> drawings as `to_ink` takes them, drawn anew at each call."""


@runtime_checkable
class Completer(Protocol):
    """A model that finishes a drawing that has been begun."""

    def prefix(self, ink: Ink, extent: float, points: int | None = None) -> Tensor:
        """Return the beginnings of drawings as `complete` takes them.

        Args:
            ink: whole drawings or begun ones; extent: share of the finished drawing's longest side that `ink` has.
            points: keep so many of the first points; None: all.
        """

    def complete(self, prefix: Tensor, generator: torch.Generator, temperature: float | None = None) -> Tensor:
        """Return drawings that begin with `prefix`, as `to_ink` takes them; each ending is drawn anew."""

    def to_ink(self, decoded: Tensor) -> Ink:
        """What `complete` gave -> drawings."""


@runtime_checkable
class Abstractor(Protocol):
    """An autoencoder whose decoder can be made to leave out detail, step by step."""

    @property
    def can_abstract(self) -> bool:
        """Whether this model's settings allow it."""

    def abstract(self, z: Tensor, share: float, points: int | None = None) -> Tensor:
        """As `decode`, with `share` (0 to 1] of the trained detail; 1 is `decode`."""


@runtime_checkable
class Classifier(Protocol):
    """A model that names the class of a drawing."""

    def classify(self, points: Tensor) -> Tensor:
        """(B, ...) of the representation -> (B, classes) logits."""


C = TypeVar("C")


def build_config(config: type[C], values: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> C:
    """Make a config dataclass from a block of `params.yaml`; `defaults` fill the fields that the block leaves out.

    Raises:
        ParamsError: an unknown key, a missing field, or a value that the config refuses.
    """
    names = {field.name for field in fields(config)}  # type: ignore[arg-type]
    for name in values:
        if name not in names:
            raise ParamsError(f"params.yaml, section {where}: unknown key {name!r}, {suggest(name, names)}")
    merged = {name: value for name, value in defaults.items() if name in names} | dict(values)
    missing = sorted(names - merged.keys())
    if missing:
        raise ParamsError(f"params.yaml, section {where}: missing {', '.join(missing)}")
    try:
        return config(**merged)
    except (ValueError, TypeError) as error:
        raise ParamsError(f"params.yaml, section {where}: {error}") from error


def require(condition: bool, message: str) -> None:
    """Raise ValueError(message) unless `condition`: how configs check their own fields."""
    if not condition:
        raise ValueError(message)


def sequence_loss(
    predicted: Tensor, pen_logit: Tensor, target: Tensor, pen_weight: float, valid: Tensor | None = None
) -> dict[str, Tensor]:
    """Smooth-L1 on positions and Bernoulli negative log-likelihood on the pen (SketchODE, equation 5).

    Args:
        predicted: (B, T, 2) positions; pen_logit: (B, T); target: (B, T, 3).
        pen_weight: weight of the pen's term.
        valid: (B, T) bool, the samples that count; all if None. Each drawing's mean is over its own.

    Returns:
        `loss`; `xy`, summed over x and y, mean over T and B; `pen`, mean over T and B, in nats.
    """
    if valid is not None:
        target = target.masked_fill(~valid.unsqueeze(-1), 0)
    xy = nn.functional.smooth_l1_loss(predicted, target[..., :2], reduction="none").sum(-1)
    pen = nn.functional.binary_cross_entropy_with_logits(pen_logit, target[..., 2], reduction="none")
    if valid is None:
        xy, pen = xy.mean(), pen.mean()
    else:
        share = valid.to(xy) / (valid.sum(1, keepdim=True) * len(valid))
        xy, pen = (xy * share).sum(), (pen * share).sum()
    return {"loss": xy + pen_weight * pen, "xy": xy, "pen": pen}
