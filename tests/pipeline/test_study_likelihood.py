"""Promise: studies of likelihoods measure the whole and its parts alike, and their views show what was measured."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ink import geometry
from ink.table import Drawings, Ink
from models.base import FullSequence
from pipeline.studies import likelihood
from pipeline.studies.likelihood import LikelihoodOptions, measured, parted, run
from pipeline.studies.views_likelihood import parts, sharing, tradeoff
from pipeline.studies.views_training import table
from tests.pipeline.test_study_numbers import finished


class Echo(torch.nn.Module):
    """Gives back what it sees; a drawing's likelihood is its height."""

    representation = FullSequence(9)

    def encode(self, points):
        return points

    def decode(self, z, points=None):
        return z

    def to_ink(self, decoded):
        return self.representation.to_ink(decoded)

    def likelihood(self, points):
        height = points[..., 1].max(1).values
        return {"nll": height, "kl": 2 * height}


def drawings(counts=(2, 5, 5, 9, 3, 8)):
    """Lines up from the origin, the n-th of 0.1 (n + 1), as many points each as is said; labels a, b, a, b, ..."""
    lines = [
        [np.column_stack([np.zeros(count), np.linspace(0, 0.1 * (n + 1), count), np.linspace(0, 1, count)])]
        for n, count in enumerate(counts)
    ]
    ink = Ink.from_strokes(lines)
    ink = geometry.with_arc_length_clock(ink)
    keys = [f"k{n}" for n in range(len(counts))]
    return Drawings.build(ink, keys, ["ab"[n % 2] for n in range(len(counts))], split=["test"] * len(counts))


def test_parts_by_points_hold_their_bounds_and_sort_in_their_order():
    names = parted(drawings(), LikelihoodOptions(parts="points", bounds=[2, 5]))
    assert names.tolist() == [
        *("1 to 2 points", "3 to 5 points", "3 to 5 points", "6 points or more", "3 to 5 points", "6 points or more")
    ]
    wide = parted(drawings((7, 60, 120)), LikelihoodOptions(parts="points", bounds=[50, 100]))
    assert sorted(wide) == list(wide) == ["001 to 50 points", "051 to 100 points", "101 points or more"]
    assert parted(drawings(), LikelihoodOptions(parts="label", bounds=[])).tolist() == list("ababab")


@pytest.mark.parametrize(
    ("parts_", "bounds"), [("points", []), ("label", [3]), ("none", [3]), ("points", [5, 5]), ("points", [0, 5])]
)
def test_bounds_that_make_no_parts_are_refused(parts_, bounds):
    with pytest.raises(ValidationError, match="bounds: expected numbers"):
        LikelihoodOptions(parts=parts_, bounds=bounds)


def test_what_is_measured_is_the_models_answer_and_the_distance_of_what_it_draws():
    found = measured(Echo(), drawings())
    np.testing.assert_allclose(found["nll"], 0.1 * np.arange(1, 7), rtol=1e-6)
    np.testing.assert_allclose(found["points"], found["points_remade"])
    centred = [0.05 * (n + 1) for n in range(6)]  # what is given back is centred: half a line too low
    assert (np.diff(found["chamfer"]) > 0).all() and (found["chamfer"] <= np.array(centred) + 1e-6).all()


def test_the_parts_make_up_the_whole(monkeypatch):
    test = drawings()
    monkeypatch.setattr(likelihood, "prepare", lambda cell: SimpleNamespace(test=test))
    monkeypatch.setattr(likelihood, "from_scratch", lambda *given: (Echo(), {"steps": 3}, [{"step": 3.0}]))
    cell = replace(finished("m", 0, {}).cell, options={"parts": "label", "bounds": []})
    result = run(cell, "f", lambda share: None)
    numbers = result.numbers
    assert numbers["steps"] == 3 and numbers["n_test"] == 6 == numbers["n_test/a"] + numbers["n_test/b"]
    assert numbers["nll/a"] == pytest.approx(0.3) and numbers["nll/b"] == pytest.approx(0.4)
    for name in ("nll", "kl", "chamfer", "points"):
        assert numbers[name] == pytest.approx((numbers[f"{name}/a"] + numbers[f"{name}/b"]) / 2)
    assert len(result.drawings["reconstruction"]) == 6 and "samples" not in result.drawings


def test_a_tradeoff_has_a_dot_a_seed_and_a_line_through_the_means():
    found = [
        finished("m", seed, {"kl_weight": weight}, kl=kl + 0.02 * seed, nll=nll)
        for weight, kl, nll in (("1.0", 0.2, -0.5), ("0.5", 0.4, -0.7), ("0.25", 0.6, -0.8))
        for seed in (0, 1)
    ]
    shown = tradeoff(found, {"x": "kl", "y": "nll", "numbers": []})
    assert shown.summary["0.5"] == {"kl": pytest.approx(0.41), "nll": pytest.approx(-0.7)}
    assert shown.charts[0].names == ["means", "1.0", "0.5", "0.25"] and shown.charts[0].svg.count("<circle") == 9
    assert shown.charts[0].svg.count('class="line') == 1 and ">0.25</text>" in shown.charts[0].svg
    assert [row[0] for row in shown.tables[0].rows] == ["1.0", "0.5", "0.25"]
    assert "L_KL" in shown.tables[0].columns[1] and shown.tables[0].rows[0][1] == "0.2100 ± 0.0141"


def test_parts_have_a_row_each_and_a_line_for_each_level():
    found = [
        finished("m", 0, {"told in": level}, **{
            "nll": 1.0, "chamfer": 0.1, "chamfer/short": 0.1 * factor, "chamfer/very long": 0.3 * factor,
            "n_test/short": 7, "n_test/very long": 2})
        for level, factor in (("2 px", 1), ("all", 2))
    ]  # fmt: skip
    shown = parts(found, {"number": "chamfer", "numbers": ["nll"]})
    assert [row[0] for row in shown.tables[0].rows] == ["short (7)", "very long (2)"]
    assert shown.tables[0].rows[1][1:] == ["300.0", "600.0"], "in thousandths"
    assert shown.summary["all"] == {"short": pytest.approx(0.2), "very long": pytest.approx(0.6)}
    assert shown.charts[0].names == ["2 px", "all"]


def test_the_price_of_sharing_is_the_difference_to_the_class_alone():
    alone = {"cat": 0.2, "pig": 0.3, "owl": 0.4, "bus": 0.1}
    cost = {"cat": 0.05, "pig": 0.01, "owl": 0.03, "bus": 0.03}
    found = [finished("m", 0, {"classes": name}, **{f"nll/{name}": value}) for name, value in alone.items()]
    for pair in (("cat", "pig"), ("owl", "bus")):
        numbers = {f"nll/{name}": alone[name] + cost[name] for name in pair}
        found.append(finished("m", 0, {"classes": "+".join(pair)}, **numbers))
    numbers = {f"nll/{name}": alone[name] - 0.1 for name in alone}
    found.append(finished("m", 0, {"classes": "all four"}, **numbers))
    shown = sharing(found, {"number": "nll"})
    assert shown.tables[0].columns[1:] == ["alone", "2 together", "4 together"]
    assert shown.tables[0].rows[1] == ["cat", "0.200", "0.250", "0.100"]
    two, four = shown.summary["2 against 1"], shown.summary["4 against 1"]
    assert two["mean"] == pytest.approx(0.03)
    assert two["standard_error"] == pytest.approx(np.std([0.05, 0.01, 0.03, 0.03], ddof=1) / 2)
    assert four["mean"] == pytest.approx(-0.1) and four["standard_error"] == pytest.approx(0, abs=1e-9)


def test_a_table_of_one_model_compares_its_levels():
    found = [finished("m", 0, {"cell": name}, nll=value) for name, value in (("lstm", 0.5), ("hyper", 0.4))]
    shown = table(found, {"numbers": ["nll"]})
    assert shown.summary == {"all": {"lstm": 0.5, "hyper": 0.4}}
    assert shown.verdicts == ["Here, hyper has the lowest L_R (nll), nats: 0.400, lstm 0.500."]
