"""Promise: a model that gives drawings back goes through evaluation, pictures and the registered form unchanged."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from ink import geometry
from ink.params import read_params
from ink.parquet import read_drawings
from ink.table import Drawings, Ink
from models import model_class
from models.base import Sampler
from pipeline import evaluate, results
from pipeline.dataset import Dataset
from pipeline.pyfunc_model import SketchPyfunc
from pipeline.settings import build_model

TINY = {"hidden_size": 8, "solver_steps": 6, "latent_size": 5, "points": 16, "points_per_stroke": 9, "max_strokes": 3}
NAMES = ("rnn_seq2seq", "sketchode", "sketchode_generative", "sketchode_strokes")


def tiny(name, seed=0):
    params = read_params(Path(__file__).parents[2] / "params.yaml")
    own = {field.name for field in fields(model_class(name).Config)}
    params["models"][name]["config"] |= {key: value for key, value in TINY.items() if key in own}
    torch.manual_seed(seed)
    return build_model(params, "digits", name, 2).eval()


def drawings(count, seed):
    """Walks of one to four strokes, as `normalize` leaves them."""
    rng = np.random.default_rng(seed)
    made = []
    for n in range(count):
        xy = np.cumsum(rng.normal(size=(16, 2)), 0)
        made.append(np.split(np.column_stack([xy, np.arange(16)]), [4, 8, 12][: n % 4]))
    unit = geometry.unit_circle(Ink.from_strokes(made))[0]
    ink = geometry.with_arc_length_clock(unit)
    return Drawings.build(ink, [f"s/{seed}/{i}" for i in range(count)], [str(i % 2) for i in range(count)])


@pytest.fixture(scope="module")
def data():
    return Dataset("toy", drawings(12, 0), drawings(4, 1), drawings(17, 2), ("0", "1"), "d" * 64, "t" * 64)


@pytest.mark.parametrize("name", NAMES)
def test_numbers_and_pictures(name, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = tiny(name)
    found = evaluate.evaluate_autoencoder(model, tiny("recognizer"), data)
    assert all(np.isfinite(value) for value in found.summary.values())
    assert found.summary["huber"] == pytest.approx(found.per_drawing["huber"].mean())
    assert found.summary.get("dropped_strokes", 0) == (4 if name == "sketchode_strokes" else 0)
    results.write_reconstructions("toy", name, data, found)
    results.write_interpolations("toy", name, evaluate.interpolations(model, data, 2, 5, seed=0))
    left = {"reconstructions": len(data.test), "interpolations": 10}
    if isinstance(model, Sampler):
        results.write_samples("toy", name, evaluate.samples(model, 14, seed=0))
        left["samples"] = 14
    folder = Path("plots/toy") / name
    for kind, count in left.items():
        assert (folder / "pictures" / f"{kind}.png").stat().st_size > 0
        assert len(read_drawings(folder / "drawings" / f"{kind}.parquet")) == count


@pytest.mark.parametrize("name", NAMES)
def test_registered_it_gives_back_drawings_where_they_were_and_as_large(name, data, tmp_path):
    model = tiny(name)
    weights, config = tmp_path / "weights.safetensors", tmp_path / "config.json"
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, weights)
    config.write_text(
        json.dumps({"model": name, "classes": ["0", "1"], "clock": "arc_length", "config": asdict(model.config)})
    )
    served = SketchPyfunc()
    served.load_context(SimpleNamespace(artifacts={"weights": str(weights), "config": str(config)}))
    strokes = [[[100, 160, 140], [110, 112, 190]], [[120, 130], [150, 155]]]
    asked = pd.DataFrame({"drawing": [json.dumps(strokes)]})
    (answer,) = served.predict(None, asked)["drawing"]
    xs = np.concatenate([stroke[0] for stroke in json.loads(answer)])
    ink = Ink.from_strokes([[np.array([*stroke, [0.0] * len(stroke[0])]).T for stroke in strokes]])
    unit, *frame = geometry.unit_circle(ink)
    unit = geometry.with_arc_length_clock(unit)
    with torch.no_grad():
        expected = geometry.restore(evaluate.reconstruct(model, unit), *frame)
        z = model.encode(model.representation.collate(unit))
        finer = geometry.restore(model.to_ink(model.decode(z, 40)), *frame)
    np.testing.assert_allclose(xs, expected.x, atol=0.01)
    (longer,) = served.predict(None, asked, {"points": 40})["drawing"]
    np.testing.assert_allclose(np.concatenate([stroke[0] for stroke in json.loads(longer)]), finer.x, atol=0.01)
