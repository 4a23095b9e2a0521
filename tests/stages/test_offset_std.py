"""Promise: the frame `offset_std` divides by the spread of training offsets alone, and every file says by how much."""

import hashlib

import numpy as np
import pytest

from ink import geometry
from ink.errors import DataError
from ink.parquet import read_drawings, read_metadata
from ink.table import Drawings, Ink
from pipeline.dataset import load_dataset
from stages import augment, normalize, shard
from stages.workers import WorkerParams
from tests.stages.helpers import ALONE, AUGMENT, balanced, record, run_simplify

SETTINGS = normalize.NormalizeParams(frame="offset_std", clock="source")


def run(root, kind="perlin", workers=ALONE, **changes):
    """All stages on drawings of very different sizes; the manifests of the last three."""
    records = [
        record(key, [[[0, 50 * (key + 1), 90], [0, 30, key], [0, 10, 20]], [[5, 5], [1, 40], [30, 45]]])
        for key in range(60)
    ]
    run_simplify(root, records, epsilon=0.0, **changes)
    altered = augment.AugmentParams(**AUGMENT | {"kind": kind})
    sizes = shard.ShardParams(megabytes_per_shard=1.0, drawings_per_group=100)
    return [
        normalize.run(root / "simplified", root / "normalized", "q", SETTINGS, workers),
        augment.run(root / "normalized", root / "augmented", "q", altered, 0, workers),
        shard.run(root / "augmented", root / "shards" / "q", "q", sizes, workers),
    ]


def drawings(folder):
    return Drawings.concat([read_drawings(path) for path in sorted(folder.glob("[ptv]*-*.parquet"))])


def spread(some):
    """Point by point, as the definition has it."""
    offsets = [
        np.diff(np.concatenate(some.ink.strokes(n))[:, :2].astype(float), axis=0).ravel() for n in range(len(some))
    ]
    return np.concatenate(offsets).std()


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    root = tmp_path_factory.mktemp("chain")
    return root, run(root)


def test_the_scalar_is_that_of_train_and_travels_to_the_shards(chain):
    root, manifests = chain
    before = drawings(root / "simplified")
    scale = spread(before.where(split="train"))
    assert abs(scale / spread(before) - 1) > 0.01, "else the test could not tell"
    for manifest, folder in zip(manifests, ("normalized", "augmented", "shards/q"), strict=True):
        assert balanced(manifest)
        assert manifest["params"]["normalize"]["offset_std"] == pytest.approx(scale, rel=1e-6)
        for entry in manifest["files"]:
            said = read_metadata(root / folder / entry["path"])
            assert said["params"]["normalize"] == manifest["params"]["normalize"]
    unit = drawings(root / "normalized")
    assert set(unit.column("scale").tolist()) == {np.float32(scale)}
    assert spread(unit.where(split="train")) == pytest.approx(1, rel=1e-6)
    first = unit.ink.point_offsets[:-1]
    assert not unit.ink.x[first].any() and not unit.ink.y[first].any()
    back = geometry.restore(unit.ink, *(unit.column(name) for name in ("center_x", "center_y", "scale")))
    assert np.allclose(back.x, before.ink.x, atol=1e-4) and np.allclose(back.y, before.ink.y, atol=1e-4)
    assert np.array_equal(unit.ink.t, before.ink.t)


def test_the_scalar_hangs_on_training_drawings_only(chain, tmp_path):
    """One drawing of another split, changed beyond recognition, changes no other drawing's points."""
    root, _ = chain
    held_out = drawings(root / "simplified").where(split="test").column("key")[0].rsplit("/")[-1]
    wild = record(int(held_out), [[[0, 9000], [0, 9000], [0, 1]]])
    plain = [
        record(key, [[[0, 50 * (key + 1), 90], [0, 30, key], [0, 10, 20]], [[5, 5], [1, 40], [30, 45]]])
        for key in range(60)
    ]
    run_simplify(tmp_path, [wild if str(key) == held_out else row for key, row in enumerate(plain)], epsilon=0.0)
    manifest = normalize.run(tmp_path / "simplified", tmp_path / "normalized", "q", SETTINGS, ALONE)
    assert manifest["params"]["normalize"]["offset_std"] == chain[1][0]["params"]["normalize"]["offset_std"]


@pytest.mark.parametrize("kind", ["perlin", "gaussian", "affine", "drop"])
def test_copies_are_those_of_the_unit_circle_in_this_frame(chain, kind):
    """The noise of a drawing is the same in either frame: in the drawing's own coordinates the copies are equal."""
    root, _ = chain
    source = drawings(root / "simplified")
    settings = augment.AugmentParams(**AUGMENT | {"kind": kind})
    there = []
    for frame, scale in (("unit_circle", 1.0), ("offset_std", 7.5)):
        clock = normalize.NormalizeParams(frame=frame, clock="source")
        unit = normalize.normalize(source, clock, scale)
        batches = augment.copies(unit, settings, 0, frame)
        copies = Drawings.concat(batches)
        if frame == "offset_std":
            first = copies.ink.point_offsets[:-1]
            assert not copies.ink.x[first].any() and set(copies.column("scale").tolist()) == {7.5}
        there.append(geometry.restore(copies.ink, *(copies.column(n) for n in ("center_x", "center_y", "scale"))))
    size = np.ptp(np.stack([there[0].x, there[0].y]))
    assert there[0].n_points == there[1].n_points
    assert np.allclose(there[0].x, there[1].x, atol=1e-5 * size) and np.allclose(
        there[0].y, there[1].y, atol=1e-5 * size
    )


def test_parts_and_workers_do_not_change_a_byte(tmp_path, monkeypatch):
    from stages import workers

    monkeypatch.setattr(workers, "_WORTH_PROCESSES", 0)
    found = []
    for name, who in (("one", ALONE), ("two", WorkerParams(count=2, cluster=""))):
        run(tmp_path / name, workers=who, megabytes_per_part=0.002)
        parts = sorted((tmp_path / name / "normalized").glob("*.parquet"))
        assert len(parts) > 3
        found.append([hashlib.sha256(part.read_bytes()).hexdigest() for part in parts])
    assert found[0] == found[1]


def test_no_training_drawing_no_scale(tmp_path):
    run_simplify(tmp_path, [record(key) for key in range(5)], valid_fraction=0.5, test_fraction=0.499)
    assert not len(drawings(tmp_path / "simplified").where(split="train"))
    with pytest.raises(DataError, match="frame offset_std takes its scale from the training drawings"):
        normalize.run(tmp_path / "simplified", tmp_path / "normalized", "q", SETTINGS, ALONE)


def test_models_that_want_the_unit_circle_are_not_fed_it(chain):
    with pytest.raises(DataError, match=r"frame 'offset_std'.*want unit_circle.*dvc repro shard@q"):
        load_dataset("q", chain[0] / "shards")


def test_offsets_do_not_lead_from_one_drawing_to_the_next():
    ink = Ink.from_strokes(
        [[np.array([[0, 0, 0], [1, 2, 0]]), np.array([[4, 2, 1]])], [np.array([[100, 100, 0], [99, 100, 1]])]]
    )
    assert geometry.offset_moments(ink).tolist() == [6.0, 1 + 2 + 3 + 0 - 1 + 0, 1 + 4 + 9 + 0 + 1 + 0]
    assert geometry.offset_moments(Ink.from_strokes([])).tolist() == [0.0, 0.0, 0.0]
