"""The log-density of a flow: is it right, and what does it cost beside the solve.

    python benchmarks/cnf.py --out cnf.json

On a network of the digits' decoder (d = 64, H = 76, two hidden layers, 25 steps over [0, 5]), one thread:
how far Hutchinson's mean is from the exact trace, in standard errors; how far the density of a linear equation is
from the matrix exponential's; and the time of a forward and backward pass of the solve alone, of the solve with its
density in closed form, and of the joint solve by vector-Jacobian products. Float32 for times, float64 for errors.
Times are medians; all of one run, alternating. Prints a table, writes JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import scipy.linalg
import torch
from torch import Tensor

from models.nn.ode import cnf
from models.nn.ode.dynamics import Dynamics, solve

SIZE, HIDDEN, CONTEXT, STEPS, DURATION = 64, 76, 16, 25, 5.0


def dynamics(dtype: torch.dtype) -> Dynamics:
    """Return the decoder's network, untrained."""
    torch.manual_seed(0)
    made = Dynamics(
        size=SIZE, outputs=SIZE, context=CONTEXT, hidden=HIDDEN, layers=2, activation="sin", omega=2.0,
        learn_omega=False, time_dependent=True, output_gain=0.2,
    )  # fmt: skip
    return made.to(dtype)


def hutchinson_against_exact(draws: int) -> dict[str, float]:
    """Return the exact trace at one state, the mean of so many estimates, and their distance in standard errors."""
    field, generator = dynamics(torch.float64), torch.Generator().manual_seed(1)
    with torch.no_grad():
        network = field.network(1, torch.randn(1, CONTEXT, generator=generator, dtype=torch.float64))
        state = torch.randn(1, SIZE, generator=generator, dtype=torch.float64)
        when = torch.tensor([1.3], dtype=torch.float64)
        exact = float(cnf.network_trace(network, when, state[None]))
        noise = cnf.rademacher(state.expand(draws, -1), generator)
        estimates = cnf.network_trace(network, when, state.expand(1, draws, -1), noise)[0]
        products = float(cnf.exact_trace(network, when[0], state))
    error = float(estimates.std()) / math.sqrt(draws)
    return {
        "exact": exact,
        "by_vector_jacobian_products": products,
        "hutchinson_mean": float(estimates.mean()),
        "hutchinson_standard_error": error,
        "distance_in_standard_errors": abs(float(estimates.mean()) - exact) / error,
    }


def linear_against_exponential() -> dict[str, float]:
    """Return the largest errors of state and log-density at T = 1 of dy/dt = A y from a Gaussian, at 25 steps."""
    generator = torch.Generator().manual_seed(2)
    matrix = torch.randn(8, 8, generator=generator, dtype=torch.float64) / math.sqrt(8)
    states = torch.randn(16, 8, generator=generator, dtype=torch.float64)
    zeros = torch.zeros(8, dtype=torch.float64)
    times = torch.linspace(0, 1, STEPS + 1, dtype=torch.float64)
    start = cnf.gaussian_log_density(states, zeros, zeros)
    with torch.no_grad():
        moved, log_density = cnf.transport(lambda t, y: y @ matrix.t(), states, start, times, trace=cnf.exact_trace)
    flow = torch.from_numpy(scipy.linalg.expm(matrix.numpy()))
    truth = torch.distributions.MultivariateNormal(zeros, flow @ flow.t()).log_prob(states @ flow.t())
    return {
        "state_error": float((moved[-1] - states @ flow.t()).abs().max()),
        "log_density_error": float((log_density[-1] - truth).abs().max()),
    }


def timings(batch: int, repeats: int) -> dict[str, float]:
    """Return the median milliseconds of a forward and backward pass, by way of finding the density."""
    field, generator = dynamics(torch.float32), torch.Generator().manual_seed(3)
    context, start = torch.randn(batch, CONTEXT, generator=generator), torch.randn(batch, SIZE, generator=generator)
    times, zeros = torch.linspace(0, DURATION, STEPS + 1), torch.zeros(batch)
    noise = cnf.rademacher(start, generator)

    def along(signs: Tensor | None, density: bool = True) -> Tensor:
        network = field.network(batch, context)
        states = solve(start, network, times, None, "rk4", "direct")[0]
        return cnf.log_density_along(network, times, states, zeros, signs) if density else states

    def jointly(trace: cnf.Trace) -> Tensor:
        return cnf.transport(field.network(batch, context), start, zeros, times, trace=trace)[1]

    ways: dict[str, Callable[[], Tensor]] = {
        "solve alone": lambda: along(None, density=False),
        "closed form, exact": lambda: along(None),
        "closed form, hutchinson": lambda: along(noise),
        "products, hutchinson": lambda: jointly(cnf.hutchinson(noise)),
        "products, exact": lambda: jointly(cnf.exact_trace),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            way().square().mean().backward()
            seconds[name].append(time.perf_counter() - started)
            field.zero_grad(set_to_none=True)
    return {name: 1000 * statistics.median(taken[1:]) for name, taken in seconds.items()}  # the first warms up


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--draws", type=int, default=100_000, help="of Hutchinson's noise")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {
        "hutchinson": hutchinson_against_exact(options.draws),
        "linear": linear_against_exponential(),
        "milliseconds": timings(options.batch, options.repeats),
        "batch": options.batch,
        "torch": torch.__version__,
    }
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for part in ("hutchinson", "linear", "milliseconds"):
        for name, value in found[part].items():
            print(f"{part:14}{name:30}{value:14.6g}")


if __name__ == "__main__":
    main()
