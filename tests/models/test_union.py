"""Promise: SketchODE on drawings with their own sample times is the uniform model, drawing by drawing."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ink import geometry
from ink.params import read_params
from ink.table import Ink
from models.base import FullSequence, OwnTimes
from models.nn.ode.dynamics import solve
from models.sketchode import SketchODE
from pipeline import evaluate
from pipeline.settings import build_model

SIZES = {"hidden_size": 8, "latent_size": 5, "points": 20, "solver_steps": 19, "pen_weight": 1.0}
DURATION = 2.0


def build(sampling, **changes):
    """Small, in float64, none of its weights zero, the same for the same seed."""
    params = read_params(Path(__file__).parents[2] / "params.yaml")
    config = replace(build_model(params, "digits", "sketchode", 3).config, **SIZES, duration=DURATION)
    torch.manual_seed(0)
    model = SketchODE(replace(config, sampling=sampling, **changes)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def drawing(points, batch=3):
    """Smooth curves from the origin, with the pen lifted in the middle."""
    s = torch.linspace(0, 1, points, dtype=torch.float64)
    phase = torch.arange(batch, dtype=torch.float64)[:, None]
    xy = [torch.sin(2 * s + phase) - torch.sin(phase), torch.cos(3 * s + phase) - torch.cos(phase)]
    return torch.stack([*xy, 0.5 - 0.5 * torch.cos(2 * math.pi * s).expand(batch, -1)], -1)


def own(points, times=None):
    """(B, T, 3) samples at common times in [0, 1], uniform unless given, as `OwnTimes` has them."""
    count = points.shape[1]
    times = torch.linspace(0, 1, count, dtype=points.dtype) if times is None else times
    return torch.cat([points, times.expand(len(points), -1).unsqueeze(-1), torch.ones_like(points[..., :1])], -1)


def ragged(counts=(4, 20, 9, 13), longest=24, filler=0.0):
    """Drawings with as many samples as `counts` says, at random times; the padding holds `filler`."""
    rng = np.random.default_rng(0)
    batch = torch.full((len(counts), longest, 5), filler, dtype=torch.float64)
    batch[..., 4] = 0
    for row, count in enumerate(counts):
        steps = torch.from_numpy(rng.uniform(0.2, 1, count - 1))
        times = torch.cat([torch.zeros(1), torch.cumsum(steps, 0) / steps.sum()])
        batch[row : row + 1, :count] = own(drawing(count, 1), times)
    return batch


def outcome(model, batch):
    """Every loss term and every gradient."""
    terms = model.loss({"points": batch})
    gradients = torch.autograd.grad(terms["loss"], [p for p in model.parameters() if p.requires_grad])
    return [*(value.detach() for value in terms.values()), *gradients]


@pytest.mark.parametrize("points", [20, 33])
def test_shared_uniform_times_give_the_loss_and_gradient_of_uniform_sampling(points):
    target = drawing(points)
    uniform, union = build("uniform"), build("union")
    torch.testing.assert_close(union.encode(own(target)), uniform.encode(target), rtol=0, atol=1e-10)
    for found, expected in zip(outcome(union, own(target)), outcome(uniform, target), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


def test_a_batch_is_the_mean_of_its_drawings_solved_alone():
    model, batch = build("union"), ragged()
    alone = [outcome(model, batch[row : row + 1, : int(batch[row, :, 4].sum())]) for row in range(len(batch))]
    for found, *each in zip(outcome(model, batch), *alone, strict=True):
        torch.testing.assert_close(found, torch.stack(each).mean(0), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("filler", [7.0, -1e30, float("nan")])
def test_padding_alters_nothing(filler):
    model = build("union")
    expected = outcome(model, ragged(longest=20))
    for found, known in zip(outcome(model, ragged(longest=40, filler=filler)), expected, strict=True):
        assert torch.equal(found, known)


def test_the_trajectory_is_that_of_a_solver_that_steps_from_one_time_of_the_union_to_the_next():
    batch = ragged()
    model = build("union", solver_steps=60)
    z = model.encode(batch)
    times = torch.unique(batch[..., 3][batch[..., 4] == 1]) * DURATION
    velocity = torch.cat([model.start_velocity.expand(len(z), -1), model.from_latent(z)], -1)
    _, means = solve(velocity, model.ode.network(len(z), z), times, None, "rk4", "direct")
    moves = means[..., :3] * (times[1:] - times[:-1])[:, None, None]
    stepped = torch.cat([moves.new_zeros(1, len(z), 3), moves.cumsum(0)])
    stepped[..., 2] += model.pen_offset
    expected = []
    for row in range(len(batch)):
        mine = batch[row, batch[row, :, 4] == 1]
        at = stepped[torch.searchsorted(times, mine[:, 3] * DURATION), row]
        xy = torch.nn.functional.smooth_l1_loss(at[:, :2], mine[:, :2], reduction="none").sum(-1).mean()
        expected.append(xy + torch.nn.functional.binary_cross_entropy_with_logits(at[:, 2], mine[:, 2]))
    found = model.loss({"points": batch})["loss"]
    torch.testing.assert_close(found, torch.stack(expected).mean(), rtol=1e-5, atol=0)


def test_own_times_of_drawings_are_their_paths():
    rng = np.random.default_rng(4)
    strokes = [[np.column_stack([rng.normal(size=(n, 2)), np.arange(n)]) for n in (5, 3)] for _ in range(6)]
    unit = geometry.unit_circle(Ink.from_strokes(strokes))[0]
    ink = geometry.with_arc_length_clock(unit)
    batch = OwnTimes(30).collate(ink)
    assert batch.dtype == torch.float32 and batch.shape[0] == 6 and bool((batch[:, 0, :4] == 0).all())
    assert int(batch[..., 4].sum(1).max()) == batch.shape[1]
    uniform = FullSequence(3001).collate(ink)
    for row, path in zip(batch, uniform, strict=True):
        mine = row[row[:, 4] == 1]
        nearest = path[(mine[:, 3] * 3000).round().long()]
        torch.testing.assert_close(mine[:, :2], nearest[:, :2], rtol=0, atol=5e-3)
    given_back = evaluate.reconstruct(build("union").float(), ink)
    assert len(given_back) == 6 and bool(np.isfinite(given_back.x).all())
