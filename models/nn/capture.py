"""A whole training step as one CUDA graph: the solver's thousand small kernels without their launches."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_WARM_UP = 3  # calls before the capture: allocations, cached constants, the optimiser's state


def capture_step(step: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Record `step` and return what replays it.

    The step must read its inputs from tensors that stay where they are (copy each batch into them), take as
    many drawings each time, and leave the host out: an optimiser needs `capturable=True`. Its gradients must
    be set to None before the backward pass inside the step.

    Args:
        step: forward, backward and update; returns the loss.

    Returns:
        A function that runs the recorded step and returns the same tensor each time, with the new loss in it.

    Raises:
        RuntimeError: there is no CUDA device.
    """
    if not torch.cuda.is_available():
        raise RuntimeError("a training step is captured on a CUDA device, and torch sees none; call the step itself")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def replay() -> Tensor:
        graph.replay()
        return loss

    return replay
