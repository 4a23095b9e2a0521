"""Promise: RNN-RNN's two ways of training are one decoder, and what it is trained on is what its options say."""

import pytest
import torch

from models.base import sequence_loss
from models.rnn_seq2seq import RNNSeq2Seq, RNNSeq2SeqConfig

BASE = {"hidden_size": 7, "latent_size": 4, "points": 15, "own_inputs": 0.0, "output": "position", "pen_weight": 0.5}


def build(**changes):
    torch.manual_seed(0)
    return RNNSeq2Seq(RNNSeq2SeqConfig(**BASE | changes)).double()


def drawings(batch=5, points=15):
    generator = torch.Generator().manual_seed(1)
    moves = torch.randn(batch, points, 2, generator=generator, dtype=torch.float64)
    pen = (torch.rand(batch, points, 1, generator=generator, dtype=torch.float64) > 0.7).double()
    return torch.cat([moves.cumsum(1) - moves[:, :1], pen], -1)


@pytest.mark.parametrize("output", ["position", "offset"])
def test_one_call_over_true_points_equals_step_by_step_over_true_points(output):
    model, target = build(output=output), drawings()
    z = model.encode(target)
    never = torch.zeros(15, 5, 1, dtype=torch.bool)
    for joined, stepped in zip(
        model._teacher_forced(z, target), model._step_by_step(z, 15, target, never), strict=True
    ):
        torch.testing.assert_close(joined, stepped, rtol=0, atol=1e-12)


@pytest.mark.parametrize("output", ["position", "offset"])
def test_training_on_own_inputs_alone_is_training_on_what_is_reported(output):
    model, target = build(output=output, own_inputs=1.0), drawings()
    decoded = model.decode(model.encode(target))
    xy, logit = decoded[..., :2], torch.logit(decoded[..., 2])
    reported = sequence_loss(xy, logit, target, 0.5)["loss"]
    torch.testing.assert_close(model.loss({"points": target})["loss"], reported, rtol=1e-9, atol=0)
    torch.testing.assert_close(model.validation_loss({"points": target}), reported, rtol=1e-9, atol=0)


def test_the_gradient_runs_through_own_inputs():
    model, target = build(own_inputs=1.0), drawings()
    z = model.encode(target).detach()
    xy, _ = model._step_by_step(z, 15)
    (grad,) = torch.autograd.grad(xy[:, -1].sum(), model.output.weight)
    step = 1e-6 * torch.randn_like(grad)
    with torch.no_grad():
        model.output.weight.add_(step)
        above = model._step_by_step(z, 15)[0][:, -1].sum()
        model.output.weight.sub_(2 * step)
        below = model._step_by_step(z, 15)[0][:, -1].sum()
    assert float((above - below) / 2) == pytest.approx(float((grad * step).sum()), rel=1e-5)


def test_half_own_inputs_follow_torchs_seed_and_lie_between_the_two():
    model, target = build(own_inputs=0.5), drawings()
    torch.manual_seed(3)
    first = model.loss({"points": target})["loss"]
    torch.manual_seed(3)
    assert model.loss({"points": target})["loss"] == first
    assert model.loss({"points": target})["loss"] != first
    assert first not in (build().loss({"points": target})["loss"], model.validation_loss({"points": target}))


def test_offsets_of_zero_leave_the_pen_at_the_origin():
    model = build(output="offset")
    with torch.no_grad():
        model.output.weight.zero_(), model.output.bias.zero_()
        assert bool((model.decode(model.encode(drawings()))[..., :2] == 0).all())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("own_inputs", 1.5, r"own_inputs must lie in \[0, 1\], got 1.5"),
        ("output", "moves", "output must be 'position' or 'offset', got 'moves'"),
    ],
)
def test_an_option_that_does_not_exist_is_refused(key, value, message):
    with pytest.raises(ValueError, match=message):
        build(**{key: value})
