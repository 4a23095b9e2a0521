"""The page on a dataset: `reports/<dataset>/data.html`, one file that asks nothing of the network.

Equal data gives equal bytes: the page holds no clock, no path of the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ink import geometry
from ink.files import write_text
from ink.table import SPLITS
from pipeline.report.charts import Bars, histogram_chart
from pipeline.report.drawings import by_key, half_extent, ink_svg
from pipeline.report.render import render_page
from pipeline.statistics.inputs import ClassCounts, DataNumbers, Stage, read_numbers
from pipeline.statistics.numbers import PROFILE_BINS, PROFILE_POINTS, SHARE_EDGES, Histogram, InkStatistics

_FEWEST_BARS, _MOST_BARS = 10, 36
_LINEAR_UP_TO = 40  # counts no larger are drawn one bar a number
_OPEN_CLASSES = 24  # rows of classes shown at once; more are folded away
_MOST_CLASSES = 2000  # rows in all

Curve = tuple[str, int, Histogram]
"""Name, colour and histogram."""


def run(project: Path, dataset: str | None = None) -> Path:
    """Write the page of one dataset; return its path.

    Args:
        project: folder of params.yaml.
        dataset: a block of `datasets` there; None: the first of run.datasets.

    Raises:
        As `read_numbers`, and InkmillError: the page cannot be written.
    """
    numbers = read_numbers(project, dataset)
    page = project / "reports" / numbers.dataset / "data.html"
    write_text(page, render(numbers))
    return page


def as_json(numbers: DataNumbers) -> dict[str, Any]:
    """Return the numbers as plain values."""
    return {
        "dataset": numbers.dataset,
        "stages": [asdict(stage) for stage in numbers.stages],
        "raw": {"sample": not numbers.raw_whole, **_plain(numbers.raw)},
        "simplified": _plain(numbers.simplified),
        "classes": {
            counts.label: {**dict(zip(SPLITS, counts.drawings, strict=True)), "points": counts.points}
            for counts in numbers.classes
        },
        "quarantine": [{"stage": row.stage, "reason": row.reason, "count": row.count} for row in numbers.refused],
        "warnings": list(numbers.warnings),
    }


def render(numbers: DataNumbers) -> str:
    """Return the page as HTML."""
    timed = numbers.simplified.timed
    return render_page(
        "data.html.jinja",
        numbers=numbers,
        splits=SPLITS,
        summary=_summary(numbers),
        shapes=_shapes(numbers),
        rows=_rows(numbers),
        times=_times(numbers) if timed else [],
        balance=_balance(numbers.classes),
        largest=max((counts.total for counts in numbers.classes), default=0),
        open_classes=_OPEN_CLASSES,
        most_classes=_MOST_CLASSES,
        sizes=_sizes(numbers),
        sheet=_sheet(numbers),
        unnamed=[counts.label for counts in numbers.classes if counts.label not in numbers.sheet_labels],
        profile_points=PROFILE_POINTS,
        short=short,
    )


def short(value: float | None) -> str:
    """Return a number with about three digits, thousands set apart."""
    if value is None or not np.isfinite(value):
        return "\u2013"
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.3g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.1e}"


def chart(curves: Sequence[Curve], x_label: str, noun: str) -> str:
    """Draw histograms over each other, each as a share of its own values.

    Small counts and shares get a linear axis. On a logarithmic one the height is the share per doubling of x, so
    that the area, whatever the widths of the bars, is the share; values outside the bins are not drawn.
    """
    curves = [curve for curve in curves if curve[2].counts.any()]
    if not curves:
        return ""
    grid = curves[0][2].edges
    values = min(histogram.total for *_, histogram in curves)
    n_bars = int(np.clip(4 * values ** (1 / 3), _FEWEST_BARS, _MOST_BARS))
    used = np.flatnonzero(np.any([histogram.counts > 0 for *_, histogram in curves], axis=0))
    first, last = int(used[0]), int(used[-1]) + 1
    log = grid is not SHARE_EDGES and not (grid[0] == 0.5 and grid[last] < _LINEAR_UP_TO + 1)
    if grid is SHARE_EDGES:
        places = np.arange(0, len(grid), 4 if n_bars > 25 else 5)
    elif log:
        wanted = np.geomspace(grid[first], grid[last], n_bars + 1)
        places = np.unique(np.abs(np.log(grid[:, None] / wanted)).argmin(0))
    else:
        places = np.arange(first, last + 1)
    edges = grid[places]
    width = np.log2(edges[1:] / edges[:-1]) if log else np.ones(len(edges) - 1)
    bars = []
    for name, place, histogram in curves:
        shares = 100 * np.add.reduceat(histogram.counts[: places[-1]], places[:-1]) / histogram.total
        said = f"median {short(histogram.quantile(0.5))}, 95 % up to {short(histogram.quantile(0.95))}"
        bars.append(Bars(name, place, edges, shares / width, said))
    return histogram_chart(bars, x_label, f"% of {noun}{' per doubling' if log else ''}", log)


def _plain(statistics: InkStatistics) -> dict[str, Any]:
    names = ("points", "strokes", "stroke_points", "stroke_length")
    times = ("duration", "pen_down", "speed") if statistics.timed else ()
    return {
        "drawings": statistics.drawings,
        "timed": statistics.timed,
        "n_points": statistics.n_points,
        "n_strokes": statistics.n_strokes,
        **{name: getattr(statistics, name).summary() for name in (*names, *times)},
        **({"speed_profile": statistics.speed_profile.tolist()} if times and statistics.profile_strokes else {}),
    }


def _summary(numbers: DataNumbers) -> dict[str, Any]:
    """Return what the first sentences of the page say."""
    simplify, shard = numbers.stages[1], numbers.stages[-1]
    before, after = numbers.raw.points.mean, numbers.simplified.points.mean
    return {
        "came": simplify.came,
        "kept": simplify.out,
        "skipped": sum(simplify.skipped.values()),
        "quarantined": sum(stage.quarantined or 0 for stage in numbers.stages),
        "classes": len(numbers.classes),
        "share": after / before if before > 0 else None,
        "shards": shard.files,
        "out": shard.out,
    }


def _shapes(numbers: DataNumbers) -> list[tuple[str, str]]:
    """Return (title, chart) of points, strokes and lengths."""
    raw, simplified = numbers.raw, numbers.simplified
    both = [("before", 1), ("after", 0)]
    charts = [
        (
            "Points per drawing, before and after simplification",
            chart([(*both[0], raw.points), (*both[1], simplified.points)], "points", "drawings"),
        ),
        (
            "Points per stroke, before and after simplification",
            chart([(*both[0], raw.stroke_points), (*both[1], simplified.stroke_points)], "points", "strokes"),
        ),
        ("Strokes per drawing", chart([("strokes", 0, simplified.strokes)], "strokes", "drawings")),
        (
            "Length of a stroke",
            chart([("length", 0, simplified.stroke_length)], "length, diagonals of the drawing", "strokes"),
        ),
    ]
    return [(title, svg) for title, svg in charts if svg]


def _times(numbers: DataNumbers) -> list[tuple[str, str]]:
    """Return (title, chart) of durations and speeds."""
    raw, simplified = numbers.raw, numbers.simplified
    profile = Bars("speed", 2, np.linspace(0, 1, PROFILE_BINS + 1), raw.speed_profile, "mean over strokes")
    charts = [
        ("Duration of a drawing", chart([("duration", 2, simplified.duration)], "seconds", "drawings")),
        ("Share of it that the pen is down", chart([("pen down", 2, simplified.pen_down)], "share", "drawings")),
        ("Speed of a stroke", chart([("speed", 2, raw.speed)], "diagonals of the drawing per second", "strokes")),
        (
            "Speed within a stroke",
            histogram_chart([profile], "share of the stroke's time", "times the stroke's mean speed")
            if raw.profile_strokes
            else "",
        ),
    ]
    return [(title, svg) for title, svg in charts if svg]


def _rows(numbers: DataNumbers) -> list[tuple[str, str, dict[str, Any]]]:
    """Return (what, of which drawings, summary) for the table of quantiles."""
    raw, simplified = numbers.raw, numbers.simplified
    rows = [
        ("Points per drawing", "before", raw.points),
        ("Points per drawing", "after", simplified.points),
        ("Points per stroke", "before", raw.stroke_points),
        ("Points per stroke", "after", simplified.stroke_points),
        ("Strokes per drawing", "after", simplified.strokes),
        ("Stroke length, diagonals", "after", simplified.stroke_length),
    ]
    if simplified.timed:
        rows += [
            ("Duration, s", "after", simplified.duration),
            ("Pen down, share of the duration", "after", simplified.pen_down),
            ("Stroke speed, diagonals/s", "before", raw.speed),
        ]
    return [(what, which, histogram.summary()) for what, which, histogram in rows]


def _balance(classes: Sequence[ClassCounts]) -> dict[str, Any] | None:
    """Return how even classes and splits are; None without drawings.

    Returns:
        `largest`, `smallest`: classes; `effective`: number of equally large classes of the same entropy; `shares`:
        of the splits; `apart`: the class whose share of train differs most from that of all drawings, and by how much.
    """
    counts = np.array([row.drawings for row in classes], np.float64).reshape(-1, len(SPLITS))
    total = counts.sum()
    if not total:
        return None
    share = counts.sum(1) / total
    of_train = counts[:, 0] / max(1.0, counts[:, 0].sum())
    worst = int(np.abs(of_train - share).argmax())
    known = share[share > 0]
    return {
        "largest": classes[int(share.argmax())],
        "smallest": classes[int(share.argmin())],
        "effective": float(np.exp(-(known * np.log(known)).sum())),
        "shares": list(zip(SPLITS, (counts.sum(0) / total).tolist(), strict=True)),
        "apart": (classes[worst].label, float(of_train[worst] - share[worst])),
    }


def _sizes(numbers: DataNumbers) -> list[dict[str, Any]]:
    """Return the bytes of each stage's files, per drawing and per point."""
    return [_size(numbers, stage) for stage in numbers.stages]


def _size(numbers: DataNumbers, stage: Stage) -> dict[str, Any]:
    """Of raw files the drawings are those that simplify read, the points those of as many measured drawings."""
    raw = stage.name == "download"
    drawings = numbers.stages[1].came if raw else stage.out
    points = (drawings or 0) * numbers.raw.points.mean if raw and numbers.raw.drawings else stage.points
    return {
        "stage": stage,
        "about": raw,
        "drawings": drawings,
        "per_drawing": stage.bytes / drawings if drawings else None,
        "per_point": stage.bytes / points if points else None,
    }


def _sheet(numbers: DataNumbers) -> list[tuple[str, list[str]]]:
    """Return (label, pictures) of the classes that are shown."""
    drawings = numbers.sheet
    if len(drawings) == 0:
        return []
    drawn = by_key(drawings.with_ink(geometry.unit_circle(drawings.ink)[0]))
    keys, labels = drawings.column("key"), drawings.column("label")
    found = []
    for label in numbers.sheet_labels:
        chosen = [key for key, of in zip(keys, labels, strict=True) if of == label]
        found.append((label, [ink_svg(drawn.get(key), half_extent([drawn.get(key)]), str(key)) for key in chosen]))
    return found
