"""Promise: a dataset of one class trains no judge, says so wherever recognition would stand, and breaks nothing."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from ink.params import read_params
from pipeline import evaluate, results
from pipeline.commands import trained
from pipeline.dataset import load_dataset
from pipeline.judge import NO_JUDGE, has_judge, judge_of
from pipeline.report.inputs import read_inputs
from pipeline.report.page import run as write_report
from pipeline.report.tables import verdict
from pipeline.settings import JUDGE, build_model
from pipeline.studies import latent, training, views_latent
from pipeline.studies.cell import Cell, Finished
from pipeline.studies.views_training import table
from pipeline.train import train_model
from tests.pipeline.helpers import write_shards

SIZES = {"hidden_size": 6, "latent_size": 4, "points": 8}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose only dataset has one class, with a judge that went through the flow."""
    params = deepcopy(read_params(Path(__file__).parents[2] / "params.yaml"))
    params["datasets"]["sheep"]["model"] = SIZES
    params["run"] |= {"datasets": ["sheep"], "models": ["sketchode"]}
    (tmp_path / "params.yaml").write_text(json.dumps(params))
    write_shards(tmp_path, "sheep", classes=1)
    monkeypatch.chdir(tmp_path)
    train_model.fn("sheep", JUDGE)
    return tmp_path


@pytest.fixture
def model(project):
    torch.manual_seed(0)
    return build_model(read_params(), "sheep", "sketchode", 1).eval()


def test_the_judges_stage_leaves_its_outputs_and_no_weights(project) -> None:
    metrics = results.read_metrics("sheep", JUDGE)
    assert metrics["note"] == NO_JUDGE and "weights_sha256" not in metrics and "accuracy" not in metrics
    header, *rows = (project / "plots/sheep/recognizer/history.csv").read_text().splitlines()
    assert {"step", "valid_loss"} <= set(header.split(",")) and rows == []
    assert not (project / "checkpoints").exists() and not (project / "mlruns").exists()
    assert judge_of("sheep") is None and NO_JUDGE in results.one_line(metrics)


def test_two_classes_have_a_judge(tmp_path) -> None:
    write_shards(tmp_path, "sheep", classes=2)
    assert has_judge(load_dataset("sheep", tmp_path / "data/shards"))


def test_a_model_is_measured_and_reported_without_recognition(project, model) -> None:
    data = load_dataset("sheep")
    found = evaluate.evaluate_autoencoder(model, judge_of("sheep"), data)
    assert {"huber", "chamfer"} <= set(found.summary) and not [name for name in found.summary if "accuracy" in name]
    assert set(found.per_drawing) == {"key", "label", "huber", "chamfer"}
    results.write_reconstructions("sheep", "sketchode", data, found)
    results.write_interpolations("sheep", "sketchode", evaluate.interpolations(model, data, 2, 5, seed=0))
    results.write_history(
        "sheep", "sketchode", [{"epoch": 1, "step": 3, "seconds": 1, "train_loss": 2, "valid_loss": 2}]
    )
    run = {"steps": 3, "epochs": 1, "train_seconds": 1.0, "weights_sha256": "a" * 64, "data_sha256": "d" * 64}
    facts = {"model": "sketchode", "dataset": "sheep", "registered": "sketchode-sheep", "version": 1}
    results.write_metrics("sheep", "sketchode", found.summary | run | facts)
    text = write_report(project, "sheep").read_text()
    assert NO_JUDGE in text and "share of reconstructions in which the recogniser" not in text
    assert "What the recogniser saw" not in text and 'class="ceiling"' not in text
    assert "recognised" not in verdict(read_inputs(project, "sheep"))


def test_the_registry_is_not_asked_for_a_judge(project, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(trained.registry, "open_store", lambda experiment: "")
    monkeypatch.setattr(trained.registry, "find_version", lambda name, **_: asked.append(name))
    results.write_metrics("sheep", "sketchode", {"weights_sha256": "a" * 64})
    assert trained.missing_versions("sheep", ["sketchode"]) == [] and asked == ["sketchode-sheep"]


@pytest.mark.parametrize(
    ("work", "options"),
    [
        (latent.NEAR, {"drawings": 2, "samples": 1, "sigmas": [0.05], "relative_sigmas": [0.1]}),
        (latent.ABSTRACT, {"drawings": 2, "shares": [1.0, 0.5]}),
    ],
    ids=["near", "abstract"],
)
def test_a_study_of_champions_shows_what_is_left(work, options, project, model, monkeypatch) -> None:
    monkeypatch.setattr(latent, "champion_of", lambda cell: model)
    monkeypatch.setattr(latent, "prepare", lambda cell: load_dataset(cell.dataset))
    cell = Cell("s", "c", "sheep", "sketchode", {}, 0, None, {}, "near", options)
    result = work.run(cell, "f", lambda share: None)
    assert NO_JUDGE in result.notes and not [name for name in result.numbers if "accuracy" in name]
    found = [Finished(cell, "f", result.numbers, result.notes, [], result.drawings, 1.0)]
    shown = {"near": views_latent.near, "abstract": views_latent.abstract}[work.run.__name__](found, {})
    assert shown.verdicts and not [said for said in shown.verdicts if "recogni" in said]
    assert len(shown.tables[0].rows) == 1


def test_a_study_of_trainings_leaves_the_column_empty(project, model, monkeypatch) -> None:
    monkeypatch.setattr(training, "prepare", lambda cell: load_dataset(cell.dataset))
    monkeypatch.setattr(training, "from_scratch", lambda *given: (model, {"steps": 3}, []))
    monkeypatch.setattr(training, "objective", lambda model, data: {})
    cell = Cell("s", "c", "sheep", "sketchode", {}, 0, {"steps": 3}, {}, "train", {})
    result = training.run(cell, "f", lambda share: None)
    found = [Finished(cell, "f", result.numbers, result.notes, [], result.drawings, 1.0)]
    row = table(found, {"numbers": ["huber", "accuracy"]}).tables[0].rows[0]
    assert NO_JUDGE in result.notes and row[1] and row[2] == ""
