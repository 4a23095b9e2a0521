"""What the works share: a cell's data and champion, its training, and its choice of drawings to show."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ink.errors import InkmillError, RegistryError
from ink.files import write_json
from models.base import SketchModel
from pipeline import registry, results
from pipeline.dataset import Dataset, load_dataset
from pipeline.fit import Job, seed_everything, train
from pipeline.settings import FitParams, fit_params, run_params
from pipeline.studies.cell import Cell
from pipeline.studies.subset import of_cell

Report = Callable[[float], None]

_COLD_STEPS, _TIMED_STEPS = 5, 40  # before a training that is to last so many seconds


def prepare(cell: Cell) -> Dataset:
    """Set torch up with the cell's seed; return its data."""
    seed_everything(cell.seed, run_params(cell.params).threads)
    return of_cell(load_dataset(cell.dataset), cell.params)


def champion_version(dataset: str, model: str) -> registry.ModelVersion:
    """Return the registry's champion of a model on a dataset.

    Raises:
        RegistryError: there is none yet; says which command makes it.
    """
    registry.open_store(dataset)
    try:
        return registry.find_version(f"{model}-{dataset}", alias="champion")
    except RegistryError as error:
        raise RegistryError(
            f"this study shows trained models, and the registry has no champion of {model} on {dataset}; make it with "
            f"`inkmill train {model} --dataset {dataset}`"
        ) from error


def champion_of(cell: Cell) -> SketchModel:
    """Return the champion that the cell begins with, in evaluation mode."""
    return registry.load_registered(champion_version(cell.dataset, cell.model))[0]


def fit_cell(
    cell: Cell, fresh: Callable[[], SketchModel], data: Dataset, fingerprint: str, report: Report
) -> tuple[SketchModel, dict[str, Any]]:
    """Train until the cell's stop, from its checkpoint if it has one; return the model on the CPU and the last state.

    Args:
        cell: whose recipe, seed and stop.
        fresh: makes the model as the training begins with it.
        data: train and valid.
        fingerprint: of the cell.
        report: gets the share that is done, after each epoch.
    """
    recipe, run = fit_params(cell.params, cell.dataset, cell.model), run_params(cell.params)
    steps = _steps(cell, fresh, data, recipe, fingerprint)
    model = fresh()
    checkpoint = cell.folder / "checkpoint.safetensors"
    job = Job(recipe, steps, cell.seed, run.device, checkpoint, f"{fingerprint}/{steps}")
    state = train(model, data, job, lambda state: {}, lambda _, row: report(row["step"] / steps))
    return model.cpu().eval(), state


def examples(data: Dataset, count: int, parts: np.ndarray | None = None) -> np.ndarray:
    """Return the indices of test drawings, one of each class (or of each of `parts`, (N,)) in turn.

    The hash of a drawing's key decides which.
    """
    labels, keys = data.test.column("label") if parts is None else parts, data.test.column("key")
    order = np.argsort([results.hash_of(key) for key in keys])
    turn = {label: 0 for label in np.unique(labels)}
    place = np.empty(len(order), np.int64)
    for index in order:
        place[index] = turn[labels[index]]
        turn[labels[index]] += 1
    chosen = np.lexsort((labels.astype(str), place))
    return chosen[: min(count, len(chosen))]


def _steps(cell: Cell, fresh: Callable[[], SketchModel], data: Dataset, recipe: FitParams, fingerprint: str) -> int:
    """Return the optimiser steps of a cell's training, its stop times `run.budget`."""
    if cell.stop is None:
        raise InkmillError(f"studies, cell {cell.name}: its work trains, but its budget has no stop")
    (kind, value), *_ = cell.stop.items()
    if kind == "epochs":
        value *= math.ceil(len(data.train) / recipe.batch_size)
    elif kind == "recipe":
        value *= recipe.steps
    elif kind == "seconds":
        value = _steps_in(value, cell, fresh, data, recipe, fingerprint)
    return max(1, round(value * run_params(cell.params).budget))


def _steps_in(
    seconds: float, cell: Cell, fresh: Callable[[], SketchModel], data: Dataset, recipe: FitParams, fingerprint: str
) -> float:
    """Return how many steps fit in so many seconds; timed once a cell, kept beside its checkpoint."""
    kept = cell.folder / "steps.json"
    if kept.exists():
        known = json.loads(kept.read_text(encoding="utf-8"))
        if known["fingerprint"] == fingerprint:
            return known["steps"]
    run = run_params(cell.params)
    trial = cell.folder / "timing.safetensors"
    spent = 0.0
    for steps in (_COLD_STEPS, _TIMED_STEPS):  # the first pays for what is loaded and compiled once
        trial.unlink(missing_ok=True)
        job = Job(recipe, steps, cell.seed, run.device, trial, fingerprint)
        state = train(fresh(), data, job, lambda state: {}, lambda _, row: None)
        spent = state["seconds"] / state["step"]
    trial.unlink(missing_ok=True)
    write_json(kept, {"fingerprint": fingerprint, "steps": seconds / spent, "ms_per_step": 1000 * spent})
    return seconds / spent
