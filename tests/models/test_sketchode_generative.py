"""Promise: the generative variant's terms are the densities and divergences that they are called."""

import math
from dataclasses import asdict

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from models.base import sequence_loss
from models.nn.invertible import InvertibleLinear
from models.nn.ode.dynamics import GRADIENTS
from models.nn.ode.runge_kutta import METHODS
from models.sketchode_generative import SketchODEGenerative, SketchODEGenerativeConfig

DOUBLE = torch.float64
BASE = {
    "hidden_size": 5,
    "context_size": 3,
    "points": 12,
    "duration": 2.0,
    "activation": "sin",
    "omega": 1.0,
    "learn_omega": True,
    "time_dependent": True,
    "gradient": "direct",
    "method": "rk4",
    "solver_steps": 40,
    "output_gain": 1.0,
    "pen_weight": 0.5,
    "prior_weight": 0.01,
    "anneal_from": 0.2,
    "anneal_to": 0.6,
    "flow_weight": 0.5,
    "trace": "exact",
    "trajectory_prior": "normal",
    "bayesian": False,
    "weight_std": 0.8,
    "weight_share": 0.1,
}


def build(**changes):
    """A model in float64 whose weights are none of them zero."""
    torch.manual_seed(0)
    model = SketchODEGenerative(SketchODEGenerativeConfig(**BASE | changes)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def batch(step=90, count=4):
    """Smooth curves from the origin, with the pen lifted in the middle, at a step of a run of 100."""
    s = torch.linspace(0, 1, 12, dtype=DOUBLE)
    phase = torch.arange(count, dtype=DOUBLE)[:, None]
    xy = [torch.sin(2 * s + phase) - torch.sin(phase), torch.cos(3 * s + phase) - torch.cos(phase)]
    pen = ((s > 0.4) & (s < 0.6)).to(DOUBLE).expand(count, -1)
    return {"points": torch.stack([*xy, pen], -1), "step": torch.tensor(step), "steps": torch.tensor(100)}


def test_the_map_is_invertible_and_its_determinant_is_known():
    torch.manual_seed(3)
    layer = InvertibleLinear(6).double()
    x = torch.randn(4, 6, dtype=DOUBLE)
    assert torch.equal(layer(x), x)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    torch.testing.assert_close(layer.inverse(layer(x)), x, rtol=0, atol=1e-10)
    matrix = torch.autograd.functional.jacobian(layer, x[0])
    torch.testing.assert_close(layer.log_determinant(), torch.linalg.slogdet(matrix).logabsdet)


def test_the_density_of_the_trajectory_is_that_of_its_codes_by_change_of_variables():
    """z -> (H(t), z_c), its whole Jacobian by autograd: nothing of the model's own bookkeeping is used."""
    model, points = build(), batch(count=3)["points"]
    mean, log_std = (value.detach() for value in model.posterior(points))
    z = mean + torch.exp(log_std) * torch.randn(3, 8, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)
    found = model.log_density(points, z).detach()
    log_q = Normal(mean, torch.exp(log_std)).log_prob(z).sum(-1)
    for n in range(3):
        for step in (0, 17, 40):

            def carried(code, step=step):
                states = model._trajectory(code[None], model._network(code[None], None), 12)[0]
                return torch.cat([states[step, 0], code[5:]])

            jacobian = torch.autograd.functional.jacobian(carried, z[n])
            expected = log_q[n] - torch.linalg.slogdet(jacobian).logabsdet
            torch.testing.assert_close(found[step, n], expected, rtol=0, atol=1e-5)
    assert float((found[-1] - found[0]).abs().min()) > 1e-2, "the flow changes the density"


def test_divergences_are_those_of_torchs_distributions():
    model, at = build(bayesian=True), batch()
    mean, log_std = model.posterior(at["points"])
    terms = model.loss(at)
    expected = kl_divergence(Normal(mean, torch.exp(log_std)), Normal(0.0, 1.0)).sum(-1).mean()
    torch.testing.assert_close(terms["kl"], expected)
    network = model.ode.network(1, torch.zeros(1, 3, dtype=DOUBLE))
    width, prior = torch.exp(model.log_weight_std), Normal(torch.tensor(0.0, dtype=DOUBLE), 0.8)
    expected = sum(kl_divergence(Normal(w, width), prior).sum() for w in (*network.weights, *network.biases))
    torch.testing.assert_close(terms["weights"], expected)
    parts = terms["xy"] + 0.5 * terms["pen"] + 0.01 * (terms["kl"] + 0.5 * terms["flow"] + 0.1 * terms["weights"])
    torch.testing.assert_close(terms["loss"], parts)


@pytest.mark.parametrize(("step", "share"), [(0, 0.0), (20, 0.0), (40, 0.5), (60, 1.0), (99, 1.0)])
def test_the_weight_grows_from_nothing_between_two_moments_of_the_run(step, share):
    terms = {name: value.detach() for name, value in build().loss(batch(step)).items()}
    assert float(terms["weight"]) == pytest.approx(0.01 * share)
    if not share:
        assert float(terms["loss"]) == pytest.approx(float(terms["xy"] + 0.5 * terms["pen"]))


@pytest.mark.parametrize("prior", ["normal", "flat"])
def test_the_flows_term_is_the_density_against_its_prior(prior):
    model, at = build(trajectory_prior=prior), batch()
    torch.manual_seed(7)
    terms = model.loss(at)
    torch.manual_seed(7)
    mean, log_std = model.posterior(at["points"])
    z = mean + torch.exp(log_std) * torch.randn_like(mean)
    without = Normal(mean[:, 5:], torch.exp(log_std[:, 5:])).log_prob(z[:, 5:]).sum(-1)
    expected = model.log_density(at["points"], z) - without
    if prior == "normal":
        expected = expected - Normal(0.0, 1.0).log_prob(model._trajectory(z, model._network(z, None), 12)[0]).sum(-1)
    torch.testing.assert_close(terms["flow"], expected.mean())


@torch.no_grad()
def test_the_mean_of_hutchinsons_flow_terms_is_the_exact_one_within_its_error():
    exact, sampled = build(), build(trace="hutchinson")
    at, terms = batch(count=2), []
    mean, log_std = exact.posterior(at["points"])
    network = exact._network(mean, None)
    states = exact._trajectory(mean, network, 12)[0]
    truth = float(exact._flow_term(network, states, mean, mean, log_std))
    torch.manual_seed(5)
    terms = torch.stack([sampled._flow_term(network, states, mean, mean, log_std) for _ in range(400)])
    error = float(terms.std()) / math.sqrt(len(terms))
    assert 0 < error < 0.1 and abs(float(terms.mean()) - truth) < 4 * error


@torch.no_grad()
def test_validation_is_the_fit_at_the_mean_and_draws_nothing():
    model, at = build(bayesian=True), batch()
    before = torch.get_rng_state()
    found = model.validation_loss({"points": at["points"]})
    assert torch.equal(torch.get_rng_state(), before)
    decoded = model.decode(model.encode(at["points"]))
    expected = sequence_loss(decoded[..., :2], torch.logit(decoded[..., 2]), at["points"], 0.5)["loss"]
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_a_sample_decodes_the_prior_and_bayesian_weights_move_it():
    def sample(model):
        return model.sample(50, torch.Generator().manual_seed(2))

    model, bayesian = build(), build(bayesian=True)
    z = torch.randn(50, 8, generator=torch.Generator().manual_seed(2), dtype=DOUBLE)
    assert torch.equal(sample(model), model.decode(z))
    moved = float((sample(bayesian) - bayesian.decode(z)).abs().max())
    bayesian.log_weight_std.sub_(3.0)
    assert 0 < float((sample(bayesian) - bayesian.decode(z)).abs().max()) < moved


OPTIONS = {
    "trace": ["exact", "hutchinson"],
    "trajectory_prior": ["normal", "flat"],
    "bayesian": [True, False],
    "context_size": [0, 3],
    "activation": ["sin", "cos", "tanh", "relu", "sigmoid"],
    "gradient": list(GRADIENTS),
    "method": list(METHODS),
    "learn_omega": [True, False],
    "time_dependent": [True, False],
}


@pytest.mark.parametrize(("option", "value"), [(option, value) for option in OPTIONS for value in OPTIONS[option]])
def test_every_option_builds_and_learns(option, value):
    model = build(**{option: value}, solver_steps=6)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for _ in range(12):
        losses.append(model.loss(batch())["loss"])
        optimizer.zero_grad()
        losses[-1].backward()
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters() if p.requires_grad)
        optimizer.step()
    assert losses[-1] < losses[0]
    assert asdict(model.config)[option] == value


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("trace", "some", "trace must be 'exact' or 'hutchinson', got 'some'"),
        ("trajectory_prior", "none", "trajectory_prior must be"),
        ("anneal_to", 0.1, "0 <= anneal_from < anneal_to <= 1 must hold, got 0.2 and 0.1"),
        ("prior_weight", -1.0, "must not be negative"),
        ("context_size", -1, "context_size must not be negative, got -1"),
    ],
)
def test_a_value_out_of_range_is_refused(key, value, message):
    with pytest.raises(ValueError, match=message):
        SketchODEGenerativeConfig(**BASE | {key: value})
