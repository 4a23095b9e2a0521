"""Decoder-only SketchRNN on all Quick, Draw! categories but birds and dogs, scored on birds and dogs by protocol B.

    python -m benchmarks.sketchrnn_protocol_b --arrays sketchrnn_b.npz --fractions 0.25 0.5 1 --steps 2000 --out b.json

Reads the shards of `quickdraw_sketchrnn` (`dvc repro shard@quickdraw_sketchrnn`), whose three splits are pooled here:
the birds and dogs of the protocol are the test, 5 % of the other drawings decide which epoch's weights count. A run for
each fraction of the training drawings, of equally many steps; one that is stopped goes on from its last epoch. Beside
the JSON a PNG shows how the scores fall with the number of drawings. The pretrained weights score +0.214 and +0.414 on
the same drawings.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from safetensors.torch import load_file, save_file

from ink.files import write_json
from ink.params import read_params
from ink.table import Drawings, hash64
from models.base import SketchModel
from pipeline import protocols
from pipeline.checkpoint import fingerprint
from pipeline.dataset import load_dataset
from pipeline.fit import Examples, Job, seed_everything, train
from pipeline.settings import build_model, fit_params

DATASET, MODEL, HELD_OUT = "quickdraw_sketchrnn", "sketchrnn_decoder", ("bird", "dog")
PRETRAINED = {"bird": 0.214, "dog": 0.414}  # of the weights that sketch-rnn's authors released, on the same drawings
_VALID = 0.05


def split(fraction: float) -> tuple[Drawings, Drawings]:
    """Return training and validation drawings; a smaller fraction's are among a larger one's."""
    data = load_dataset(DATASET)
    pooled = Drawings.concat([data.originals(), data.valid, data.test])
    pooled = pooled.take(np.flatnonzero(~np.isin(pooled.column("label"), HELD_OUT)))
    place = hash64(pooled.column("key"), "protocol-b/") / 2.0**64
    chosen = (place >= _VALID) & (place < _VALID + fraction * (1 - _VALID))
    return pooled.take(np.flatnonzero(chosen)), pooled.take(np.flatnonzero(place < _VALID))


def scores(model: SketchModel, arrays: Path) -> dict[str, Any]:
    """Return mean, deviation and parts of the score on each held-out class."""
    out = {}
    for label in HELD_OUT:
        offsets, pen = protocols.score_b(model.eval(), *protocols.load_b(arrays, label), own_scale=True)
        total = offsets + pen
        out[label] = {
            "score": float(total.mean()), "sd": float(total.std(ddof=1)),
            "L_s": float(offsets.mean()), "L_p": float(pen.mean()), "drawings": len(total),
        }  # fmt: skip
    return out


def run(fraction: float, asked: argparse.Namespace) -> dict[str, Any]:
    """Train on a fraction of the drawings, or go on; return the scores of the best epoch."""
    params = read_params()
    params["models"][MODEL]["config"] |= {"decoder_size": asked.size, "drop_points": asked.drop_points}
    recipe = fit_params(params, DATASET, MODEL).model_copy(
        update={"steps": asked.steps, "batch_size": asked.batch, "learning_rate": asked.rate}
    )
    seed_everything(params["run"]["seed"], asked.threads)
    model: Any = build_model(params, DATASET, MODEL, classes=1)
    chosen, valid = split(fraction)
    rows = model.representation.collate(chosen.ink)
    held = {"points": model.representation.collate(valid.ink), "label": torch.zeros(len(valid), dtype=torch.int64)}
    seen = Examples(torch.zeros(len(rows), dtype=torch.int64), lambda rng: rows, held, chosen.ink)
    if asked.start:
        model.load_state_dict(load_file(asked.start))
    settings = {name: getattr(asked, name) for name in ("steps", "size", "batch", "rate", "drop_points")}
    settings |= {"fraction": fraction, "start": str(asked.start or "")}
    config = json.dumps(params["models"][MODEL], sort_keys=True)
    checkpoint = asked.out.with_name(f"{asked.out.stem}-{fraction:g}.safetensors")
    best = checkpoint.with_suffix(".best.safetensors")
    identity = fingerprint(settings | {"config": config, "drawings": len(chosen)}, [])
    job = Job(recipe, asked.steps, params["run"]["seed"], "cpu", checkpoint, identity)

    def on_epoch(notes: dict[str, Any], row: dict[str, float]) -> None:
        if row["valid_loss"] < notes["best"]:
            notes["best"], notes["best_step"] = row["valid_loss"], row["step"]
            save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, best)

    state = train(model, seen, job, lambda state: state["notes"] or {"best": float("inf")}, on_epoch)
    model.load_state_dict(load_file(best))
    found = {"drawings": len(chosen), **settings, "parameters": sum(p.numel() for p in model.parameters())}
    found |= {"epochs": state["epoch"], "seconds": state["seconds"], "valid_loss": state["notes"]["best"]}
    return found | {"best_step": state["notes"]["best_step"], "scores": scores(model, asked.arrays)}


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Draw the scores against the number of drawings, a line for each number and size of batches, and the anchors."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(HELD_OUT), figsize=(10, 4), layout="constrained")
    for axis, label in zip(axes, HELD_OUT, strict=True):
        for kind in dict.fromkeys((one["steps"], one["batch"], bool(one["start"])) for one in results):
            some = [one for one in results if (one["steps"], one["batch"], bool(one["start"])) == kind]
            steps, batch, more = f"{kind[0]:,}", kind[1], " more" if kind[2] else ""
            some.sort(key=lambda one: one["drawings"])
            counts, found = zip(*((one["drawings"], one["scores"][label]["score"]) for one in some), strict=True)
            axis.plot(counts, found, marker="o", linewidth=1.4, label=f"ours, {steps}{more} steps of {batch}")
        axis.axhline(
            PRETRAINED[label], color="black", linewidth=0.8, linestyle="--", label="pretrained: 70,000 of the class"
        )
        axis.set(xscale="log", xlabel="training drawings, of other classes", title=f"{label}: L_R, protocol B")
        ticks = sorted({one["drawings"] for one in results})
        axis.set_xticks(ticks, labels=[f"{tick:,}" for tick in ticks])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Train, or go on, and write the scores as JSON and PNG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arrays", type=Path, required=True, help="protocol B's sketchrnn_b.npz")
    parser.add_argument("--fractions", type=float, nargs="+", default=[1.0], help="of the training drawings")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--size", type=int, default=256, help="units of the decoder")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.003)
    parser.add_argument("--drop-points", type=float, default=0.1, help="probability that a training point is left out")
    parser.add_argument("--start", type=Path, default=None, help="weights to begin with: *.best.safetensors of a run")
    parser.add_argument("--also", type=Path, nargs="*", default=[], help="JSON of earlier runs, to stand beside these")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    results = [one for path in asked.also for one in json.loads(path.read_text(encoding="utf-8"))["runs"]]
    for fraction in asked.fractions:
        results.append(run(fraction, asked))
        print(json.dumps(results[-1]), flush=True)
        write_json(asked.out, {"pretrained": PRETRAINED, "torch": torch.__version__, "runs": results})
    draw(results, asked.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
