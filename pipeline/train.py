"""The training flow, one run per model and dataset: fit, evaluate, draw, register.

Leaves a run and a version in MLflow, `metrics/<dataset>/<model>.json` and `plots/<dataset>/<model>/`.
Runs in-process (`python -m pipeline digits sketchode`; DVC's `train` stages do that), on a server,
or on a work pool. A killed run goes on from its last epoch when it is started again.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import mlflow
import torch
from prefect import flow, runtime, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from ink.params import read_params
from models.base import Autoencoder, Classifier, Density, Sampler, SketchModel
from pipeline import evaluate, registry, results, tracking
from pipeline.checkpoint import fingerprint, load_weights, weights_sha256
from pipeline.dataset import Dataset, load_dataset
from pipeline.fit import Job, seed_everything, train
from pipeline.judge import go_without, has_judge, judge_of
from pipeline.settings import JUDGE, build_model, fit_params, run_params

_SAMPLES = 60  # new drawings of a model that makes them
_SOURCES = ("ink", "models", "pipeline/fit.py", "pipeline/dataset.py")  # what decides a training's course


@flow(name="train", flow_run_name="train-{model}-{dataset}", log_prints=True)
def train_model(dataset: str, model: str) -> dict[str, Any]:
    """Train, evaluate, draw and register one model on one dataset; return the numbers that were written.

    The recogniser of a dataset of one class is not trained: its metrics say so.
    """
    if model == JUDGE and not has_judge(data := load_dataset(dataset)):
        return go_without(data)
    fit(dataset, model)
    summary = register(dataset, model, measure(dataset, model))
    shown = {key: value for key, value in summary.items() if isinstance(value, int | float | str)}
    create_table_artifact(key=f"result-{model}-{dataset}".replace("_", "-"), table=[shown])
    return summary


@task(cache_policy=NO_CACHE)  # no retries: a resumed fit is a new flow run, and a bad number does not get better
def fit(dataset: str, model: str) -> None:
    """Train to the end of the budget; the checkpoint holds the weights, MLflow the epochs."""
    params = read_params()
    run = run_params(params)
    data = load_dataset(dataset)
    seed_everything(run.seed, run.threads)
    network = build_model(params, dataset, model, len(data.classes))
    job, settings = _job(params, data, model, network)
    registry.open_store(dataset)

    def on_start(state: dict[str, Any]) -> dict[str, Any]:
        run_id = tracking.open_run((state["notes"] or {}).get("run_id"), f"{model}-{dataset}", state["history"])
        with mlflow.start_run(run_id=run_id):
            tags = {"model": model, "dataset": dataset, "prefect_flow_run_id": str(runtime.flow_run.id or "")}
            tracking.log_facts(settings, data, tags)
        return {"run_id": run_id}

    state = train(network, data, job, on_start, tracking.log_epoch)
    results.write_history(dataset, model, state["history"])


@task(cache_policy=NO_CACHE)
def measure(dataset: str, model: str) -> dict[str, Any]:
    """Evaluate the trained weights on the test split, draw them, and return the numbers."""
    params = read_params()
    data = load_dataset(dataset)
    network, state = _trained(params, data, model)
    summary: dict[str, Any] = {"model": model, "dataset": dataset}
    if isinstance(network, Classifier):
        summary |= results.judge_summary(network, data)
    elif isinstance(network, Autoencoder):
        evaluation = evaluate.evaluate_autoencoder(network, judge_of(dataset), data)
        summary |= evaluation.summary
        results.write_reconstructions(dataset, model, data, evaluation)
        results.write_interpolations(
            dataset, model, evaluate.interpolations(network, data, 4, 11, run_params(params).seed)
        )
    if isinstance(network, Density):
        summary |= evaluate.likelihood(network, data.test)
        summary |= {"parameters": sum(p.numel() for p in network.parameters()), "n_test": len(data.test)}
    if isinstance(network, Sampler):
        drawn = evaluate.samples(network, _SAMPLES, run_params(params).seed)
        results.write_samples(dataset, model, drawn)
        summary |= evaluate.sample_scores(drawn, data)
    summary |= {"steps": state["step"], "epochs": state["epoch"], "train_seconds": round(state["seconds"], 2)}
    summary |= {"weights_sha256": weights_sha256(network), "data_sha256": data.data_sha256}
    return summary | {"git_commit": tracking.git_commit()}


@task(cache_policy=NO_CACHE)
def register(dataset: str, model: str, summary: dict[str, Any]) -> dict[str, Any]:
    """Log the results to the run, register new content, settle the aliases, write the metrics file."""
    params = read_params()
    data = load_dataset(dataset)
    network, state = _trained(params, data, model)
    registry.open_store(dataset)
    clock = "source" if bool(data.test.column("timed").any()) else "arc_length"
    card = {
        "model": model,
        "dataset": dataset,
        "classes": data.classes,
        "clock": clock,
        "data_sha256": data.data_sha256,
    }
    score = registry.Score(*evaluate.score(network, data, summary), data.test_sha256)

    def rescore(other: SketchModel) -> float:
        return evaluate.score(other, data)[1]

    with mlflow.start_run(run_id=state["notes"]["run_id"]):
        mlflow.log_metrics({key: float(v) for key, v in summary.items() if isinstance(v, int | float)})
        pictures = results.plots_folder(dataset, model)
        if pictures.exists():
            mlflow.log_artifacts(str(pictures), "pictures")
        found = registry.register(network, f"{model}-{dataset}", card, score, rescore)
    summary |= {"registered": found.name, "version": int(found.version), "alias": ", ".join(registry.aliases_of(found))}
    results.write_metrics(dataset, model, summary)
    return summary


def _job(params: dict[str, Any], data: Dataset, model: str, network: SketchModel) -> tuple[Job, dict[str, Any]]:
    """Return the training job and the settings that were resolved for it."""
    run, recipe = run_params(params), fit_params(params, data.name, model)
    settings = {
        "model": model,
        "config": asdict(network.config),
        "fit": recipe.model_dump(),
        "run": run.model_dump(exclude={"datasets", "models"}),
        "torch": torch.__version__,
    }
    sources = [
        path for place in _SOURCES for path in ([Path(place)] if Path(place).is_file() else Path(place).rglob("*.py"))
    ]
    job = Job(
        fit=recipe,
        steps=max(1, round(recipe.steps * run.budget)),
        seed=run.seed,
        device=run.device,
        checkpoint=Path("checkpoints") / data.name / f"{model}.safetensors",
        fingerprint=fingerprint({**settings, "data": data.data_sha256}, sources),
    )
    return job, settings


def _trained(params: dict[str, Any], data: Dataset, model: str) -> tuple[SketchModel, dict[str, Any]]:
    """Return the model with its checkpoint's weights, on the CPU in evaluation mode, and the checkpoint's state."""
    network = build_model(params, data.name, model, len(data.classes))
    state = load_weights(Path("checkpoints") / data.name / f"{model}.safetensors", network)
    return network.eval(), state
