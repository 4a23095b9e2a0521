"""What a view makes of a study's results: sentences, tables, charts, rows of drawings, films."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ink.table import Ink
from pipeline.report.tables import THOUSANDTHS
from pipeline.studies.cell import Finished

_ERRORS = 2.0  # standard errors that a difference must exceed to count

# number: heading, factor, format
NUMBERS = {
    "huber": (f"Huber {THOUSANDTHS}", 1e3, "{:.2f}"),
    "chamfer": (f"Chamfer {THOUSANDTHS}", 1e3, "{:.1f}"),
    "accuracy": ("recognised %", 1e2, "{:.1f}"),
    "accuracy_original": ("ceiling %", 1e2, "{:.1f}"),
    "steps": ("steps", 1, "{:,.0f}"),
    "epochs": ("epochs", 1, "{:,.0f}"),
    "train_seconds": ("training, s", 1, "{:,.0f}"),
    "valid_loss": (f"validation loss {THOUSANDTHS}", 1e3, "{:.2f}"),
    "n_originals": ("originals", 1, "{:,.0f}"),
    "nll": ("L_R (nll), nats", 1, "{:.3f}"),
    "nll_real": ("L_R of the real rows, nats", 1, "{:.3f}"),
    "offsets": ("L_s, nats", 1, "{:.3f}"),
    "pen": ("L_p, nats", 1, "{:.3f}"),
    "pen_real": ("L_p of the real rows, nats", 1, "{:.3f}"),
    "parameters": ("parameters", 1, "{:,.0f}"),
    "kl": ("L_KL, nats", 1, "{:.4f}"),
    "points": ("points seen", 1, "{:.0f}"),
    "points_remade": ("points drawn", 1, "{:.0f}"),
    "jump": ("largest step / mean step", 1, "{:.2f}"),
    "halved": ("mean step, latent step halved", 1, "{:.3f}"),
    "halved_largest": ("largest step, latent step halved", 1, "{:.3f}"),
    "ink_jump": ("ink: largest / mean", 1, "{:.2f}"),
    "ink_halved": ("ink: mean, halved", 1, "{:.3f}"),
    "ink_halved_largest": ("ink: largest, halved", 1, "{:.3f}"),
}


@dataclass(frozen=True)
class Table:
    """A table of finished text.

    Args:
        title: heading.
        columns: headings, the first of the rows' names.
        rows: as many cells each.
        note: what the numbers are.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart as an `svg` element, with its legend.

    Args:
        title: heading; also the name of its file.
        svg: the element.
        names: of the series, in the order of their colours.
        note: what is drawn.
    """

    title: str
    svg: str
    names: list[str]
    note: str = ""


@dataclass(frozen=True)
class Shown:
    """Everything that a page of a study holds.

    Args:
        verdicts: what the numbers say, computed.
        summary: the same as numbers, for the JSON.
        tables, charts: as they stand.
        strips: title -> (name of a cell -> drawings).
        films: title -> (name of a cell -> frames).
    """

    verdicts: list[str]
    summary: dict[str, object] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    strips: dict[str, dict[str, Ink]] = field(default_factory=dict)
    films: dict[str, dict[str, Ink]] = field(default_factory=dict)


@dataclass(frozen=True)
class Spread:
    """Values of one number over cells that differ in the seed only.

    Args:
        mean, deviation: sample standard deviation, 0 of one value.
        count: values.
    """

    mean: float
    deviation: float
    count: int


def spread(found: Sequence[Finished], name: str) -> Spread:
    """Return mean and deviation of a number over cells."""
    values = np.array([float(one.numbers[name]) for one in found])
    return Spread(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0, len(values))


def heading(name: str) -> str:
    """Return a number's heading."""
    return NUMBERS[name][0] if name in NUMBERS else name.replace("_", " ").replace("objective.", "objective: ")


def factor(name: str) -> float:
    """Return what a number is multiplied by where it is shown."""
    return NUMBERS[name][1] if name in NUMBERS else 1.0


def text(name: str, value: float) -> str:
    """Return a number as text, scaled as its heading says."""
    _, factor, form = NUMBERS.get(name, ("", 1, "{:.4g}"))
    return form.format(factor * value)


def spread_text(name: str, value: Spread) -> str:
    """Return `mean ± deviation`, or the mean alone of one value."""
    if value.count < 2:
        return text(name, value.mean)
    return f"{text(name, value.mean)} ± {text(name, value.deviation)}"


def difference(name: str, better: Sequence[Finished], worse: Sequence[Finished]) -> tuple[float, float, str]:
    """Return mean and standard error of worse - better over pairs of cells, and `yes`, `no` or `not shown`.

    `yes`: the mean is above two standard errors; `no`: below minus two. Pairs are of one position in the sequences.
    """
    pairs = np.array([float(b.numbers[name]) - float(a.numbers[name]) for a, b in zip(better, worse, strict=True)])
    mean = float(pairs.mean())
    error = float(pairs.std(ddof=1) / np.sqrt(len(pairs))) if len(pairs) > 1 else float("nan")
    if not abs(mean) > _ERRORS * error:
        return mean, error, "not shown"
    return mean, error, "yes" if mean > 0 else "no"


def groups(found: Sequence[Finished]) -> dict[tuple[str, ...], list[Finished]]:
    """Return cells by model and levels, seeds together, in the order of the grid."""
    made: dict[tuple[str, ...], list[Finished]] = {}
    for one in found:
        made.setdefault((one.cell.model, *one.cell.levels.values()), []).append(one)
    return made


def seeds_of(found: Sequence[Finished]) -> str:
    """Return `3 seeds`."""
    count = len({one.cell.seed for one in found})
    return f"{count} seed{'s' if count > 1 else ''}"
