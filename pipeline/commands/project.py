"""The project's parameters and pipeline: `--set`, what `run` works on, `dvc repro`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ink.errors import InkmillError, ParamsError
from ink.files import write_text
from ink.params import dataset_block, read_params, section, set_values
from pipeline.settings import JUDGE, build_model, fit_params, run_params
from stages import augment, normalize, shard, simplify, upstream


def prepare(dataset: str | None, assignments: list[str]) -> tuple[dict[str, Any], str]:
    """Apply `--set`, choose the dataset, check everything; return the parameters and the dataset.

    A dataset that `run.datasets` lacks is added to it, so that a bare `dvc repro` keeps it up to date.

    Raises:
        ParamsError: a name or value is wrong; nothing has been run yet.
    """
    with unchanged_if_refused():
        set_values(assignments)
        params = read_params()
        run = run_params(params)
        dataset = dataset or run.datasets[0]
        dataset_block(params, dataset)
        if dataset not in run.datasets:
            set_values([f"run.datasets={json.dumps([*run.datasets, dataset])}"])
            print(f"params.yaml: added {dataset} to run.datasets")
            params = read_params()
        _check_stages(params, dataset)
        for model in [JUDGE, *run.models]:
            fit_params(params, dataset, model)
            build_model(params, dataset, model, classes=2)
    return params, dataset


@contextmanager
def unchanged_if_refused() -> Iterator[None]:
    """Give params.yaml its text back where what it says is refused."""
    before = Path("params.yaml").read_text(encoding="utf-8") if Path("params.yaml").exists() else ""
    try:
        yield
    except ParamsError:
        if before:
            write_text("params.yaml", before)
        raise


def add_model(model: str) -> None:
    """Add a model to `run.models`, so that DVC has a stage for it."""
    models = [*read_params()["run"]["models"], model]
    set_values([f"run.models={json.dumps(models)}"])
    print(f"params.yaml: added {model} to run.models")


def stage_of(dataset: str, model: str) -> str:
    """Return the DVC stage that trains a model."""
    return f"{JUDGE}@{dataset}" if model == JUDGE else f"train@{dataset}-{model}"


def repro(*targets: str) -> None:
    """Run `dvc repro` on stages.

    Raises:
        InkmillError: a stage failed; its own message stands above.
    """
    if not Path(".dvc").is_dir() or not Path("dvc.yaml").exists():
        raise InkmillError(f"{Path.cwd()}: not an Inkmill project; run inside a clone, where dvc.yaml lies")
    here = str(Path(sys.executable).parent)  # the stages' `python` is this one, whether its venv is active or not
    environment = {**os.environ, "PATH": here + os.pathsep + os.environ.get("PATH", "")}
    done = subprocess.run([sys.executable, "-m", "dvc", "repro", *targets], check=False, env=environment)
    if done.returncode:
        raise InkmillError(
            f"`dvc repro {' '.join(targets)}` stopped (exit code {done.returncode}); the message above says why. What "
            f"was finished is kept: mend it and run the same command again."
        )


def _check_stages(params: dict[str, Any], dataset: str) -> None:
    """Check what the five stages would read."""
    section(params, "download", upstream.DownloadParams, dataset)
    section(params, "simplify", simplify.SimplifyParams, dataset)
    section(params, "normalize", normalize.NormalizeParams, dataset)
    section(params, "augment", augment.AugmentParams, dataset)
    section(params, "shard", shard.ShardParams, dataset)
