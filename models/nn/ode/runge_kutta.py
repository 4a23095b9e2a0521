"""Fixed-step Runge-Kutta engine: a method is a table, the stepping loop is written once.

`odeint` solves any field and offers two gradients: `direct` (backpropagation through the steps, exact
gradient of the discrete solution) and `adjoint` (a second solve backwards in time, Chen et al. 2018,
appendix B; memory independent of the number of steps). For the networks of SketchODE there is a
faster path with the same values and the same direct gradient: `models.nn.ode.fused`.

Legend: B batch, T times, n state size.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Tableau:
    """Butcher tableau of an explicit method.

    Args:
        order: order of convergence.
        nodes: c, fraction of the step at which each stage is evaluated.
        matrix: a, row i holds the weights of the stages before stage i.
        weights: b, the weights of the stages in the step.
    """

    order: int
    nodes: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]


METHODS = {
    "euler": Tableau(1, (0.0,), ((),), (1.0,)),
    "midpoint": Tableau(2, (0.0, 0.5), ((), (0.5,)), (0.0, 1.0)),
    "rk4": Tableau(4, (0.0, 0.5, 0.5, 1.0), ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
    "rk4_38": Tableau(
        4, (0.0, 1 / 3, 2 / 3, 1.0), ((), (1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)), (1 / 8, 3 / 8, 3 / 8, 1 / 8)
    ),
}


def odeint(
    field: Field,
    y0: Tensor,
    times: Tensor,
    *,
    method: str = "rk4",
    steps: int = 1,
    gradient: str = "direct",
    parameters: Sequence[Tensor] = (),
) -> Tensor:
    """Solve dy/dt = field(t, y) from y0 at times[0].

    Args:
        field: (t: scalar tensor, y: (..., n)) -> (..., n).
        y0: (..., n) state at times[0].
        times: (T,) monotone, at which the solution is wanted.
        method: a key of `METHODS`.
        steps: equal solver steps per interval between two times.
        gradient: "direct" or "adjoint".
        parameters: for "adjoint": every tensor that `field` depends on and that needs a gradient.

    Returns:
        (T, ..., n) solution, the first equal to y0.

    Raises:
        ValueError: unknown method or gradient, fewer than one step, times not one-dimensional.
    """
    if method not in METHODS:
        raise ValueError(f"method {method!r} is unknown; expected one of {sorted(METHODS)}")
    if times.dim() != 1 or len(times) < 1 or steps < 1:
        raise ValueError(f"times must be (T,) with T >= 1 and steps >= 1, got {tuple(times.shape)} and {steps}")
    if gradient == "direct":
        return _solve(field, y0, times, METHODS[method], steps)
    if gradient == "adjoint":
        return _Adjoint.apply(field, times, METHODS[method], steps, y0, *parameters)
    raise ValueError(f"gradient {gradient!r} is unknown; expected 'direct' or 'adjoint'")


def _solve(field: Field, y0: Tensor, times: Tensor, tableau: Tableau, steps: int) -> Tensor:
    solution = [y0]
    for start, end in itertools.pairwise(times):
        solution.append(_advance(field, solution[-1], start, end, tableau, steps))
    return torch.stack(solution)


def _advance(field: Field, y: Tensor, start: Tensor, end: Tensor, tableau: Tableau, steps: int) -> Tensor:
    h = (end - start) / steps
    for step in range(steps):
        t = start + step * h
        stages: list[Tensor] = []
        for node, row in zip(tableau.nodes, tableau.matrix, strict=True):
            stages.append(field(t + node * h, _combine(y, stages, row, h)))
        y = _combine(y, stages, tableau.weights, h)
    return y


def _combine(y: Tensor, stages: Sequence[Tensor], weights: Sequence[float], h: Tensor) -> Tensor:
    for stage, weight in zip(stages, weights, strict=True):
        if weight:
            y = y + (weight * h) * stage
    return y


class _Adjoint(torch.autograd.Function):
    """Backward: solve (y, a = dL/dy, dL/dparameters) from the last time to the first.

    At each time of the solution y restarts from its stored value, so that errors do not add up.
    """

    @staticmethod
    def forward(ctx, field, times, tableau, steps, y0, *parameters):
        with torch.no_grad():
            solution = _solve(field, y0, times, tableau, steps)
        ctx.field, ctx.tableau, ctx.steps = field, tableau, steps
        ctx.save_for_backward(times, solution, *parameters)
        return solution

    @staticmethod
    def backward(ctx, grad):
        times, solution, *parameters = ctx.saved_tensors
        sizes = [parameter.numel() for parameter in parameters]
        shape, numel = solution.shape[1:], solution[0].numel()

        def backwards(t: Tensor, state: Tensor) -> Tensor:
            with torch.enable_grad():
                y = state[:numel].reshape(shape).detach().requires_grad_()
                dy = ctx.field(t, y)
                grads = torch.autograd.grad(
                    dy, (y, *parameters), -state[numel : 2 * numel].reshape(shape), allow_unused=True
                )
            filled = [torch.zeros_like(of) if g is None else g for g, of in zip(grads, (y, *parameters), strict=True)]
            return torch.cat([dy.detach().reshape(-1), *(g.reshape(-1) for g in filled)])

        with torch.no_grad():
            adjoint = torch.zeros_like(solution[0]).reshape(-1)
            of_parameters = solution.new_zeros(sum(sizes))
            for i in range(len(times) - 1, 0, -1):
                adjoint = adjoint + grad[i].reshape(-1)
                state = torch.cat([solution[i].reshape(-1), adjoint, of_parameters])
                state = _advance(backwards, state, times[i], times[i - 1], ctx.tableau, ctx.steps)
                adjoint, of_parameters = state[numel : 2 * numel], state[2 * numel :]
            adjoint = adjoint + grad[0].reshape(-1)
        split = torch.split(of_parameters, sizes) if sizes else ()
        shaped = [g.reshape(p.shape) for g, p in zip(split, parameters, strict=True)]
        return (None, None, None, None, adjoint.reshape(shape), *shaped)
