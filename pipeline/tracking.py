"""What a run leaves in MLflow besides the model: parameters, epochs, data, join keys, pictures."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mlflow
import yaml
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.exceptions import MlflowException

from pipeline.dataset import Dataset

Row = dict[str, float]


def open_run(run_id: str | None, name: str, history: Iterable[Row]) -> str:
    """Make a run, or find the one that a checkpoint names; return its id.

    A run that is gone (its store was deleted) is made anew and gets the checkpoint's history.
    """
    client = mlflow.MlflowClient()
    if run_id is not None:
        try:
            client.get_run(run_id)
            return run_id
        except MlflowException:
            run_id = None
    with mlflow.start_run(run_name=name) as run:
        for row in history:
            log_epoch({"run_id": run.info.run_id}, row)
    return run.info.run_id


def log_epoch(notes: dict[str, str], row: Row) -> None:
    """Log one epoch's numbers at its step to the run that `notes` names."""
    values = {key: value for key, value in row.items() if key != "step"}
    mlflow.log_metrics(values, step=int(row["step"]), run_id=notes["run_id"])


def log_facts(settings: dict[str, Any], data: Dataset, tags: dict[str, str]) -> None:
    """Log parameters, the data set with its hash, and the keys that join data, code and run, to the active run."""
    mlflow.log_params(flatten(settings))
    with warnings.catch_warnings():  # MLflow registers its local source twice and finds that ambiguous
        warnings.simplefilter("ignore", UserWarning)
        source = resolve_dataset_source(f"file:data/shards/{data.name}")
    digest = dvc_md5(data.name) or data.data_sha256[:36]
    described = MetaDataset(source=source, name=data.name, digest=digest)  # type: ignore[abstract]
    mlflow.log_input(described, context="training")
    keys = {"data_sha256": data.data_sha256, "git_commit": git_commit(), "dvc_md5": dvc_md5(data.name) or ""}
    mlflow.set_tags({**keys, **tags})


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one level with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def git_commit() -> str:
    """Return the checkout's commit, with `+changes` where tracked files differ from it; "" outside git."""
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return ""
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock")
    return commit + ("+changes" if changed else "")


def dvc_md5(dataset: str) -> str | None:
    """Return what `dvc.lock` says of the dataset's shards; None where it says nothing."""
    lock = Path("dvc.lock")
    if not lock.exists():
        return None
    stages = (yaml.safe_load(lock.read_text(encoding="utf-8")) or {}).get("stages") or {}
    outs = (stages.get(f"shard@{dataset}") or {}).get("outs") or []
    return next((out.get("md5") for out in outs if out["path"] == f"data/shards/{dataset}"), None)


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
