"""Promise: SketchODE solves the equations of its paper, whichever solver, gradient or resolution is asked for."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicSpline

from models.nn import recompute
from models.nn.ode import dynamics
from models.sketchode import SketchODE, SketchODEConfig

BASE = {
    "hidden_size": 8,
    "latent_size": 5,
    "points": 20,
    "sampling": "uniform",
    "duration": 2.0,
    "activation": "sin",
    "omega": 3.0,
    "output_gain": 1.0,
    "learn_omega": True,
    "summary": "last",
    "time_dependent": True,
    "order": 2,
    "observation": "augmented",
    "gradient": "direct",
    "method": "rk4",
    "solver_steps": 19,
    "start_velocity": "constant",
    "pen_weight": 1.0,
}


def build(weights=None, **changes):
    """A model in float64 whose weights are none of them zero, or those of another model."""
    torch.manual_seed(0)
    model = SketchODE(SketchODEConfig(**BASE | changes)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    if weights is not None:
        model.load_state_dict(weights.state_dict())
    return model


def drawing(points, batch=3):
    """Smooth curves from the origin, sampled at any number of points, with the pen lifted in the middle."""
    s = torch.linspace(0, 1, points, dtype=torch.float64)
    phase = torch.arange(batch, dtype=torch.float64)[:, None]
    xy = [torch.sin(2 * s + phase) - torch.sin(phase), torch.cos(3 * s + phase) - torch.cos(phase)]
    return torch.stack([*xy, 0.5 - 0.5 * torch.cos(2 * math.pi * s).expand(batch, -1)], -1)


def loss_and_gradients(model, points):
    loss = model.loss({"points": points})["loss"]
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, [p for _, p in named])
    return loss.detach(), dict(zip([name for name, _ in named], gradients, strict=True))


def relative(first, second):
    """Relative distance of two sets of gradients."""
    difference = math.sqrt(sum(float((first[name] - second[name]).square().sum()) for name in first))
    return difference / math.sqrt(sum(float(value.square().sum()) for value in first.values()))


@pytest.mark.parametrize("summary", ["last", "max"])
@pytest.mark.parametrize("activation", ["sin", "tanh"])
def test_continuous_adjoint_converges_to_the_direct_gradient_on_the_same_weights(activation, summary):
    differences = []
    for points in (20, 40, 80):
        changes = {"solver_steps": points - 1, "activation": activation, "summary": summary}
        direct = build(**changes)
        adjoint = build(direct, **changes, gradient="continuous")
        loss, gradients = loss_and_gradients(direct, drawing(points))
        other_loss, other_gradients = loss_and_gradients(adjoint, drawing(points))
        torch.testing.assert_close(loss, other_loss, rtol=1e-12, atol=0)
        differences.append(relative(gradients, other_gradients))
    assert differences[-1] < 1e-5, differences
    assert math.log2(differences[-2] / differences[-1]) > 3, differences


@pytest.mark.parametrize(
    "changes", [{}, {"summary": "max"}, {"order": 1}, {"observation": "linear"}, {"order": 1, "observation": "linear"}]
)
def test_adjoint_gradient_is_the_direct_one_however_few_states_are_kept(changes, monkeypatch):
    changes = changes | {"solver_steps": 37, "method": "midpoint"}
    direct = build(**changes)
    loss, gradients = loss_and_gradients(direct, drawing(20))
    for kept, steps in ((16, 16), (16, 37), (2, 1), (3, 2)):
        monkeypatch.setattr(recompute, "_KEPT", kept)
        monkeypatch.setattr(dynamics, "_STEPS_IN_PIECE", steps)
        other, others = loss_and_gradients(build(direct, **changes, gradient="adjoint"), drawing(20))
        torch.testing.assert_close(loss, other, rtol=1e-12, atol=0)
        assert relative(gradients, others) < 1e-11


@pytest.mark.parametrize("activation", ["sin", "cos", "tanh", "relu", "sigmoid"])
def test_the_general_solver_gives_what_the_fused_one_gives(activation, monkeypatch):
    fused = build(activation=activation)
    found = loss_and_gradients(fused, drawing(20))
    trajectory = fused.decode(fused.encode(drawing(20)), 33)

    def refuse(*_):
        raise AssertionError("the fused path was taken")

    def general(start, network, times, path, method, keep, last):
        states, means = dynamics._solve_general(start, network, times, path, method, "direct")
        return states[..., :keep], means[..., :keep]

    monkeypatch.setattr(dynamics, "solve_network", general)
    expected = loss_and_gradients(fused, drawing(20))
    assert relative(found[1], expected[1]) < 1e-10 and float(found[0] - expected[0]) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(trajectory, fused.decode(fused.encode(drawing(20)), 33), rtol=0, atol=1e-11)
    monkeypatch.setattr(dynamics, "solve_network", refuse)
    build(fused, activation=activation, gradient="continuous").loss({"points": drawing(20)})


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4), ("rk4_38", 4)])
def test_a_decoded_drawing_converges_at_its_methods_order(method, order):
    z = torch.linspace(-1, 1, 10, dtype=torch.float64).reshape(2, 5)
    with torch.no_grad():
        exact = build(solver_steps=4000).decode(z, 5)
        errors = [float((build(method=method, solver_steps=n).decode(z, 5) - exact).abs().max()) for n in (64, 128)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25), errors


@torch.no_grad()
def test_between_the_solvers_steps_a_decoded_drawing_converges_at_the_fourth_order():
    z = torch.linspace(-1, 1, 10, dtype=torch.float64).reshape(2, 5)
    exact = build(solver_steps=3000).decode(z, 1001)
    errors = [float((build(solver_steps=n).decode(z, 1001) - exact).abs().max()) for n in (64, 128)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(4, abs=0.25), errors


def right_hand_side(dynamics, state, t, context):
    """Equation 2's F, and equation 4's G, written from the modules instead of from the solvers' weights."""
    first, second = 2 * dynamics.omega * torch.sigmoid(dynamics.frequency)
    u = dynamics.state(state) + dynamics.time * t + (0 if context is None else dynamics.context(context))
    return dynamics.output(torch.sin(second * dynamics.hidden[0](torch.sin(first * u))))


@torch.no_grad()
@pytest.mark.parametrize("gradient", ["direct", "adjoint"])
@pytest.mark.parametrize("observation", ["augmented", "linear"])
@pytest.mark.parametrize("order", [1, 2])
def test_decode_solves_its_equation(order, observation, gradient):
    model, points = build(solver_steps=399, order=order, observation=observation, gradient=gradient), 400
    z = torch.linspace(-1, 1, 5, dtype=torch.float64)[None]
    first = torch.cat([model.start_velocity[None], model.from_latent(z)], -1)[0].numpy()

    def system(t, state):  # (a, a') or a
        moving = torch.from_numpy(state[-8:].copy())[None]
        slope = right_hand_side(model.ode, moving, t, z)[0].numpy()
        return slope if order == 1 else np.concatenate([state[8:], slope])

    times = np.linspace(0, 2.0, points)
    start = first if order == 1 else np.concatenate([np.zeros(8), first])
    curve = solve_ivp(system, (0, 2.0), start, "DOP853", times, rtol=1e-11, atol=1e-11).y[:8].T
    truth = curve[:, :3] if observation == "augmented" else curve @ model.observe.weight.numpy().T
    decoded = model.decode(z, points)[0].numpy()
    np.testing.assert_allclose(decoded[:, :2], truth[:, :2], rtol=0, atol=1e-7)
    pen = 1 / (1 + np.exp(-truth[:, 2] - float(model.pen_offset)))
    np.testing.assert_allclose(decoded[:, 2], pen, rtol=0, atol=1e-7)


@torch.no_grad()
@pytest.mark.parametrize("summary", ["last", "max"])
def test_encode_solves_the_controlled_equation(summary):
    model, points = build(solver_steps=199, summary=summary), 200
    samples = drawing(points, batch=1)
    times = np.linspace(0, 2.0, points)
    path = CubicSpline(times, np.column_stack([samples[0].numpy(), times]), bc_type="natural")

    def system(t, state):
        matrix = right_hand_side(model.cde, torch.from_numpy(state.copy())[None], t, None)[0].view(8, 4)
        return matrix.numpy() @ path(t, 1)

    states = solve_ivp(system, (0, 2.0), np.zeros(8), "RK45", times, rtol=1e-8, atol=1e-8, max_step=0.02).y.T
    read = torch.from_numpy(states[-1] if summary == "last" else states.max(0))
    torch.testing.assert_close(model.encode(samples)[0], model.to_latent(read), rtol=0, atol=1e-6)


def test_a_drawing_is_encoded_alike_at_any_resolution():
    model = build(solver_steps=74)
    with torch.no_grad():
        codes = {points: model.encode(drawing(points)) for points in (30, 75, 600)}
    scale = float(codes[600].std(0).mean())
    assert float((codes[75] - codes[600]).abs().max()) < 1e-3 * scale
    assert float((codes[30] - codes[600]).abs().max()) < 1e-2 * scale


@torch.no_grad()
def test_decoding_at_10_75_and_1000_points_describes_one_curve():
    model = build(points=75, solver_steps=37)
    z = torch.randn(6, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    few, normal, many = (model.decode(z, points) for points in (10, 75, 1000))
    torch.testing.assert_close(few, many[:, ::111], rtol=0, atol=1e-12)  # 9 intervals, each of 111 of the 999
    torch.testing.assert_close(normal[:, ::2], many[:, ::27], rtol=0, atol=1e-12)  # 37 common times
    assert torch.equal(model.decode(z), normal)
    finer = build(model, solver_steps=999).decode(z, 1000)
    size = float((finer[..., :2].amax(1) - finer[..., :2].amin(1)).amax())
    assert float((many - finer).abs().max()) / size < 1e-4


@torch.no_grad()
def test_halving_a_latent_step_halves_the_drawings_step():
    model = build()
    g = torch.Generator().manual_seed(2)
    z, direction = torch.randn(1, 5, generator=g, dtype=torch.float64), torch.randn(5, generator=g, dtype=torch.float64)
    alphas = 0.02 * 0.5 ** torch.arange(6, dtype=torch.float64)
    steps = (model.decode(z + alphas[:, None] * direction) - model.decode(z)).flatten(1).norm(dim=1)
    ratios = steps[:-1] / steps[1:]
    torch.testing.assert_close(ratios[2:], torch.full((3,), 2.0, dtype=torch.float64), rtol=0.02, atol=0)
    assert bool((ratios > 1.5).all())


@torch.no_grad()
def test_abstraction_changes_the_drawing_and_only_for_periodic_dynamics():
    z = torch.ones(1, 5, dtype=torch.float64)
    model = build(learn_omega=False)
    model.ode.frequency.zero_()
    torch.testing.assert_close(model.decode(z, omega=3.0), model.decode(z), rtol=0, atol=1e-13)
    assert float((model.decode(z, omega=1.0) - model.decode(z)).abs().max()) > 1e-3
    other = build(activation="tanh")
    assert torch.equal(other.decode(z, omega=1.0), other.decode(z))


def test_weight_decay_is_for_the_weight_matrices_of_the_dynamics():
    model = build()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed = {names[id(parameter)] for parameter in model.decayed_parameters()}
    expected = {f"{part}.{layer}.weight" for part in ("cde", "ode") for layer in ("state", "hidden.0", "output")}
    assert decayed == expected | {"ode.context.weight"}
