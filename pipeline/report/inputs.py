"""What the training flows left on disk, read and checked for the report.

A file that is missing is not an error here: its field is None and its path is listed in `missing`, so
that the page can say in place what to run. A file that is there but wrong is an error.
"""

from __future__ import annotations

import csv
import glob
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ink.errors import DataError, InkmillError
from ink.manifest import FILE_NAME, read_manifest
from ink.params import PARAMS_FILE, dataset_block, read_params
from ink.parquet import iter_drawings, read_metadata
from ink.table import SPLITS, Drawings


class RecognizerScores(BaseModel):
    """`metrics/<dataset>/recognizer.json`: the judge, and the ceiling that it sets; or a note why there is none."""

    model_config = ConfigDict(frozen=True)
    accuracy: float | None = None
    n_test: int
    parameters: int | None = None
    valid_accuracy: float | None = None
    registered: str | None = None
    version: int | None = None
    note: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> RecognizerScores:
        if (self.accuracy is None) == (self.note is None):
            raise ValueError("expected an accuracy, or a note why there is none")
        return self


class Scores(BaseModel):
    """`metrics/<dataset>/<model>.json`; milliseconds are per drawing, bytes per latent vector.

    A model that reconstructs nothing lacks what measures a reconstruction.
    """

    model_config = ConfigDict(frozen=True)
    registered: str
    version: int
    huber: float | None = None
    chamfer: float | None = None
    accuracy: float | None = None
    accuracy_original: float | None = None
    nll: float | None = None
    nll_real: float | None = None
    kl: float | None = None
    parameters: int
    latent_bytes: int | None = None
    encode_ms: float | None = None
    decode_ms: float | None = None
    n_test: int
    steps: int
    epochs: int
    train_seconds: float
    weights_sha256: str
    data_sha256: str
    alias: str | None = None
    git_commit: str | None = None


@dataclass(frozen=True, eq=False)
class PerDrawing:
    """`per_drawing.csv`: how each of the N test drawings fared.

    Args:
        key, label: (N,) objects.
        huber, chamfer: (N,) float64.
        recognized_as: (N,) objects; correct: (N,) bool. None, both, where there was no judge.
    """

    key: np.ndarray
    label: np.ndarray
    huber: np.ndarray
    chamfer: np.ndarray
    recognized_as: np.ndarray | None
    correct: np.ndarray | None


@dataclass(frozen=True, eq=False)
class ModelFiles:
    """What one model left; None where the file is missing. Drawings stay on disk until they are asked for.

    Args:
        name: of the model in params.yaml.
        scores: its numbers.
        history: columns of history.csv, each (rows,) float64, NaN where a cell is empty.
        per_drawing: scores of every test drawing.
        reconstructions, interpolations: paths of drawing tables that exist.
        samples: the same, of a model that makes new drawings.
        missing: the paths that do not exist, relative to the project's folder.
    """

    name: str
    scores: Scores | None
    history: dict[str, np.ndarray] | None
    per_drawing: PerDrawing | None
    reconstructions: Path | None
    interpolations: Path | None
    samples: Path | None
    missing: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Scored:
    """A model that has metrics, with its scores of single drawings where it has them."""

    name: str
    scores: Scores
    per_drawing: PerDrawing | None


@dataclass(frozen=True, eq=False)
class Counts:
    """How many drawings there are.

    Args:
        labels: the classes, in natural order.
        originals, copies: split -> (labels,) int64; copies are augmented.
        points: split -> points of all its drawings, from the shards' manifest.
        quarantined: stage -> drawings that it refused, from the manifests of all stages that are there.
    """

    labels: list[str]
    originals: dict[str, np.ndarray]
    copies: dict[str, np.ndarray]
    points: dict[str, int]
    quarantined: dict[str, int]


@dataclass(frozen=True, eq=False)
class ReportInputs:
    """Everything that one page is made of."""

    dataset: str
    title: str
    recognizer: RecognizerScores | None
    models: list[ModelFiles]
    test_shards: list[Path]
    counts: Counts | None

    @property
    def scored(self) -> list[Scored]:
        """The models that have metrics, in the order of run.models; never empty."""
        return [Scored(one.name, one.scores, one.per_drawing) for one in self.models if one.scores]


def read_inputs(project: Path, dataset: str) -> ReportInputs:
    """Read what the flows left for `dataset` under the project's folder.

    Raises:
        ParamsError: params.yaml is missing, wrong, or does not know the dataset.
        InkmillError: no model of `run.models` has been trained on it.
        DataError: a file is there but is not what it must be.
    """
    params = read_params(project / PARAMS_FILE)
    block = dataset_block(params, dataset)
    names = (params.get("run") or {}).get("models") or []
    models = [_read_model(project, dataset, name) for name in names]
    if not any(model.scores for model in models):
        raise InkmillError(
            f"metrics/{dataset}: expected the metrics of at least one model of run.models "
            f"({', '.join(names) or 'which is empty'}), found none. Train first: {train_command(dataset)}"
        )
    recognizer = _read_scores(project / "metrics" / dataset / "recognizer.json", RecognizerScores, dataset)
    shards = project / "data" / "shards" / dataset
    return ReportInputs(
        dataset=dataset,
        title=str(block.get("title") or dataset),
        recognizer=recognizer,
        models=models,
        test_shards=sorted(shards.glob("test-*.parquet")),
        counts=_read_counts(shards),
    )


def train_command(dataset: str) -> str:
    """Return the command that makes every file the report reads."""
    return f"inkmill run --dataset {dataset}"


def keys_and_labels(paths: Iterable[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Return (N,) keys and (N,) labels of drawing tables, without reading their points."""
    keys: list[str] = []
    labels: list[str] = []
    for path in paths:
        read_metadata(path)
        table = pq.read_table(path, columns=["key", "label"])
        keys += table.column("key").to_pylist()
        labels += table.column("label").to_pylist()
    return np.array(keys, dtype=object), np.array(labels, dtype=object)


def read_rows(paths: Iterable[Path], keys: Iterable[str]) -> Drawings:
    """Read the drawings of `keys` only, one row group in memory at a time, in the order of the files."""
    wanted = set(keys)
    found = []
    for path in paths:
        for batch in iter_drawings(path):
            rows = [row for row, key in enumerate(batch.column("key")) if key in wanted]
            if rows:
                found.append(batch.take(rows))
    return Drawings.concat(found)


def natural(label: str) -> tuple[Any, ...]:
    """Sort key that puts 2 before 10 and words in alphabetical order."""
    return (0, int(label), label) if label.isascii() and label.isdigit() else (1, 0, label)


def _read_model(project: Path, dataset: str, name: str) -> ModelFiles:
    metrics = Path("metrics") / dataset / f"{name}.json"
    plots = Path("plots") / dataset / name
    scores = _read_scores(project / metrics, Scores, dataset)
    per_drawing = plots / "drawings" / "per_drawing.csv"
    drawings = {kind: plots / "drawings" / f"{kind}.parquet" for kind in ("reconstructions", "interpolations")}
    paths = [metrics, plots / "history.csv"]
    if scores is None or scores.huber is not None:  # a model without an encoder reconstructs nothing
        paths += [per_drawing, *drawings.values()]
    drawings["samples"] = plots / "drawings" / "samples.parquet"  # not missed: few models make new drawings
    there = {kind: project / path if (project / path).is_file() else None for kind, path in drawings.items()}
    return ModelFiles(
        name=name,
        scores=scores,
        history=_read_history(project / plots / "history.csv", dataset),
        per_drawing=_read_per_drawing(project / per_drawing, dataset, scores is None or scores.accuracy is not None),
        missing=tuple(path.as_posix() for path in paths if not (project / path).is_file()),
        **there,
    )


S = TypeVar("S", bound=BaseModel)


def _read_scores(path: Path, kind: type[S], dataset: str) -> S | None:
    if not path.is_file():
        return None
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'file'}: {item['msg']}" for item in error.errors())
        raise DataError(f"{path}: not a model's metrics ({faults}). Make it anew: {train_command(dataset)}") from error


def _read_csv(path: Path, columns: Iterable[str], dataset: str) -> dict[str, list[str]] | None:
    """Return the columns of a CSV file as text; None where the file is missing."""
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8") as stream:
        header, *rows = list(csv.reader(stream)) or [[]]
    lacking = [name for name in columns if name not in header]
    ragged = [number for number, row in enumerate(rows, start=2) if len(row) != len(header)]
    if lacking or ragged:
        fault = f"lacks the columns {lacking}" if lacking else f"line {ragged[0]} has another number of cells"
        raise DataError(f"{path}: {fault}; the header is {header}. Make it anew: {train_command(dataset)}")
    return {name: [row[place] for row in rows] for place, name in enumerate(header)}


def _numbers(path: Path, name: str, cells: list[str], dataset: str) -> np.ndarray:
    try:
        return np.array([float(cell) if cell else np.nan for cell in cells], dtype=np.float64)
    except ValueError as error:
        again = train_command(dataset)
        raise DataError(f"{path}, column {name}: expected numbers, {error}. Make it anew: {again}") from error


def _read_history(path: Path, dataset: str) -> dict[str, np.ndarray] | None:
    text = _read_csv(path, ("epoch", "step", "seconds", "train_loss", "valid_loss"), dataset)
    if text is None or not text["epoch"]:
        return None
    return {name: _numbers(path, name, cells, dataset) for name, cells in text.items()}


def _read_per_drawing(path: Path, dataset: str, judged: bool) -> PerDrawing | None:
    columns = ("key", "label", "huber", "chamfer", *(("recognized_as", "correct") if judged else ()))
    text = _read_csv(path, columns, dataset)
    if text is None or not text["key"]:
        return None
    key, label = (np.array(text[name], dtype=object) for name in ("key", "label"))
    huber, chamfer = (_numbers(path, name, text[name], dataset) for name in ("huber", "chamfer"))
    if not judged:
        return PerDrawing(key, label, huber, chamfer, None, None)
    seen = np.array(text["recognized_as"], dtype=object)
    correct = np.array([cell.strip().lower() in ("1", "true") for cell in text["correct"]])
    return PerDrawing(key, label, huber, chamfer, seen, correct)


def _read_counts(shards: Path) -> Counts | None:
    """Count the shards' rows by split, class and kind; points and refusals come from the manifests."""
    rows: list[tuple[str, str, bool, int]] = []
    for split in SPLITS:
        for path in sorted(shards.glob(f"{split}-*.parquet")):
            read_metadata(path)
            table = pq.read_table(path, columns=["label", "copy"])
            table = table.group_by(["label", "copy"]).aggregate([([], "count_all")])
            rows += [(split, row["label"], row["copy"] > 0, row["count_all"]) for row in table.to_pylist()]
    if not rows:
        return None
    labels = sorted({label for _, label, _, _ in rows}, key=natural)
    place = {label: index for index, label in enumerate(labels)}
    counted = {kind: {split: np.zeros(len(labels), np.int64) for split in SPLITS} for kind in (False, True)}
    for split, label, copied, count in rows:
        counted[copied][split][place[label]] += count
    manifests = _read_manifests(shards.parent.parent, shards.name)
    points = {split: entry["points"] for split, entry in manifests.get("shard", {}).get("splits", {}).items()}
    quarantined = {stage: found["counts"].get("quarantined", 0) for stage, found in manifests.items()}
    return Counts(labels, counted[False], counted[True], points, quarantined)


def _read_manifests(folder: Path, dataset: str) -> dict[str, dict[str, Any]]:
    """Return stage -> manifest of every stage of the dataset, those that refused drawings among them."""
    found = {}
    for path in sorted(folder.glob(f"*/{glob.escape(dataset)}/{FILE_NAME}")):
        manifest = read_manifest(path.parent, path.parent.parent.name)
        if isinstance(manifest, dict) and manifest.get("stage") == "download":
            continue  # it counts files, not drawings
        if not isinstance(manifest, dict) or "stage" not in manifest or "counts" not in manifest:
            raise DataError(f"{path}: expected a stage's manifest (stage, counts); make it anew with `dvc repro`")
        found[manifest["stage"]] = manifest
    return found
