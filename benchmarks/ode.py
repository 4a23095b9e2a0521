"""What a training step and a decode of SketchODE cost: beside torchcde and torchdiffeq's adjoint, and beside an LSTM.

    python benchmarks/ode.py --out ode.json
    python benchmarks/ode.py --device cuda --batch 128 1024 --out ode_cuda.json

All contenders share one process, one batch and, but for the LSTM, one set of weights. They are timed in turn,
round after round, and the medians are told. "matched" takes the rival's steps, one per sampling interval with the
3/8 rule that torchdiffeq calls rk4, and its outputs and gradients are held to the rival's in float64 first (1e-5);
"recipe" is what params.yaml trains; the LSTM is teacher-forced, as in the paper, or of its recipe. Memory is how far
a step raises a fresh process's peak, at two numbers of steps.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.rival_sketchode import RivalSketchODE  # noqa: E402
from ink.params import read_params  # noqa: E402
from models.nn.capture import capture_step  # noqa: E402
from models.nn.ode import buffers  # noqa: E402
from models.sketchode import SketchODE  # noqa: E402
from pipeline.settings import build_model  # noqa: E402

SIZES = ((64, 48), (144, 96))
POINTS = 75
MATCHED = {"method": "rk4_38", "solver_steps": POINTS - 1}
# milliseconds on one H100 80GB, torch 2.11, float32: LSTM step and decode, the authors' code's step
PUBLISHED = {(64, 128): (5.8, 22.9, 2301), (64, 1024): (5.1, 18.3, 2056)} | {
    (144, 128): (9.8, 18.4, 2141),
    (144, 1024): (36.6, 52.6, 2837),
}
MEMORY_STEPS = (100, 1600)


def build(name: str, size: int, latent: int, **changes: Any) -> Any:
    """A model as params.yaml describes it, its sizes and what else is given changed."""
    described = build_model(read_params(ROOT / "params.yaml"), "digits", name, 10)
    torch.manual_seed(0)
    config = replace(described.config, hidden_size=size, latent_size=latent, points=POINTS, **changes)
    return type(described)(config)


def drawings(batch: int, device: str = "cpu") -> Tensor:
    """(B, 75, 3) smooth random curves from the origin in the unit circle, the pen up now and then."""
    generator = torch.Generator().manual_seed(1)
    s = torch.linspace(0, 1, POINTS)
    waves = torch.sin(torch.arange(1, 6)[:, None] * s * 3)  # (5, T)
    curves = torch.einsum("bcw,wt->btc", torch.randn(batch, 3, 5, generator=generator), waves)
    curves[..., :2] *= 0.3 / curves[..., :2].abs().amax((1, 2), keepdim=True)
    curves[..., 2] = (curves[..., 2] > 1.5).float()
    return curves.to(device)


def trained(loss: Callable[[Tensor], Tensor], module: nn.Module, points: Tensor) -> Callable[[], Tensor]:
    """What takes one training step: loss, gradients, AdamW."""
    weights = [parameter for parameter in module.parameters() if parameter.requires_grad]
    cuda = points.device.type == "cuda"
    optimizer = torch.optim.AdamW(weights, lr=1e-5, capturable=cuda)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        value = loss(points)
        value.backward()
        optimizer.step()
        return value.detach()

    return step


def compare(size: int, latent: int, batch: int) -> dict[str, float]:
    """Relative distances in float64: of our outputs from the rival's, and of gradients.

    Ours of "direct" and "adjoint" (one gradient, two ways to hold memory) from the rival's by backpropagation, ours
    of "continuous" from the rival's adjoint; and how far the rival's adjoint is from its own backpropagation.
    """
    first = build("sketchode", size, latent, **MATCHED).double()
    models: dict[str, Any] = {"direct": first}
    for gradient in ("adjoint", "continuous"):
        models[gradient] = SketchODE(replace(first.config, gradient=gradient)).double()
        models[gradient].load_state_dict(first.state_dict())
    models |= {"rival": RivalSketchODE(first, adjoint=False), "rival_adjoint": RivalSketchODE(first, adjoint=True)}
    points = drawings(batch).double()
    outputs, gradients = {}, {}
    for name, model in models.items():
        code = model.encode(points)
        outputs[name] = torch.cat([code.flatten(), model.decode(code).flatten()]).detach()
        weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
        made = torch.autograd.grad(model.loss({"points": points})["loss"], weights)
        gradients[name] = torch.cat([gradient.flatten() for gradient in made])

    def distance(of: dict[str, Tensor], one: str, other: str) -> float:
        return float((of[one] - of[other]).norm() / of[other].norm())

    return {
        "outputs": distance(outputs, "direct", "rival"),
        "gradient_direct": distance(gradients, "direct", "rival"),
        "gradient_adjoint": distance(gradients, "adjoint", "rival"),
        "gradient_continuous_from_rival_adjoint": distance(gradients, "continuous", "rival_adjoint"),
        "rival_adjoint_from_its_backpropagation": distance(gradients, "rival_adjoint", "rival"),
    }


def contenders(size: int, latent: int, points: Tensor) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """Training step and decode of each, by name."""
    made: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {}
    codes = torch.randn(len(points), latent, device=points.device)
    models: dict[str, Any] = {
        "ours, matched": build("sketchode", size, latent, **MATCHED),
        "ours, matched, adjoint": build("sketchode", size, latent, **MATCHED, gradient="adjoint"),
        "ours, recipe": build("sketchode", size, latent),
        "LSTM": build("rnn_seq2seq", size, latent, own_inputs=0.0),  # teacher-forced, as in the paper
        "LSTM, recipe": build("rnn_seq2seq", size, latent),
        "rival": RivalSketchODE(build("sketchode", size, latent, **MATCHED), adjoint=True),
    }
    for name, model in models.items():
        model.to(points.device)
        step = trained(lambda batch, model=model: model.loss({"points": batch})["loss"], model, points)
        made[name] = step, lambda model=model: model.decode(codes)
        if points.device.type == "cuda" and name in ("ours, matched", "ours, recipe"):
            made[f"{name}, captured"] = capture_step(step), made[name][1]
    return made


def measure(calls: dict[str, Callable[[], Any]], rounds: int, cuda: bool) -> tuple[dict[str, float], dict[str, float]]:
    """Median milliseconds of each on the clock, and of the processor, all threads; called in turn.

    On a machine that others use too the processor's are the ones to compare. What takes under 0.2 s is called three
    times a round.
    """
    clocks = (time.perf_counter, time.process_time)
    seconds: dict[str, list[list[float]]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            for _ in range(3 if seconds[name] and seconds[name][-1][0] < 0.2 else 1):
                started = [clock() for clock in clocks]
                call()
                if cuda:
                    torch.cuda.synchronize()
                if turn:  # the first warms up
                    seconds[name].append([clock() - begun for clock, begun in zip(clocks, started, strict=True)])
    wall, processor = (
        {name: round(1000 * statistics.median(pair[i] for pair in of), 2) for name, of in seconds.items()}
        for i in range(2)
    )
    return wall, processor


def speed(size: int, latent: int, batch: int, device: str, rounds: int) -> dict[str, Any]:
    """Times and ratios of one size and batch."""
    made = contenders(size, latent, drawings(batch, device))
    cuda = device == "cuda"
    steps = measure({name: of[0] for name, of in made.items()}, rounds, cuda)
    with torch.no_grad():
        decodes = measure({name: of[1] for name, of in made.items()}, rounds, cuda)
    row: dict[str, Any] = {"hidden": size, "latent": latent, "batch": batch}
    for kind, both in (("step", steps), ("decode", decodes)):
        for clock, times in zip(("ms", "processor_ms"), both, strict=True):
            row[f"{kind}_{clock}"] = times
            row[f"{kind}_{clock}_ratios"] = {
                "rival / ours, matched": round(times["rival"] / times["ours, matched"], 2),
                "ours, matched / LSTM": round(times["ours, matched"] / times["LSTM"], 2),
                "ours, recipe / LSTM": round(times["ours, recipe"] / times["LSTM"], 2),
                "rival / LSTM": round(times["rival"] / times["LSTM"], 2),
            }
    if cuda and (size, batch) in PUBLISHED:
        names = ("lstm_step_ms", "lstm_decode_ms", "authors_step_ms")
        row["published_h100"] = dict(zip(names, PUBLISHED[size, batch], strict=True))
    return row


def peak_growth(gradient: str, solver_steps: int) -> float:
    """MiB by which the process's peak during a training step of d = 64, batch 16 lies above what it held before.

    The second step is measured: by then kernels are compiled and caches filled. Linux only: it resets its own peak.
    """
    model = build("sketchode", *SIZES[0], gradient=gradient, solver_steps=solver_steps)
    step = trained(lambda batch: model.loss({"points": batch})["loss"], model, drawings(16))
    step()
    buffers.release()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what is free goes back, so that it is counted again
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak_mib()
    step()
    return _peak_mib() - before


def _peak_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def memory() -> dict[str, dict[str, float]]:
    """Peak growth by gradient and number of solver steps, each in a process of its own."""
    found: dict[str, dict[str, float]] = {}
    for gradient in ("direct", "adjoint", "continuous"):
        found[gradient] = {}
        for steps in MEMORY_STEPS:
            command = [sys.executable, __file__, "--peak", gradient, str(steps)]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found[gradient][str(steps)] = round(float(out), 1)
            print(
                f"peak of a step, {gradient:8} {steps:5} solver steps: +{found[gradient][str(steps)]} MiB", flush=True
            )
    return found


def main() -> None:
    """Measure, write JSON, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peak", nargs=2, metavar=("GRADIENT", "STEPS"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/ode.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.peak:
        print(peak_growth(arguments.peak[0], int(arguments.peak[1])))
        return
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: torch sees no CUDA device here")
    result: dict[str, Any] = {"device": arguments.device, "threads": arguments.threads, "torch": torch.__version__}
    result["relative_to_rival_float64"] = {}
    for size, latent in SIZES:
        result["relative_to_rival_float64"][str(size)] = compare(size, latent, 8)
        found = result["relative_to_rival_float64"][str(size)]
        print(f"d={size}, float64, relative distances:", found, flush=True)
        equal = [value for name, value in found.items() if not name.startswith("rival")]
        if max(equal) > 1e-5:
            raise SystemExit("the contenders do not compute the same: times would compare nothing")
    result["speed"] = []
    for size, latent in SIZES:
        for batch in arguments.batch:
            row = speed(size, latent, batch, arguments.device, arguments.rounds)
            result["speed"].append(row)
            print(f"\nd={size} l={latent} batch={batch}   ms: training step, decode; of the processor: the same")
            kinds = ("step_ms", "decode_ms", "step_processor_ms", "decode_processor_ms")
            for name in row["step_ms"]:
                print(f"  {name:26}", *(f"{row[kind][name]:9.1f}" for kind in kinds))
            for kind in kinds:
                print(f"  {kind:20}", row[f"{kind}_ratios"], flush=True)
    if arguments.device == "cpu":
        result["peak_growth_mib"] = memory()
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
