"""The exact gradient of a long chain in constant memory: pieces are computed again, from a few kept states.

A chain of pieces keeps nothing but `_KEPT` states of itself. The backward pass takes the pieces from the
last to the first, computes each again with gradients, and where states are too far apart keeps as many
between them, and so on: each level multiplies the reach of the kept states and costs one more forward
pass. The gradient is that of plain backpropagation. Solving the state backwards in time instead (Chen
et al. 2018; `models.nn.ode.runge_kutta`) needs no kept states, but gives another discretisation's gradient: on
drawings whose pen jumps it was found half a percent off, 0.0056 (`benchmarks/ode.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Piece = Callable[[int, Sequence[Tensor], Sequence[Tensor]], tuple[Sequence[Tensor], Tensor]]

_KEPT = 16  # states of a chain kept at each level


def in_pieces(run: Piece, count: int, carried: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
    """Run a chain of pieces; see the module's docstring for its memory.

    Args:
        run: (number of the piece, what is carried, weights) -> (what is carried on, the piece's output); it must
            depend on nothing else that wants a gradient.
        count: of pieces.
        carried: what the first piece gets.
        weights: what every piece gets.

    Returns:
        The outputs, joined along the first dimension, then what the last piece carries on.
    """
    return list(_Chain.apply(run, count, len(carried), *carried, *weights))


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(ctx, run, count, width, *tensors):
        carried, weights = tensors[:width], tensors[width:]
        gap = -(-count // _KEPT)
        kept: list[Tensor] = []
        outputs: list[Tensor] = []
        for i in range(count):
            if i % gap == 0:
                kept.extend(carried)
            carried, output = run(i, carried, weights)
            outputs.append(output)
        ctx.run, ctx.count, ctx.width, ctx.gap = run, count, width, gap
        ctx.lengths = [len(output) for output in outputs]
        ctx.save_for_backward(*kept, *weights)
        return (torch.cat(outputs), *carried)

    @staticmethod
    def backward(ctx, of_output, *of_carried):
        states = -(-ctx.count // ctx.gap) * ctx.width
        kept, weights = ctx.saved_tensors[:states], ctx.saved_tensors[states:]
        walk = _Walk(ctx.run, ctx.lengths, list(torch.split(of_output, ctx.lengths)), weights, list(of_carried))
        for first in reversed(range(0, ctx.count, ctx.gap)):
            start = first // ctx.gap * ctx.width
            walk.back(first, min(first + ctx.gap, ctx.count), kept[start : start + ctx.width])
        return (None, None, None, *walk.of_carried, *walk.of_weights)


class _Walk:
    """What a backward pass carries from piece to piece."""

    def __init__(self, run, lengths, of_outputs, weights, of_carried) -> None:
        self.run, self.lengths, self.of_outputs, self.of_carried = run, lengths, of_outputs, of_carried
        self.weights = [weight.detach().requires_grad_(weight.requires_grad) for weight in weights]
        self.of_weights = [torch.zeros_like(weight) for weight in weights]

    def back(self, first: int, end: int, carried: Sequence[Tensor]) -> None:
        """Take the pieces from `end` - 1 to `first`; `carried` is what piece `first` got."""
        if end - first == 1:
            self._one(first, carried)
            return
        gap = -(-(end - first) // _KEPT)
        kept = [carried]
        with torch.no_grad():
            for i in range(first, first + (len(range(first, end, gap)) - 1) * gap):
                carried = self.run(i, carried, self.weights)[0]
                if (i + 1 - first) % gap == 0:
                    kept.append(carried)
        for start in reversed(range(first, end, gap)):
            self.back(start, min(start + gap, end), kept.pop())

    def _one(self, i: int, carried: Sequence[Tensor]) -> None:
        with torch.enable_grad():
            leaves = [state.detach().requires_grad_() for state in carried]
            ahead, output = self.run(i, leaves, self.weights)
            wanted = [(at, weight) for at, weight in enumerate(self.weights) if weight.requires_grad]
            pairs = [(of, g) for of, g in zip((*ahead, output), (*self.of_carried, self.of_outputs[i]), strict=True)]
            pairs = [(of, g) for of, g in pairs if of.requires_grad]
            found = torch.autograd.grad(
                [of for of, _ in pairs],
                [*leaves, *(weight for _, weight in wanted)],
                [g for _, g in pairs],
                allow_unused=True,
            )
        of_leaves, of_weights = found[: len(leaves)], found[len(leaves) :]
        self.of_carried = [
            torch.zeros_like(leaf) if g is None else g for g, leaf in zip(of_leaves, leaves, strict=True)
        ]
        for (at, _), g in zip(wanted, of_weights, strict=True):
            if g is not None:
                self.of_weights[at] += g
