"""The report's numbers: the verdict, the comparison, the confusions and the counts, ready to be set.

A cell keeps its number beside its text, so that the page says what the metrics files say.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ink.table import SPLITS
from pipeline.report.inputs import Counts, PerDrawing, ReportInputs, Scored, natural

THOUSANDTHS = "\u00d7\u00a010⁻³"
_ABSENT = "\u2013"
_Z95 = 1.959964  # standard normal quantile of a two-sided 95 % interval
MATRIX_LABELS = 12  # with more classes, the commonest confusions are listed instead
TOP_CONFUSIONS = 10


@dataclass(frozen=True)
class Column:
    """One column of the comparison.

    Args:
        name, unit: its heading.
        field: of `Scores`.
        factor: what the number is multiplied by before it is shown.
        decimals: digits after the point; None: three significant digits of the smallest number.
        best: min or max, whichever is better; None where neither is.
    """

    name: str
    unit: str
    field: str
    factor: float
    decimals: int | None
    best: Callable[[Sequence[float]], float] | None


COLUMNS = (
    Column("Huber", THOUSANDTHS, "huber", 1e3, None, min),
    Column("Chamfer", THOUSANDTHS, "chamfer", 1e3, None, min),
    Column("Recognised", "%", "accuracy", 100.0, 1, max),
    Column("Parameters", "", "parameters", 1.0, 0, min),
    Column("Latent", "bytes", "latent_bytes", 1.0, 0, min),
    Column("Encode", "ms", "encode_ms", 1.0, None, min),
    Column("Decode", "ms", "decode_ms", 1.0, None, min),
    Column("Training", "s", "train_seconds", 1.0, 0, min),
    Column("Steps", "", "steps", 1.0, 0, None),
    Column("\u2212log p", "nats", "nll", 1.0, 3, min),
    Column("\u2212log p", "nats, to the end", "nll_real", 1.0, 3, min),
    Column("KL", "nats", "kl", 1.0, 3, None),
)


@dataclass(frozen=True)
class Cell:
    """One number of the comparison: `value` as in the metrics file, `text` as shown, half a 95 % interval."""

    value: float | None
    text: str
    interval: str
    best: bool


@dataclass(frozen=True)
class Gains:
    """Mean of paired differences over `count` drawings, and half of its 95 % interval (normal approximation)."""

    mean: float
    half: float
    count: int


def columns(inputs: ReportInputs) -> list[Column]:
    """Return the columns in which some model has a number."""
    return [column for column in COLUMNS if any(getattr(m.scores, column.field) is not None for m in inputs.scored)]


def comparison(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Return one row per model of run.models, in that order; `cells` is empty for a model without metrics."""
    scored = inputs.scored
    cells: dict[str, list[Cell]] = {model.name: [] for model in scored}
    for column in columns(inputs):
        values = {model.name: getattr(model.scores, column.field) for model in scored}
        known = [value for value in values.values() if value is not None]
        best = column.best(known) if column.best and len(set(known)) > 1 else None
        decimals = _decimals([value * column.factor for value in known]) if column.decimals is None else column.decimals
        for model in scored:
            value = values[model.name]
            text = _ABSENT if value is None else thousands(value * column.factor, decimals)
            half = _half_interval(model, column.field)
            interval = "" if half is None else f"± {half * column.factor:.{decimals}f}"
            cells[model.name].append(Cell(value, text, interval, best is not None and value == best))
    return [
        {"name": model.name, "place": place, "scores": model.scores, "cells": cells.get(model.name, [])}
        for place, model in enumerate(inputs.models)
    ]


def ceiling(inputs: ReportInputs) -> float | None:
    """Return the recogniser's accuracy on the original test drawings, in [0, 1]; None where it is not known."""
    if inputs.recognizer and inputs.recognizer.accuracy is not None:
        return inputs.recognizer.accuracy
    known = [model.scores.accuracy_original for model in inputs.scored]
    return next((value for value in known if value is not None), None)


def verdict(inputs: ReportInputs) -> str:
    """Say in one or two sentences what the numbers say."""
    nearest, *others = [model for model in by_huber(inputs.scored) if model.scores.huber is not None] or inputs.scored
    highest = ceiling(inputs)
    originals = "" if highest is None else f" (originals: {percent(highest)})"
    if nearest.scores.huber is None:
        return f"{nearest.name} gives {nearest.scores.n_test:,} test drawings {nearest.scores.nll or 0:.3f} nats each."
    if not others:
        said = f"{nearest.name} reconstructs {nearest.scores.n_test:,} test drawings with a Huber of {_huber(nearest)}"
        seen = nearest.scores.accuracy
        return said + (f"; {percent(seen)} of them are still recognised{originals}." if seen is not None else ".")
    second = others[0]
    said = f"{nearest.name} comes nearest to the originals: Huber {_huber(nearest)} against {_huber(second)}"
    said += f" of {second.name}{_difference(nearest, second)}."
    return f"{said}{_recognition([nearest, *others], originals)}"


def by_huber(models: Sequence[Scored]) -> list[Scored]:
    """Return the models, nearest to the originals first; those that reconstruct nothing last."""
    return sorted(models, key=lambda model: math.inf if model.scores.huber is None else model.scores.huber)


def confusion(per_drawing: PerDrawing | None) -> dict[str, Any] | None:
    """Return a matrix of counts (rows: true class) where classes are few, and the commonest confusions.

    Returns:
        `labels` and `matrix` (None with more than `MATRIX_LABELS` classes); `top`, (class, taken for, count). None
        where nothing was recognised.
    """
    if per_drawing is None or per_drawing.recognized_as is None:
        return None
    pairs = Counter(zip(per_drawing.label.tolist(), per_drawing.recognized_as.tolist(), strict=True))
    labels = sorted({label for pair in pairs for label in pair}, key=natural)
    wrong = [(true, seen, count) for (true, seen), count in pairs.items() if true != seen]
    wrong.sort(key=lambda item: (-item[2], natural(item[0]), natural(item[1])))
    matrix = None
    if len(labels) <= MATRIX_LABELS:
        totals = {true: sum(pairs[true, seen] for seen in labels) for true in labels}
        matrix = [[(pairs[true, seen], pairs[true, seen] / max(1, totals[true])) for seen in labels] for true in labels]
    return {"labels": labels, "matrix": matrix, "top": wrong[:TOP_CONFUSIONS]}


def data_summary(counts: Counts) -> dict[str, Any]:
    """Return rows of split, originals per class, all originals, augmented copies and points."""
    return {
        "labels": counts.labels,
        "rows": [
            {
                "split": split,
                "per_label": counts.originals[split].tolist(),
                "originals": int(counts.originals[split].sum()),
                "copies": int(counts.copies[split].sum()),
                "points": counts.points.get(split),
            }
            for split in SPLITS
        ],
        "quarantined": counts.quarantined,
    }


def paired(first: Scored, second: Scored, field: str) -> Gains | None:
    """Return how much larger `field` of `PerDrawing` is for the first model, drawing by drawing.

    Returns:
        None where the two share fewer than two drawings that have a finite value.
    """
    if first.per_drawing is None or second.per_drawing is None:
        return None
    mine, other = (
        dict(zip(scores.key.tolist(), getattr(scores, field).astype(np.float64).tolist(), strict=True))
        for scores in (first.per_drawing, second.per_drawing)
    )
    gains = np.array([value - other[key] for key, value in mine.items() if key in other])
    gains = gains[np.isfinite(gains)]
    if len(gains) < 2:
        return None
    return Gains(float(gains.mean()), float(_Z95 * gains.std(ddof=1) / math.sqrt(len(gains))), len(gains))


def percent(fraction: float) -> str:
    """Return a fraction as a percentage with one digit after the point."""
    return f"{100 * fraction:.1f}\u00a0%"


def thousands(value: float, decimals: int) -> str:
    """Return a number in fixed point, thousands set apart by thin spaces."""
    return f"{value:,.{decimals}f}".replace(",", "\u202f")


def _recognition(models: Sequence[Scored], originals: str) -> str:
    """Return the sentence on who is best recognised; the first model is the one that the verdict began with."""
    shares = [(model.scores.accuracy, model) for model in models if model.scores.accuracy is not None]
    if not shares:
        return ""
    (highest, clearest), *rest = sorted(shares, key=lambda share: -share[0])
    if not rest or rest[-1][0] == highest:
        whose = "each model's" if rest else f"{clearest.name}'s"
        return f" {percent(highest)} of {whose} drawings are recognised{originals}."
    second, runner = rest[0]
    also = "It is also the best recognised" if clearest is models[0] else f"{clearest.name} is the best recognised"
    gains = paired(clearest, runner, "correct")
    chance = ", which may be chance" if gains and gains.mean <= gains.half else ""
    return f" {also}: {percent(highest)} against {percent(second)} of {runner.name}{chance}{originals}."


def _huber(model: Scored) -> str:
    value = 1e3 * (model.scores.huber or 0.0)
    return f"{value:.{_decimals([value])}f}\u00a0{THOUSANDTHS}"


def _decimals(values: Sequence[float]) -> int:
    """Return the digits after the point that show three significant digits of the smallest number, at most 4."""
    positive = [abs(value) for value in values if value]
    return int(np.clip(2 - math.floor(math.log10(min(positive))), 0, 4)) if positive else 0


def _half_interval(model: Scored, field: str) -> float | None:
    """Return half of the 95 % interval of a mean over test drawings (for a share: Wilson's), or None."""
    if field == "accuracy" and model.scores.accuracy is not None:
        share, n = model.scores.accuracy, model.scores.n_test
        return _Z95 * math.sqrt(share * (1 - share) / n + _Z95**2 / (4 * n**2)) / (1 + _Z95**2 / n) if n else None
    if field not in ("huber", "chamfer") or model.per_drawing is None:
        return None
    values = getattr(model.per_drawing, field)
    values = values[np.isfinite(values)]
    return float(_Z95 * values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


def _difference(first: Scored, second: Scored) -> str:
    """Return by how much the first model's Huber is lower, with its interval."""
    gains = paired(second, first, "huber")
    if gains is None:
        return ""
    decimals = _decimals([1e3 * gains.half])
    measured = f"{1e3 * gains.mean:.{decimals}f}\u00a0±\u00a0{1e3 * gains.half:.{decimals}f}\u00a0{THOUSANDTHS}"
    chance = "" if gains.mean > gains.half else ", which may be chance"
    return f" (difference {measured} over {gains.count:,} drawings{chance})"
