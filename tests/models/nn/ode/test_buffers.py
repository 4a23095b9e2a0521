"""Promise: memory of a freed buffer is used again, never while somebody holds it, and no more is kept than allowed."""

import gc

import numpy as np
import pytest
import torch

from models.nn.ode import buffers

LIKE = torch.empty(0)
ROWS = 1 << 10  # of 1,024 float32: 4 MiB


@pytest.fixture(autouse=True)
def nothing_kept():
    buffers.release()
    yield
    buffers.release()


def test_a_freed_buffer_comes_back_and_a_held_one_never():
    first = buffers.buffer(LIKE, ROWS, 1024)
    address = first.data_ptr()
    view = first[3:].view(-1).numpy()  # as autograd or numpy may hold it
    del first
    gc.collect()
    second = buffers.buffer(LIKE, ROWS, 1024)
    assert second.data_ptr() != address
    view[:] = 1
    second.zero_()
    assert view.min() == 1
    del view
    gc.collect()
    assert buffers.buffer(LIKE, ROWS - 8, 1024).data_ptr() == address


def test_a_much_larger_buffer_is_not_spent_on_a_small_one():
    large = buffers.buffer(LIKE, 4 * ROWS, 1024)
    address = large.data_ptr()
    del large
    assert buffers.buffer(LIKE, ROWS, 1024).data_ptr() != address
    assert buffers.buffer(LIKE, 4 * ROWS, 1024).data_ptr() == address


def test_no_more_is_kept_than_allowed(monkeypatch):
    monkeypatch.setattr(buffers, "KEPT_BYTES", 10 << 20)
    held = [buffers.buffer(LIKE, ROWS, 1024) for _ in range(5)]
    held.clear()
    kept = [each.nbytes for each in buffers._free]
    assert 4 << 20 < sum(kept) <= 10 << 20


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3, 5), (7, 1000, 100)])
def test_a_buffer_has_the_shape_and_precision_asked_for(shape, dtype):
    made = buffers.buffer(torch.empty(0, dtype=dtype), *shape)
    assert made.shape == shape and made.dtype == dtype and made.is_contiguous()
    assert np.prod(shape) < 1000 or made.data_ptr() % 64 == 0
