"""Promise: a training step on a CUDA device can be one graph: nothing in it waits for the host."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.ode import build, drawings, trained
from models.nn.capture import capture_step
from models.nn.ode import fused, sweeps

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: a graph cannot be captured")


class NothingReadsBack(TorchDispatchMode):
    """Refuses what hands back the value, or a shape that hangs on it, of a float32 tensor: the device's.

    Times are float64 and live on the host.
    """

    REFUSED = ("_local_scalar_dense", "nonzero", "_unique2", "masked_select", "equal")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(f"aten.{name}." in str(func) for name in self.REFUSED):
            assert args[0].dtype == torch.float64, f"{func} waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", ["rk4", "rk4_38"])
def test_nothing_in_a_step_on_the_torch_sweeps_reads_a_tensor_back(method, monkeypatch):
    monkeypatch.setattr(fused, "compiled", sweeps)
    for name in ("UNIT_MULTIPLE", "ROW_MULTIPLE"):
        monkeypatch.setattr(sweeps, name, 4, raising=False)
    model, points = build("sketchode", 8, 5, solver_steps=6, method=method), drawings(4)
    step = trained(lambda batch: model.loss({"points": batch})["loss"], model, points)
    step()  # makes what is kept between steps
    model.zero_grad()
    with NothingReadsBack():
        model.loss({"points": points})["loss"].backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.requires_grad)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_cuda_device_it_says_so():
    with pytest.raises(RuntimeError, match="torch sees none; call the step itself"):
        capture_step(lambda: torch.zeros(()))


@pytest.mark.gpu
@needs_cuda
def test_a_captured_step_learns_as_the_step_itself():
    losses = []
    for captured in (False, True):
        model, points = build("sketchode", 8, 5, solver_steps=6).cuda(), drawings(4, "cuda")
        step = trained(lambda batch, model=model: model.loss({"points": batch})["loss"], model, points)
        if captured:
            step = capture_step(step)  # calls it three times first
        else:
            for _ in range(3):
                step()
        losses.append([float(step()) for _ in range(5)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5) and len(set(losses[1])) > 1


@pytest.mark.gpu
@needs_cuda
def test_cuda_gives_the_numbers_of_the_cpu():
    model, points = build("sketchode", 8, 5, solver_steps=6).double(), drawings(4).double()
    here = model.decode(model.encode(points))
    there = model.cuda().decode(model.encode(points.cuda())).cpu()
    torch.testing.assert_close(there, here, rtol=0, atol=1e-9)
