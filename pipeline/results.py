"""The files that a training run leaves for DVC and for the report: metrics and plots."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ink import pictures
from ink.errors import DataError
from ink.files import atomic_path, write_json
from ink.parquet import write_drawings
from ink.table import Drawings, Ink
from models.base import SketchModel
from pipeline import evaluate
from pipeline.dataset import Dataset

_PICTURED = 16  # drawings in the comparison picture
_EMPTY_HISTORY = ("epoch", "step", "seconds", "train_loss", "valid_loss")  # columns of a run without epochs
_SAMPLE_COLUMNS = 12  # of the picture of samples


def metrics_file(dataset: str, model: str) -> Path:
    """Return where a model's numbers lie."""
    return Path("metrics") / dataset / f"{model}.json"


def plots_folder(dataset: str, model: str) -> Path:
    """Return where a model's curve lies, and below it the folders `drawings` and `pictures`.

    What a model leaves in these two depends on what it can, so DVC knows the folders and not the files.
    """
    return Path("plots") / dataset / model


def write_metrics(dataset: str, model: str, summary: dict[str, Any]) -> None:
    """Write a model's numbers as JSON."""
    write_json(metrics_file(dataset, model), summary)


def read_metrics(dataset: str, model: str) -> dict[str, Any]:
    """Read a model's numbers.

    Raises:
        DataError: there are none yet; says which command makes them.
    """
    path = metrics_file(dataset, model)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; make it with `inkmill train {model} --dataset {dataset}`") from error


def judge_summary(judge: SketchModel, data: Dataset) -> dict[str, Any]:
    """Return the recogniser's accuracy on original valid and test drawings."""
    return {
        "accuracy": evaluate.accuracy(judge, data.test.ink, data.labels(data.test)),
        "valid_accuracy": evaluate.accuracy(judge, data.valid.ink, data.labels(data.valid)),
        "parameters": sum(p.numel() for p in judge.parameters()),
        "n_test": len(data.test),
    }


def write_history(dataset: str, model: str, history: Sequence[dict[str, float]]) -> None:
    """Write `history.csv`, a row per epoch."""
    columns = list(history[0]) if history else list(_EMPTY_HISTORY)
    _write_csv(plots_folder(dataset, model) / "history.csv", columns, [list(row.values()) for row in history])


def write_reconstructions(dataset: str, model: str, data: Dataset, evaluation: evaluate.Evaluation) -> None:
    """Write all reconstructions of the test split, the numbers of each, and a picture of some."""
    folder = plots_folder(dataset, model)
    drawn = data.test.with_ink(evaluation.reconstructions)
    write_drawings(folder / "drawings" / "reconstructions.parquet", drawn, {"dataset": dataset, "model": model})
    columns = evaluation.per_drawing
    _write_csv(
        folder / "drawings" / "per_drawing.csv",
        list(columns),
        [list(row) for row in zip(*columns.values(), strict=True)],
    )
    shown = np.argsort([hash_of(key) for key in data.test.column("key")])[:_PICTURED]
    rows = {"original": data.test.ink.take(shown), model: evaluation.reconstructions.take(shown)}
    _write_picture(folder / "pictures" / "reconstructions.png", rows)


def write_interpolations(dataset: str, model: str, strips: Drawings) -> None:
    """Write interpolated drawings and a picture of them, a row per strip."""
    folder = plots_folder(dataset, model)
    write_drawings(folder / "drawings" / "interpolations.parquet", strips, {"dataset": dataset, "model": model})
    strip_of = np.array([key.split("/")[0] for key in strips.column("key")])
    labels = strips.column("label")
    rows: dict[str, Ink] = {}
    for name in dict.fromkeys(strip_of):
        index = np.flatnonzero(strip_of == name)
        rows[labels[index[0]].replace("→", "to")] = strips.ink.take(index)
    _write_picture(folder / "pictures" / "interpolations.png", rows)


def write_samples(dataset: str, model: str, drawn: Drawings) -> None:
    """Write new drawings of a model and a picture of them."""
    folder = plots_folder(dataset, model)
    write_drawings(folder / "drawings" / "samples.parquet", drawn, {"dataset": dataset, "model": model})
    with atomic_path(folder / "pictures" / "samples.png") as temporary:
        pictures.sheet(drawn.ink, _SAMPLE_COLUMNS).save(temporary, format="PNG")


def hash_of(key: str) -> str:
    """Return a fixed shuffle key: examples are chosen by hash, never by quality."""
    return hashlib.blake2b(key.encode(), digest_size=8).hexdigest()


def one_line(summary: dict[str, Any]) -> str:
    """Return a run's result in one line for the terminal."""
    if "registered" not in summary:
        return f"{summary['model']} on {summary['dataset']}: {summary['note']}"
    shown = ("huber", "chamfer", "accuracy", "valid_accuracy", "nll", "nll_real", "kl")
    numbers = ", ".join(f"{name} {summary[name]:.4f}" for name in shown if name in summary)
    return f"{summary['registered']} v{summary['version']} ({summary['alias']}): {numbers}"


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _write_picture(path: Path, rows: dict[str, Ink]) -> None:
    with atomic_path(path) as temporary:
        pictures.comparison(rows).save(temporary, format="PNG")
