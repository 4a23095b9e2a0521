"""Large buffers that outlive a training step: for the CPU what torch's caching allocator is on CUDA.

A solve writes hundreds of MiB that the step's end frees. Given back to the system they come again as pages to be
zeroed one by one, which took a fifth of a step. So a freed buffer is kept for the next solve that fits it.
"""

from __future__ import annotations

import math
import threading
import weakref

import numpy as np
import torch
from torch import Tensor

KEPT_BYTES = 1 << 30  # at most, of free buffers
_LARGE = 1 << 20  # smaller ones the C library keeps by itself
_ALIGNMENT = 64  # a cache line: vectors of numbers never straddle two

_lock = threading.RLock()  # a buffer may be freed by whatever thread, also amid `buffer`
_free: list[np.ndarray] = []  # the oldest first


def aligned(shape: tuple[int, ...], kind: type[np.floating]) -> np.ndarray:
    """Return an unwritten array that begins at a cache line."""
    return _shaped(_raw(shape, kind), shape, kind)


def buffer(like: Tensor, *shape: int) -> Tensor:
    """Return an unwritten tensor on the CPU, of `like`'s precision, whose memory is kept when it is freed."""
    kind = precision(like)
    size = math.prod(shape) * np.dtype(kind).itemsize
    if size < _LARGE:
        return like.new_empty(shape)
    with _lock:
        fitting = [i for i, raw in enumerate(_free) if size + _ALIGNMENT <= raw.nbytes <= 2 * size]
        raw = _free.pop(fitting[-1]) if fitting else None
    raw = _raw(shape, kind) if raw is None else raw
    view = _shaped(raw, shape, kind)
    weakref.finalize(view, _keep, raw).atexit = False  # the tensor holds the view, and with it the memory
    return torch.from_numpy(view)


def release() -> None:
    """Give the free buffers back to the system."""
    with _lock:
        _free.clear()


def precision(like: Tensor) -> type[np.floating]:
    """Return numpy's type of a tensor of float32 or float64."""
    return np.float32 if like.dtype == torch.float32 else np.float64


def _raw(shape: tuple[int, ...], kind: type[np.floating]) -> np.ndarray:
    return np.empty(math.prod(shape) * np.dtype(kind).itemsize + _ALIGNMENT, np.uint8)


def _shaped(raw: np.ndarray, shape: tuple[int, ...], kind: type[np.floating]) -> np.ndarray:
    begin = -raw.ctypes.data % _ALIGNMENT
    return raw[begin : begin + math.prod(shape) * np.dtype(kind).itemsize].view(kind).reshape(shape)


def _keep(raw: np.ndarray) -> None:
    with _lock:
        _free.append(raw)
        while sum(each.nbytes for each in _free) > KEPT_BYTES:
            _free.pop(0)
