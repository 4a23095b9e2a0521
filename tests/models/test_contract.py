"""Promise: every model of the registry keeps the protocol."""

import numpy as np
import pytest
import torch

from ink import geometry
from ink.errors import InkmillError
from ink.table import Ink
from models import REGISTRY
from models.base import Autoencoder, Classifier, Completer, FullSequence, Sampler, SketchModel
from models.nn.recurrent.stroke5 import Stroke5
from pipeline.checkpoint import load_checkpoint, load_weights, read_state, save_checkpoint, weights_sha256
from tests.models.helpers import CLASSES, batch_of, drawings, normalized, optimizer_of, take_step, tiny


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


def test_a_sequence_starts_at_the_origin_and_comes_back_as_the_drawing():
    ink = drawings(6)
    representation = FullSequence(400)
    points = representation.collate(ink)
    assert bool((points[:, 0, :2] == 0).all())
    back = representation.to_ink(points)
    assert np.array_equal(np.diff(back.drawing_offsets), np.diff(ink.drawing_offsets))
    np.testing.assert_allclose(geometry.bounding_boxes(back), geometry.bounding_boxes(ink), atol=0.05)
