"""Promise: a training that is killed and started again ends with the weights of one that was not, bit for bit."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ink import geometry
from ink.errors import InkmillError
from ink.params import read_params
from ink.table import Drawings, Ink
from pipeline import fit
from pipeline.checkpoint import fingerprint, read_state, weights_sha256
from pipeline.dataset import Dataset
from pipeline.settings import FitParams, build_model

RECIPE = FitParams(
    steps=11, batch_size=6, learning_rate=0.01, weight_decay=0.1, clip_norm=1.0, cosine_cycles=2, cycle_decay=0.5
)
EPOCHS = 3  # of 20 drawings, 4 steps each; the last epoch is cut short by `steps`
TINY = {
    "sketchode": {"hidden_size": 6, "latent_size": 4, "points": 8},
    "rnn_seq2seq": {"hidden_size": 6, "latent_size": 4, "points": 8},
    "sketchode_generative": {"hidden_size": 6, "context_size": 2, "points": 8, "bayesian": True},
    "sketchode_strokes": {"hidden_size": 6, "latent_size": 4, "points_per_stroke": 8},
    "sketchrnn": {"encoder_size": 4, "decoder_size": 6, "latent_size": 3, "mixtures": 2, "recurrent_dropout": 0.2},
    "recognizer": {"size": 32, "channels": [4, 4, 4, 4]},
}


class Killed(Exception):
    """Stands for a kill at a known place."""


def drawings(count, seed):
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        xy = np.cumsum(rng.normal(size=(9, 2)), 0)
        made.append(np.split(np.column_stack([xy, np.arange(9)]), [4]))
    unit = geometry.unit_circle(Ink.from_strokes(made))[0]
    ink = geometry.with_arc_length_clock(unit)
    return Drawings.build(ink, [f"s/{seed}/{i}" for i in range(count)], [str(i % 3) for i in range(count)])


@pytest.fixture(scope="module")
def data():
    return Dataset("synthetic", drawings(20, 0), drawings(5, 1), drawings(5, 2), ("0", "1", "2"), "d" * 64, "t" * 64)


def fresh(name):
    params = read_params(Path(__file__).parents[2] / "params.yaml")
    params["models"][name]["config"] |= TINY[name]
    fit.seed_everything(5, threads=1)  # tiny tensors: more threads only wait for each other
    return build_model(params, "digits", name, 3)


@pytest.fixture(autouse=True, scope="module")
def torch_settings():
    """Give the settings that `seed_everything` changes back to the other tests."""
    deterministic, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.utils.deterministic.fill_uninitialized_memory = filled
    torch.use_deterministic_algorithms(deterministic)
    torch.set_num_threads(threads)


def test_training_keeps_its_thread_count_when_kernels_start_a_pool_of_their_own():
    script = """
import numpy as np, torch
from ink.metrics import chamfer
from ink.table import Ink
from pipeline.fit import seed_everything
seed_everything(0, threads=1)
ink = Ink.from_strokes([[np.random.rand(5, 3)]] * 9)
chamfer(ink, ink)  # a parallel kernel
print(torch.get_num_threads())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"]


def job_at(folder, **changes):
    job = fit.Job(RECIPE, RECIPE.steps, 5, "cpu", folder / "c.safetensors", "f" * 64)
    return dataclasses.replace(job, **changes)


def run(name, data, job, on_epoch=lambda notes, row: None):
    """Train a fresh model; return it, its last state, and the states that it started from."""
    model, starts = fresh(name), []

    def on_start(state):
        starts.append(json.loads(json.dumps(state)))
        return {"run_id": (state["notes"] or {}).get("run_id", "run-1")}

    state = fit.train(model, data, job, on_start, on_epoch)
    return model, state, starts[0]


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """The sha256 of each model's weights, trained in one go."""
    return {name: weights_sha256(run(name, data, job_at(tmp_path_factory.mktemp(name)))[0]) for name in TINY}


def without_times(history):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]


@pytest.mark.parametrize("name", TINY)
def test_two_trainings_give_the_same_weights_and_the_recipe_is_carried_out(name, data, undisturbed, tmp_path):
    seen = []
    model, state, start = run(name, data, job_at(tmp_path), lambda notes, row: seen.append((notes, row)))
    assert weights_sha256(model) == undisturbed[name] != weights_sha256(fresh(name))
    assert start["notes"] is None and start["epoch"] == 0
    assert (state["epoch"], state["step"]) == (EPOCHS, RECIPE.steps)
    assert [row["step"] for row in state["history"]] == [4, 8, 11]
    assert [row for _, row in seen] == state["history"] and seen[0][0] == {"run_id": "run-1"}
    for row in state["history"]:
        assert np.isfinite(row["train_loss"]) and np.isfinite(row["valid_loss"])
    assert state["history"][-1]["learning_rate"] == fit.learning_rate(RECIPE, 10, 11)
    assert read_state(tmp_path / "c.safetensors") == state


def test_tensors_that_come_ready_train_as_the_dataset_that_they_are_of(data, undisturbed, tmp_path):
    for name in TINY:
        seen = fit.examples(fresh(name), data)
        assert weights_sha256(run(name, seen, job_at(tmp_path / name))[0]) == undisturbed[name]


def test_another_seed_gives_other_weights(data, undisturbed, tmp_path):
    assert weights_sha256(run("sketchode", data, job_at(tmp_path, seed=6))[0]) != undisturbed["sketchode"]


@pytest.mark.parametrize("epoch", range(1, EPOCHS + 1))
@pytest.mark.parametrize("saved", [False, True], ids=["before the save", "after the save"])
@pytest.mark.parametrize("name", TINY)
def test_a_killed_training_goes_on_to_the_same_weights(name, saved, epoch, data, undisturbed, tmp_path, monkeypatch):
    job, save = job_at(tmp_path), fit.save_checkpoint

    def killed_epoch(notes, row):
        if row["epoch"] == epoch and not saved:
            raise Killed

    def save_and_be_killed(path, model, optimizer, state):
        save(path, model, optimizer, state)
        if state["epoch"] == epoch:
            raise Killed

    with monkeypatch.context() as patch:
        if saved:
            patch.setattr(fit, "save_checkpoint", save_and_be_killed)
        with pytest.raises(Killed):
            run(name, data, job, killed_epoch)
    rows = []
    model, state, start = run(name, data, job, lambda notes, row: rows.append(row["epoch"]))
    survived = epoch if saved else epoch - 1
    assert start["epoch"] == survived
    assert start["notes"] == ({"run_id": "run-1"} if survived else None)
    assert rows == list(range(survived + 1, EPOCHS + 1))
    assert [row["epoch"] for row in state["history"]] == [1, 2, 3]
    assert weights_sha256(model) == undisturbed[name]


def test_a_training_killed_between_two_steps_goes_on_from_its_last_epoch(data, undisturbed, tmp_path, monkeypatch):
    loss, calls = type(fresh("sketchode")).loss, []

    def interrupted(self, batch):
        calls.append(1)
        if self.training and len(calls) == 7:
            raise KeyboardInterrupt
        return loss(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(type(fresh("sketchode")), "loss", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run("sketchode", data, job_at(tmp_path))
    model, _, start = run("sketchode", data, job_at(tmp_path))
    assert start["epoch"] == 1 and weights_sha256(model) == undisturbed["sketchode"]


def test_a_finished_training_is_not_trained_again(data, undisturbed, tmp_path):
    _, first, _ = run("rnn_seq2seq", data, job_at(tmp_path))
    rows = []
    model, state, start = run("rnn_seq2seq", data, job_at(tmp_path), lambda notes, row: rows.append(row))
    assert rows == [] and state == first and start["step"] == 11
    assert weights_sha256(model) == undisturbed["rnn_seq2seq"]


def test_a_checkpoint_of_another_fingerprint_is_not_resumed(data, undisturbed, tmp_path):
    run("sketchode", data, job_at(tmp_path, fingerprint="e" * 64, seed=9))
    model, _, start = run("sketchode", data, job_at(tmp_path))
    assert start["epoch"] == 0 and start["notes"] is None and start["history"] == []
    assert weights_sha256(model) == undisturbed["sketchode"]
    assert read_state(tmp_path / "c.safetensors")["fingerprint"] == "f" * 64


def test_the_fingerprint_follows_values_and_sources_not_their_order(tmp_path):
    a, b = tmp_path / "a.py", tmp_path / "b.py"
    a.write_text("1"), b.write_text("2")
    first = fingerprint({"x": 1, "y": 2}, [a, b])
    assert fingerprint({"y": 2, "x": 1}, [b, a]) == first
    assert fingerprint({"x": 1, "y": 3}, [a, b]) != first
    b.write_text("3")
    assert fingerprint({"x": 1, "y": 2}, [a, b]) != first


@pytest.mark.parametrize("kept", [0, 4, 0.02, 0.5, -1])
def test_a_truncated_checkpoint_stops_the_training(kept, data, tmp_path):
    run("rnn_seq2seq", data, job_at(tmp_path))
    path = tmp_path / "c.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if 0 < kept < 1 else kept])
    with pytest.raises(InkmillError, match=r"c\.safetensors: not a readable checkpoint .*delete it to start anew"):
        run("rnn_seq2seq", data, job_at(tmp_path))


def test_a_loss_that_is_not_finite_stops_the_training_and_keeps_the_last_epoch(data, tmp_path):
    def poison(notes, row):
        if row["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        run("sketchode", data, job_at(tmp_path), poison)
    model = fresh("sketchode")
    model.loss = lambda batch: {"loss": sum(p.sum() for p in model.parameters() if p.requires_grad) * float("nan")}
    with pytest.raises(InkmillError, match=r"SketchODE: the loss .* not finite at step 4; .*Lower learning_rate"):
        fit.train(model, data, job_at(tmp_path), lambda state: state["notes"], lambda notes, row: None)
    assert read_state(tmp_path / "c.safetensors")["epoch"] == 1


def with_overflows(model, steps):
    """Make the gradient, not the loss, overflow at these steps."""
    loss, count = model.loss, iter(range(10**6))

    def overflowing(batch):
        terms = loss(batch)
        if next(count) in steps:
            zero = (terms["loss"] - terms["loss"].detach()) * 1e30
            terms["loss"] = terms["loss"] + zero * 1e30
        return terms

    model.loss = overflowing
    return model


def test_a_step_whose_gradient_overflows_is_left_out_and_counted(data, tmp_path):
    seen = []

    def watch(notes, row):
        seen.append(row["train_overflows"])

    model = with_overflows(fresh("sketchode"), {1, 5, 6})
    state = fit.train(model, data, job_at(tmp_path), lambda state: state["notes"], watch)
    assert seen == [0.25, 0.5, 0] and state["step"] == RECIPE.steps
    assert all(bool(p.isfinite().all()) for p in model.parameters())
    before = weights_sha256(fresh("sketchode"))
    model = with_overflows(fresh("sketchode"), set(range(20)))
    with pytest.raises(InkmillError, match="not finite at step 9"):
        fit.train(model, data, job_at(tmp_path / "all"), lambda state: state["notes"], lambda notes, row: None)
    assert weights_sha256(model) == before


def test_weight_decay_reaches_the_named_parameters_only(data, tmp_path):
    decayed, plain = (
        run("sketchode", data, job_at(tmp_path / name, fit=RECIPE.model_copy(update={"weight_decay": value}), steps=1))[
            0
        ]
        for name, value in (("a", 0.1), ("b", 0.0))
    )
    names = {id(parameter): name for name, parameter in plain.named_parameters()}
    expected = {names[id(parameter)] for parameter in plain.decayed_parameters()}
    other = plain.state_dict()
    assert {key for key, value in decayed.state_dict().items() if not torch.equal(value, other[key])} == expected


def test_validation_is_the_mean_over_drawings_whatever_the_batch(data):
    model = fresh("sketchode")
    batch = {"points": model.representation.collate(data.valid.ink), "label": torch.zeros(5, dtype=torch.int64)}
    expected = np.mean([float(model.loss({"points": p[None]})["loss"].detach()) for p in batch["points"]])
    for size in (1, 2, 100):
        assert fit.validate(model, batch, size, "cpu") == pytest.approx(expected, rel=1e-5)
    assert model.training
