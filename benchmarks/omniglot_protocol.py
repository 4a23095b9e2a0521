"""SketchODE and RNN-RNN on the arrays on which the authors' SketchODE was measured, curves against wall time.

    python benchmarks/omniglot_protocol.py --arrays ../shared/data/protocols/omniglot_75.npz --out omniglot.json

800 training and 192 validation drawings of Omniglot, 75 points uniform in arc length, from the origin, in the unit
circle; no augmentation. Trained by `pipeline.fit`; everything that is reported is free-running. Writes JSON and,
beside it, a picture of the curves; prints a table. Twelve minutes a model at most; the processor's time is noted too,
since a machine that does other work beside it stretches the wall's.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch

from ink.params import read_params
from models.base import Autoencoder, SketchModel
from pipeline.fit import Examples, Job, seed_everything, train
from pipeline.settings import build_model, fit_params

ROOT = Path(__file__).resolve().parents[1]
DATASET = "omniglot"  # of params.yaml: its sizes d 64, l 48, 75 points are the protocol's
TARGET = {"xy": 0.030, "pen_accuracy": 0.92}
BUDGET_S = 720.0

# What a run does otherwise than params.yaml, recipe by recipe, and nowhere else.
OWN = {
    "sketchode": {"config": {}, "fit": {"steps": 4000}},
    "rnn_seq2seq": {"config": {}, "fit": {"steps": 2000}},
}
# Section 5.1 of the paper and the authors' code; the cosine's periods of 100 epochs are `cosine_cycles` of `steps`.
PAPER = {
    "sketchode": {
        "config": {
            "summary": "last",
            "start_velocity": "constant",
            "solver_steps": 74,
            "omega": 3.0,
            "output_gain": 1.0,
            "pen_weight": 1.0,
            "gradient": "direct",
        },
        "fit": {
            "steps": 2600,
            "batch_size": 64,
            "learning_rate": 0.003,
            "weight_decay": 0.01,
            "clip_norm": 0.01,
            "cosine_cycles": 2,
            "cycle_decay": 0.25,
        },
    },
    "rnn_seq2seq": {
        "config": {"own_inputs": 0.0, "output": "position", "pen_weight": 1.0},
        "fit": {"steps": 7800, "batch_size": 64, "learning_rate": 0.0001, "cosine_cycles": 6, "cycle_decay": 0.25},
    },
}
RECIPES = {"own": OWN, "paper": PAPER}


def load(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the training and validation drawings, (N, T, 3) float32 each."""
    with np.load(path, allow_pickle=False) as arrays:
        return tuple(torch.from_numpy(arrays[name].transpose(1, 0, 2).copy()) for name in ("train", "valid"))


def prepared(model: str, recipe: str, steps: int) -> dict[str, Any]:
    """Return params.yaml with a recipe's changes made."""
    params = read_params(ROOT / "params.yaml")
    for part, values in RECIPES[recipe][model].items():
        params["models"][model][part] |= values
    if steps:
        params["models"][model]["fit"]["steps"] = steps
    return params


@torch.no_grad()
def score(model: SketchModel, points: torch.Tensor) -> dict[str, float]:
    """Return the free-running loss terms of equation 5 and the part of right pen states."""
    if not isinstance(model, Autoencoder):
        raise TypeError(f"{type(model).__name__} cannot encode and decode")
    decoded = model.decode(model.encode(points))
    pen = points[..., 2]
    return {
        "xy": float(torch.nn.functional.smooth_l1_loss(decoded[..., :2], points[..., :2]) * 2),
        "pen": float(torch.nn.functional.binary_cross_entropy(decoded[..., 2], pen)),
        "pen_accuracy": float(((decoded[..., 2] > 0.5) == (pen > 0.5)).float().mean()),
    }


def mean_trajectory(training: torch.Tensor, validation: torch.Tensor) -> dict[str, float]:
    """Return what the mean training drawing scores: what a model that ignores its input can reach."""
    mean = training.mean(0).expand_as(validation)
    pen = validation[..., 2]
    return {
        "xy": float(torch.nn.functional.smooth_l1_loss(mean[..., :2], validation[..., :2]) * 2),
        "pen": float(torch.nn.functional.binary_cross_entropy(mean[..., 2], pen)),
        "pen_accuracy": float(((mean[..., 2] > 0.5) == (pen > 0.5)).float().mean()),
    }


def run(name: str, recipe: str, arrays: tuple[torch.Tensor, torch.Tensor], options: argparse.Namespace) -> dict:
    """Train one model; return its recipe, its curve and its last scores."""
    training, validation = arrays
    params = prepared(name, recipe, options.steps)
    seed_everything(options.seed, options.threads)
    model = build_model(params, DATASET, name, classes=1)
    fit = fit_params(params, DATASET, name)
    labels = torch.zeros(len(training), dtype=torch.int64)
    seen = Examples(labels, lambda _: training, {"points": validation, "label": labels[: len(validation)]})
    curve: list[dict[str, float]] = []
    started, began = time.perf_counter(), time.process_time()

    def on_epoch(_: dict[str, Any], row: dict[str, float]) -> None:
        if row["epoch"] % options.every == 0 or row["step"] == fit.steps:
            scores = score(model.eval(), validation)
            train_xy = score(model, training[: len(validation)])["xy"]
            model.train()
            times = {"wall_s": time.perf_counter() - started, "cpu_s": time.process_time() - began}
            times = {name: round(value, 2) for name, value in times.items()}
            curve.append({"step": row["step"], **times, **scores, "train_xy": train_xy})

    with tempfile.TemporaryDirectory() as folder:
        job = Job(fit, fit.steps, options.seed, "cpu", Path(folder) / "checkpoint.safetensors", "protocol")
        train(model, seen, job, lambda state: {}, on_epoch)
    return {
        "model": name,
        "recipe": recipe,
        "seed": options.seed,
        "threads": options.threads,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "config": asdict(model.config),
        "fit": fit.model_dump(),
        "last": curve[-1],
        "train_last": score(model, training),
        "reached_target_s": reached(curve),
        "within_budget": curve[-1]["wall_s"] <= BUDGET_S,
        "curve": curve,
    }


def reached(curve: list[dict[str, float]]) -> float | None:
    """Return the wall time from which both targets are met to the end, None if they are not."""
    since = None
    for row in curve:
        met = row["xy"] <= TARGET["xy"] and row["pen_accuracy"] >= TARGET["pen_accuracy"]
        since = (row["wall_s"] if since is None else since) if met else None
    return since


def draw(results: list[dict], baseline: dict[str, float], path: Path) -> None:
    """Draw position loss and pen accuracy against wall time."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for axis, key, title in zip(axes, TARGET, ("smooth-L1, summed over x and y", "pen accuracy"), strict=True):
        for result in results:
            minutes = [row["wall_s"] / 60 for row in result["curve"]]
            label = f"{result['model']}, {result['recipe']} recipe"
            axis.plot(minutes, [row[key] for row in result["curve"]], label=label, linewidth=1.4)
        axis.axhline(TARGET[key], color="black", linewidth=0.8, linestyle="--", label="target")
        axis.axhline(baseline[key], color="grey", linewidth=0.8, linestyle=":", label="mean trajectory")
        axis.set(xlabel="wall time, minutes", title=f"validation, free-running: {title}")
        axis.grid(alpha=0.3)
    axes[0].set_yscale("log")
    axes[0].set_yticks([0.01, 0.02, 0.03, 0.05, 0.1], labels=["0.01", "0.02", "0.03", "0.05", "0.1"])
    axes[0].minorticks_off()
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Parse the arguments, train, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arrays", type=Path, required=True, help="omniglot_75.npz")
    parser.add_argument("--out", type=Path, default=Path("omniglot.json"))
    parser.add_argument("--models", nargs="*", default=list(OWN), choices=list(OWN))
    parser.add_argument("--recipes", nargs="+", default=["own"], choices=list(RECIPES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads", type=int, default=1, help="a second one costs these small tensors more than it gives"
    )
    parser.add_argument("--steps", type=int, default=0, help="instead of the recipe's")
    parser.add_argument("--every", type=int, default=5, help="epochs between two points of a curve")
    parser.add_argument("--also", nargs="*", type=Path, default=[], help="JSON of earlier runs, to stand beside these")
    options = parser.parse_args()
    arrays = load(options.arrays)
    results = [run(model, recipe, arrays, options) for recipe in options.recipes for model in options.models]
    results = [result for path in options.also for result in json.loads(path.read_text())["results"]] + results
    baseline = mean_trajectory(*arrays)
    machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
    written = {"target": TARGET, "mean_trajectory": baseline, **machine, "results": results}
    options.out.write_text(json.dumps(written, indent=1))
    draw(results, baseline, options.out.with_suffix(".png"))
    columns = f"{'steps':>7}{'wall s':>8}{'cpu s':>8}{'xy':>9}{'pen':>8}{'pen acc':>9}{'train xy':>10}"
    print(f"{'model':14}{'recipe':8}{columns}  target at")
    for result in results:
        last, at = result["last"], result["reached_target_s"]
        print(
            f"{result['model']:14}{result['recipe']:8}{last['step']:7d}{last['wall_s']:8.0f}{last['cpu_s']:8.0f}{last['xy']:9.4f}"
            f"{last['pen']:8.3f}{last['pen_accuracy']:9.3f}{result['train_last']['xy']:10.4f}  "
            f"{'never' if at is None else f'{at:.0f} s'}"
        )


if __name__ == "__main__":
    main()
