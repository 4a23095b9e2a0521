"""The work `train`: the project's one training loop with the cell's parameters, then the project's evaluation."""

from __future__ import annotations

import torch

from ink.table import Ink
from models.base import Autoencoder, Sampler, SketchModel
from pipeline import evaluate
from pipeline.checkpoint import weights_sha256
from pipeline.dataset import Dataset
from pipeline.judge import NO_JUDGE, judge_of
from pipeline.settings import build_model
from pipeline.studies.cell import Cell
from pipeline.studies.common import Report, examples, fit_cell, prepare
from pipeline.studies.works import NoOptions, Result, Row, Work

SHOWN = 10  # test drawings, as the trained cell gives them back
_BATCH = 256


def run(cell: Cell, fingerprint: str, report: Report) -> Result:
    """Train and measure one cell."""
    data = prepare(cell)
    model, numbers, history = from_scratch(cell, data, fingerprint, report)
    numbers |= {f"objective.{name}": value for name, value in objective(model, data).items()}
    judge = judge_of(cell.dataset) if isinstance(model, Autoencoder) else None
    numbers |= evaluate.measure(model, judge, data)
    notes = [NO_JUDGE] if isinstance(model, Autoencoder) and judge is None else []
    return Result(numbers, pictures(model, data.test.ink.take(examples(data, SHOWN)), cell.seed), history, notes)


def from_scratch(
    cell: Cell, data: Dataset, fingerprint: str, report: Report
) -> tuple[SketchModel, dict[str, float | int | str], list[Row]]:
    """Train a new model as the cell says; return it, the numbers of its training, and a row per epoch."""

    def fresh() -> SketchModel:
        torch.manual_seed(cell.seed)
        return build_model(cell.params, cell.dataset, cell.model, len(data.classes))

    model, state = fit_cell(cell, fresh, data, fingerprint, report)
    numbers: dict[str, float | int | str] = {
        "steps": state["step"],
        "epochs": state["epoch"],
        "train_seconds": round(state["seconds"], 2),
        "n_train": len(data.train),
        "n_originals": len(data.originals()),
        "valid_loss": state["history"][-1]["valid_loss"],
        "weights_sha256": weights_sha256(model),
    }
    return model, numbers, state["history"]


def pictures(model: SketchModel, original: Ink, seed: int) -> dict[str, Ink]:
    """Return drawings as the model gives them back, and as many new ones, as far as it can."""
    drawings: dict[str, Ink] = {}
    if isinstance(model, Autoencoder):
        drawings |= {"original": original, "reconstruction": evaluate.reconstruct(model, original)}
    if isinstance(model, Sampler):
        drawings["samples"] = evaluate.samples(model, len(original), seed).ink
    return drawings


@torch.no_grad()
def objective(model: SketchModel, data: Dataset) -> dict[str, float]:
    """Return the mean of each term of the model's own training objective on the test drawings.

    A teacher-forced model is teacher-forced here too: for comparing cells of one model, never two models.
    """
    points, labels = model.representation.collate(data.test.ink), torch.from_numpy(data.labels(data.test))
    sums: dict[str, float] = {}
    for part in torch.arange(len(labels)).split(_BATCH):
        for name, value in model.loss({"points": points[part], "label": labels[part]}).items():
            sums[name] = sums.get(name, 0.0) + float(value) * len(part)
    return {name: value / len(labels) for name, value in sums.items()}


TRAIN = Work(run, NoOptions, trains=True, champion=False, judge=True, sources=("pipeline/studies/training.py",))
