"""What a training step of SketchRNN costs by cell, and drawing many sketches at once against one by one.

    python -m benchmarks.sketchrnn --threads 2 --out sketchrnn.json

Medians over `--repeats`, all in one run. The plain LSTM runs on torch's own kernel (oneDNN on the CPU, cuDNN on a GPU);
each of `--cells` also as a loop of steps, eager and compiled (compilation is not counted: `--repeats` follow two calls
that warm up). On a machine that others use,
`--threads 1 --clock cpu` counts the processor time of this process instead of wall time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ink.files import write_json
from ink.params import read_params
from models.nn.recurrent.stroke5 import from_parts
from pipeline.settings import build_model

_CELLS = ("lstm", "layer_norm", "hyper")
_WARM_UP = 2


def median_s(call: Callable[[], Any], repeats: int, asked: argparse.Namespace) -> float:
    """Return the median time of a call after two that warm up."""
    clock = time.perf_counter if asked.clock == "wall" else time.process_time
    times = []
    for turn in range(repeats + _WARM_UP):
        started = clock()
        call()
        if asked.device == "cuda":
            torch.cuda.synchronize()
        if turn >= _WARM_UP:
            times.append(clock() - started)
    return float(np.median(times))


def model(kind: str, asked: argparse.Namespace, **changes: Any) -> Any:
    """Return a SketchRNN of the size that is asked for."""
    params = read_params()
    sizes = {"decoder_size": asked.size, "max_points": asked.points, "hyper_size": asked.size // 2}
    params["models"][kind]["config"] |= {**sizes, **changes}
    torch.manual_seed(0)
    return build_model(params, "digits", kind, classes=1).to(asked.device)


def rows_of(asked: argparse.Namespace) -> torch.Tensor:
    """Return random drawings that fill all their rows."""
    torch.manual_seed(1)
    pen = (torch.rand(asked.batch, asked.points) < 0.1).long()
    return from_parts(torch.randn(asked.batch, asked.points, 2) * 20, pen).to(asked.device)


def training_steps(asked: argparse.Namespace) -> dict[str, float]:
    """Return seconds of loss, backward and Adam by cell and path."""
    rows, found = rows_of(asked), {}
    paths = [("lstm, torch's kernel", "lstm", 0.0, False)]
    paths += [
        (f"{cell}, {'compiled' if flag else 'eager'}", cell, 0.1, flag)
        for cell in asked.cells
        for flag in (False, True)
    ]
    for name, cell, dropout, compiled in paths:
        net = model("sketchrnn_decoder", asked, cell=cell, recurrent_dropout=dropout, compiled=compiled).train()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

        def step(net: Any = net, optimizer: torch.optim.Optimizer = optimizer) -> None:
            optimizer.zero_grad()
            net.loss({"points": rows})["loss"].backward()
            optimizer.step()

        found[name] = median_s(step, asked.repeats, asked)
        print(f"{name:24s} {found[name]:.3f} s", flush=True)
    return found


def sampling(asked: argparse.Namespace) -> dict[str, float]:
    """Return seconds to draw `--sketches` at once, and one by one (measured on 20, carried to all)."""
    net = model("sketchrnn_decoder", asked).eval()
    with torch.no_grad():
        net.decoder.output.bias[2] = -20.0  # no drawing ends early: both ways take every step
    generator = torch.Generator(asked.device).manual_seed(0)
    few = max(1, min(20, asked.sketches // 50))
    together = median_s(lambda: net.sample(asked.sketches, generator, 0.4), max(1, asked.repeats // 2), asked)
    alone = median_s(lambda: [net.sample(1, generator, 0.4) for _ in range(few)], 1, asked) / few
    print(f"{asked.sketches} sketches of {asked.points} points: {together:.2f} s at once, {alone:.4f} s each alone")
    return {"together_s": together, "one_s": alone, "ratio": alone * asked.sketches / together}


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cells", type=lambda text: text.split(","), default=list(_CELLS), help="lstm,layer_norm,hyper"
    )
    parser.add_argument("--size", type=int, default=512, help="units of the decoder")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--sketches", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    steps = training_steps(asked)
    kernel = steps["lstm, torch's kernel"]
    result = {
        "settings": {**vars(asked), "out": asked.out.name, "torch": torch.__version__},
        "step_s": steps,
        "times_the_kernel": {name: value / kernel for name, value in steps.items()},
        "eager_over_compiled": {cell: steps[f"{cell}, eager"] / steps[f"{cell}, compiled"] for cell in asked.cells},
        "sampling": sampling(asked),
    }
    write_json(asked.out, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
