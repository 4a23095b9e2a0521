"""Promise: content is registered once, champion is the best on the same test, and any process can use a version."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from ink import geometry
from ink.errors import DataError, RegistryError
from ink.params import read_params
from ink.table import Drawings, Ink
from pipeline import registry
from pipeline.checkpoint import weights_sha256
from pipeline.registry import Score
from pipeline.settings import build_model

ROOT = Path(__file__).parents[2]
TINY = {
    "sketchode": {"hidden_size": 6, "latent_size": 4, "points": 40},
    "recognizer": {"size": 32, "channels": [4, 4, 4, 4]},
    "sketchrnn": {"encoder_size": 4, "decoder_size": 6, "latent_size": 3, "mixtures": 2, "max_points": 40},
    "sketchrnn_decoder": {"decoder_size": 6, "mixtures": 2, "max_points": 40, "epsilon": 0.0},
}
CLASSES = ("cat", "owl")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store in a temporary folder, and that folder the current one."""
    folder = tmp_path_factory.mktemp("store")
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"):
            patch.setenv(name, "")
            patch.delenv(name)
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK", "true")
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        registry.open_store("animals")
        yield folder
        mlflow.set_tracking_uri(before[0])
        mlflow.set_registry_uri(before[1])


def model_of(kind, seed):
    params = read_params(ROOT / "params.yaml")
    params["models"][kind]["config"] |= TINY[kind]
    torch.manual_seed(seed)
    return build_model(params, "digits", kind, len(CLASSES)).eval()


def register(name, model, value, test="a", kind="sketchode", rescore=None):
    """Register in a run of its own, as the flow does; a rescore that is not expected fails."""

    def unexpected(_):
        raise AssertionError("the same test shards need no rescoring")

    card = {"model": kind, "dataset": "animals", "classes": CLASSES, "clock": "arc_length", "data_sha256": "d" * 64}
    with mlflow.start_run():
        return registry.register(model, name, card, Score("huber", value, test * 64), rescore or unexpected)


def versions(name):
    return sorted(int(found.version) for found in mlflow.MlflowClient().search_model_versions(f"name='{name}'"))


def aliases(name):
    return {key: int(value) for key, value in mlflow.MlflowClient().get_registered_model(name).aliases.items()}


def test_the_same_content_is_registered_once_and_comes_back_whole(store):
    model = model_of("sketchode", 0)
    first = register("once", model, 0.5)
    again = register("once", model_of("sketchode", 0), 0.5)
    assert versions("once") == [1] and again.version == first.version
    assert registry.aliases_of(again) == ["champion"]
    found = registry.find_version("once", sha256=weights_sha256(model))
    assert found.tags["score"] == "0.5" and found.tags["data_sha256"] == "d" * 64
    loaded, card = registry.load_registered(found)
    assert weights_sha256(loaded) == weights_sha256(model) and loaded.config == model.config
    assert card["classes"] == list(CLASSES) and not loaded.training


def test_champion_is_the_best_on_the_same_test_and_challenger_the_last_other(store):
    register("race", model_of("sketchode", 0), 0.5)
    register("race", model_of("sketchode", 1), 0.6)
    assert aliases("race") == {"champion": 1, "challenger": 2}
    register("race", model_of("sketchode", 2), 0.4)
    assert aliases("race") == {"champion": 3, "challenger": 1}
    register("race", model_of("sketchode", 3), 0.4)  # a tie does not move it
    assert aliases("race") == {"champion": 3, "challenger": 4}
    assert registry.find_version("race", "champion").tags["score"] == "0.4"

    rescored = []

    def rescore(other):  # on other test shards the champion is measured anew
        rescored.append(weights_sha256(other))
        return 0.95

    register("race", model_of("sketchode", 4), 0.9, test="b", rescore=rescore)
    assert rescored == [weights_sha256(model_of("sketchode", 2))]
    assert aliases("race") == {"champion": 5, "challenger": 3}


@pytest.mark.parametrize("change", ["config", "weights"])
def test_a_champion_of_other_code_is_named_and_steps_down(store, change, capsys):
    name = f"aged-{change}"
    old = register(name, model_of("sketchode", 0), 0.1)
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{old.version}")) / "artifacts"
    if change == "config":  # as of a time when models had no omega
        card = json.loads((folder / "config.json").read_text())
        del card["config"]["omega"]
        (folder / "config.json").write_text(json.dumps(card))
        reason = "missing omega"
    else:
        weights = load_file(folder / "weights.safetensors")
        weights["cde.first.weight"] = weights.pop("cde.state.weight")
        save_file(weights, folder / "weights.safetensors")
        reason = "cde.state.weight"
    with pytest.raises(RegistryError, match=rf"{name} version 1 was registered by other code.*{reason}.*inkmill train"):
        registry.load_registered(old)
    register(name, model_of("sketchode", 1), 0.9, test="b")
    assert aliases(name) == {"champion": 2, "challenger": 1}
    assert "steps down" in capsys.readouterr().out


def test_what_is_not_there_is_answered_with_what_there_is(store):
    register("sketchode-animals", model_of("sketchode", 5), 0.5)
    with pytest.raises(RegistryError, match=r"no model 'sketchode-animal'; did you mean 'sketchode-animals'\?"):
        registry.find_version("sketchode-animal", "champion")
    with pytest.raises(RegistryError, match=r"no model 'zzz'; expected one of: .*sketchode-animals"):
        registry.find_version("zzz", "champion")
    with pytest.raises(RegistryError, match=r"has no alias 'champoin'; did you mean 'champion'\?"):
        registry.find_version("sketchode-animals", "champoin")
    with pytest.raises(RegistryError, match="has no alias 'challenger'; expected one of: champion"):
        registry.find_version("sketchode-animals", "challenger")
    with pytest.raises(RegistryError, match="no version of sketchode-animals with weights eeeeeeeeeeee"):
        registry.find_version("sketchode-animals", sha256="e" * 64)


STRANGER = """
import json, sys
import mlflow, numpy as np, pandas as pd
frame = pd.read_parquet("drawings.parquet")
quick = pd.DataFrame({"drawing": json.load(open("quick.json"))})
model = mlflow.pyfunc.load_model("models:/autoencoder@champion")
judge = mlflow.pyfunc.load_model("models:/judge@champion")
table = model.predict(frame)
out = {name: [np.asarray(row).tolist() for row in table[name]] for name in table}
out = {"table": out, "quick": model.predict(quick)["drawing"].tolist()}
out["fine"] = [len(x) for x in model.predict(frame, params={"points": 200})["x"]]
out["vae"] = mlflow.pyfunc.load_model("models:/vae@champion").predict(frame)["x"]
out["vae"] = [np.asarray(x).tolist() for x in out["vae"]]
finisher = mlflow.pyfunc.load_model("models:/finisher@champion")
for seed in (1, 1, 2):
    finished = finisher.predict(quick, params={"extent": 0.5, "temperature": 1.0, "seed": seed})["drawing"].tolist()
    out.setdefault("finished", []).append(finished)
out["judged"], out["judged quick"] = (judge.predict(given).to_dict("list") for given in (frame, quick))
json.dump(out, open("answer.json", "w"))
"""


def drawings():
    """Three drawings of two strokes, far from the origin and of different size."""
    rng = np.random.default_rng(3)
    made = []
    for scale in (30.0, 100.0, 3.0):
        xy = np.cumsum(rng.normal(size=(20, 2)), 0) * scale + (500, -200)
        made.append(np.split(np.column_stack([xy, np.arange(20) * 0.05]), [8]))
    return Drawings.build(Ink.from_strokes(made), [f"k/{i}" for i in range(3)], ["cat", "owl", "cat"])


@pytest.fixture(scope="module")
def answer(store, tmp_path_factory):
    """What another process in another folder, without the project on its path, gets from the registry."""
    register("autoencoder", model_of("sketchode", 6), 0.5)
    register("judge", model_of("recognizer", 7), 0.5, kind="recognizer")
    register("vae", model_of("sketchrnn", 8), 0.5, kind="sketchrnn")
    register("finisher", model_of("sketchrnn_decoder", 9), 0.5, kind="sketchrnn_decoder")
    folder = tmp_path_factory.mktemp("elsewhere")
    ink = drawings().ink
    pq.write_table(drawings().to_table(), folder / "drawings.parquet")
    quick = [[np.round([s[:, 0], s[:, 1], s[:, 2] * 1000], 3).tolist() for s in ink.strokes(n)] for n in range(3)]
    quick[2] = [stroke[:2] for stroke in quick[2]]  # the simplified form has no times
    (folder / "quick.json").write_text(json.dumps([json.dumps(drawing) for drawing in quick]))
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-c", STRANGER]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "answer.json").read_text())


def expected_reconstruction(points=None, kind="sketchode", seed=6):
    """The same by hand: unit circle, clock, encode, decode, back to the drawing's own coordinates."""
    model = model_of(kind, seed)
    unit, *frame = geometry.unit_circle(drawings().ink)
    unit = geometry.with_arc_length_clock(unit)
    with torch.no_grad():
        sequence = model.decode(model.encode(model.representation.collate(unit)), points)
    return geometry.restore(model.representation.to_ink(sequence), *frame)


def test_a_stranger_gets_drawings_for_a_table_of_drawings(answer):
    expected, table = expected_reconstruction(), answer["table"]
    assert sorted(table) == ["offsets", "t", "x", "y"]
    for axis in "xyt":
        flat = np.concatenate(table[axis])
        np.testing.assert_allclose(flat, getattr(expected, axis), rtol=1e-4, atol=1e-3)
    assert [len(x) for x in table["x"]] == np.diff(expected.point_offsets).tolist()
    assert all(offsets[0] == 0 and sorted(set(offsets)) == offsets for offsets in table["offsets"])
    boxes = geometry.bounding_boxes(drawings().ink)
    for n in range(3):  # centred where the drawing was
        center = [(min(table[axis][n]) + max(table[axis][n])) / 2 for axis in "xy"]
        np.testing.assert_allclose(center, (boxes[n, :2] + boxes[n, 2:]) / 2, rtol=1e-4)


def test_a_stranger_chooses_the_resolution(answer):
    assert answer["fine"] == np.diff(expected_reconstruction(200).point_offsets).tolist()


def test_a_stranger_gets_strokes_for_strokes(answer):
    quick = [json.loads(text) for text in answer["quick"]]
    for n, drawing in enumerate(quick):
        x, y = (np.concatenate([stroke[axis] for stroke in drawing]) for axis in (0, 1))
        np.testing.assert_allclose(x, answer["table"]["x"][n], rtol=1e-3, atol=0.01)
        np.testing.assert_allclose(y, answer["table"]["y"][n], rtol=1e-3, atol=0.01)
        assert all(len(stroke) == 3 and len({len(axis) for axis in stroke}) == 1 for stroke in drawing)


def test_a_stranger_gets_drawings_from_a_variational_model(answer):
    expected = expected_reconstruction(kind="sketchrnn", seed=8)
    np.testing.assert_allclose(np.concatenate(answer["vae"]), expected.x, rtol=1e-4, atol=1e-2)


def test_a_model_without_code_finishes_the_drawings_where_they_lie(answer):
    first, again, other = ([json.loads(text) for text in made] for made in answer["finished"])
    assert first == again and first != other
    for given, made in zip((drawings().ink.strokes(n) for n in range(3)), first, strict=True):
        pixel = np.ptp(np.concatenate(given)[:, :2], 0).max() / (255 * 0.5)
        made = [np.array(stroke[:2]).T for stroke in made]
        np.testing.assert_allclose(made[0], given[0][:, :2], atol=1.5 * pixel)
        np.testing.assert_allclose(made[1][:12], given[1][:, :2], atol=1.5 * pixel)
        assert 20 < sum(map(len, made)) <= 41  # and goes on


def test_a_stranger_gets_class_names_from_the_judge(answer):
    for given in ("judged", "judged quick"):
        assert set(answer[given]["label"]) <= set(CLASSES)
        assert all(0.5 <= probability <= 1 for probability in answer[given]["probability"])
    assert answer["judged"]["label"] == answer["judged quick"]["label"]


def test_a_table_made_by_hand_in_float64_is_taken(answer):
    ink = drawings().ink
    rows = [np.concatenate(ink.strokes(n)).astype(float) for n in range(3)]
    frame = pd.DataFrame({name: [row[:, i].tolist() for row in rows] for i, name in enumerate("xyt")})
    frame["offsets"] = [[0, 8]] * 3
    found = mlflow.pyfunc.load_model("models:/autoencoder@champion").predict(frame)
    for axis in "xy":
        flat = np.concatenate(answer["table"][axis])
        np.testing.assert_allclose(np.concatenate(list(found[axis])), flat, rtol=1e-4, atol=1e-3)


def test_an_extent_that_is_none_is_refused(store, answer):
    model = mlflow.pyfunc.load_model("models:/finisher@champion")
    with pytest.raises(DataError, match=r"extent must be above 0 and at most 1, got 1\.5"):
        model.predict(pd.DataFrame({"drawing": ["[[[1, 2], [3, 4]]]"]}), params={"extent": 1.5})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("not json", "row 1: expected Quick, Draw! strokes"),
        ("[]", "row 1: an empty drawing"),
        ("[[[1, 2], [3]]]", "row 1: expected Quick, Draw! strokes"),
        ("[[[1, NaN], [3, 4]]]", "row 1: .*not finite"),
    ],
)
def test_a_row_that_is_no_drawing_is_named(store, answer, row, message):
    model = mlflow.pyfunc.load_model("models:/autoencoder@champion")
    with pytest.raises(DataError, match=message):
        model.predict(pd.DataFrame({"drawing": ["[[[1, 2], [3, 4]]]", row]}))
