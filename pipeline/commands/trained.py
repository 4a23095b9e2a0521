"""Models that were trained: their numbers, and the registry's versions of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import mlflow
from mlflow.entities.model_registry import ModelVersion

from ink.errors import DataError, InkmillError
from models import model_class
from models.base import Autoencoder, Classifier, SketchModel
from pipeline import evaluate as evaluation
from pipeline import registry, results
from pipeline.commands.project import stage_of
from pipeline.dataset import load_dataset
from pipeline.generate import chosen
from pipeline.judge import has_judge
from pipeline.settings import JUDGE


def comparison(dataset: str, models: list[str]) -> list[dict[str, Any]]:
    """Return each model's numbers, as they lie in `metrics/`.

    Raises:
        DataError: no model has been trained on the dataset.
    """
    rows = [results.read_metrics(dataset, model) for model in models if results.metrics_file(dataset, model).exists()]
    if not rows:
        raise DataError(f"metrics/{dataset}: nothing to compare yet; run `inkmill run --dataset {dataset}`")
    return rows


def missing_versions(dataset: str, models: list[str]) -> list[str]:
    """Return the commands that mend a registry which lacks what the metrics say was trained."""
    registry.open_store(dataset)
    commands = []
    for model in [JUDGE, *models]:
        try:
            metrics = results.read_metrics(dataset, model)
            if "weights_sha256" in metrics:  # a judge of one class has none
                registry.find_version(f"{model}-{dataset}", sha256=metrics["weights_sha256"])
        except InkmillError:
            commands.append(f"dvc repro --force --single-item {stage_of(dataset, model)}")
    return commands


def registered() -> list[dict[str, Any]]:
    """Return the registry as rows: name, version, aliases, score, weights."""
    client = mlflow.MlflowClient()
    rows = []
    for model in client.search_registered_models():
        aliases: dict[str, list[str]] = {}
        for alias, number in model.aliases.items():
            aliases.setdefault(str(number), []).append(alias)
        for found in sorted(client.search_model_versions(f"name='{model.name}'"), key=lambda v: int(v.version)):
            score = f"{found.tags.get('score_name', '')} {float(found.tags.get('score', 'nan')):.4f}"
            rows.append(
                {
                    "name": found.name,
                    "version": int(found.version),
                    "aliases": ", ".join(sorted(aliases.get(str(found.version), []))),
                    "score": score,
                    "weights_sha256": found.tags.get("weights_sha256", "")[:12],
                    "run_id": found.run_id,
                }
            )
    return rows


def evaluate(dataset: str, name: str, label: str | None = None) -> dict[str, Any]:
    """Measure a registered version on the dataset's test shards as they are now.

    Args:
        dataset: of the shards and of the model's name.
        name: as in `loaded`; champion unless an alias is given.
        label: of the test drawings that count; None: all.

    Raises:
        ParamsError: no test drawing has the label.
    """
    model, found = loaded(dataset, name)
    data = load_dataset(dataset)
    if label is not None:
        data = dataclasses.replace(data, test=chosen(data.test, [], label, len(data.test)))
    row: dict[str, Any] = {"registered": found.name, "version": int(found.version), "dataset": dataset}
    if isinstance(model, Classifier):
        return row | results.judge_summary(model, data)
    if not isinstance(model, Autoencoder) or not has_judge(data):
        return row | evaluation.measure(model, None, data)
    judge = registry.load_registered(registry.find_version(f"{JUDGE}-{dataset}", alias="champion"))[0]
    return row | evaluation.measure(model, judge, data)


def loaded(dataset: str, name: str) -> tuple[SketchModel, ModelVersion]:
    """Return the model and the version that `model[-trained_on][@alias]` means; the model's name is checked first.

    Without `trained_on` it is the dataset's; an imported model has a name of its own there (sketchrnn_decoder-bird).
    """
    model, _, alias = name.partition("@")
    kind, _, other = model.partition("-")
    model_class(kind)
    registry.open_store(dataset)
    found = registry.find_version(f"{kind}-{other or dataset}", alias=alias or "champion")
    return registry.load_registered(found)[0], found
