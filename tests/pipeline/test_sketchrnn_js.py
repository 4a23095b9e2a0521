"""Promise: published sketch-rnn-js weights come in whole, score what they scored, and go out again bit for bit."""

import base64
import json

import numpy as np
import pytest
import torch

from ink.errors import DataError, InkmillError
from ink.formats import reader
from ink.params import read_params
from ink.table import Drawings
from models.nn.recurrent.mixture import outputs
from models.nn.recurrent.stroke5 import Stroke5, offset_deviation
from pipeline import protocols, sketchrnn_js
from stages import normalize, simplify
from tests.models.helpers import PARAMS, drawings, tiny
from tests.stages.helpers import mirror
from tests.stages.test_sketchrnn_recipe import CLOCK, RECIPE

SETTINGS = {name: read_params(PARAMS)["models"][name]["config"] for name in ("sketchrnn", "sketchrnn_decoder")}
ANCHORS = {"bird": (0.214, 0.094), "dog": (0.414, 0.155)}
UNITS, MIXTURES, CODE, ENCODER = 4, 2, 3, 5


def written(tmp_path, mode=2, change=lambda info, shapes, texts: None, seed=0):
    """A file of random weights with these sizes, after `change` has spoilt it."""
    rng = np.random.default_rng(seed)
    extra = CODE if mode != 2 else 0
    shapes = [[UNITS, outputs(MIXTURES)], [outputs(MIXTURES)]]
    shapes += [[5 + extra, 4 * UNITS], [UNITS, 4 * UNITS], [4 * UNITS]]
    if mode != 2:
        half = [[5, 4 * ENCODER], [ENCODER, 4 * ENCODER], [4 * ENCODER]]
        codes = [[2 * ENCODER, CODE], [CODE]] * 2 + [[CODE, 2 * UNITS], [2 * UNITS]]
        shapes = [*half, *half, *codes, *shapes]
    arrays = [rng.integers(-4000, 4000, shape).astype("<i2") for shape in shapes]
    texts = [base64.b64encode(array.tobytes()).decode() for array in arrays]
    info = {"mode": mode, "version": 6, "max_seq_len": 30, "name": "toy", "scale_factor": 50.0}
    change(info, shapes, texts)
    path = tmp_path / "toy.gen.json"
    path.write_text(json.dumps([info, shapes, texts]))
    return path, [array.astype(float) * 10 / 32767 for array in arrays]


def run_by_hand(path_arrays, rows, z=None):
    """The browser's loop in NumPy: gates i, candidate, f + 1, o; the first input is all zeros."""
    output, output_bias, w_x, w_h, bias = path_arrays[-5:]
    h, c, given, out = np.zeros(UNITS), np.zeros(UNITS), np.zeros(5), []
    if z is not None:
        state_w, state_b = path_arrays[10:12]
        c, h = np.split(np.tanh(z @ state_w + state_b), 2)
    for row in rows:
        x = given if z is None else np.concatenate([given, z])
        i, g, f, o = np.split(x @ w_x + h @ w_h + bias, 4)
        c = c / (1 + np.exp(-(f + 1))) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        out.append(h @ output + output_bias)
        given = row / [50, 50, 1, 1, 1]
    return np.array(out)


def encoded_by_hand(arrays, rows):
    halves = []
    for (w_x, w_h, bias), steps in ((arrays[:3], rows), (arrays[3:6], rows[::-1])):
        h, c = np.zeros(ENCODER), np.zeros(ENCODER)
        for row in steps:
            i, g, f, o = np.split(row / [50, 50, 1, 1, 1] @ w_x + h @ w_h + bias, 4)
            c = c / (1 + np.exp(-(f + 1))) + np.tanh(g) / (1 + np.exp(-i))
            h = np.tanh(c) / (1 + np.exp(-o))
        halves.append(h)
    return np.concatenate(halves) @ arrays[6] + arrays[7]


@torch.no_grad()
@pytest.mark.parametrize("mode", [2, 1])
def test_a_file_runs_as_in_the_browser_and_goes_out_as_it_came(tmp_path, mode):
    path, arrays = written(tmp_path, mode)
    model, name = sketchrnn_js.load(path, SETTINGS)
    assert name == "toy" and sketchrnn_js.kind(model) == ("sketchrnn_decoder" if mode == 2 else "sketchrnn")
    assert model.config.max_points == 30 and float(model.decoder.offset_std) == 50
    rng = np.random.default_rng(1)
    rows = np.column_stack([rng.normal(size=(6, 2)) * 40, np.eye(3)[[0, 0, 1, 0, 0, 1]]])
    model = model.double()
    given, z = torch.from_numpy(rows)[None], None
    if mode != 2:
        z = encoded_by_hand(arrays, rows)
        np.testing.assert_allclose(model.encode(given)[0].numpy(), z, atol=1e-5)
    code = None if z is None else torch.from_numpy(z)[None]
    state = model.decoder.cell.zero_state(given[:, 0]) if z is None else model._initial(code)
    inputs = torch.cat([torch.zeros(1, 1, 5), model.decoder.scaled(given)[:, :-1]], 1)
    if code is not None:
        inputs = torch.cat([inputs, code.unsqueeze(1).expand(-1, 6, -1)], -1)
    numbers = model.decoder.output(model.decoder.cell(inputs, state)[0])[0]
    np.testing.assert_allclose(numbers.numpy(), run_by_hand(arrays, rows, z), atol=1e-5)
    sketchrnn_js.save(model.float(), tmp_path / "again.json", "toy")
    first, second = (json.loads((tmp_path / file).read_text()) for file in ("toy.gen.json", "again.json"))
    assert second == first


def truncated(info, shapes, texts):
    texts[2] = texts[2][: len(texts[2]) // 2 // 4 * 4]


def shape(info, shapes, texts):
    shapes[3] = [2 * UNITS, 2 * UNITS]


def not_finite(info, shapes, texts):
    texts[1] = [float("nan")] * outputs(MIXTURES)


def scale(info, shapes, texts):
    info["scale_factor"] = float("nan")


def mode(info, shapes, texts):
    info["mode"] = 7


def one_less(info, shapes, texts):
    del shapes[-1], texts[-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (truncated, r"array 2 has [\d.]+ numbers, its shape \[5, 16\] needs 80: truncated\?"),
        (shape, r"the output kernel has the shape \(4, 15\), expected \(8, 15\)"),
        (not_finite, "array 1 holds a number that is not finite"),
        (scale, "scale_factor is nan; expected a finite number above 0"),
        (mode, r"mode 7; expected 2 \(decoder only\) or 0 or 1"),
        (one_less, "mode 2 has 5 arrays, the file has 4"),
        (lambda info, *_: info.pop("mode"), "its description lacks mode"),
        (lambda info, shapes, texts: texts.__setitem__(0, "***"), "array 0 is not base64"),
        (lambda info, shapes, texts: shapes.__setitem__(1, "x"), "array 1 has the shape 'x'"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(tmp_path, change, message):
    path, _ = written(tmp_path, change=change)
    with pytest.raises(DataError, match=message):
        sketchrnn_js.load(path, SETTINGS)


def test_a_file_that_is_no_such_file_is_refused(tmp_path):
    path, _ = written(tmp_path)
    path.write_text(path.read_text()[:500])
    with pytest.raises(DataError, match="not a whole JSON file"):
        sketchrnn_js.load(path, SETTINGS)
    path.write_text("[1, 2]")
    with pytest.raises(DataError, match="expected sketch-rnn-js weights"):
        sketchrnn_js.load(path, SETTINGS)
    with pytest.raises(DataError, match="cannot be read"):
        sketchrnn_js.load(tmp_path / "none.json", SETTINGS)
    path, _ = written(tmp_path, 1, lambda info, *_: info.update(version=4))
    with pytest.raises(DataError, match="version 4 with an encoder; expected 6 or newer"):
        sketchrnn_js.load(path, SETTINGS)


def test_what_the_format_cannot_hold_is_not_written(tmp_path):
    with pytest.raises(InkmillError, match="holds SketchRNN models with cell: lstm"):
        sketchrnn_js.save(tiny("sketchrnn", cell="hyper"), tmp_path / "a.json", "a")
    with pytest.raises(InkmillError, match="holds SketchRNN models with cell: lstm"):
        sketchrnn_js.save(tiny("rnn_seq2seq"), tmp_path / "a.json", "a")
    model = tiny("sketchrnn_decoder")
    with torch.no_grad():
        model.decoder.output.weight[0, 0] = 10.5
    with pytest.raises(InkmillError, match=r"its output kernel reaches 10.50, the format holds up to 10"):
        sketchrnn_js.save(model, tmp_path / "a.json", "a")
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("label", ANCHORS)
def test_the_released_weights_score_what_the_authors_own_code_measures(tmp_path, label):
    """Protocol B, +0.214 ± 0.094 for birds and +0.414 ± 0.155 for dogs; and the file goes out as it came."""
    file = mirror() / "pretrained" / "sketch-rnn" / f"{label}.gen.json"
    model, _ = sketchrnn_js.load(file, SETTINGS)
    rows, divisor = protocols.load_b(mirror() / "protocols" / "sketchrnn_b.npz", label)
    total = sum(protocols.score_b(model, rows, divisor, own_scale=False))
    assert total.mean() == pytest.approx(ANCHORS[label][0], abs=1e-3)
    assert total.std(ddof=1) == pytest.approx(ANCHORS[label][1], abs=1e-3)
    sketchrnn_js.save(model, tmp_path / "again.json", label)
    again, _ = sketchrnn_js.load(tmp_path / "again.json", SETTINGS)
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key


@pytest.mark.parametrize("label", ANCHORS)
def test_the_projects_own_stages_prepare_points_that_score_the_same(label):
    """`simplify` by sketch-rnn's recipe, `normalize`, then the model's own rows of the unit drawings."""
    raw = mirror() / "quickdraw" / "full" / "raw" / f"{label}.ndjson"
    read = Drawings.concat([batch.drawings for batch in reader("quickdraw_raw").read(raw, only_recognized=True)])
    ink = normalize.normalize(simplify.simplify(read, RECIPE), CLOCK).ink
    model, _ = sketchrnn_js.load(mirror() / "pretrained" / "sketch-rnn" / f"{label}.gen.json", SETTINGS)
    for epsilon in (0.0, 2.0):  # the second simplification may drop a point that rounding has moved
        rows = Stroke5(protocols.B_STEPS, 255.0, epsilon, False).collate(ink)
        score = sum(protocols.score_b(model, rows, float(offset_deviation(rows)), own_scale=False)).mean()
        assert score == pytest.approx(ANCHORS[label][0], abs=0.02), epsilon


def test_a_change_of_unit_carries_the_density_over():
    """A model scores the same in its own scalar's unit and in the protocol's, where both are fed the same numbers."""
    model = tiny("sketchrnn_decoder", max_points=250)
    model.decoder.offset_std.fill_(150.0)
    rows = model.representation.collate(drawings(4))
    own, fed = (protocols.score_b(model, rows, 150.0, own_scale=flag) for flag in (True, False))
    np.testing.assert_allclose(own, fed, rtol=1e-5)
    twice = protocols.score_b(model, rows, 300.0, own_scale=True)[0]
    real = (rows[..., 4] == 0).sum(1).numpy()
    np.testing.assert_allclose(own[0] - twice, 2 * np.log(2.0) * real / 250, rtol=1e-3)
