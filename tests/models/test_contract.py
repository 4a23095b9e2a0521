"""Promise: every model of the registry keeps the protocol, and every option in its config works."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from ink import geometry
from ink.errors import InkmillError, ParamsError
from ink.params import read_params
from ink.table import Ink
from models import REGISTRY, model_class
from models.base import Autoencoder, Classifier, Completer, FullSequence, Sampler, SketchModel
from models.nn.activations import ACTIVATIONS
from models.nn.dynamics import GRADIENTS
from models.nn.ode import METHODS
from models.nn.stroke5 import Stroke5
from pipeline.checkpoint import load_checkpoint, load_weights, read_state, save_checkpoint, weights_sha256
from pipeline.settings import build_model

PARAMS = Path(__file__).parents[2] / "params.yaml"
CLASSES = 3
TINY = {
    "hidden_size": 8,
    "solver_steps": 7,
    "latent_size": 5,
    "points": 12,
    "points_per_stroke": 9,
    "size": 32,
    "channels": [4, 4, 8, 8],
    "encoder_size": 6,
    "decoder_size": 8,
    "hyper_size": 4,
    "hyper_embedding": 3,
    "mixtures": 3,
    "max_points": 45,
}
OPTIONS = {
    "activation": list(ACTIVATIONS),
    "sampling": ["uniform", "union"],
    "summary": ["last", "max"],
    "start_velocity": ["constant", "latent"],
    "time_dependent": [True, False],
    "learn_omega": [True, False],
    "order": [1, 2],
    "observation": ["augmented", "linear"],
    "gradient": list(GRADIENTS),
    "method": list(METHODS),
    "solver_steps": [1, 24],
}


def tiny(name: str, seed: int = 0, **changes) -> SketchModel:
    """The model as `params.yaml` describes it for digits, made small."""
    params = read_params(PARAMS)
    of_model = {field.name for field in fields(model_class(name).Config)}
    params["models"][name]["config"] |= {key: value for key, value in TINY.items() if key in of_model} | changes
    torch.manual_seed(seed)
    return build_model(params, "digits", name, CLASSES)


def drawings(count: int, seed: int = 0) -> Ink:
    """Random walks of one to three strokes, as `normalize` leaves them."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        lengths = rng.integers(2, 12, rng.integers(1, 4))
        xy = np.cumsum(rng.normal(size=(lengths.sum(), 2)), 0)
        points = np.column_stack([xy, np.arange(len(xy))])
        made.append(np.split(points, np.cumsum(lengths)[:-1]))
    return normalized(Ink.from_strokes(made))


def normalized(ink: Ink) -> Ink:
    unit = geometry.unit_circle(ink)[0]
    return Ink(unit.x, unit.y, geometry.arc_length_clock(unit), unit.stroke_offsets, unit.drawing_offsets)


def batch_of(model: SketchModel, ink: Ink) -> dict[str, torch.Tensor]:
    points = model.representation.collate(ink).to(next(model.parameters()).dtype)
    steps = {"step": torch.tensor(30), "steps": torch.tensor(40)}  # late: every weight that is annealed counts
    return {"points": points, "label": torch.arange(len(ink)) % CLASSES, **steps}


def optimizer_of(model: SketchModel) -> torch.optim.AdamW:
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)


def take_step(model: SketchModel, optimizer: torch.optim.Optimizer, batch: dict[str, torch.Tensor]) -> float:
    terms = model.train().loss(batch)
    optimizer.zero_grad()
    terms["loss"].backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and bool(parameter.grad.isfinite().all()), name
    optimizer.step()
    assert all(bool(value.isfinite()) and value.dim() == 0 for value in terms.values()), terms
    return terms["loss"].item()


def answer(model: SketchModel, points: torch.Tensor) -> torch.Tensor:
    """What a model can say of drawings, (B, anything)."""
    with torch.no_grad():
        if isinstance(model, Classifier):
            return model.classify(points)
        if isinstance(model, Autoencoder):
            z = model.encode(points)
            return torch.cat([z, model.decode(z).flatten(1)], 1)
        return model.complete(points[:, :4], torch.Generator().manual_seed(0), 0.0).flatten(1)


@pytest.fixture(params=sorted(REGISTRY))
def name(request):
    return request.param


def test_every_model_can_do_something_and_says_what(name):
    model = tiny(name).eval()
    assert isinstance(model, SketchModel) and isinstance(model, Autoencoder | Classifier | Sampler)
    ink = drawings(5)
    points = model.representation.collate(ink)
    assert points.dtype == torch.float32 and points.shape[0] == 5
    if isinstance(model, Classifier):
        assert model.classify(points).shape == (5, CLASSES)
    if isinstance(model, Autoencoder):
        z = model.encode(points)
        for count in (None, 2, 40):
            decoded = model.decode(z, count)
            channels = 5 if isinstance(model.representation, Stroke5) else 3
            assert decoded.shape[-2:] == (count or model.representation.points, channels) and len(decoded) == 5
            assert bool(((decoded[..., 2:] >= 0) & (decoded[..., 2:] <= 1)).all())
            assert len(model.to_ink(decoded)) == 5


def test_an_epoch_sees_every_drawing_once_in_an_order_of_its_own(name):
    model = tiny(name)
    points = model.representation.collate(drawings(30))
    first, again, other = (model.order(points, 4, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert sorted(first) == sorted(other) == list(range(30))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@torch.no_grad()
def test_a_sample_is_its_generators_and_is_drawings(name):
    model = tiny(name).eval()
    if not isinstance(model, Sampler):
        pytest.skip("makes no new drawings")
    first, again, other = (model.sample(6, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert len(model.to_ink(first)) == 6
    assert bool(np.isfinite(model.to_ink(first).x).all())


@torch.no_grad()
def test_completions_begin_as_asked_and_differ(name):
    model = tiny(name).eval()
    if not isinstance(model, Completer):
        pytest.skip("completes nothing")
    prefix = model.prefix(drawings(1), 0.5, 3).expand(6, -1, -1)
    made = model.complete(prefix, torch.Generator().manual_seed(2), 1.0)
    torch.testing.assert_close(made[:, :3], prefix, rtol=1e-5, atol=1e-4)
    assert len({tuple(row.flatten().tolist()) for row in made}) > 1
    assert len(model.to_ink(made)) == 6


def test_batch_size_may_change_between_calls(name):
    model = tiny(name)
    optimizer = optimizer_of(model)
    for count in (4, 2, 7):
        take_step(model, optimizer, batch_of(model, drawings(count, seed=count)))
    with torch.no_grad():
        assert bool(model.eval().validation_loss(batch_of(model, drawings(1))).isfinite())


def test_a_drawings_result_does_not_depend_on_the_others_in_its_batch(name):
    model = tiny(name).double().eval()
    points = batch_of(model, drawings(6))["points"]
    together = answer(model, points)
    alone = torch.cat([answer(model, points[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)
    torch.testing.assert_close(answer(model, points.flip(0)).flip(0), together, rtol=0, atol=1e-12)


def test_results_depend_on_the_arguments_only(name):
    model = tiny(name).eval()
    points = batch_of(model, drawings(4))["points"]
    first, before = answer(model, points), weights_sha256(model)
    answer(model, batch_of(model, drawings(3, seed=9))["points"])
    assert torch.equal(answer(model, points), first)
    assert weights_sha256(model) == before


def test_the_seed_decides_the_weights(name):
    assert weights_sha256(tiny(name, seed=0)) == weights_sha256(tiny(name, seed=0))
    assert weights_sha256(tiny(name, seed=0)) != weights_sha256(tiny(name, seed=1))


def test_a_loaded_checkpoint_goes_on_bit_for_bit(name, tmp_path):
    batch = batch_of(tiny(name), drawings(6))
    saved = tiny(name, seed=0)
    saved_optimizer = optimizer_of(saved)
    for _ in range(3):
        take_step(saved, saved_optimizer, batch)
    state = {"epoch": 3, "history": [{"loss": 0.1}], "notes": None}
    save_checkpoint(tmp_path / "a.safetensors", saved, saved_optimizer, state)
    take_step(saved, saved_optimizer, batch)

    only_weights, loaded = tiny(name, seed=2), tiny(name, seed=1)
    optimizer = optimizer_of(loaded)
    assert load_weights(tmp_path / "a.safetensors", only_weights) == state
    assert load_checkpoint(tmp_path / "a.safetensors", loaded, optimizer) == state
    assert read_state(tmp_path / "a.safetensors") == state
    assert weights_sha256(only_weights) == weights_sha256(loaded)
    take_step(loaded, optimizer, batch)
    for key, value in saved.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[key]), key
    first, second = saved_optimizer.state_dict()["state"], optimizer.state_dict()["state"]
    assert first.keys() == second.keys()
    for index in first:
        assert all(torch.equal(first[index][key], second[index][key]) for key in first[index])


def test_a_checkpoint_of_another_model_is_refused(name, tmp_path):
    path = tmp_path / "a.safetensors"
    model = tiny(name)
    save_checkpoint(path, model, optimizer_of(model), {})
    other = tiny("recognizer" if name != "recognizer" else "sketchode")
    with pytest.raises(InkmillError, match=r"does not fit the model .* delete it to start anew"):
        load_checkpoint(path, other, optimizer_of(other))


@pytest.mark.parametrize(
    "strokes",
    [[[(0, 0), (3, 1)]], [[(0, 0)], [(3, 1)]], [[(2, 2), (2, 2)]]],
    ids=["one stroke", "two dots", "one place"],
)
def test_a_two_point_drawing_gives_a_finite_loss(name, strokes):
    drawing = [np.array([(*point, 0.0) for point in stroke]) for stroke in strokes]
    model = tiny(name)
    batch = batch_of(model, normalized(Ink.from_strokes([drawing, drawing])))
    take_step(model, optimizer_of(model), batch)
    with torch.no_grad():
        assert bool(model.eval().validation_loss(batch).isfinite())


def test_augmentation_is_the_generators_and_keeps_the_rows(name):
    model, ink = tiny(name), drawings(5)
    first, second = (model.augment(ink, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first.x, second.x) and np.array_equal(first.y, second.y)
    assert np.array_equal(first.stroke_offsets, ink.stroke_offsets)


def test_decayed_parameters_are_the_models_own(name):
    model = tiny(name)
    own = {id(parameter) for parameter in model.parameters()}
    assert all(id(parameter) in own for parameter in model.decayed_parameters())


def test_an_unknown_config_key_is_answered_with_the_nearest(name):
    known = fields(model_class(name).Config)[-1].name
    with pytest.raises(ParamsError, match=rf"models\.{name}\.config: unknown key '{known}x', did you mean '{known}'\?"):
        tiny(name, **{known + "x": 1})


def test_a_model_that_does_not_exist_is_answered_with_the_nearest():
    with pytest.raises(ParamsError, match=r"model 'sketchod' does not exist; did you mean 'sketchode'\?"):
        model_class("sketchod")
    with pytest.raises(ParamsError, match="'zzz' does not exist; expected one of: recognizer, rnn_seq2seq, sketchode"):
        build_model(read_params(PARAMS), "digits", "zzz", CLASSES)


@pytest.mark.parametrize(
    ("option", "value"), [(option, value) for option, values in OPTIONS.items() for value in values]
)
def test_every_option_of_sketchode_builds_and_takes_a_step(option, value):
    model = tiny("sketchode", **{option: value})
    optimizer, batch = optimizer_of(model), batch_of(model, drawings(4))
    losses = [take_step(model, optimizer, batch) for _ in range(8)]
    assert losses[-1] < losses[0]
    changed = model.ode.time.abs().max() + model.cde.time.abs().max()
    assert bool(changed > 0) == model.config.time_dependent
    assert bool((model.ode.frequency != 0).any()) == model.config.learn_omega


@pytest.mark.parametrize("option", [option for option in OPTIONS if not isinstance(OPTIONS[option][0], bool)])
def test_an_option_that_does_not_exist_is_refused(option):
    with pytest.raises(ParamsError, match=rf"models\.sketchode\.config: {option} must be "):
        tiny("sketchode", **{option: "neither"})


@pytest.mark.parametrize(
    ("model", "key", "value", "message"),
    [
        ("sketchode", "hidden_size", 3, "hidden_size must be at least 4, got 3"),
        ("sketchode", "points", 1, "points must be at least 2, got 1"),
        ("sketchode", "duration", 0.0, "duration and omega must be positive"),
        ("rnn_seq2seq", "points", 0, "points must be at least 1, got 0"),
        ("recognizer", "size", 40, "size must be a multiple of 16, got 40"),
        ("recognizer", "channels", [4, 4], "channels must be four numbers"),
    ],
)
def test_a_value_out_of_range_is_refused(model, key, value, message):
    with pytest.raises(ParamsError, match=message):
        tiny(model, **{key: value})


def test_a_sequence_starts_at_the_origin_and_comes_back_as_the_drawing():
    ink = drawings(6)
    representation = FullSequence(400)
    points = representation.collate(ink)
    assert bool((points[:, 0, :2] == 0).all())
    back = representation.to_ink(points)
    assert np.array_equal(np.diff(back.drawing_offsets), np.diff(ink.drawing_offsets))
    np.testing.assert_allclose(geometry.bounding_boxes(back), geometry.bounding_boxes(ink), atol=0.05)
