"""What makes two runs of a cell equal: its parameters, the data, the champion that it begins with, and the code."""

from __future__ import annotations

import ast
import functools
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ink.errors import DataError
from ink.params import section
from models import REGISTRY
from pipeline import results
from pipeline.checkpoint import fingerprint
from pipeline.settings import JUDGE, build_model, fit_params, run_params
from pipeline.studies.cell import Cell
from pipeline.studies.common import champion_version
from pipeline.studies.subset import SubsetParams
from pipeline.studies.works import find_work
from stages.augment import AugmentParams

_PROJECT = Path(__file__).parents[2]
_SHARED = (
    "pipeline/dataset.py",
    "pipeline/evaluate.py",
    "pipeline/fit.py",
    "pipeline/studies/common.py",
    "pipeline/studies/subset.py",
    "stages/augment.py",
)


def fingerprint_of(cell: Cell) -> str:
    """Return a hash that changes where the cell's result could.

    Raises:
        InkmillError: the data, the judge or the champion is not there yet; says which command makes it.
    """
    work, params, dataset = find_work(cell.work), cell.params, cell.dataset
    run = run_params(params)
    values: dict[str, Any] = {
        "work": cell.work,
        "options": cell.options,
        "model": cell.model,
        "seed": cell.seed,
        "stop": cell.stop,
        "run": run.model_dump(include={"threads", "device", "budget", "seed"}),
        "augment": section(params, "augment", AugmentParams, dataset).model_dump(),
        "subset": section(params, "subset", SubsetParams).model_dump(),
        "data": _data_sha256(dataset),
        "judge": results.read_metrics(dataset, JUDGE).get("weights_sha256") if work.judge else None,
        "torch": torch.__version__,
    }
    if work.trains:
        values["fit"] = fit_params(params, dataset, cell.model).model_dump()
    if work.champion:
        values["champion"] = champion_version(dataset, cell.model).tags["weights_sha256"]
    else:
        values["config"] = asdict(build_model(params, dataset, cell.model, classes=2).config)
    module = REGISTRY[cell.model].partition(":")[0].replace(".", "/") + ".py"
    return fingerprint(values, sources((module, *_SHARED, *work.sources)))


def sources(starts: tuple[str, ...]) -> list[Path]:
    """Return files of the project, and whatever of `ink` and `models` they import, at any remove.

    `models/__init__.py` is left out: it only lists the models, and a new one changes no other.
    """
    seen: set[Path] = set()
    waiting = [_PROJECT / start for start in starts]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting.extend(_imports(path))
    return sorted(seen - {_PROJECT / "models" / "__init__.py"})


@functools.cache
def _imports(path: Path) -> tuple[Path, ...]:
    """Return the files of `ink` and `models` that a file's import statements name."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    places = [_PROJECT / name.replace(".", "/") for name in names if name.split(".")[0] in ("ink", "models")]
    files = {file for place in places for file in (place.with_suffix(".py"), place / "__init__.py") if file.exists()}
    return tuple(sorted(files))


def _data_sha256(dataset: str) -> str:
    manifest = Path("data") / "shards" / dataset / "manifest.json"
    try:
        return json.loads(manifest.read_text(encoding="utf-8"))["data_sha256"]
    except FileNotFoundError as error:
        raise DataError(
            f"{manifest.parent}: no shards here; make them with `inkmill run --dataset {dataset}`"
        ) from error
