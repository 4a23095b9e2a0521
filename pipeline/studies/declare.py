"""What a study is: its block of `params.yaml`, checked, and the cells of its grid with their parameters.

Everything that can be wrong with a study (a name, a path of the grid, a value) is found here, before any work.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from ink.errors import ParamsError
from ink.params import Params, check, dataset_block, section, suggest
from models import model_class
from pipeline.settings import build_model, fit_params
from pipeline.studies.cell import Cell
from pipeline.studies.subset import SubsetParams
from pipeline.studies.views import VIEWS, check_view
from pipeline.studies.works import WORKS, find_work
from stages.augment import AugmentParams

Budget = Literal["small", "paper"]


class Stop(Params):
    """When a training of a study ends: exactly one of the keys.

    `seconds` is turned into steps by timing the first ones, so that a training stays a function of its steps.
    """

    steps: int | None = Field(default=None, ge=1)
    epochs: int | None = Field(default=None, ge=1)
    seconds: float | None = Field(default=None, gt=0)
    recipe: float | None = Field(default=None, gt=0)  # share of the steps of the model's own recipe

    @model_validator(mode="after")
    def _one(self) -> Stop:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("expected exactly one of steps, epochs, seconds, recipe")
        return self

    def label(self) -> str:
        """Return it in words."""
        (name, value), *_ = self.model_dump(exclude_none=True).items()
        return f"recipe x {value:g}" if name == "recipe" else f"{value:g} {name}"


class BudgetParams(Params):
    """What a study may cost: on two cores (`small`) or on one GPU (`paper`)."""

    seeds: list[int] = Field(min_length=1)
    stops: list[Stop]  # a cell for each; none where the work trains nothing
    set: dict[str, Any]  # path -> value, for all cells


class StudyParams(Params):
    """A block of `studies`."""

    about: str
    dataset: str
    models: list[str] = Field(min_length=1)
    work: str
    view: str
    grid: dict[str, list[Any] | dict[str, dict[str, Any]]]  # path: values, or axis: {level: {path: value}}
    options: dict[str, Any]  # of the work
    show: dict[str, Any]  # options of the view
    small: BudgetParams
    paper: BudgetParams


def study_names(params: dict[str, Any]) -> list[str]:
    """Return the names of the studies, in the order of params.yaml."""
    return list(params.get("studies") or {})


def read_study(params: dict[str, Any], name: str) -> StudyParams:
    """Return one study's block.

    Raises:
        ParamsError: no such study, or the block is wrong.
    """
    studies = params.get("studies") or {}
    if name not in studies:
        raise ParamsError(f"study {name!r} is not in params.yaml; {suggest(name, studies)}")
    study = check(studies[name], StudyParams, f"studies.{name}")
    where = f"params.yaml, section studies.{name}"
    for model in study.models:
        model_class(model)
    if study.work not in WORKS:
        raise ParamsError(f"{where}.work: {study.work!r} does not exist; {suggest(study.work, WORKS)}")
    if study.view not in VIEWS:
        raise ParamsError(f"{where}.view: {study.view!r} does not exist; {suggest(study.view, VIEWS)}")
    return study


def place_of(params: dict[str, Any], name: str, budget: Budget, dataset: str | None) -> str:
    """Return where a study's results lie: its name, with what differs from its block's dataset and `small`."""
    own = read_study(params, name).dataset
    return name + (f"-{dataset}" if dataset not in (None, own) else "") + ("-paper" if budget == "paper" else "")


def cells(params: dict[str, Any], name: str, budget: Budget, dataset: str | None = None) -> list[Cell]:
    """Return the cells of a study, every one of them checked.

    Args:
        params: params.yaml.
        name: of the study.
        budget: which of its two.
        dataset: in place of the block's.

    Raises:
        ParamsError: anything in the block, the grid or a cell's parameters is wrong.
    """
    study, place = read_study(params, name), place_of(params, name, budget, dataset)
    dataset = dataset or study.dataset
    dataset_block(params, dataset)
    budgeted: BudgetParams = getattr(study, budget)
    work = find_work(study.work)
    where = f"params.yaml, section studies.{name}"
    if work.trains != bool(budgeted.stops):
        need = "needs one stop or more" if work.trains else "trains nothing: its stops must be []"
        raise ParamsError(f"{where}.{budget}.stops: the work {study.work!r} {need}")
    check(study.options, work.options, f"studies.{name}.options")
    dumped = [stop.model_dump(exclude_none=True) for stop in budgeted.stops]
    stops: list[dict[str, Any] | None] = [*dumped] or [None]
    found = []
    for model, chosen, number, seed in itertools.product(
        study.models, _combinations(study.grid), range(len(stops)), budgeted.seeds
    ):
        values = dict(budgeted.set)
        for _, _, assignments in chosen:
            values |= assignments
        levels = {axis: label for axis, label, _ in chosen}
        if len(stops) > 1:
            levels["stop"] = budgeted.stops[number].label()
        parts = [model, *levels.values(), f"seed{seed}"]
        cell = Cell(
            study=place,
            name="_".join(re.sub(r"[^\w.+-]+", "-", part) for part in parts),
            dataset=dataset,
            model=model,
            levels=levels,
            seed=seed,
            stop=stops[number],
            params=with_values(params, dataset, values, f"{where}.grid or .{budget}.set"),
            work=study.work,
            options=study.options,
        )
        _check_cell(cell)
        found.append(cell)
    axes: dict[str, list[str]] = {}
    for cell in found:
        for axis, level in cell.levels.items():
            axes.setdefault(axis, [])
            axes[axis] += [level] if level not in axes[axis] else []
    check_view(study.view, study.show, axes, f"studies.{name}.show")
    names = [cell.name for cell in found]
    if len(set(names)) < len(names):
        twice = sorted({one for one in names if names.count(one) > 1})
        raise ParamsError(f"{where}: cells of one name: {', '.join(twice)}; a seed or a value is listed twice")
    return found


def with_values(params: dict[str, Any], dataset: str, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a copy of params.yaml with values at dotted paths; they win over the dataset's block.

    A path that begins with `dataset.` is one of the block of the study's dataset.

    Raises:
        ParamsError: a path does not exist.
    """
    changed = copy.deepcopy(params)
    own = changed["datasets"][dataset]
    for path, value in values.items():
        parts = path.split(".")
        if parts[0] == "dataset":
            parts = ["datasets", dataset, *parts[1:]]
        _put(changed, parts, value, f"{where}: {path}")
        section_name, *rest = parts
        block = own.get("model") if section_name == "models" else own.get(section_name)
        if section_name == "models":
            for name in rest[:-1]:
                block = (block or {}).get(name)
        if rest and isinstance(block, dict) and rest[-1] in block:
            block[rest[-1]] = copy.deepcopy(value)
    return changed


def _put(place: dict[str, Any], parts: list[str], value: Any, where: str) -> None:
    """Set a value that is there already."""
    *parents, last = parts
    for name in [*parents, last]:
        if not isinstance(place, dict) or name not in place:
            known = place if isinstance(place, dict) else {}
            raise ParamsError(f"{where}: no key {name!r} in params.yaml; {suggest(name, known)}")
        if name is last:
            break
        place = place[name]
    place[last] = copy.deepcopy(value)


def _combinations(
    grid: Mapping[str, list[Any] | dict[str, dict[str, Any]]],
) -> Iterator[tuple[tuple[str, str, dict[str, Any]], ...]]:
    """Yield the cells of the grid: for each axis its name, the level's label, and path -> value."""
    axes = []
    for axis, levels in grid.items():
        if isinstance(levels, dict):
            axes.append([(axis, label, values) for label, values in levels.items()])
        else:
            axes.append([(axis.rsplit(".", 1)[-1], _label(value), {axis: value}) for value in levels])
    return itertools.product(*axes)


def _label(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def _check_cell(cell: Cell) -> None:
    """Build what the cell would build."""
    fit_params(cell.params, cell.dataset, cell.model)
    build_model(cell.params, cell.dataset, cell.model, classes=2)
    section(cell.params, "augment", AugmentParams, cell.dataset)
    section(cell.params, "subset", SubsetParams)
