"""Views of the works on champions: each model's drawings side by side, its numbers in a row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ink.table import Ink
from pipeline.studies.cell import Finished
from pipeline.studies.shown import Shown, Table, heading, text

_STRIP = 12  # frames at most
_SHARED = ("original", "new drawings")  # the same for every model
_SIGMA, _TIMES = "\N{GREEK SMALL LETTER SIGMA}", "\N{MULTIPLICATION SIGN}"


def near(found: Sequence[Finished], show: dict[str, Any]) -> Shown:
    """Samples around the code, and how many of them are still recognised; without a judge, how far they move."""
    judged = "accuracy_original" in found[0].numbers
    kind, cell = ("accuracy", _percent) if judged else ("moved", _moved)
    rows, verdicts, summary = list[list[str]](), list[str](), dict[str, object]()
    levels = [name.removeprefix(f"{kind}_") for name in found[0].numbers if re.fullmatch(rf"{kind}_[\d.]+s?", name)]
    for one in found:
        rows.append([one.cell.model, f"{one.numbers['latent_spread']:.3g}", *(cell(one, level) for level in levels)])
        kept = ", ".join(f"{cell(one, level)}{' %' if judged else ''} at {_sigma(level)}" for level in levels)
        said = f"recognised {kept}" if judged else f"moved by a {heading('huber')} of {kept}"
        verdicts.append(f"{one.cell.model}: {said}.")
        summary[one.cell.model] = dict(one.numbers)
    columns = ["", "spread of the codes", *(_sigma(level) for level in levels)]
    if judged:
        title, what = (
            "Recognised samples",
            (
                "Share of all test drawings, in percent, whose decoded sample the recogniser names rightly (originals: "
                f"{_percent(found[0], 'original')})."
            ),
        )
    else:
        title, what = (
            "Moved samples",
            (f"{heading('huber')} between what a test drawing's code decodes to and its sample, mean over all."),
        )
    note = (
        f"{what} {_SIGMA}: standard deviation of the noise on each number of the code; where the models' codes spread "
        "differently, compare at equal parts of the spread."
    )
    return Shown(verdicts, summary, [Table(title, columns, rows, note)], strips=_strips(found))


def walk(found: Sequence[Finished], show: dict[str, Any]) -> Shown:
    """Strips, films, and how evenly the drawing moves."""
    names = ["jump", "halved", "halved_largest", "ink_jump", "ink_halved", "ink_halved_largest"]
    rows, verdicts, summary = list[list[str]](), list[str](), dict[str, object]()
    for one in found:
        numbers = one.numbers
        cells = [f"{text(name, numbers[name])} ± {text(name, numbers[f'{name}_se'])}" for name in names]
        rows.append([one.cell.model, *cells])
        verdicts.append(
            f"{one.cell.model}: the largest step between frames is {numbers['jump']:.2f} times the mean; halving the "
            f"latent step makes the mean step {numbers['halved']:.3f} and the largest {numbers['halved_largest']:.3f} "
            f"of what it was."
        )
        summary[one.cell.model] = dict(numbers)
    note = (
        f"Means over {found[0].numbers['loops']} closed loops through test drawings, ± standard error. A step is the "
        "root mean square distance between neighbouring frames: of the decoder's whole path, and of what is inked. "
        "A decoder that follows its code continuously halves its steps (0.5); one that jumps keeps its largest (1)."
    )
    films = {"Loop": {one.cell.model: one.drawings["loop"] for one in found if "loop" in one.drawings}}
    table = Table("How evenly the drawing moves", ["", *map(heading, names)], rows, note)
    return Shown(verdicts, summary, [table], strips=_strips(found, ("loop",)), films=films)


def abstract(found: Sequence[Finished], show: dict[str, Any]) -> Shown:
    """Drawings with less and less detail."""
    rows, verdicts, summary = list[list[str]](), list[str](), dict[str, object]()
    shares = [name.removeprefix("turning_") for name in _most(found) if re.fullmatch(r"turning_[\d.]+", name)]
    for one in found:
        if one.numbers:
            turning = [f"{one.numbers[f'turning_{share}']:.2f}" for share in shares]
            rows.append([f"{one.cell.model}: turning, radians", f"{one.numbers['turning_original']:.2f}", *turning])
            said = (
                f"{one.cell.model}: lowering omega from x {shares[0]} to x {shares[-1]} takes the pen's turning from "
                f"{turning[0]} to {turning[-1]} radians a drawing"
            )
            if f"accuracy_{shares[0]}" in one.numbers:
                rows.append([f"{one.cell.model}: recognised %", "", *(_percent(one, share) for share in shares)])
                said += f", and recognition from {_percent(one, shares[0])} to {_percent(one, shares[-1])} %"
            verdicts.append(f"{said}.")
            summary[one.cell.model] = dict(one.numbers)
    columns = ["", "original", *(f"omega {_TIMES} {share}" for share in shares)]
    note = (
        "Means over the test drawings. Turning: how much the pen's direction changes within strokes, in steps of 0.05."
    )
    return Shown(verdicts, summary, [Table("Detail", columns, rows, note)], strips=_strips(found))


def resolve(found: Sequence[Finished], show: dict[str, Any]) -> Shown:
    """The same codes at several numbers of points, and how far the curves lie apart."""
    points = [name.removeprefix("samples_") for name in found[0].numbers if name.startswith("samples_")]
    rows, verdicts, summary = list[list[str]](), list[str](), dict[str, object]()
    for one in found:
        for kind, words in (("samples", "samples off the finest curve"), ("line", "polyline off the finest curve")):
            rows.append([f"{one.cell.model}: {words}", *(f"{one.numbers[f'{kind}_{n}']:.2g}" for n in points)])
        farthest = max(one.numbers[f"samples_{n}"] for n in points)
        verdicts.append(
            f"{one.cell.model}: whatever the number of points from {points[0]} up, the samples lie within "
            f"{farthest:.2g} of the curve at {int(points[-1]):,} points (unit-circle units)."
        )
        summary[one.cell.model] = dict(one.numbers)
    columns = ["", *(f"{int(n):,} points" for n in points)]
    note = (
        "Largest distance in x or y at equal times over the drawings shown, unit-circle units. Samples: of the decoded "
        "points themselves; polyline: of the straight lines between them, which few points cannot follow."
    )
    return Shown(verdicts, summary, [Table("Distance between the curves", columns, rows, note)], strips=_strips(found))


def one_shot(found: Sequence[Finished], show: dict[str, Any]) -> Shown:
    """New drawings before and after fine-tuning, and the way from one to the next."""
    names = ["huber_before", "huber_after", "old_huber_before", "old_huber_after"]
    headings = ["new, before", "new, after", "old test, before", "old test, after"]
    rows, verdicts, summary = list[list[str]](), list[str](), dict[str, object]()
    for one in found:
        huber = [text("huber", one.numbers[name]) for name in names]
        smooth = [text(name, one.numbers[name]) for name in ("jump", "halved_largest")]
        rows.append([one.cell.model, text("steps", one.numbers["steps"]), *huber, *smooth])
        verdicts.append(
            f"{one.cell.model}: {one.numbers['steps']:,} steps take the new drawings' {heading('huber')} from "
            f"{huber[0]} to {huber[1]}, and the old test drawings' from {huber[2]} to {huber[3]}; on the way between "
            f"the new ones the largest step is {smooth[0]} times the mean."
        )
        summary[one.cell.model] = dict(one.numbers)
    columns = ["", "steps", *headings, heading("jump"), heading("halved_largest")]
    note = f"Huber {heading('huber').split(' ', 1)[1]}. Nothing of the old training data is shown in fine-tuning."
    return Shown(verdicts, summary, [Table("Fine-tuning", columns, rows, note)], strips=_strips(found))


def _strips(found: Sequence[Finished], without: tuple[str, ...] = ()) -> dict[str, dict[str, Ink]]:
    """Return a strip for each title, with each model's drawings."""
    made: dict[str, dict[str, Ink]] = {}
    for one in found:
        for title, ink in one.drawings.items():
            if title not in without:
                made.setdefault(title, {})[one.cell.model] = _thinned(ink)
    return {title: {"": next(iter(ink.values()))} if title in _SHARED else ink for title, ink in made.items()}


def _thinned(ink: Ink) -> Ink:
    """Return at most a dozen drawings, the first and the last among them."""
    if len(ink) <= _STRIP:
        return ink
    return ink.take([round(place * (len(ink) - 1) / (_STRIP - 1)) for place in range(_STRIP)])


def _most(found: Sequence[Finished]) -> dict[str, Any]:
    return max((one.numbers for one in found), key=len)


def _percent(one: Finished, level: str) -> str:
    return f"{100 * one.numbers[f'accuracy_{level}']:.1f}"


def _moved(one: Finished, level: str) -> str:
    return text("huber", one.numbers[f"moved_{level}"])


def _sigma(level: str) -> str:
    return f"{_SIGMA} = {level}" if not level.endswith("s") else f"{_SIGMA} = {level[:-1]} of the spread"
