"""Promise: every option of every config works, and what is no option is refused with what there is."""

from dataclasses import fields

import pytest

from ink.errors import ParamsError
from ink.params import read_params
from models import REGISTRY, model_class
from models.nn.ode.activations import ACTIVATIONS
from models.nn.ode.dynamics import GRADIENTS
from models.nn.ode.runge_kutta import METHODS
from pipeline.settings import build_model
from tests.models.helpers import CLASSES, PARAMS, batch_of, drawings, optimizer_of, take_step, tiny

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


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_an_unknown_config_key_is_answered_with_the_nearest(name):
    known = fields(model_class(name).Config)[-1].name
    with pytest.raises(ParamsError, match=rf"models\.{name}\.config: unknown key '{known}x', did you mean '{known}'\?"):
        tiny(name, **{known + "x": 1})


def test_a_model_that_does_not_exist_is_answered_with_the_nearest():
    with pytest.raises(ParamsError, match=r"model 'sketchod' does not exist; did you mean 'sketchode'\?"):
        model_class("sketchod")
    with pytest.raises(ParamsError, match="'zzz' does not exist; expected one of: recognizer, rnn_seq2seq, sketchode"):
        build_model(read_params(PARAMS), "digits", "zzz", CLASSES)
