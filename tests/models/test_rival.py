"""Promise: on the same weights the engine gives the outputs and gradients of torchcde and torchdiffeq."""

import pytest
import torch
import torchdiffeq

from benchmarks.ode import build, drawings
from benchmarks.rival_sketchode import RivalSketchODE

MATCHED = {"method": "rk4_38", "solver_steps": 74, "omega": 3.0, "learn_omega": True}


def model(**changes):
    """Small, in float64, at omega 3 and with weights that are none of them zero."""
    made = build("sketchode", 8, 5, **MATCHED | changes).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return made


def results(of, points):
    code = of.encode(points)
    gradients = torch.autograd.grad(of.loss({"points": points})["loss"], list(of.parameters()))
    return code.detach(), of.decode(code).detach(), torch.cat([gradient.flatten() for gradient in gradients])


@pytest.mark.parametrize(("gradient", "adjoint"), [("direct", False), ("adjoint", False), ("continuous", True)])
def test_outputs_and_gradients_are_those_of_torchcde_and_torchdiffeq(gradient, adjoint):
    ours, points = model(gradient=gradient), drawings(3).double()
    found = zip(results(ours, points), results(RivalSketchODE(ours, adjoint), points), strict=True)
    for mine, theirs in found:
        assert float((mine - theirs).norm() / theirs.norm()) < 1e-10


@torch.no_grad()
def test_a_decoded_drawing_is_that_of_adaptive_dormand_prince():
    ours = model(method="rk4")
    z = torch.randn(2, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    velocity = torch.cat([ours.start_velocity.expand(2, -1), ours.from_latent(z)], -1)
    state = torch.cat([torch.zeros_like(velocity), velocity, z], 1)
    times = torch.linspace(0, 5, 75, dtype=torch.float64)
    field = RivalSketchODE(ours, adjoint=False).second_order
    exact = torchdiffeq.odeint(field, state, times, method="dopri5", rtol=1e-11, atol=1e-11)[..., :2].transpose(0, 1)
    errors = [float((model(method="rk4", solver_steps=n).decode(z)[..., :2] - exact).abs().max()) for n in (74, 148)]
    assert errors[1] < 1e-5 and errors[0] > 10 * errors[1], errors  # fourth order: 16 times
