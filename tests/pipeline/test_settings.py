"""Promise: params.yaml as it is builds every model on every dataset, and a wrong value is named before any work."""

from copy import deepcopy
from pathlib import Path

import pytest
from pydantic import ValidationError

from ink.errors import ParamsError
from ink.params import read_params
from models import REGISTRY
from pipeline.settings import build_model, fit_params, run_params

PARAMS = read_params(Path(__file__).parents[2] / "params.yaml")


@pytest.fixture
def params():
    return deepcopy(PARAMS)


@pytest.mark.parametrize("model", sorted(REGISTRY))
@pytest.mark.parametrize("dataset", sorted(PARAMS["datasets"]))
def test_every_model_builds_on_every_dataset(dataset, model, params):
    built = build_model(params, dataset, model, classes=10)
    assert fit_params(params, dataset, model).steps >= 1
    of_dataset = PARAMS["datasets"][dataset].get("model") or {}
    fixed = PARAMS["models"][model]["config"] | (of_dataset.get(model) or {}).get("config", {})
    for key, value in fixed.items():
        found = getattr(built.config, key)
        assert (list(found) if isinstance(value, list) else found) == value
    for key in set(of_dataset) - set(REGISTRY) - set(fixed):  # what the model leaves open
        assert getattr(built.config, key, of_dataset[key]) == of_dataset[key]
    assert getattr(built.config, "classes", 10) == 10


def test_params_and_registry_name_the_same_models():
    assert set(PARAMS["models"]) == set(REGISTRY)


def test_the_run_section_is_complete_and_frozen(params):
    run = run_params(params)
    assert run.model_dump() == PARAMS["run"]
    with pytest.raises(ValidationError, match="frozen"):
        run.seed = 1


def test_a_models_own_value_wins_over_the_datasets(params):
    params["models"]["sketchode"]["config"]["points"] = 33
    assert build_model(params, "digits", "sketchode", 10).config.points == 33
    of_dataset = PARAMS["datasets"]["digits"]["model"]["points"]
    assert build_model(params, "digits", "rnn_seq2seq", 10).config.points == of_dataset


def test_a_dataset_may_change_a_models_config_and_recipe(params):
    own = {"config": {"omega": 1.5}, "fit": {"learning_rate": 0.5}}
    params["datasets"]["digits"]["model"]["sketchode"] = own
    assert build_model(params, "digits", "sketchode", 10).config.omega == 1.5
    recipe = fit_params(params, "digits", "sketchode")
    assert recipe.learning_rate == 0.5 and recipe.steps == PARAMS["models"]["sketchode"]["fit"]["steps"]
    assert fit_params(params, "digits", "rnn_seq2seq").learning_rate != 0.5
    own["fits"] = own.pop("fit")
    with pytest.raises(ParamsError, match=r"datasets\.digits\.model\.sketchode: did you mean 'fit'"):
        fit_params(params, "digits", "sketchode")
    own["fit"] = {"learning_rat": 1}
    del own["fits"]
    with pytest.raises(ParamsError, match=r"unknown key 'fit\.learning_rat'"):
        fit_params(params, "digits", "sketchode")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("datasets", ["digit"], r"dataset 'digit' is not in params.yaml; did you mean 'digits'\?"),
        ("models", ["sketchrnnn"], r"model 'sketchrnnn' does not exist; did you mean 'sketchrnn'\?"),
        ("datasets", [], "section run: datasets"),
        ("seed", -1, "section run: seed: .*got -1"),
        ("threads", 0, "section run: threads"),
        ("device", "gpu", "section run: device: .*'cpu' or 'cuda', got 'gpu'"),
        ("budget", float("nan"), "section run: budget"),
    ],
)
def test_a_wrong_run_value_is_named(key, value, message, params):
    params["run"][key] = value
    with pytest.raises(ParamsError, match=message):
        run_params(params)


def test_all_faults_of_a_recipe_are_reported_at_once(params):
    recipe = params["models"]["sketchode"]["fit"]
    recipe["learning_rat"] = recipe.pop("learning_rate")
    recipe["clip_norm"] = 0
    with pytest.raises(ParamsError) as caught:
        fit_params(params, "digits", "sketchode")
    assert str(caught.value).startswith("params.yaml, section models.sketchode (dataset digits): ")
    for part in ("'fit.learning_rate' is missing", "fit.learning_rat'", "fit.clip_norm", "got 0"):
        assert part in str(caught.value)


def test_a_missing_config_key_and_a_missing_block_are_named(params):
    del params["models"]["sketchode"]["config"]["omega"]
    with pytest.raises(ParamsError, match=r"section models\.sketchode\.config: missing omega"):
        build_model(params, "digits", "sketchode", 10)
    del params["datasets"]["digits"]["model"]
    with pytest.raises(ParamsError, match="missing hidden_size, latent_size, points"):
        build_model(params, "digits", "rnn_seq2seq", 10)
    del params["models"]["rnn_seq2seq"]
    missing = "key 'config' is missing; key 'fit' is missing"
    with pytest.raises(ParamsError, match=rf"models\.rnn_seq2seq \(dataset digits\): {missing}"):
        fit_params(params, "digits", "rnn_seq2seq")


def test_an_unknown_dataset_is_answered_with_the_nearest(params):
    with pytest.raises(ParamsError, match=r"did you mean 'quickdraw'\?"):
        build_model(params, "quickdrw", "sketchode", 10)
