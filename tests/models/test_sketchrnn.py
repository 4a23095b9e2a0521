"""Promise: SketchRNN's cells, density and loss are those of their equations, and sampling obeys its temperature."""

import math

import numpy as np
import pytest
import torch
from torch import distributions, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence

from models.nn.recurrent.lstm import LSTM, HyperLSTM, LayerNormLSTM, final_outputs
from models.nn.recurrent.mixture import Mixture, outputs
from models.nn.recurrent.stroke5 import END, lengths, states
from tests.models.helpers import batch_of, drawings, tiny

DOUBLE = torch.float64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=DOUBLE)


def scrambled(module, seed=1):
    """The module in float64 with every weight random, so that no term of its equations is idle."""
    module = module.double()
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            parameter.copy_(0.4 * random(*parameter.shape, seed=seed + number))
    return module


def test_the_lstm_loop_is_torchs_lstm():
    cell = scrambled(LSTM(4, 6, 0.0))
    x, start = random(3, 7, 4), tuple(random(3, 6, seed=n) for n in (5, 6))
    theirs, (hidden, memory) = cell.cell(x, tuple(part.unsqueeze(0) for part in start))
    ours, state = super(LSTM, cell).forward(x, start)  # the loop of steps
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)
    torch.testing.assert_close(torch.stack(state), torch.cat([hidden, memory]), rtol=0, atol=1e-13)
    torch.testing.assert_close(cell(x, start)[0], theirs, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_the_last_outputs_both_ways_are_those_of_packed_sequences(dtype):
    lstm = scrambled(nn.LSTM(3, 5, batch_first=True, bidirectional=True)).to(dtype)
    inputs, counts = random(6, 9, 3).to(dtype), torch.tensor([9, 1, 4, 9, 7, 2])
    packed = pack_padded_sequence(inputs, counts, batch_first=True, enforce_sorted=False)
    theirs = torch.cat(lstm(packed)[1][0].unbind(0), -1)
    ours = final_outputs(lstm, inputs, counts)
    tolerance = 1e-13 if dtype == DOUBLE else 1e-6
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)
    weights = list(lstm.parameters())
    wanted, found = (torch.autograd.grad((result**2).sum(), weights) for result in (theirs, ours))
    torch.testing.assert_close(found, wanted, rtol=0, atol=10 * tolerance)


def norm(x, gain, bias):
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-5) * gain + bias


def test_the_hyper_lstm_is_its_equations():
    cell = scrambled(HyperLSTM(3, 4, 0.0, hyper_units=2, embedding=2))
    x, (h, c, s, m) = random(2, 5, 3), (random(2, size, seed=size + 7) for size in (4, 4, 2, 2))
    small, result = cell.small, cell(x, (h, c, s, m))[0]

    def normed_step(gates, norms, memory):
        i, f, g, o = (norm(gate, gain, bias) for gate, gain, bias in zip(gates, norms.gain, norms.bias, strict=True))
        memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(norm(memory, norms.cell.weight, norms.cell.bias)), memory

    for t in range(5):
        seen = torch.cat([x[:, t], h], 1)
        gates = (seen @ small.of_input.weight.T + s @ small.of_hidden.weight.T).chunk(4, 1)
        s, m = normed_step(gates, small.norms, m)
        embedding = s @ cell.to_scales.weight.T + cell.to_scales.bias  # eight of size 2
        bias_embedding = s @ cell.to_biases.weight.T  # four of size 2
        gates = []
        for k in range(4):
            rows = slice(4 * k, 4 * k + 4)
            d_x = embedding[:, 2 * k : 2 * k + 2] @ cell.scales[k]
            d_h = embedding[:, 8 + 2 * k : 8 + 2 * k + 2] @ cell.scales[4 + k]
            b = bias_embedding[:, 2 * k : 2 * k + 2] @ cell.biases[k]
            w_x, w_h = cell.of_input.weight[rows], cell.of_hidden.weight[rows]
            gates.append(d_x * (x[:, t] @ w_x.T) + d_h * (h @ w_h.T) + b)
        h, c = normed_step(gates, cell.norms, c)
        torch.testing.assert_close(result[:, t], h, rtol=0, atol=1e-12)


@pytest.mark.parametrize("make", [LSTM, LayerNormLSTM, lambda i, h, p: HyperLSTM(i, h, p, 3, 2)])
def test_dropout_never_erases_memory(make):
    """With all candidates dropped the memory only fades by the forget gate: c' = f c, whatever is dropped."""
    cell = make(3, 5, 0.4).double()
    x, state = random(4, 3), tuple(random(4, size, seed=size) for size in cell.sizes)
    projected = cell.project(x.unsqueeze(1))[:, 0]
    whole = cell.step(projected, x, state, None)[1]
    nothing = cell.step(projected, x, state, torch.zeros(4, 5, dtype=DOUBLE))[1]
    assert bool(((nothing / state[1] > 0) & (nothing / state[1] < 1)).all())
    kept = cell.step(projected, x, state, torch.full((4, 5), 2.0, dtype=DOUBLE))[1]
    torch.testing.assert_close(kept - nothing, 2 * (whole - nothing), rtol=0, atol=1e-12)


def test_dropout_is_of_training_and_keeps_the_mean():
    cell = LayerNormLSTM(3, 5, 0.3)
    x = torch.ones(200, 40, 3)
    keep = cell.train()._keep(x)
    assert keep.unique().tolist() == [0.0, pytest.approx(1 / 0.7)]
    assert float(keep.mean()) == pytest.approx(1, abs=0.02)
    assert cell.eval()._keep(x) is None


def reference_density(numbers, offset):
    """ln of the mixture's density by torch.distributions, in float64."""
    weight, mean_x, mean_y, log_x, log_y, rho = numbers[..., 3:].chunk(6, -1)
    sigma_x, sigma_y, rho = log_x.exp(), log_y.exp(), torch.tanh(rho)
    covariance = torch.stack([sigma_x**2, rho * sigma_x * sigma_y, rho * sigma_x * sigma_y, sigma_y**2], -1)
    normal = distributions.MultivariateNormal(
        torch.stack([mean_x, mean_y], -1), covariance_matrix=covariance.unflatten(-1, (2, 2))
    )
    return distributions.MixtureSameFamily(distributions.Categorical(logits=weight), normal).log_prob(offset)


def test_the_density_is_that_of_the_gaussians():
    numbers, offset = random(50, outputs(7)), random(50, 2, seed=3)
    mixture = Mixture.of(numbers)
    torch.testing.assert_close(mixture.log_density(offset), reference_density(numbers, offset), rtol=1e-9, atol=1e-9)
    pen = distributions.Categorical(logits=numbers[:, :3])
    torch.testing.assert_close(mixture.pen, pen.logits, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [10.0, 1e3, 1e10, 1e30])
def test_extreme_numbers_give_no_nan(scale):
    numbers = (scale * torch.randn(100_000, outputs(3), generator=generator())).requires_grad_()
    offset = torch.randn(100_000, 2, generator=generator(1)) * min(scale, 1e4)
    mixture = Mixture.of(numbers)
    density = mixture.log_density(offset)
    (gradient,) = torch.autograd.grad(density.sum() + mixture.pen.sum(), numbers)
    assert bool(density.isfinite().all()) and bool(gradient.isfinite().all())
    moved, _ = mixture.sample(0.5, generator())
    assert bool(moved.isfinite().all())


@pytest.mark.parametrize("name", ["sketchrnn", "sketchrnn_decoder"])
def test_the_loss_terms_are_those_of_torch_distributions(name):
    model = scrambled(tiny(name)).eval()
    model.decoder.offset_std.fill_(20.0)
    batch = batch_of(model, drawings(6))
    rows, most = batch["points"], model.config.max_points
    target, count = states(rows), lengths(states(rows))
    scaled = torch.cat([rows[..., :2] / 20.0, rows[..., 2:]], -1)
    first = torch.zeros_like(scaled[:, :1])
    first[..., 2] = 1
    inputs = torch.cat([first, scaled[:, :-1]], 1)
    cell, kl = model.decoder.cell.cell, 0.0
    start = (torch.zeros(1, 6, 8, dtype=DOUBLE),) * 2
    if name == "sketchrnn":
        last = [model.encoder(scaled[n : n + 1, : int(count[n])])[1][0][:, 0].flatten() for n in range(6)]
        mean, log_variance = model.to_mean(torch.stack(last)), model.to_log_variance(torch.stack(last))
        q = distributions.Normal(mean, torch.exp(log_variance / 2))
        kl = float(distributions.kl_divergence(q, distributions.Normal(0.0, 1.0)).mean().detach())
        z = mean + torch.exp(log_variance / 2) * torch.randn(6, 5, generator=generator(), dtype=DOUBLE)
        start = tuple(part.unsqueeze(0).contiguous() for part in torch.tanh(model.from_latent(z)).chunk(2, 1))
        inputs = torch.cat([inputs, z.unsqueeze(1).expand(-1, most, -1)], -1)
    numbers = model.decoder.output(cell(inputs, start)[0])
    density = reference_density(numbers, scaled[..., :2])
    pen = distributions.Categorical(logits=numbers[..., :3]).log_prob(target)
    real = torch.arange(most) < count.unsqueeze(1)
    expected = {"offsets": density[real].sum(), "pen": pen.sum(), "pen_real": pen[real].sum()}
    terms = model.loss({"points": rows})
    for key, total in expected.items():
        assert float(terms[key].detach()) == pytest.approx(-float(total.detach()) / (6 * most), abs=1e-6), key
    loss = -float((density[real].sum() + pen.sum()).detach()) / (6 * most)
    config = model.config
    weight = config.kl_weight * max(kl, config.kl_floor) if name == "sketchrnn" else 0.0
    assert float(terms["loss"].detach()) == pytest.approx(loss + weight, abs=1e-6)
    if name == "sketchrnn":
        assert float(terms["kl"].detach()) == pytest.approx(kl, abs=1e-6)
        late = model.loss({"points": rows, "step": torch.tensor(700)})["loss"]
        eta = 1 - (1 - config.kl_start) * config.kl_rate**700
        assert float(late.detach()) == pytest.approx(loss + eta * weight, abs=1e-6)
    nll = model.likelihood(rows)["nll"].mean()
    assert float(nll.detach()) == pytest.approx(loss, abs=1e-6)


def test_training_may_stop_at_the_end_of_the_longest_drawing():
    model = tiny("sketchrnn_decoder", stretch=0.0, drop_points=0.0, pen_steps="batch").train()
    rows = batch_of(model, drawings(5))["points"]
    short, whole = model.loss({"points": rows}), model.eval().loss({"points": rows})
    torch.testing.assert_close(short["offsets"], whole["offsets"])
    torch.testing.assert_close(short["pen_real"], whole["pen_real"])
    assert float(short["pen"].detach()) < float(whole["pen"].detach())


def test_temperature_scales_logits_and_variance():
    numbers = random(1, outputs(3), seed=4)
    mixture = Mixture.of(numbers.expand(200_000, -1))
    for tau in (0.3, 1.0):
        offset, pen = mixture.sample(tau, generator(2))
        share = torch.softmax(numbers[0, :3] / tau, 0)
        torch.testing.assert_close(torch.bincount(pen, minlength=3) / len(pen), share.float(), rtol=0, atol=0.005)
        weight, mean_x, _, log_x, _, _ = numbers[0, 3:].chunk(6)
        weight = torch.softmax(weight / tau, 0)
        mean = (weight * mean_x).sum()
        variance = (weight * (tau * torch.exp(2 * log_x) + mean_x**2)).sum() - mean**2
        assert float(offset[:, 0].mean()) == pytest.approx(float(mean), abs=5 * float(variance / 200_000) ** 0.5)
        assert float(offset[:, 0].var()) == pytest.approx(float(variance), rel=0.02)
    one = torch.randn(4, outputs(3), generator=generator(9))
    offset, pen = Mixture.of(one).sample(0, generator())
    heaviest = one[:, 3:6].argmax(1)
    assert pen.tolist() == one[:, :3].argmax(1).tolist()
    torch.testing.assert_close(offset[:, 0], one[:, 6:9].gather(1, heaviest[:, None])[:, 0])
    with pytest.raises(ValueError, match=r"temperature must be in \[0, 10\], 0 being greedy; got -1"):
        tiny("sketchrnn_decoder").sample(1, generator(), -1.0)


@torch.no_grad()
def test_a_batch_is_drawn_as_each_alone_and_ends_stay_ends():
    model = tiny("sketchrnn").eval()
    z = torch.randn(5, model.config.latent_size, generator=generator())
    rows = model.decode(z)
    torch.testing.assert_close(torch.cat([model.decode(one[None]) for one in z]), rows, rtol=1e-4, atol=1e-4)
    pen = states(model.sample(40, generator(), 1.0))
    after = torch.arange(pen.shape[1]) >= lengths(pen).unsqueeze(1)
    assert bool((pen[after] == END).all())
    long = model.prefix(drawings(1), 1.0).repeat(1, 3, 1)
    assert model.complete(long, generator()).shape[1] == model.config.max_points


def test_spherical_paths_keep_their_distance_from_the_origin():
    model = tiny("sketchrnn")
    a, b = torch.tensor([2.0, 0, 0, 0, 0]), torch.tensor([0, 2.0, 0, 0, 0])
    path = model.between(a, b, torch.linspace(0, 1, 5)[:, None])
    assert torch.allclose(path.norm(dim=1), torch.full((5,), 2.0)) and torch.allclose(
        path[[0, -1]], torch.stack([a, b])
    )
    assert math.isclose(float(path[2, 0]), math.sqrt(2), rel_tol=1e-5)
    assert torch.allclose(model.between(a, 2 * a, torch.tensor([[0.5]])), 1.5 * a)


@pytest.mark.parametrize("cell", ["lstm", "layer_norm", "hyper"])
@pytest.mark.parametrize("name", ["sketchrnn", "sketchrnn_decoder"])
def test_every_cell_learns(name, cell):
    model = tiny(name, cell=cell, recurrent_dropout=0.1, max_points=10).train()
    rows = batch_of(model, drawings(12))["points"]
    model.prepare(drawings(12))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    losses = []
    for _ in range(12):
        loss = model.loss({"points": rows, "step": torch.tensor(0)})["loss"]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-3:]) < losses[0] - 0.1, losses


def test_compiling_a_cell_changes_no_number():
    cell, calls = scrambled(HyperLSTM(3, 4, 0.0, 2, 2)).float(), []
    x = torch.randn(2, 3, 3, generator=generator())
    plain = cell(x, cell.zero_state(x))[0]
    compiled = torch.compile(cell.step, backend="eager", fullgraph=True)  # one graph: nothing breaks it

    def counted(*given):
        calls.append(len(given))
        return compiled(*given)

    cell.compile_step()
    cell._compiled = counted
    torch.testing.assert_close(cell.eval()(x, cell.zero_state(x))[0], plain)
    assert not calls, "only training is compiled"
    torch.testing.assert_close(cell.train()(x, cell.zero_state(x))[0], plain)
    assert len(calls) == 3
    assert functional.mse_loss(plain, torch.zeros_like(plain)) > 0
