"""Promise: a study's cells are what its block says, faults are named before any work, and nothing is run twice."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch

from ink.errors import InkmillError, ParamsError
from ink.params import read_params, section
from ink.table import Drawings
from pipeline.dataset import load_dataset
from pipeline.studies import flow, identity, training
from pipeline.studies.cell import known_fingerprint, read_finished
from pipeline.studies.declare import cells, study_names, with_values
from pipeline.studies.subset import nested, of_cell
from pipeline.studies.worker import run_cell
from stages.augment import AugmentParams, copies
from tests.pipeline.helpers import write_shards

PARAMS = read_params(Path(__file__).parents[2] / "params.yaml")


@pytest.fixture
def params():
    return deepcopy(PARAMS)


@pytest.mark.parametrize("budget", ["small", "paper"])
@pytest.mark.parametrize("name", study_names(PARAMS))
def test_every_study_of_params_yaml_has_cells_that_build(name, budget):
    plan, block = cells(PARAMS, name, budget), PARAMS["studies"][name]
    combinations = np.prod([len(levels) for levels in block["grid"].values()], dtype=int)
    stops = max(1, len(block[budget]["stops"]))
    assert len(plan) == len(block["models"]) * combinations * stops * len(block[budget]["seeds"])
    assert len({cell.folder for cell in plan}) == len(plan)


def test_a_cell_holds_the_values_of_its_levels():
    plan = {cell.name: cell for cell in cells(PARAMS, "ablation", "small")}
    cell = plan["sketchode_tanh_gaussian_seed2"]
    assert cell.levels == {"activation": "tanh", "noise": "gaussian"} and cell.seed == 2
    assert cell.params["models"]["sketchode"]["config"]["activation"] == "tanh"
    assert cell.params["augment"]["kind"] == "gaussian"
    assert PARAMS["models"]["sketchode"]["config"]["activation"] == "sin", "the file's own values are untouched"


def test_a_cells_value_wins_over_the_datasets_block(params):
    params["datasets"]["digits"]["augment"] = {"copies": 9}
    params["datasets"]["digits"]["model"]["sketchode"] = {"fit": {"learning_rate": 0.5}}
    values = {
        "augment.copies": 2,
        "models.sketchode.fit.learning_rate": 0.25,
        "dataset.model.hidden_size": 7,
    }
    changed = with_values(params, "digits", values, "here")
    assert section(changed, "augment", AugmentParams, "digits").copies == 2
    assert changed["datasets"]["digits"]["model"]["sketchode"]["fit"]["learning_rate"] == 0.25
    assert changed["datasets"]["digits"]["model"]["hidden_size"] == 7
    assert params["datasets"]["digits"]["augment"] == {"copies": 9}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"grid": {"models.sketchode.config.activatoin": ["sin"]}},
            "activatoin' in params.yaml; did you mean 'activat",
        ),
        ({"grid": {"models.sketchode.config.activation": ["sine"]}}, "activation must be one of"),
        ({"grid": {"noise": {"odd": {"augment.kind": "odd"}}}}, "section augment .*kind.*got 'odd'"),
        ({"grid": {"subset.fraction": [0]}}, r"subset: fraction: .*got 0"),
        ({"models": ["sketchod"]}, "model 'sketchod' does not exist; did you mean 'sketchode"),
        ({"work": "trian"}, r"ablation\.work: 'trian' does not exist; did you mean 'train'"),
        ({"view": "factor"}, r"ablation\.view: 'factor' does not exist; did you mean 'factors'"),
        ({"dataset": "digit"}, "did you mean 'digits'"),
        ({"options": {"sigma": 1}}, r"ablation\.options: unknown key 'sigma'"),
        ({"show": {"number": "huber", "claims": {"activation": "sine"}}}, "no level 'sine'; did you mean 'sin'"),
        ({"small": {"seeds": [0], "stops": [], "set": {}}}, r"small\.stops: the work 'train' needs one stop"),
        (
            {"small": {"seeds": [0, 0], "stops": [{"steps": 1}], "set": {}}},
            "cells of one name: sketchode_relu_gaussian_seed0",
        ),
        ({"small": {"seeds": [0], "stops": [{"steps": 1, "epochs": 1}], "set": {}}}, "exactly one of steps, epochs"),
        ({"gird": {}}, "unknown key 'gird', did you mean 'grid'"),
    ],
)
def test_a_wrong_block_is_refused_before_any_work(change, message, params):
    params["studies"]["ablation"] |= change
    with pytest.raises(ParamsError, match=message):
        cells(params, "ablation", "small")


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(ParamsError, match=r"study .ablaton. is not in params\.yaml; did you mean 'ablation'"):
        cells(PARAMS, "ablaton", "small")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with the project's params.yaml made tiny, shards of 40 synthetic drawings, a judge's metrics."""
    folder = tmp_path_factory.mktemp("project")
    params = deepcopy(PARAMS)
    params["datasets"]["digits"]["model"] = {"hidden_size": 6, "latent_size": 4, "points": 8}
    params["models"]["sketchode"]["fit"] |= {"batch_size": 8}
    params["run"] |= {"threads": 1, "models": ["sketchode"]}
    params["studies"] = {
        "toy": PARAMS["studies"]["ablation"]
        | {
            "grid": {"models.sketchode.config.activation": ["sin", "tanh"]},
            "show": {"number": "valid_loss", "claims": {"activation": "sin"}},
            "small": {"seeds": [0, 1], "stops": [{"steps": 9}], "set": {"augment.copies": 1}},
        }
    }
    (folder / "params.yaml").write_text(json.dumps(params))
    write_shards(folder, "digits", classes=4)
    (folder / "metrics/digits").mkdir(parents=True)
    (folder / "metrics/digits/recognizer.json").write_text(json.dumps({"weights_sha256": "a" * 64}))
    return folder


@pytest.fixture
def inside(project, monkeypatch):
    """The project as the current folder, with a store of its own, and a judge that knows nothing."""
    monkeypatch.chdir(project)
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    uri = f"sqlite:///{project / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for set_uri in (mlflow.set_tracking_uri, mlflow.set_registry_uri):
        set_uri(uri)
    monkeypatch.setattr(training.evaluate, "classify", lambda judge, ink: np.zeros(len(ink), np.int64))
    monkeypatch.setattr(training, "judge_of", lambda dataset: "a judge")
    deterministic, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    yield project
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(threads)
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])


def test_fractions_are_nested_and_hold_every_class(inside):
    train = load_dataset("digits").originals()
    labels = train.column("label")
    parts = {share: set(nested(train, share).tolist()) for share in (0.25, 0.5, 0.75, 1.0)}
    assert parts[0.25] < parts[0.5] < parts[0.75] < parts[1.0] == set(range(24))
    for share, part in parts.items():
        for label in set(labels):
            of_label = np.flatnonzero(labels == label)
            assert len(part & set(of_label.tolist())) == max(1, round(share * len(of_label)))
    turned = train.take(np.arange(24)[::-1])
    keys = set(train.column("key")[sorted(parts[0.5])])
    assert set(turned.column("key")[nested(turned, 0.5)]) == keys, "the order of the drawings plays a part"


def test_a_cells_data_are_what_the_stages_would_have_made(inside):
    params, data = read_params(), load_dataset("digits")
    values = {"subset.fraction": 0.5, "subset.classes": ["0", "2"], "augment.kind": "gaussian", "augment.copies": 2}
    changed = with_values(params, "digits", values, "here")
    found = of_cell(data, changed)
    originals = found.originals()
    assert set(originals.column("label")) == {"0", "2"} == set(found.test.column("label"))
    assert found.classes == data.classes, "a class keeps its index"
    settings = section(changed, "augment", AugmentParams, "digits")
    whole = Drawings.concat(copies(data.originals(), settings, params["run"]["seed"]))
    expected = {key: whole.ink.strokes(n) for n, key in enumerate(whole.column("key"))}
    made = {key: found.train.ink.strokes(n) for n, key in enumerate(found.train.column("key")) if "#" in key}
    assert len(made) == 2 * len(originals)
    for key, strokes in made.items():
        for stroke, other in zip(strokes, expected[key], strict=True):
            np.testing.assert_array_equal(stroke, other)


def test_a_fingerprint_is_of_what_decides_a_cell(inside):
    plan = {cell.name: cell for cell in cells(read_params(), "toy", "small")}
    prints = {name: identity.fingerprint_of(cell) for name, cell in plan.items()}
    assert len(set(prints.values())) == len(plan)
    params = read_params()
    params["models"]["rnn_seq2seq"]["fit"]["steps"] += 1
    params["studies"]["toy"]["about"] = "another sentence"
    again = {cell.name: identity.fingerprint_of(cell) for cell in cells(params, "toy", "small")}
    assert again == prints, "what another model does decides nothing"
    params["models"]["sketchode"]["fit"]["clip_norm"] *= 2
    changed = {cell.name: identity.fingerprint_of(cell) for cell in cells(params, "toy", "small")}
    assert not set(changed.values()) & set(prints.values())
    names = {path.relative_to(identity._PROJECT).as_posix() for path in identity.sources(("models/sketchode.py",))}
    assert {"models/sketchode.py", "models/base.py", "models/nn/ode/fused.py", "ink/geometry.py"} <= names
    assert not names & {"models/__init__.py", "models/rnn_seq2seq.py", "models/recognizer.py"}


def test_a_work_without_a_judge_needs_none(inside, monkeypatch):
    cell = cells(read_params(), "toy", "small")[0]
    unjudged = replace(cell, work="likelihood", options={"parts": "none", "bounds": []})

    def absent(dataset, model):
        raise InkmillError("no judge")

    monkeypatch.setattr(identity.results, "read_metrics", absent)
    assert len(identity.fingerprint_of(unjudged)) > 0
    with pytest.raises(InkmillError, match="no judge"):
        identity.fingerprint_of(cell)


def test_a_study_is_run_once_and_goes_on_after_a_kill(inside, monkeypatch):
    started = []

    def in_process(place, left, book, side_by_side):
        for number, cell in enumerate(left):
            flow.write_task(cell)
            started.append(cell.name)
            if number == 2:
                raise InkmillError("killed")
            run_cell(cell.folder)
            book.write(read_finished(cell))

    monkeypatch.setattr(flow, "_run_cells", in_process)
    with pytest.raises(InkmillError, match="killed"):
        flow.run_study.fn("toy")
    assert not Path("metrics/studies/toy.json").exists()
    del started[:]
    summary = flow.run_study.fn("toy")
    plan = cells(read_params(), "toy", "small")
    assert started == [cell.name for cell in plan[2:]], "the first two were finished"
    assert flow.run_study.fn("toy")["summary"] == summary["summary"] and started == [cell.name for cell in plan[2:]]
    assert [known_fingerprint(cell.folder) for cell in plan] == [cell["fingerprint"] for cell in summary["cells"]]
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("studies").experiment_id
    runs = client.search_runs(experiment)
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == summary["mlflow_run_id"]]
    assert sorted(run.data.tags["cell"] for run in children) == sorted(cell.name for cell in plan)
    assert len(runs) == len(plan) + 1 and {run.data.tags["seed"] for run in children} == {"0", "1"}
    page = Path("reports/studies/toy/index.html").read_text()
    assert all(verdict.split("(")[0] in page for verdict in summary["verdicts"]) and "<script src" not in page
    assert 'href="toy/index.html"' in Path("reports/studies/index.html").read_text()
    assert [path.name for path in Path("reports").iterdir()] == ["studies"], "the dataset's report is DVC's"
    assert Path("plots/studies/toy/results.csv").read_text().count("\n") == 5


def test_another_seed_gives_other_numbers_and_the_same_seed_the_same(inside):
    cell = cells(read_params(), "toy", "small")[0]
    flow.write_task(cell)
    run_cell(cell.folder)
    first = read_finished(cell).numbers["weights_sha256"]
    for stale in cell.folder.iterdir():
        stale.unlink()
    flow.write_task(cell)
    run_cell(cell.folder)
    assert read_finished(cell).numbers["weights_sha256"] == first
    other = cells(read_params(), "toy", "small")[1]
    assert other.seed != cell.seed
    flow.write_task(other)
    run_cell(other.folder)
    assert read_finished(other).numbers["weights_sha256"] != first
