"""Views of trainings that are measured by likelihood: two numbers against each other, parts of the test drawings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from ink.params import Params
from pipeline.report.charts import Dots, dot_chart, linear_ticks
from pipeline.report.charts import number as tick_text
from pipeline.studies.cell import Finished
from pipeline.studies.shown import Chart, Shown, Table, factor, groups, heading, seeds_of, spread, spread_text, text
from pipeline.studies.views_training import learning_curves, reconstructions

_LIKELIHOOD_NOTE = "A likelihood is teacher-forced by definition; what is drawn is free-running."


class TradeoffOptions(Params):
    """`show` of a trade-off: the number along x, the number along y, and further ones for the table."""

    x: str
    y: str
    numbers: list[str]


class PartsOptions(Params):
    """`show` of parts: the number that is shown by part, and those of all test drawings for the table."""

    number: str
    numbers: list[str] = Field(min_length=1)


class SharingOptions(Params):
    """`show` of sharing: the number, of each part of the test drawings and of how many parts a cell has."""

    number: str


def tradeoff(found: Sequence[Finished], show: dict[str, Any]) -> Shown:
    """One number against another: a dot for each seed of each level, a line through the levels' means."""
    options = TradeoffOptions.model_validate(show)
    by = {", ".join(key[1:]) or key[0]: cells for key, cells in groups(found).items()}
    names = [options.x, options.y, *options.numbers]
    rows = [[name, *(spread_text(one, spread(cells, one)) for one in names)] for name, cells in by.items()]
    means = {name: [spread(cells, axis).mean for axis in (options.x, options.y)] for name, cells in by.items()}
    verdicts = [
        f"{name}: {heading(options.x)} {text(options.x, x)}, {heading(options.y)} {text(options.y, y)}."
        for name, (x, y) in means.items()
    ]
    scale_x, scale_y = factor(options.x), factor(options.y)
    line = np.array(sorted(means.values())) * [scale_x, scale_y]
    dots = [Dots("means", 0, line[:, 0], line[:, 1])]
    for place, (name, cells) in enumerate(by.items(), start=1):
        x, y = (np.array([float(one.numbers[axis]) for one in cells]) for axis in (options.x, options.y))
        dots.append(Dots(name, place, x * scale_x, y * scale_y, bare=True, named=True))
    values = np.concatenate([one.x for one in dots])
    ticks = [(tick, tick_text(tick)) for tick in linear_ticks(float(values.min()), float(values.max()))]
    svg = dot_chart(dots, ticks, heading(options.x), heading(options.y), joined=True)
    title = f"{heading(options.y)} against {heading(options.x)}"
    axes = ", ".join(found[0].cell.levels) or "model"
    table = Table("Results", [axes, *map(heading, names)], rows, f"{_of(found)} {_LIKELIHOOD_NOTE}")
    chart = Chart(title, svg, [one.name for one in dots], "A dot for each seed, a line through the means.")
    summary: dict[str, object] = {name: {options.x: x, options.y: y} for name, (x, y) in means.items()}
    return Shown(verdicts, summary, [table], [chart, *learning_curves(found)], reconstructions(found))


def parts(found: Sequence[Finished], show: dict[str, Any]) -> Shown:
    """A number by part of the test drawings, a column and a line for each level."""
    options = PartsOptions.model_validate(show)
    by = {", ".join(key[1:]) or key[0]: cells for key, cells in groups(found).items()}
    names = sorted({part for one in found for part in parts_of(one, options.number)})
    of = {level: {part: spread(cells, f"{options.number}/{part}") for part in names} for level, cells in by.items()}
    rows = [
        [
            f"{part} ({found[0].numbers[f'n_test/{part}']})",
            *(spread_text(options.number, of[level][part]) for level in by),
        ]
        for part in names
    ]
    verdicts = [
        f"{level}: {heading(options.number)} {text(options.number, of[level][names[0]].mean)} of drawings with "
        f"{names[0]}, {text(options.number, of[level][names[-1]].mean)} of those with {names[-1]}."
        for level in by
    ]
    dots = []
    for place, (level, cells) in enumerate(by.items()):
        pairs = [(at, one.numbers[f"{options.number}/{part}"]) for at, part in enumerate(names) for one in cells]
        x, y = np.array(pairs, np.float64).T
        dots.append(Dots(level, place, x, y * factor(options.number), named=True))
    svg = dot_chart(
        dots,
        [(at, part.replace(" points", "")) for at, part in enumerate(names)],
        "test drawings",
        heading(options.number),
        joined=True,
    )
    whole = [[level, *(spread_text(one, spread(cells, one)) for one in options.numbers)] for level, cells in by.items()]
    axes = ", ".join(found[0].cell.levels) or "model"
    tables = [
        Table(f"{heading(options.number)} by part", ["test drawings (how many)", *by], rows, _of(found)),
        Table("All test drawings", [axes, *map(heading, options.numbers)], whole, f"{_of(found)} {_LIKELIHOOD_NOTE}"),
    ]
    chart = Chart(f"{heading(options.number)} by part", svg, list(by), "A dot for each seed, lines through the means.")
    summary: dict[str, object] = {level: {part: value.mean for part, value in row.items()} for level, row in of.items()}
    return Shown(verdicts, summary, tables, [chart, *learning_curves(found)], reconstructions(found))


def sharing(found: Sequence[Finished], show: dict[str, Any]) -> Shown:
    """What it costs a part of the drawings (a class) that its model learns others too.

    A row for each part, a column for each number of parts that a model learned together.
    """
    number = SharingOptions.model_validate(show).number
    own = {id(one): parts_of(one, number) for one in found}
    counts = sorted({len(values) for values in own.values()})
    names = sorted({part for values in own.values() for part in values})
    cells = {
        part: {count: [one for one in found if part in own[id(one)] and len(own[id(one)]) == count] for count in counts}
        for part in names
    }
    key = {part: f"{number}/{part}" for part in names}
    rows = [
        [part, *(spread_text(number, spread(some, key[part])) if some else "" for some in cells[part].values())]
        for part in names
    ]
    pooled, verdicts = dict[int, tuple[float, float]](), list[str]()
    for count in counts[1:]:
        pairs = [
            spread(cells[part][count], key[part]).mean - spread(cells[part][counts[0]], key[part]).mean
            for part in names
            if cells[part][count] and cells[part][counts[0]]
        ]
        if not pairs:
            continue
        mean = float(np.mean(pairs))
        error = float(np.std(pairs, ddof=1) / np.sqrt(len(pairs))) if len(pairs) > 1 else float("nan")
        pooled[count] = mean, error
        verdicts.append(
            f"{count} classes in one model: {heading(number)} changes by {text(number, mean)} ± {text(number, error)} "
            f"against {counts[0]}, mean and standard error over {len(pairs)} classes."
        )
    dots = []
    for place, part in enumerate(names):
        pairs_ = [(count, one.numbers[key[part]]) for count in counts for one in cells[part][count]]
        x, y = np.array(pairs_, np.float64).T
        dots.append(Dots(part, place, x, y * factor(number), named=True))
    ticks = [(float(count), str(count)) for count in counts]
    svg = dot_chart(dots, ticks, "classes in one model", heading(number), joined=True)
    columns = ["class", *(f"{count} together" if count > 1 else "alone" for count in counts)]
    table = Table(f"{heading(number)} by class", columns, rows, f"{_of(found)} {_LIKELIHOOD_NOTE}")
    chart = Chart("The price of sharing", svg, names, "A dot for each seed, lines through the means.")
    summary: dict[str, object] = {
        part: {str(count): spread(some, key[part]).mean for count, some in cells[part].items() if some}
        for part in names
    }
    summary |= {f"{count} against {counts[0]}": {"mean": m, "standard_error": e} for count, (m, e) in pooled.items()}
    return Shown(verdicts, summary, [table], [chart], reconstructions(found))


def parts_of(one: Finished, number: str) -> dict[str, float]:
    """Return a number of each part of the test drawings that a cell was measured on."""
    before = f"{number}/"
    return {name.removeprefix(before): value for name, value in one.numbers.items() if name.startswith(before)}


def _of(found: Sequence[Finished]) -> str:
    return f"Test drawings; means over {seeds_of(found)}, ± deviation."
