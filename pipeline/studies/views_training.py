"""Views of grids of trainings: a table, a factorial with verdicts, a curve over one axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from ink.params import Params, suggest
from pipeline.report.charts import Dots, Series, dot_chart, line_chart
from pipeline.studies.cell import Finished
from pipeline.studies.shown import (
    THOUSANDTHS,
    Chart,
    Shown,
    Table,
    difference,
    factor,
    groups,
    heading,
    seeds_of,
    spread,
    spread_text,
    text,
)


class TableOptions(Params):
    """`show` of a table: which numbers, the first of which decides (lower is better)."""

    numbers: list[str] = Field(min_length=1)


class FactorsOptions(Params):
    """`show` of a factorial: the number that decides (lower is better), and per axis the level that is said to win."""

    number: str
    claims: dict[str, str]


class CurveOptions(Params):
    """`show` of a curve: the axis along x, whose levels are numbers, and the number along y."""

    x: str
    number: str


def table(found: Sequence[Finished], show: dict[str, Any]) -> Shown:
    """A row for each model and level, means over seeds; reconstructions and learning curves below."""
    options = TableOptions.model_validate(show)
    rows, first = [], options.numbers[0]
    by = groups(found)
    for cells in by.values():
        values = [
            spread_text(name, spread(cells, name)) if name in cells[0].numbers else "" for name in options.numbers
        ]
        rows.append([_name(cells[0]), *values])
    verdicts, summary = list[str](), dict[str, object]()
    for levels, means in _rivals(by, first).items():
        best = min(means, key=lambda name: means[name])
        others = [f"{name} {text(first, mean)}" for name, mean in means.items() if name != best]
        where = f"After {', '.join(levels)}" if levels else "Here"
        said = ", ".join([f"{best} has the lowest {heading(first)}: {text(first, means[best])}", *others])
        verdicts.append(f"{where}, {said}.")
        summary["/".join(levels) or "all"] = means
    columns = ["", *(heading(name) for name in options.numbers)]
    how = (
        "a likelihood is teacher-forced by definition" if {"nll", "nll_real"} & set(options.numbers) else "free-running"
    )
    made = Table("Results", columns, rows, f"Test drawings, {how}; means over {seeds_of(found)}, ± deviation.")
    return Shown(verdicts, summary, [made], learning_curves(found), reconstructions(found))


def factors(found: Sequence[Finished], show: dict[str, Any]) -> Shown:
    """The number at each combination of two axes, and for each claim whether the data bear it out."""
    options = FactorsOptions.model_validate(show)
    axes = list(found[0].cell.levels)
    levels = {axis: list(dict.fromkeys(one.cell.levels[axis] for one in found)) for axis in axes}
    across = axes[1] if len(axes) > 1 else None
    columns = levels[across] if across else [""]
    rows = []
    for level in levels[axes[0]]:
        some = [_where(found, {axes[0]: level, **({across: column} if across else {})}) for column in columns]
        rows.append([level, *(spread_text(options.number, spread(cells, options.number)) for cells in some)])
    claims, verdicts, summary = list[list[str]](), list[str](), dict[str, object]()
    for axis, claimed in options.claims.items():
        for rival in (level for level in levels[axis] if level != claimed):
            pair = [_where(found, {axis: level}) for level in (claimed, rival)]
            mean, error, verdict = difference(options.number, *pair)
            said = f"{text(options.number, mean)} ± {text(options.number, error)}"
            claims.append([f"{claimed} beats {rival}", verdict, said, str(len(pair[0]))])
            verdicts.append(
                f"{claimed} beats {rival}: {verdict} ({rival} minus {claimed}: {said}, {heading(options.number)})."
            )
            summary[f"{claimed} beats {rival}"] = {"verdict": verdict, "difference": mean, "standard_error": error}
    title = heading(options.number)
    first = Table(
        title,
        [" / ".join(axes), *columns],
        rows,
        f"Test drawings; means ± deviations over {seeds_of(found)}. Lower is better.",
    )
    second = Table(
        "Claims",
        ["", "borne out", "difference", "pairs"],
        claims,
        "Mean ± standard error of the difference between cells that are otherwise equal, seed included. "
        "Borne out: the difference exceeds two standard errors.",
    )
    chart = _dots(found, axes[0], across, options.number)
    return Shown(verdicts, summary, [first, second], [chart], reconstructions(found))


def curve(found: Sequence[Finished], show: dict[str, Any]) -> Shown:
    """The number against a numeric axis, a line for each model (and level of any other axis)."""
    options = CurveOptions.model_validate(show)
    lines: dict[str, list[Finished]] = {}
    for one in found:
        others = [level for axis, level in one.cell.levels.items() if axis != options.x]
        lines.setdefault(", ".join([one.cell.model, *others]), []).append(one)
    xs = sorted({float(one.cell.levels[options.x]) for one in found})
    rows, verdicts, summary = list[list[str]](), list[str](), dict[str, object]()
    for name, cells in lines.items():
        at = {x: spread([one for one in cells if float(one.cell.levels[options.x]) == x], options.number) for x in xs}
        rows.append([name, *(spread_text(options.number, at[x]) for x in xs)])
        ratio = at[xs[0]].mean / at[xs[-1]].mean
        verdicts.append(
            f"{name}: {heading(options.number)} {text(options.number, at[xs[-1]].mean)} at {options.x} {xs[-1]:g}, "
            f"{text(options.number, at[xs[0]].mean)} at {xs[0]:g}: {ratio:.2f} times."
        )
        summary[name] = {f"{x:g}": {"mean": at[x].mean, "deviation": at[x].deviation} for x in xs}
    dots = [
        Dots(
            name,
            place,
            np.array([float(one.cell.levels[options.x]) for one in cells]),
            np.array([float(one.numbers[options.number]) for one in cells]) * factor(options.number),
        )
        for place, (name, cells) in enumerate(lines.items())
    ]
    ticks = [(x, f"{x:g}") for x in xs]
    svg = dot_chart(dots, ticks, options.x, heading(options.number), joined=True)
    made = Table(
        heading(options.number),
        [options.x, *(f"{x:g}" for x in xs)],
        rows,
        f"Test drawings, free-running; means ± deviations over {seeds_of(found)}.",
    )
    note = "A dot for each seed, lines through the means."
    return Shown(
        verdicts, summary, [made], [Chart(f"Against {options.x}", svg, list(lines), note)], reconstructions(found)
    )


def factors_misfit(options: FactorsOptions, levels: Mapping[str, Sequence[str]]) -> str:
    """Tell which claim names no axis or level of the grid, or that there are not one or two axes."""
    if len(levels) not in (1, 2):
        return f"a factorial shows one axis or two, the grid has {len(levels)}"
    for axis, level in options.claims.items():
        if axis not in levels:
            return f"claims: {suggest(axis, levels)}"
        if level not in levels[axis]:
            return f"claims.{axis}: no level {level!r}; {suggest(level, levels[axis])}"
    return ""


def curve_misfit(options: CurveOptions, levels: Mapping[str, Sequence[str]]) -> str:
    """Tell that the axis along x is not in the grid, or that its levels are not numbers."""
    if options.x not in levels:
        return f"x: no axis {options.x!r}; {suggest(options.x, levels)}"
    try:
        [float(level) for level in levels[options.x]]
    except ValueError:
        return f"x: the levels of {options.x} must be numbers, got {', '.join(levels[options.x])}"
    return ""


def learning_curves(found: Sequence[Finished]) -> list[Chart]:
    """Return validation loss against training time, a line for each model and level (its first seed)."""
    firsts = [cells[0] for cells in groups(found).values() if cells[0].history]
    series = [
        Series(
            _name(one),
            place,
            np.array([row["seconds"] for row in one.history]),
            np.array([row["valid_loss"] for row in one.history]),
        )
        for place, one in enumerate(firsts)
    ]
    svg = line_chart(series, "training time, s", "validation loss")
    note = "Each model's own validation loss, free-running; a dot marks the lowest point."
    return [Chart("Learning curves", svg, [_name(one) for one in firsts], note)] if svg else []


def reconstructions(found: Sequence[Finished]) -> dict[str, dict[str, Any]]:
    """Return test drawings as each model and level (its first seed) gives them back, and its new ones."""
    firsts = [cells[0] for cells in groups(found).values()]
    strips = {}
    if remade := {_name(one): one.drawings["reconstruction"] for one in firsts if "reconstruction" in one.drawings}:
        original = next(one.drawings["original"] for one in firsts if "original" in one.drawings)
        strips["Reconstructions"] = {"original": original, **remade}
    if samples := {_name(one): one.drawings["samples"] for one in firsts if "samples" in one.drawings}:
        strips["New drawings"] = samples
    return strips


def _rivals(by: Mapping[tuple[str, ...], list[Finished]], number: str) -> dict[tuple[str, ...], dict[str, float]]:
    """Return the means that compete: models at each combination of levels; of one model its levels."""
    several = len({model for model, *_ in by}) > 1
    made: dict[tuple[str, ...], dict[str, float]] = {}
    for key, cells in by.items():
        where, name = (key[1:], key[0]) if several else ((), ", ".join(key[1:]) or key[0])
        made.setdefault(where, {})[name] = spread(cells, number).mean
    return made


def _dots(found: Sequence[Finished], axis: str, across: str | None, number: str) -> Chart:
    levels = list(dict.fromkeys(one.cell.levels[axis] for one in found))
    series = list(dict.fromkeys(one.cell.levels[across] for one in found)) if across else [axis]
    dots = []
    for place, name in enumerate(series):
        some = _where(found, {across: name}) if across else list(found)
        shift = (place - (len(series) - 1) / 2) * 0.16
        x = np.array([levels.index(one.cell.levels[axis]) + shift for one in some])
        y = np.array([float(one.numbers[number]) for one in some]) * factor(number)
        dots.append(Dots(name, place, x, y))
    ticks = [(float(place), level) for place, level in enumerate(levels)]
    svg = dot_chart(dots, ticks, axis, heading(number), joined=False)
    return Chart(f"{heading(number).removesuffix(THOUSANDTHS).strip()} by {axis}", svg, series, "A dot for each seed.")


def _where(found: Sequence[Finished], levels: dict[str, str]) -> list[Finished]:
    """Return the cells of these levels, in an order of everything else, so that they pair with another level's."""
    some = [one for one in found if levels.items() <= one.cell.levels.items()]
    return sorted(
        some,
        key=lambda one: (one.cell.model, [v for a, v in one.cell.levels.items() if a not in levels], one.cell.seed),
    )


def _name(one: Finished) -> str:
    return ", ".join([one.cell.model, *one.cell.levels.values()])
