"""Weights of other programs: into the registry, and out of it."""

from __future__ import annotations

import re
from pathlib import Path

import mlflow
from mlflow.entities.model_registry import ModelVersion

from ink.errors import ParamsError
from ink.params import read_params
from models.base import SketchModel
from pipeline import registry, sketchrnn_js
from pipeline.commands.trained import loaded


def check_kind(kind: str) -> None:
    """Raise ParamsError unless weights of this kind can be read and written."""
    if kind != "sketch-rnn":
        raise ParamsError(f"weights of {kind!r} are not known; expected sketch-rnn")


def import_weights(path: Path) -> ModelVersion:
    """Register a file of sketch-rnn-js weights as `<model>-<its name>`; what it does not say comes from params.yaml.

    Raises:
        DataError: the file is not what it must be.
    """
    params = read_params()
    blocks = {name: dict(params["models"][name]["config"]) for name in ("sketchrnn", "sketchrnn_decoder")}
    model, name = sketchrnn_js.load(path, blocks)
    name = re.sub(r"[^A-Za-z0-9_]+", "_", name)  # what a registry's name may hold
    kind = sketchrnn_js.kind(model)
    registry.open_store("imported")
    card = {"model": kind, "dataset": name, "classes": [name], "clock": "arc_length", "data_sha256": ""}

    def rescore(other: SketchModel) -> float:
        return float("nan")  # weights without test drawings of their own: the first import stays champion

    with mlflow.start_run(run_name=f"import-{path.name}"):
        mlflow.set_tags({"model": kind, "source": path.name})
        score = registry.Score("imported", float("nan"), "none")
        return registry.register(model, f"{kind}-{name}", card, score, rescore)


def export_weights(dataset: str, name: str, out: Path) -> None:
    """Write a registered SketchRNN as a file of sketch-rnn-js weights."""
    model, found = loaded(dataset, name)
    sketchrnn_js.save(model, out, found.name.partition("-")[2])
