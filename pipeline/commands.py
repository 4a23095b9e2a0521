"""What the commands of `inkmill` do, as functions of plain values; `pipeline.cli` only parses and prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ink.errors import DataError, InkmillError, ParamsError
from ink.manifest import read_manifest
from ink.params import dataset_block, read_params, section, set_values
from ink.quarantine import Rejected, read_quarantine

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from models.base import SketchModel
    from pipeline.studies.declare import Budget

STAGES = {"simplified": "simplify", "normalized": "normalize", "augmented": "augment", "shards": "shard"}
JUDGE = "recognizer"


def prepare(dataset: str | None, assignments: list[str]) -> tuple[dict[str, Any], str]:
    """Apply `--set`, choose the dataset, check everything; return the parameters and the dataset.

    A dataset that `run.datasets` lacks is added to it, so that a bare `dvc repro` keeps it up to date.

    Raises:
        ParamsError: a name or value is wrong; nothing has been run yet.
    """
    from pipeline.settings import build_model, fit_params, run_params

    with _unchanged_if_refused():
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
def _unchanged_if_refused() -> Iterator[None]:
    """Give params.yaml its text back where what it says is refused."""
    before = Path("params.yaml").read_text(encoding="utf-8") if Path("params.yaml").exists() else ""
    try:
        yield
    except ParamsError:
        if before:
            from ink.files import write_text

            write_text("params.yaml", before)
        raise


def _check_stages(params: dict[str, Any], dataset: str) -> None:
    """Check what the five stages would read."""
    from stages import augment, normalize, shard, simplify, upstream

    section(params, "download", upstream.DownloadParams, dataset)
    section(params, "simplify", simplify.SimplifyParams, dataset)
    section(params, "normalize", normalize.NormalizeParams, dataset)
    section(params, "augment", augment.AugmentParams, dataset)
    section(params, "shard", shard.ShardParams, dataset)


def add_model(model: str) -> None:
    """Add a model to `run.models`, so that DVC has a stage for it."""
    models = [*read_params()["run"]["models"], model]
    set_values([f"run.models={json.dumps(models)}"])
    print(f"params.yaml: added {model} to run.models")


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


def missing_versions(dataset: str, models: list[str]) -> list[str]:
    """Return the commands that mend a registry which lacks what the metrics say was trained."""
    from pipeline import registry, results

    registry.open_store(dataset)
    commands = []
    for model in [JUDGE, *models]:
        stage = f"{JUDGE}@{dataset}" if model == JUDGE else f"train@{dataset}-{model}"
        try:
            registry.find_version(f"{model}-{dataset}", sha256=results.read_metrics(dataset, model)["weights_sha256"])
        except InkmillError:
            commands.append(f"dvc repro --force --single-item {stage}")
    return commands


def comparison(dataset: str, models: list[str]) -> list[dict[str, Any]]:
    """Return each model's numbers, as they lie in `metrics/`.

    Raises:
        DataError: no model has been trained on the dataset.
    """
    from pipeline import results

    rows = [results.read_metrics(dataset, model) for model in models if results.metrics_file(dataset, model).exists()]
    if not rows:
        raise DataError(f"metrics/{dataset}: nothing to compare yet; run `inkmill run --dataset {dataset}`")
    return rows


def registered() -> list[dict[str, Any]]:
    """Return the registry as rows: name, version, aliases, score, weights."""
    import mlflow

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
        name: as in `_loaded`; champion unless an alias is given.
        label: of the test drawings that count; None: all.

    Raises:
        ParamsError: no test drawing has the label.
    """
    import dataclasses

    from models.base import Autoencoder, Classifier
    from pipeline import evaluate as evaluation
    from pipeline import registry, results
    from pipeline.dataset import load_dataset
    from pipeline.generate import chosen

    model, found = _loaded(dataset, name)
    data = load_dataset(dataset)
    if label is not None:
        data = dataclasses.replace(data, test=chosen(data.test, [], label, len(data.test)))
    row: dict[str, Any] = {"registered": found.name, "version": int(found.version), "dataset": dataset}
    if isinstance(model, Classifier):
        return row | results.judge_summary(model, data)
    if not isinstance(model, Autoencoder):
        return row | evaluation.measure(model, None, data)
    judge = registry.load_registered(registry.find_version(f"{JUDGE}-{dataset}", alias="champion"))[0]
    return row | evaluation.measure(model, judge, data)


def check_kind(kind: str) -> None:
    """Raise ParamsError unless weights of this kind can be read and written."""
    if kind != "sketch-rnn":
        raise ParamsError(f"weights of {kind!r} are not known; expected sketch-rnn")


def import_weights(path: Path) -> ModelVersion:
    """Register a file of sketch-rnn-js weights as `<model>-<its name>`; what it does not say comes from params.yaml.

    Raises:
        DataError: the file is not what it must be.
    """
    import re

    import mlflow

    from pipeline import registry, sketchrnn_js

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
    from pipeline import sketchrnn_js

    model, found = _loaded(dataset, name)
    sketchrnn_js.save(model, out, found.name.partition("-")[2])


def generate(dataset: str, name: str, out: Path, what: str, asked: dict[str, Any]) -> None:
    """Make new drawings with a registered model and write them to `out`.

    Args:
        dataset: whose registry and test drawings are meant; name: of the model; out: .svg, .png, .gif or .ndjson.
        what: sample | complete | redraw | blend; asked: arguments of that function of `pipeline.generate`, where
            `keys`, `label`, `file` and `count` choose the drawings that it works on.
    """
    from pipeline import generate as make
    from pipeline.dataset import load_dataset

    model, _ = _loaded(dataset, name)
    if what == "sample":
        rows = make.sample(model, **asked)
    else:
        file, keys, label = (asked.pop(key, None) for key in ("file", "keys", "label"))
        count = asked.pop("count", 1)
        if file is not None:
            ink = make.read_begun(file)
        else:
            ink = make.chosen(load_dataset(dataset).test, keys or [], label, count).ink
        rows = getattr(make, what)(model, ink, **asked)
    make.write(rows, out)


def draw(dataset: str, names: list[str], out: Path, count: int, points: int | None) -> None:
    """Draw test drawings and each model's reconstruction of them, ink colour running with time.

    Raises:
        InkmillError: `out` is neither .svg nor .png, or a model cannot draw.
    """
    import torch

    from ink import pictures, svg
    from ink.files import atomic_path, write_text
    from models.base import Autoencoder
    from pipeline.dataset import load_dataset

    if out.suffix not in (".svg", ".png"):
        raise InkmillError(f"{out}: expected a name that ends with .svg or .png")
    data = load_dataset(dataset)
    if not 1 <= count <= len(data.test):
        raise InkmillError(f"--count {count}: expected 1 to {len(data.test)}, the test drawings of {dataset}")
    originals = data.test.ink.take(np.arange(count))
    rows = {"original": originals}
    for name in names:
        model, found = _loaded(dataset, name)
        if not isinstance(model, Autoencoder):
            raise InkmillError(f"{found.name} names classes, it does not draw; choose another model")
        with torch.no_grad():
            decoded = model.decode(model.encode(model.representation.collate(originals)), points)
        rows[f"{found.name} v{found.version}"] = model.to_ink(decoded)
    if out.suffix == ".svg":
        write_text(out, svg.grid_svg(list(rows.values()), titles=list(rows), colour="time"))
    else:
        with atomic_path(out) as temporary:
            pictures.comparison(rows).save(temporary, format="PNG")


def studies(name: str | None, budget: Budget, dataset: str | None) -> list[dict[str, Any]]:
    """Return the studies as rows, or the cells of one of them, with how many are finished.

    Raises:
        ParamsError: a block is wrong.
    """
    from pipeline.studies.cell import known_fingerprint
    from pipeline.studies.declare import cells, read_study, study_names

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


def list_studies() -> None:
    """Write the page that the datasets' reports link, of the studies that have been run."""
    from pipeline.studies.index import write_index

    write_index(Path())


def study(name: str, budget: Budget, dataset: str | None, processes: int, assignments: list[str]) -> dict[str, Any]:
    """Run what is left of a study; return its numbers.

    Raises:
        InkmillError: a name or value is wrong, something that the study needs is missing, or a cell failed.
    """
    from pipeline.studies.declare import cells
    from pipeline.studies.flow import run_study
    from pipeline.studies.identity import fingerprint_of

    with _unchanged_if_refused():
        set_values(assignments)
        plan = cells(read_params(), name, budget, dataset)
    for cell in plan:
        fingerprint_of(cell)  # what is missing is said before the flow starts
    return run_study(name, budget, dataset, processes)


def data_summary(dataset: str) -> tuple[list[dict[str, Any]], list[Rejected]]:
    """Return each stage's counts, and every refused drawing.

    Raises:
        DataError: no stage has run.
    """
    rows, refused = [], list[Rejected]()
    for folder, stage in STAGES.items():
        place = Path("data") / folder / dataset
        if not place.exists():
            continue
        manifest = read_manifest(place, stage)
        counts = manifest["counts"]
        skipped = sum(counts.get("skipped", {}).values())
        splits = {split: entry["drawings"] for split, entry in manifest["splits"].items()}
        points = sum(entry["points"] for entry in manifest["splits"].values())
        numbers = {"in": counts["in"], "made": counts.get("made", 0), "out": counts["out"]}
        rows.append(
            {
                "stage": stage,
                **numbers,
                "quarantined": counts["quarantined"],
                "skipped": skipped,
                "points": points,
                **splits,
            }
        )
        refused += read_quarantine(place)
    if not rows:
        raise DataError(f"data: nothing here for {dataset}; run `dvc repro shard@{dataset}`")
    return rows, refused


def contact_sheet(dataset: str, out: Path, per_class: int = 12) -> None:
    """Draw some training originals of each class, chosen by the shards' hash order."""
    from ink import pictures
    from ink.files import atomic_path
    from pipeline.dataset import load_dataset

    originals = load_dataset(dataset).originals()
    labels = originals.column("label")
    chosen = np.concatenate([np.flatnonzero(labels == name)[:per_class] for name in np.unique(labels)])
    with atomic_path(out) as temporary:
        pictures.sheet(originals.ink.take(chosen), per_class, titles=list(labels[chosen])).save(temporary, format="PNG")


def _loaded(dataset: str, name: str) -> tuple[SketchModel, ModelVersion]:
    """Return the model and the version that `model[-trained_on][@alias]` means; the model's name is checked first.

    Without `trained_on` it is the dataset's; an imported model has a name of its own there (sketchrnn_decoder-bird).
    """
    from models import model_class
    from pipeline import registry

    model, _, alias = name.partition("@")
    kind, _, other = model.partition("-")
    model_class(kind)
    registry.open_store(dataset)
    found = registry.find_version(f"{kind}-{other or dataset}", alias=alias or "champion")
    return registry.load_registered(found)[0], found
