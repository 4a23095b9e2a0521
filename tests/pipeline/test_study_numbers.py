"""Promise: the numbers of the latent studies are right where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ink.errors import ParamsError
from ink.table import Ink
from models.base import FullSequence
from pipeline.studies.cell import Cell, Finished
from pipeline.studies.latent import along, at_times, smoothness, turning
from pipeline.studies.one_shot import new_drawings
from pipeline.studies.shown import difference
from pipeline.studies.views_training import curve, factors


class Decoder:
    """Draws a line whose end moves with the code, in steps of `grain` (0: continuously)."""

    representation = FullSequence(12)

    def __init__(self, grain):
        self.grain = grain

    def encode(self, points):
        return points[:, -1, :2]

    def decode(self, z, points=None):
        z = torch.floor(z / self.grain) * self.grain if self.grain else z
        t = torch.linspace(0, 1, points or 12)[None, :, None]
        return torch.cat([t * z[:, None], torch.zeros(len(z), points or 12, 1)], -1)

    def between(self, a, b, alpha):
        return (1 - alpha) * a + alpha * b

    def to_ink(self, decoded):
        return self.representation.to_ink(decoded)


CODES = torch.tensor([[0.0, 0.5], [0.8, 0.5], [0.8, 1.3], [0.0, 1.3]])  # a square: every leg is equally long


def test_a_linear_decoder_walks_evenly_and_halves_its_steps():
    found = smoothness(Decoder(0.0), CODES, 8, closed=True)
    assert found["jump"] == pytest.approx(1, abs=1e-5)
    assert found["halved"] == pytest.approx(0.5, abs=1e-5) == found["halved_largest"]


def test_a_decoder_that_jumps_keeps_its_largest_step():
    found = smoothness(Decoder(0.4), CODES, 16, closed=True)
    assert found["halved_largest"] == pytest.approx(1, abs=1e-5)
    assert found["jump"] == pytest.approx(8, rel=0.01), "one frame in eight moves, by 0.4"
    assert found["halved"] == pytest.approx(0.5, abs=1e-5), "the mean of jumps halves all the same"


def test_a_path_begins_at_each_code_and_closes():
    closed, open_path = (along(Decoder(0.0), CODES, 4, closed) for closed in (True, False))
    assert torch.equal(closed[::4], CODES) and len(closed) == 16
    assert torch.equal(open_path[::4], CODES) and len(open_path) == 13
    assert torch.allclose(closed[14], (CODES[3] + CODES[0]) / 2)


def test_at_times_keeps_every_sample_of_a_finer_polyline_that_shares_its_times():
    fine = np.random.default_rng(0).normal(size=(2, 13, 2))
    np.testing.assert_allclose(at_times(fine, 13), fine)
    np.testing.assert_allclose(at_times(fine, 4), fine[:, ::4])
    np.testing.assert_allclose(at_times(fine[:, ::12], 3)[:, 1], fine[:, ::12].mean(1))


def test_turning_of_known_shapes():
    angle = np.linspace(0, 2 * np.pi, 721)
    circle = np.column_stack([np.cos(angle), np.sin(angle), angle])
    assert turning(Ink.from_strokes([[circle]])) == pytest.approx(2 * np.pi, rel=0.02)
    corner = np.array([[0, 0, 0], [1, 0, 1], [1, 1, 2]])
    assert turning(Ink.from_strokes([[corner]])) == pytest.approx(np.pi / 2, rel=1e-3)
    lines = [corner[:2], corner[1:]]
    assert turning(Ink.from_strokes([lines, lines])) == 0, "from stroke to stroke nothing turns"


def finished(model, seed, levels, **numbers):
    cell = Cell("s", f"{model}{levels}{seed}", "digits", model, levels, seed, {"steps": 1}, {}, "train", {})
    ink = Ink.from_strokes([[np.array([[0, 0, 0], [1, 1, 1]])]])
    return Finished(cell, "f", numbers, [], [], {"original": ink, "reconstruction": ink}, 1.0)


@pytest.mark.parametrize(
    ("worse", "verdict"), [([3.0, 3.2, 3.1], "yes"), ([1.0, 0.8, 0.9], "no"), ([2.9, 1.1, 2.2], "not shown")]
)
def test_a_claim_is_borne_out_beyond_two_standard_errors(worse, verdict):
    ours = [finished("m", seed, {"a": "x"}, huber=2.0) for seed in range(3)]
    theirs = [finished("m", seed, {"a": "y"}, huber=value) for seed, value in enumerate(worse)]
    mean, error, found = difference("huber", ours, theirs)
    assert found == verdict
    assert mean == pytest.approx(np.mean(worse) - 2) and error == pytest.approx(np.std(worse, ddof=1) / np.sqrt(3))


def test_a_factorial_pairs_cells_that_differ_in_the_claimed_axis_only():
    found = [
        finished("m", seed, {"act": act, "noise": noise}, huber=base + 10 * (noise == "b") + 0.1 * seed)
        for act, base in (("sin", 1.0), ("tanh", 1.5))
        for noise in "ab"
        for seed in (1, 0)
    ]
    shown = factors(found, {"number": "huber", "claims": {"act": "sin", "noise": "b"}})
    claim = shown.summary["sin beats tanh"]
    assert claim["verdict"] == "yes" and claim["difference"] == pytest.approx(0.5)
    assert claim["standard_error"] == pytest.approx(0, abs=1e-9), "each pair differs by 0.5"
    assert shown.summary["b beats a"]["verdict"] == "no"
    assert [row[0] for row in shown.tables[0].rows] == ["sin", "tanh"] and shown.tables[0].columns[1:] == ["a", "b"]


def test_a_curve_has_a_line_for_each_model():
    found = [
        finished(model, 0, {"fraction": share}, huber=value / float(share))
        for model, value in (("one", 1e-3), ("two", 2e-3))
        for share in ("0.5", "1.0")
    ]
    shown = curve(found, {"x": "fraction", "number": "huber"})
    assert shown.charts[0].names == ["one", "two"] and shown.charts[0].svg.count("<circle") == 4
    assert shown.summary["two"]["0.5"]["mean"] == pytest.approx(4e-3)
    assert "2.00 times" in shown.verdicts[0]


def test_new_drawings_fill_the_unit_circle_and_a_broken_stroke_is_named():
    made = new_drawings({"A": [[[0, 10, 20], [20, 0, 20]]], "I": [[[5, 5], [0, 100]]]})
    radius = np.hypot(made.ink.x, made.ink.y)
    assert radius.max() == pytest.approx(1, abs=1e-6) and made.column("label").tolist() == ["A", "I"]
    assert made.ink.t[-1] == pytest.approx(2, abs=1e-5), "arc length of a line from edge to edge"
    with pytest.raises(ParamsError, match=r"one_shot drawing 'A'.*equal lengths"):
        new_drawings({"A": [[[0, 10], [20]]]})
