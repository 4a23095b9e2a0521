"""What a cell can do: `WORKS` is the only list. Modules are imported when a work is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ink.params import Params

if TYPE_CHECKING:
    from ink.table import Ink
    from pipeline.studies.cell import Cell

WORKS = {
    "train": "pipeline.studies.training:TRAIN",
    "likelihood": "pipeline.studies.likelihood:LIKELIHOOD",
    "near": "pipeline.studies.latent:NEAR",
    "walk": "pipeline.studies.latent:WALK",
    "abstract": "pipeline.studies.latent:ABSTRACT",
    "resolve": "pipeline.studies.latent:RESOLVE",
    "one_shot": "pipeline.studies.one_shot:ONE_SHOT",
}

Row = dict[str, float]


@dataclass(frozen=True)
class Result:
    """What a cell found.

    Args:
        numbers: by name.
        drawings: rows of drawings to show, by title.
        history: a row per epoch, where the cell trained.
        notes: sentences for the reader, such as what the model cannot do; said once a study.
    """

    numbers: dict[str, float | int | str]
    drawings: dict[str, Ink] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Work:
    """A kind of cell.

    Args:
        run: (cell, its fingerprint, report) -> Result; `report` takes the share that is done, from 0 to 1.
        options: the class that the block's `options` are checked against.
        trains: it has a training, so that the budget must say when that stops.
        champion: it begins with the registry's champion of the cell's model and dataset.
        judge: the dataset's recogniser, where it has one, plays a part in its result.
        sources: files of the project that decide its results, beside the model's.
    """

    run: Callable[[Cell, str, Callable[[float], None]], Result]
    options: type[Params]
    trains: bool
    champion: bool
    judge: bool
    sources: tuple[str, ...]


class NoOptions(Params):
    """A work without options."""


def find_work(name: str) -> Work:
    """Return a work of `WORKS`."""
    module, _, attribute = WORKS[name].partition(":")
    found: Any = getattr(import_module(module), attribute)
    return found
