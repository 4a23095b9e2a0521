"""Evaluation: the same code, the same drawings and the same judge for every model."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ink import geometry, metrics
from ink.table import Drawings, Ink
from models.base import Autoencoder, Classifier, Density, MultiStroke, Sampler, SketchModel
from pipeline.dataset import Dataset

_BATCH = 256
_NEAREST = 150  # test drawings that new ones are measured against
_NEAREST_SPACING = 0.05  # of the ink's samples there, unit-circle units
_HUBER_POINTS = 75  # the metric's own resolution: independent of the model's


@dataclass(frozen=True)
class Evaluation:
    """A model's results on the test drawings.

    Args:
        summary: the numbers that are compared, by name.
        per_drawing: (N,) arrays by name: key, label, huber, chamfer; with a judge also recognized_as, correct.
        reconstructions: the test drawings as the model gives them back.
    """

    summary: dict[str, float | int]
    per_drawing: dict[str, np.ndarray]
    reconstructions: Ink


def accuracy(judge: SketchModel, ink: Ink, labels: np.ndarray) -> float:
    """Return the fraction of drawings whose raster the recogniser names rightly."""
    return float((classify(judge, ink) == labels).mean())


@torch.no_grad()
def classify(judge: SketchModel, ink: Ink) -> np.ndarray:
    """Return (N,) the class index that the recogniser gives each drawing.

    Raises:
        TypeError: the judge cannot classify.
    """
    if not isinstance(judge, Classifier):
        raise TypeError(f"{type(judge).__name__} cannot judge: it does not classify")
    pictures = judge.representation.collate(ink)
    return torch.cat([judge.classify(part).argmax(1) for part in pictures.split(_BATCH)]).numpy()


@torch.no_grad()
def reconstruct(model: SketchModel, ink: Ink) -> Ink:
    """Encode and decode drawings.

    Raises:
        TypeError: the model is not an autoencoder.
    """
    if not isinstance(model, Autoencoder):
        raise TypeError(f"{type(model).__name__} cannot reconstruct: it has no encode and decode")
    points = model.representation.collate(ink)
    decoded = [model.decode(model.encode(part)) for part in points.split(_BATCH)]
    return model.to_ink(torch.cat(decoded))


def huber(model: SketchModel, drawings: Drawings) -> float:
    """Return the model's mean Huber loss on drawings: what decides between versions."""
    return float(metrics.huber(drawings.ink, reconstruct(model, drawings.ink), _HUBER_POINTS).mean())


@torch.no_grad()
def likelihoods(model: SketchModel, ink: Ink) -> dict[str, Tensor]:
    """Return the model's negative log likelihood of each drawing, `nll`, and its terms, (N,) each.

    Raises:
        TypeError: the model gives no likelihood.
    """
    if not isinstance(model, Density):
        raise TypeError(f"{type(model).__name__} gives drawings no likelihood")
    parts = [model.likelihood(part) for part in model.representation.collate(ink).split(_BATCH)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def likelihood(model: SketchModel, drawings: Drawings) -> dict[str, float]:
    """Return the means of `likelihoods`."""
    return {name: float(values.mean()) for name, values in likelihoods(model, drawings.ink).items()}


def measure(model: SketchModel, judge: SketchModel | None, data: Dataset) -> dict[str, float | int]:
    """Return the numbers of a registered model on the test drawings, as far as it can be measured.

    Args:
        judge: names what an autoencoder draws; None: recognition is left out.
    """
    if isinstance(model, Classifier):
        return {"accuracy": accuracy(model, data.test.ink, data.labels(data.test)), "n_test": len(data.test)}
    found: dict[str, float | int] = {"n_test": len(data.test), "parameters": sum(p.numel() for p in model.parameters())}
    if isinstance(model, Autoencoder):
        found |= evaluate_autoencoder(model, judge, data).summary
    return found | (likelihood(model, data.test) if isinstance(model, Density) else {})


def score(model: SketchModel, data: Dataset, summary: Mapping[str, Any] | None = None) -> tuple[str, float]:
    """Return what decides between versions, lower being better, on the test drawings: its name and value.

    A classifier's error, else the Huber loss of reconstructions, else the negative log likelihood.

    Args:
        model, data: what is scored on what; summary: the model's numbers, where they have been measured already.
    """
    known = summary or {}
    if isinstance(model, Classifier):
        right = known.get("accuracy")
        return "error", 1 - (accuracy(model, data.test.ink, data.labels(data.test)) if right is None else right)
    if isinstance(model, Autoencoder):
        return "huber", known["huber"] if "huber" in known else huber(model, data.test)
    return "nll", known["nll"] if "nll" in known else likelihood(model, data.test)["nll"]


def evaluate_autoencoder(model: SketchModel, judge: SketchModel | None, data: Dataset) -> Evaluation:
    """Measure reconstruction, recognition (where there is a judge), size and speed on the test split."""
    test, labels = data.test, data.labels(data.test)
    decoded = reconstruct(model, test.ink)
    per_huber = metrics.huber(test.ink, decoded, _HUBER_POINTS)
    per_chamfer = metrics.chamfer(test.ink, decoded)
    per_drawing = {"key": test.column("key"), "label": test.column("label"), "huber": per_huber, "chamfer": per_chamfer}
    recognition: dict[str, float | int] = {}
    if judge is not None:
        named = classify(judge, decoded)
        per_drawing |= {"recognized_as": np.array(data.classes)[named], "correct": named == labels}
        recognition["accuracy"] = float((named == labels).mean())
        recognition["accuracy_original"] = accuracy(judge, test.ink, labels)
    summary: dict[str, float | int] = {
        "huber": float(per_huber.mean()),
        "chamfer": float(per_chamfer.mean()),
        **recognition,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "n_test": len(test),
        **_speed(model, test.ink),
    }
    if isinstance(model.representation, MultiStroke):
        for name, drawings in (("dropped_strokes", test), ("dropped_strokes_train", data.train)):
            summary[name] = model.representation.dropped(drawings.ink)
    return Evaluation(summary, per_drawing, decoded)


@torch.no_grad()
def interpolations(model: SketchModel, data: Dataset, strips: int, frames: int, seed: int) -> Drawings:
    """Decode the model's own paths in latent space between test drawings of different classes.

    Returns:
        strips * frames drawings, keys `strip<i>/<frame>`, label `a → b`.

    Raises:
        TypeError: the model is not an autoencoder.
    """
    if not isinstance(model, Autoencoder):
        raise TypeError(f"{type(model).__name__} cannot interpolate: it has no encode and decode")
    labels = data.test.column("label")
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.unique(labels))
    chosen = [rng.choice(np.flatnonzero(labels == name)) for name in np.resize(classes, strips + 1)]
    z = model.encode(model.representation.collate(data.test.ink.take(chosen)))
    alpha = torch.linspace(0, 1, frames)[:, None]
    path = torch.cat([model.between(a, b, alpha) for a, b in itertools.pairwise(z)])
    ink = model.to_ink(model.decode(path))
    keys = [f"strip{strip}/{frame:02d}" for strip in range(strips) for frame in range(frames)]
    names = [f"{labels[a]} → {labels[b]}" for a, b in itertools.pairwise(chosen) for _ in range(frames)]
    return Drawings.build(ink, keys, names)


@torch.no_grad()
def samples(model: SketchModel, count: int, seed: int) -> Drawings:
    """Draw new drawings from a model.

    Returns:
        `count` drawings, keys `sample<i>`.

    Raises:
        TypeError: the model cannot sample.
    """
    if not isinstance(model, Sampler):
        raise TypeError(f"{type(model).__name__} cannot make new drawings: it has no sample")
    device = next(model.parameters()).device
    ink = model.to_ink(model.sample(count, torch.Generator(device).manual_seed(seed)))
    return Drawings.build(ink, [f"sample{index:03d}" for index in range(count)], [""] * count)


def sample_scores(drawn: Drawings, data: Dataset) -> dict[str, float]:
    """Return how near new drawings are to test drawings, and how well they cover them, by Chamfer distance.

    Each drawing is brought to the unit circle. `sample_nearest` is the mean, over the new drawings, of the distance
    to the nearest test drawing; `sample_coverage` is the mean, over the test drawings, of the distance to the nearest
    new one. `..._train` are the same of equally many training originals in place of the new drawings: what perfect
    samples would score.
    """
    unit = geometry.unit_circle(data.test.ink.take(_spread(len(data.test), _NEAREST)))[0]
    originals = data.originals()
    found = {}
    for suffix, ink in (("", drawn.ink), ("_train", originals.ink.take(_spread(len(originals), len(drawn))))):
        made = geometry.unit_circle(ink)[0]
        pairs = np.divmod(np.arange(len(made) * len(unit)), len(unit))
        distance = metrics.chamfer(made.take(pairs[0]), unit.take(pairs[1]), _NEAREST_SPACING).reshape(len(made), -1)
        found[f"sample_nearest{suffix}"] = float(distance.min(1).mean())
        found[f"sample_coverage{suffix}"] = float(distance.min(0).mean())
    return found


def _spread(count: int, most: int) -> np.ndarray:
    """Return at most so many places, evenly spaced over 0 to count - 1."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int)


def _speed(model: SketchModel, ink: Ink) -> dict[str, float | int]:
    """Return encode and decode ms per drawing at the batch of evaluation, and the latent's bytes."""
    assert isinstance(model, Autoencoder)  # evaluate_autoencoder reconstructed with it already
    points = model.representation.collate(ink)[:_BATCH]
    with torch.no_grad():
        z = model.encode(points)
        encode_ms = _median_ms(lambda: model.encode(points)) / len(points)
        decode_ms = _median_ms(lambda: model.decode(z)) / len(points)
    return {"latent_bytes": z[0].numel() * z.element_size(), "encode_ms": encode_ms, "decode_ms": decode_ms}


def _median_ms(call: Callable[[], Tensor], repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1000
