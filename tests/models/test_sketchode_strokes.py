"""Promise: multi-stroke SketchODE solves the equations of appendix C, and padding, order and count of strokes hold."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicSpline
from torch import nn

from ink import geometry
from ink.table import Ink
from models.base import MultiStroke
from models.nn.ode.activations import ACTIVATIONS
from models.nn.ode.dynamics import GRADIENTS
from models.nn.ode.runge_kutta import METHODS
from models.sketchode_strokes import SketchODEStrokes, SketchODEStrokesConfig

BASE = {
    "hidden_size": 6,
    "latent_size": 5,
    "points_per_stroke": 15,
    "max_strokes": 4,
    "duration": 2.0,
    "activation": "sin",
    "omega": 2.0,
    "learn_omega": True,
    "time_dependent": True,
    "gradient": "direct",
    "method": "rk4",
    "solver_steps": 14,
    "output_gain": 1.0,
    "start_weight": 0.7,
    "end_weight": 0.3,
}


def build(**changes):
    """A model in float64 whose weights are none of them zero; equal for equal sizes."""
    torch.manual_seed(0)
    model = SketchODEStrokes(SketchODEStrokesConfig(**BASE | changes)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def ends(model, bias):
    """Make the end flag a constant of this logit."""
    with torch.no_grad():
        model.end[-1].weight.zero_()
        model.end[-1].bias.fill_(bias)
    return model


def ink_of(counts, seed=0):
    """Drawings of so many strokes each, every stroke a random walk of its own length, in time unevenly."""
    rng = np.random.default_rng(seed)
    made = []
    for strokes in counts:
        drawing, clock = [], 0.0
        for _ in range(strokes):
            length = int(rng.integers(3, 9))
            t = clock + np.cumsum(rng.uniform(0.1, 1.0, length))
            clock = t[-1] + 0.5
            drawing.append(np.column_stack([np.cumsum(rng.normal(size=(length, 2)) / 4, 0), t]))
        made.append(drawing)
    return Ink.from_strokes(made)


def points_of(model, counts, seed=0):
    return model.representation.collate(ink_of(counts, seed)).double()


def test_each_stroke_is_sampled_on_its_own_clock_and_the_drawing_starts_at_the_origin():
    ink = ink_of([2, 1, 3])
    points = MultiStroke(20, 4).collate(ink).numpy()
    assert points.shape == (3, 4, 20, 3)
    for n, count in enumerate([2, 1, 3]):
        strokes = ink.strokes(n)
        for k, stroke in enumerate(strokes):
            when = np.linspace(stroke[0, 2], stroke[-1, 2], 20)
            xy = np.column_stack([np.interp(when, stroke[:, 2], stroke[:, axis]) for axis in (0, 1)])
            np.testing.assert_allclose(points[n, k, :, :2], xy - strokes[0][0, :2], atol=1e-5)
        assert (points[n, :count, :, 2] == 0).all()
        assert (points[n, count:] == [0, 0, 1]).all()


def test_strokes_come_back_as_drawings():
    ink = ink_of([2, 1, 3, 4])
    back = MultiStroke(400, 4).to_ink(MultiStroke(400, 4).collate(ink))
    assert np.array_equal(back.drawing_offsets, ink.drawing_offsets)
    center = geometry.bounding_boxes(ink).reshape(-1, 2, 2).mean(1)
    boxes = geometry.bounding_boxes(ink) - np.tile(center, 2)
    np.testing.assert_allclose(geometry.bounding_boxes(back), boxes, atol=0.02)
    np.testing.assert_allclose(back.t, geometry.arc_length_clock(back), atol=1e-5)
    empty = torch.ones(1, 4, 5, 3)
    assert MultiStroke(5, 4).to_ink(empty).n_strokes == 1, "a drawing without a stroke keeps its first"


def test_strokes_beyond_the_most_are_dropped_and_counted():
    ink = ink_of([2, 5, 4])
    narrow, wide = MultiStroke(10, 3), MultiStroke(10, 5)
    assert (narrow.dropped(ink), wide.dropped(ink)) == (3, 0)
    assert torch.equal(narrow.collate(ink), wide.collate(ink)[:, :3])


def test_padding_alters_neither_code_nor_loss_nor_gradient():
    found = []
    for most in (3, 7):
        model = build(max_strokes=most)
        points = points_of(model, [1, 3, 2])
        loss = model.loss({"points": points})["loss"]
        found.append(
            (model.encode(points), loss, *torch.autograd.grad(loss, list(model.parameters()), allow_unused=True))
        )
    for first, second in zip(*found, strict=True):
        assert first is second or torch.equal(first, second)


def test_the_loss_is_that_of_the_free_running_strokes():
    model, counts = ends(build(), -2.0), [1, 3, 2]
    target = points_of(model, counts)
    terms = model.loss({"points": target})
    with torch.no_grad():
        drawn = model.decode(model.encode(target))
    assert bool((drawn[..., 2] == 0).all()), "no flag ends a drawing"
    there = torch.arange(4) < torch.tensor(counts)[:, None]
    starts = [points[:, :, :1, :2] for points in (drawn, target)]
    curves = [points[..., :2] - start for points, start in zip((drawn, target), starts, strict=True)]
    for name, (first, second) in {"start": starts, "xy": curves}.items():
        expected = 2 * nn.functional.smooth_l1_loss(first[there], second[there])
        torch.testing.assert_close(terms[name], expected, rtol=1e-12, atol=0)
    going, stop = torch.sigmoid(torch.tensor([2.0, -2.0], dtype=torch.float64)).log()
    torch.testing.assert_close(terms["end"], -(3 * going + 3 * stop) / 6, rtol=1e-12, atol=0)
    expected = terms["xy"] + 0.7 * terms["start"] + 0.3 * terms["end"]
    torch.testing.assert_close(terms["loss"], expected, rtol=1e-12, atol=0)


def test_decoding_ends_where_the_flag_says_so_and_at_most_at_the_most():
    z = torch.randn(3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for bias, strokes in ((9.0, 1), (-9.0, 4)):
        model = ends(build(), bias)
        decoded = model.decode(z)
        assert bool((decoded[:, :strokes, :, 2] == 0).all() and (decoded[:, strokes:, :, 2] == 1).all())
        assert model.to_ink(decoded).n_strokes == 3 * strokes
    mixed = build()
    apart = torch.cat([mixed.decode(code[None]) for code in z])
    torch.testing.assert_close(mixed.decode(z), apart, rtol=0, atol=1e-13)


@torch.no_grad()
def test_a_decoded_drawing_is_one_curve_at_any_resolution():
    model = ends(build(points_per_stroke=25), -9.0)
    z = torch.randn(3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(model.decode(z, 9), model.decode(z, 801)[:, :, ::100], rtol=0, atol=1e-12)
    assert torch.equal(model.decode(z), model.decode(z, 25))


def right_hand_side(dynamics, state, t, context=None):
    """Equation 2's F, and equation 4's G, with one hidden layer, written from the modules."""
    (frequency,) = 2 * dynamics.omega * torch.sigmoid(dynamics.frequency)
    u = dynamics.state(state) + dynamics.time * t + (0 if context is None else dynamics.context(context))
    return dynamics.output(torch.sin(frequency * u))


@torch.no_grad()
def test_encode_solves_the_controlled_equation_stroke_after_stroke():
    model = build(solver_steps=200, points_per_stroke=30)
    points = points_of(model, [3])
    times = np.linspace(0, 2.0, 30)
    state = torch.zeros(6, dtype=torch.float64)
    for stroke in points[0, :3, :, :2]:
        path = CubicSpline(times, np.column_stack([stroke.numpy(), times]), bc_type="natural")

        def system(t, g, path=path):
            return right_hand_side(model.cde, torch.from_numpy(g.copy())[None], t)[0].view(6, 3).numpy() @ path(t, 1)

        begun = model.read_on(torch.cat([state, stroke[0]])).numpy()
        solved = solve_ivp(system, (0, 2.0), begun, "RK45", rtol=1e-8, atol=1e-8, max_step=0.02)
        state = torch.from_numpy(solved.y[:, -1])
    torch.testing.assert_close(model.encode(points)[0], model.to_latent(state), rtol=0, atol=1e-5)


@torch.no_grad()
def test_decode_solves_the_second_order_equation_stroke_after_stroke():
    model = ends(build(solver_steps=200, points_per_stroke=30, max_strokes=3), -9.0)
    z = torch.linspace(-1, 1, 5, dtype=torch.float64)[None]

    def system(t, state):  # (position, velocity) of all of a = [s h]
        slope = right_hand_side(model.ode, torch.from_numpy(state[6:].copy())[None], t, z)[0].numpy()
        return np.concatenate([state[6:], slope])

    decoded, handed = model.decode(z)[0].numpy(), model.from_latent(z)[0]
    for k in range(3):
        begun = np.concatenate([np.zeros(6), model.write_on(handed).numpy()])
        moments = np.linspace(0, 2.0, 30)
        solved = solve_ivp(system, (0, 2.0), begun, "DOP853", moments, rtol=1e-11, atol=1e-11).y
        expected = model.start(handed).numpy() + solved[:2].T
        np.testing.assert_allclose(decoded[k, :, :2], expected, rtol=0, atol=1e-6)
        handed = torch.from_numpy(solved[:, -1].copy())


OPTIONS = {
    "activation": list(ACTIVATIONS),
    "learn_omega": [True, False],
    "time_dependent": [True, False],
    "gradient": list(GRADIENTS),
    "method": list(METHODS),
}


@pytest.mark.parametrize(("option", "value"), [(option, value) for option in OPTIONS for value in OPTIONS[option]])
def test_every_option_builds_and_learns(option, value):
    model = build(**{option: value}, solver_steps=6)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    points, losses = points_of(model, [2, 1, 3]), []
    for _ in range(8):
        losses.append(model.loss({"points": points})["loss"])
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    assert asdict(model.config)[option] == value


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("max_strokes", 0, "max_strokes must be at least 1, got 0"),
        ("points_per_stroke", 1, "points_per_stroke must be at least 2, got 1"),
        ("end_weight", -1.0, "must not be negative"),
        ("method", "rk5", "method must be one of"),
    ],
)
def test_a_value_out_of_range_is_refused(key, value, message):
    with pytest.raises(ValueError, match=message):
        SketchODEStrokesConfig(**BASE | {key: value})
