"""Studies: the list of them, and what is left of one."""

from __future__ import annotations

from typing import Any

from ink.params import read_params, set_values
from pipeline.commands.project import unchanged_if_refused
from pipeline.studies.cell import known_fingerprint
from pipeline.studies.declare import Budget, cells, read_study, study_names
from pipeline.studies.identity import fingerprint_of


def as_rows(name: str | None, budget: Budget, dataset: str | None) -> list[dict[str, Any]]:
    """Return the studies as rows, or the cells of one of them, with how many are finished.

    Raises:
        ParamsError: a block is wrong.
    """
    params = read_params()
    if name is not None:
        plan = cells(params, name, budget, dataset)
        return [{"cell": cell.name, "run before": "yes" if known_fingerprint(cell.folder) else ""} for cell in plan]
    rows = []
    for known in study_names(params):
        study, plan = read_study(params, known), cells(params, known, "small")
        run_before = sum(known_fingerprint(cell.folder) is not None for cell in plan)
        rows.append(
            {
                "study": known,
                "dataset": study.dataset,
                "models": ", ".join(study.models),
                "cells": len(plan),
                "run before": run_before,
                "about": study.about,
            }
        )
    return rows


def run(name: str, budget: Budget, dataset: str | None, processes: int, assignments: list[str]) -> dict[str, Any]:
    """Run what is left of a study; return its numbers.

    Raises:
        InkmillError: a name or value is wrong, something that the study needs is missing, or a cell failed.
    """
    from pipeline.studies.flow import run_study  # Prefect takes a second to import, and a list needs none

    with unchanged_if_refused():
        set_values(assignments)
        plan = cells(read_params(), name, budget, dataset)
    for cell in plan:
        fingerprint_of(cell)  # what is missing is said before the flow starts
    return run_study(name, budget, dataset, processes)
