"""Promise: `simplify` prepares drawings as sketch-rnn does, point for point, and as SketchODE does, by parameter."""

import itertools

import numpy as np
import pytest

from ink import geometry, resample, thinning
from ink.formats import reader
from ink.table import Drawings, Ink, validate
from stages import normalize, simplify
from tests.stages.helpers import SIMPLIFY, mirror, run_simplify

RECIPE = simplify.SimplifyParams(
    **SIMPLIFY
    | {"epsilon": 2.0, "unit": "side255", "resample": 1.0, "frame": "pixels255", "drop_dots": True}
    | {"max_points": 100_000}
)
CLOCK = normalize.NormalizeParams(frame="unit_circle", clock="arc_length")


def stroke3(strokes):
    """Offsets from the first point on, which has no row of its own, and 1 where the pen is lifted."""
    points = np.concatenate([stroke[:, :2] for stroke in strokes])
    lifted = np.zeros(len(points))
    lifted[np.cumsum([len(stroke) for stroke in strokes]) - 1] = 1
    return np.column_stack([np.diff(points, axis=0), lifted[1:]])


def written(ink, **changes):
    """The stage's own function on ink that came from some reader."""
    keys = [str(n) for n in range(len(ink))]
    return simplify.simplify(Drawings.build(ink, keys, ["x"] * len(ink)), RECIPE.model_copy(update=changes))


@pytest.mark.parametrize(("category", "at_a_half"), [("bird", 1), ("dog", 3)])
def test_protocol_b_comes_out_point_for_point(category, at_a_half):
    """The mirror's arrays were made from the same raw drawings by another program, in double precision throughout.

    Here points are float32, so that a coordinate within 1e-3 pixels of a half may be rounded the other way: in one of
    25 birds and three of 25 dogs, by one pixel. Everything else is equal.
    """
    truth = np.load(mirror() / "protocols" / "sketchrnn_b.npz")
    path = mirror() / "quickdraw" / "full" / "raw" / f"{category}.ndjson"
    raw = Drawings.concat([batch.drawings for batch in reader("quickdraw_raw").read(path, only_recognized=True)])
    keys = [int(key.rsplit("/")[-1]) for key in raw.column("key")]
    assert keys == truth[f"{category}_keys"].tolist() and len(keys) == 25
    whole, plain = (
        simplify.simplify(raw, RECIPE.model_copy(update={"frame": f})).ink for f in ("pixels255", "side255")
    )
    others = 0
    for n, (a, b) in enumerate(itertools.pairwise(truth[f"{category}_offsets"])):
        points, wanted = np.concatenate(whole.strokes(n))[:, :2], truth[f"{category}_points"][a:b]
        assert np.array_equal(stroke3(whole.strokes(n))[:, 2], wanted[:, 2])
        path_b = np.cumsum(np.concatenate([np.zeros((1, 2)), wanted[:, :2]]), axis=0)
        path_b += np.median(points - path_b, axis=0)  # offsets do not say where the first point lies
        moved = np.abs(points - path_b)
        assert moved.max() <= 1
        exact = np.concatenate(plain.strokes(n))[:, :2][moved > 0]
        assert np.allclose(exact % 1, 0.5, atol=1e-3)
        others += len(exact) > 0
    assert others == at_a_half
    found = np.concatenate([stroke3(whole.strokes(n)) for n in range(25)])
    assert found[:, :2].std() == pytest.approx(float(truth[f"{category}_scale"]), rel=1e-4)


def test_the_canvas_is_aligned_scaled_whole_and_can_be_undone():
    rng = np.random.default_rng(3)
    ink = Ink.from_strokes(
        [
            [np.column_stack([np.cumsum(rng.normal(size=(40, 2)) * 10.0**n, axis=0) - 7, np.arange(40)])]
            for n in range(-2, 4)
        ]
    )
    for frame, tolerance in (("pixels255", 0.5), ("side255", 1e-4)):
        thin = written(ink, frame=frame, resample=0.0, epsilon=0.0)
        box = geometry.bounding_boxes(thin.ink)
        assert np.abs(box[:, :2]).max() <= 1e-4 and np.allclose(box[:, 2:].max(axis=1), 255, atol=1e-4)
        assert (np.all(thin.ink.x == np.rint(thin.ink.x))) == (frame == "pixels255")
        back = geometry.restore(thin.ink, *(thin.column(name) for name in ("center_x", "center_y", "scale")))
        assert back.n_points == ink.n_points
        off = np.hypot(back.x - ink.x, back.y - ink.y) / np.repeat(thin.column("scale"), np.diff(ink.point_offsets))
        assert off.max() <= np.sqrt(2) * tolerance + 1e-3
        assert np.array_equal(back.t, ink.t) and set(validate(thin)) == {""}
        unit = normalize.normalize(thin, CLOCK)
        again = geometry.restore(unit.ink, *(unit.column(name) for name in ("center_x", "center_y", "scale")))
        assert np.allclose(again.x, back.x, rtol=1e-4, atol=1e-3), "normalize keeps what simplify took away"


def test_points_lie_a_pixel_apart_before_they_are_dropped():
    """With an epsilon of 0 nothing but points on a straight line falls, and on an arc none does."""
    angle = np.linspace(0, np.pi, 2000)
    arc = np.column_stack([1000 * np.cos(angle), 1000 * np.sin(angle), angle])
    (stroke,) = written(Ink.from_strokes([[arc]]), epsilon=0.0, frame="side255").ink.strokes(0)
    steps = np.hypot(*np.diff(stroke[:, :2].astype(float), axis=0).T)
    assert len(stroke) == 1 + np.ceil(np.pi * 255 / 2) and np.allclose(steps[:-1], 1, atol=1e-3) and 0 < steps[-1] <= 1
    assert np.allclose(np.diff(stroke[:-1, 2]), np.pi / (np.pi * 255 / 2), atol=1e-4), "time is interpolated"


def test_dots_go_unless_a_drawing_has_nothing_else():
    dot, twice, line = [[5, 5, 0]], [[9, 9, 1], [9, 9, 2]], [[0, 0, 3], [100, 50, 4]]
    ink = Ink.from_strokes([[np.array(s, float) for s in some] for some in ([dot, line, twice], [dot, twice], [line])])
    kept = written(ink)
    assert np.diff(kept.ink.drawing_offsets).tolist() == [1, 2, 1] and set(validate(kept)) == {""}
    assert np.diff(written(ink, drop_dots=False).ink.drawing_offsets).tolist() == [3, 2, 1]


def test_epsilon_in_unit_circle_units_is_a_distance_after_normalize():
    """A circle's box has a half-diagonal of 1.41 radii: the unit `radius` would allow that much more."""
    angle = np.linspace(0, 2 * np.pi, 3001)[:-1]
    ink = Ink.from_strokes([[np.column_stack([70 * np.cos(angle) + 900, 70 * np.sin(angle), angle])]])
    whole = geometry.unit_circle(ink)[0]
    worst = {}
    for unit in ("unit_circle", "radius"):
        for epsilon in np.geomspace(0.002, 0.1, 60):
            thin = written(ink, unit=unit, epsilon=epsilon, resample=0.0, frame="source").ink
            (kept,) = geometry.unit_circle(thin)[0].strokes(0)
            gap = np.hypot(*np.diff(kept[:, :2].astype(float), axis=0).T).max()
            arc = (1 - np.sqrt(1 - gap**2 / 4)) / epsilon  # of an arc from its chord
            worst[unit] = max(worst.get(unit, 0.0), arc)
    assert 0.9 < worst["unit_circle"] <= 1.001 and 1.3 < worst["radius"] <= 1.001 * np.sqrt(2)
    assert thinning.unit_sizes(ink, "unit_circle") == pytest.approx(70, rel=1e-4)
    assert np.hypot(whole.x, whole.y).max() == pytest.approx(1)


def test_resampling_past_the_limit_of_points_is_quarantined(tmp_path):
    there_and_back = [[0, 1000] * 60, [0] * 119 + [10], list(range(120))]
    word = {"word": "cat", "recognized": True}
    lines = [{**word, "key_id": "1", "drawing": [there_and_back]}, {**word, "key_id": "2", "drawing": [[[0, 9]] * 3]}]
    changes = {"unit": "side255", "resample": 1.0, "max_points": 20_000}
    assert run_simplify(tmp_path / "a", lines, **changes)["reasons"] == {
        "more than max_points = 20000 points when resampled": 1
    }
    assert run_simplify(tmp_path / "b", lines, **changes | {"resample": 2.0})["counts"]["out"] == 2


def test_a_batch_is_cut_into_bounded_pieces_with_the_same_points(monkeypatch):
    rng = np.random.default_rng(5)
    ink = Ink.from_strokes(
        [
            [np.column_stack([np.cumsum(rng.normal(size=(30, 2)), axis=0), np.arange(30)]) for _ in range(2)]
            for _ in range(9)
        ]
    )
    whole = written(ink)
    monkeypatch.setattr(thinning, "_AT_ONCE", 3000)
    parts = written(ink)
    assert whole.to_table().equals(parts.to_table())
    dense = resample.resample_strokes(ink, thinning.unit_sizes(ink, "side255"), even=False)
    counted = thinning.resampled_points(ink, thinning.unit_sizes(ink, "side255"))
    assert np.array_equal(np.diff(dense.point_offsets), counted) and counted.sum() > 6000
