"""Training: one loop for every model, resumable after each epoch, bit-exact on one CPU machine.

The loop is prose: epoch order from (seed, epoch), forward, backward, clip, step, validate, log, save.
Nothing depends on wall time, so a run that was killed and resumed gives the weights of one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from ink.errors import InkmillError
from ink.progress import track
from ink.table import Ink
from models.base import SketchModel
from pipeline.checkpoint import load_checkpoint, read_state, save_checkpoint
from pipeline.dataset import Dataset
from pipeline.settings import FitParams

Row = dict[str, float]

_OVERFLOWS_IN_A_ROW = 10  # of the gradient, before training is given up


@dataclass(frozen=True)
class Job:
    """One training run.

    Args:
        fit: the recipe.
        steps: optimiser steps, the recipe's times the budget.
        seed, device: from `run`.
        checkpoint: where the run saves itself after each epoch.
        fingerprint: of data, parameters and code; a checkpoint with another one is not resumed.
    """

    fit: FitParams
    steps: int
    seed: int
    device: str
    checkpoint: Path
    fingerprint: str


@dataclass(frozen=True)
class Examples:
    """What a training sees, as tensors: a dataset's, or arrays that come ready, such as a published protocol's.

    Args:
        labels: (N,) int64 classes of the training drawings.
        draw: an epoch's generator -> (N, ...) points of the representation, as that epoch shall see them.
        valid: the validation batch.
        originals: the ink that the model's `prepare` sees; None where it needs none.
    """

    labels: Tensor
    draw: Callable[[np.random.Generator], Tensor]
    valid: Mapping[str, Tensor]
    originals: Ink | None = None


def seed_everything(seed: int, threads: int) -> None:
    """Set torch's seed, thread count and deterministic kernels: what two equal runs share."""
    numba.get_num_threads()  # its pool sets OpenMP's thread count, torch's too, when it starts: let it start first
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # filling fresh memory costs a quarter of the time and guards against our own bugs only
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.manual_seed(seed)


def train(
    model: SketchModel,
    data: Dataset | Examples,
    job: Job,
    on_start: Callable[[dict[str, Any]], dict[str, Any]],
    on_epoch: Callable[[dict[str, Any], Row], None],
) -> dict[str, Any]:
    """Train `model` in place until `job.steps`, from its checkpoint if there is one of the same fingerprint.

    Args:
        model: freshly built; its weights are replaced when a checkpoint is resumed.
        data: train originals and copies, and valid; or the tensors themselves.
        job: recipe and identity.
        on_start: gets the state to start from (`notes` is None in a fresh run), returns the notes to keep in it.
        on_epoch: gets the notes and each epoch's row before it is saved: logged twice after a kill, never lost.

    Returns:
        The last state: epoch, step, seconds, history (a row per epoch), notes.

    Raises:
        InkmillError: the loss is not finite, or ten gradients in a row are not.
    """
    model.to(job.device)
    optimizer = _optimizer(model, job.fit)
    state = read_state(job.checkpoint)
    if state is not None and state["fingerprint"] == job.fingerprint:
        state = load_checkpoint(job.checkpoint, model, optimizer)
    else:
        state = {"fingerprint": job.fingerprint, "epoch": 0, "step": 0, "seconds": 0.0, "overflows": 0}
        state |= {"history": [], "notes": None}
    state["notes"] = on_start(state)
    seen = examples(model, data) if isinstance(data, Dataset) else data
    if seen.originals is not None:
        model.prepare(seen.originals)
    count = len(seen.labels)
    epochs = math.ceil(job.steps / math.ceil(count / job.fit.batch_size))
    for epoch in track(range(state["epoch"], epochs), f"train {type(model).__name__}"):
        started = time.perf_counter()
        rng = np.random.default_rng((job.seed, epoch))
        points = seen.draw(rng)
        order = torch.from_numpy(model.order(points, job.fit.batch_size, rng))
        terms = _epoch(model, optimizer, points, seen.labels, order, job, state)
        state["epoch"], state["seconds"] = epoch + 1, state["seconds"] + time.perf_counter() - started
        row = {"epoch": epoch + 1, "step": state["step"], "seconds": state["seconds"]}
        row["learning_rate"] = optimizer.param_groups[0]["lr"]
        row |= {f"train_{name}": value for name, value in terms.items()}
        row["valid_loss"] = validate(model, seen.valid, job.fit.batch_size, job.device)
        state["history"].append(row)
        on_epoch(state["notes"], row)
        save_checkpoint(job.checkpoint, model, optimizer, state)
    return state


def examples(model: SketchModel, data: Dataset) -> Examples:
    """Return a dataset as the model wants to see it: augmented anew each epoch where the model does that itself."""
    augments = type(model).augment is not SketchModel.augment
    drawings = data.train if model.trains_on_copies and not augments else data.originals()
    fixed = None if augments else model.representation.collate(drawings.ink)

    def draw(rng: np.random.Generator) -> Tensor:
        return model.representation.collate(model.augment(drawings.ink, rng)) if fixed is None else fixed

    valid = {"points": model.representation.collate(data.valid.ink), "label": torch.from_numpy(data.labels(data.valid))}
    return Examples(torch.from_numpy(data.labels(drawings)), draw, valid, data.originals().ink)


@torch.no_grad()
def validate(model: SketchModel, batch: Mapping[str, Tensor], batch_size: int, device: str) -> float:
    """Return the mean validation loss over all drawings of `batch`."""
    model.eval()
    total, count = 0.0, len(batch["label"])
    for part in torch.arange(count).split(4 * batch_size):
        piece = {name: values[part].to(device) for name, values in batch.items()}
        total += float(model.validation_loss(piece)) * len(part)
    model.train()
    return total / count


def learning_rate(fit: FitParams, step: int, steps: int) -> float:
    """Cosine from the recipe's rate to 0 in each of `cosine_cycles` periods, each `cycle_decay` lower."""
    position = fit.cosine_cycles * step / steps
    cycle = min(int(position), fit.cosine_cycles - 1)
    return fit.learning_rate * fit.cycle_decay**cycle * 0.5 * (1 + math.cos(math.pi * (position - cycle)))


def _epoch(
    model: SketchModel,
    optimizer: torch.optim.Optimizer,
    points: Tensor,
    labels: Tensor,
    order: Tensor,
    job: Job,
    state: dict[str, Any],
) -> dict[str, float]:
    """Take one pass, or what is left of `job.steps`; return the mean of each loss term."""
    model.train()
    sums: dict[str, float] = {}
    batches = order.split(job.fit.batch_size)[: job.steps - state["step"]]
    for index in batches:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(job.fit, state["step"], job.steps)
        batch = {"points": points[index].to(job.device), "label": labels[index].to(job.device)}
        batch |= {"step": torch.tensor(state["step"]), "steps": torch.tensor(job.steps)}
        terms = model.loss(batch)
        optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), job.fit.clip_norm)
        values = {name: float(value.detach()) for name, value in terms.items()}
        overflow = not math.isfinite(float(norm))
        state["overflows"] = state["overflows"] + 1 if overflow else 0
        if not math.isfinite(values["loss"]) or state["overflows"] == _OVERFLOWS_IN_A_ROW:
            raise InkmillError(
                f"{type(model).__name__}: the loss or its gradient is not finite at step {state['step']}; the last "
                f"epoch is saved in {job.checkpoint}. Lower learning_rate or clip_norm of this model in params.yaml."
            )
        if not overflow:  # one batch's gradient may overflow in a stiff field; the weights are none the worse
            optimizer.step()
        state["step"] += 1
        sums["overflows"] = sums.get("overflows", 0.0) + overflow
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + value
    return {name: value / max(1, len(batches)) for name, value in sums.items()}


def _optimizer(model: SketchModel, fit: FitParams) -> torch.optim.AdamW:
    decayed = {id(parameter) for parameter in model.decayed_parameters()}
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if id(p) in decayed], "weight_decay": fit.weight_decay},
        {"params": [p for p in parameters if id(p) not in decayed], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=fit.learning_rate, fused=True)
