"""Promise: from every format that is read into every one that is written, what the target can hold arrives."""

import json

import numpy as np
import pytest

from ink import geometry
from ink.errors import DataError, ParamsError
from ink.formats import READERS, quickdraw_simplified, writer, writers
from ink.formats.quickdraw_lines import file_stem
from ink.table import SPLITS, Drawings, Ink
from pipeline.convert import convert
from stages import normalize, preparation, simplify
from tests.ink.formats import samples
from tests.stages.helpers import SIMPLIFY

PLACES = {"parquet": "cat.parquet", "sketchrnn_npz": "cat.npz"}  # the others write folders
WHOLE = ("quickdraw_simplified", "sketchrnn_npz")


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text(json.dumps({"simplify": SIMPLIFY}))
    monkeypatch.chdir(tmp_path)


def read(name, path):
    paths = sorted(path.rglob("*.ndjson")) if path.is_dir() and name == "quickdraw_simplified" else [path]
    batches = [samples.read(name, one) for one in paths]
    assert not any(batch.rejected for batch in batches)
    return Drawings.concat([batch.drawings for batch in batches])


def strokes(drawings, n):
    return [stroke[:, :2].astype(float) for stroke in drawings.ink.strokes(n)]


def in_order_of(target, drawings):
    """The rows of the source in the order in which the target format gives them back."""
    if target == "sketchrnn_npz":
        split = drawings.column("split")
        dealt = preparation.splits_of(drawings.column("key"), simplify.SimplifyParams(**SIMPLIFY))
        splits = np.where(split == "", dealt, split)
        return sorted(range(len(drawings)), key=lambda n: SPLITS.index(splits[n]))
    if target == "quickdraw_simplified":
        stems = [file_stem(label) for label in drawings.column("label")]
        return sorted(range(len(drawings)), key=lambda n: stems[n])
    return list(range(len(drawings)))


@pytest.mark.parametrize("target", writers())
@pytest.mark.parametrize("source", sorted(READERS))
def test_every_pair(tmp_path, source, target):
    origin = samples.write(tmp_path, source)
    truth = samples.read(source, origin).drawings
    out = tmp_path / "out" / PLACES.get(target, "folder")
    out.parent.mkdir()
    result = convert(origin, out, source, target)
    back = read(target, out)
    held = writer(target).HOLDS
    if {"keys"} <= held:
        found = back.column("key").tolist()
        back = back.take([found.index(key) for key in truth.column("key")])
        order = list(range(len(truth)))
    else:
        order = in_order_of(target, truth)
    truth = truth.take(order)
    assert len(back) == len(truth) == result.drawings
    exact = target in ("parquet", "inkml")
    for n in range(len(truth)):
        a, b = strokes(truth, n), strokes(back, n)
        if target in WHOLE:
            a = on_whole_numbers(a)
        for old, new in zip(a, b, strict=True):
            assert old.shape == new.shape
            limit = 0 if exact else 0.5 if target in WHOLE else 1e-5 * max(1, np.abs(old).max())
            assert np.abs(old - new).max() <= limit
        if "times" in held and truth.column("timed")[n]:
            assert np.array_equal(*(np.concatenate(d.ink.strokes(n))[:, 2] for d in (truth, back)))
    if "labels" in held:
        assert back.column("label").tolist() == truth.column("label").tolist()
    if "splits" in held and target != "sketchrnn_npz":
        assert back.column("split").tolist() == truth.column("split").tolist()
    lost = {"times"} if truth.column("timed").any() else set()
    lost |= {"labels"} if (truth.column("label") != "").any() else set()
    lost |= {"splits"} if (truth.column("split") != "").any() else set()
    assert result.lost == sorted(lost - held)


def on_whole_numbers(drawing):
    """Whole numbers stay, all else goes to a canvas of 255: as floats, half a unit from what is written."""
    points = np.concatenate(drawing)
    if np.abs(points - np.rint(points)).max() < 1e-3 and points.min() >= 0 and points.max() <= 255:
        return [np.rint(stroke) for stroke in drawing]
    low, side = points.min(axis=0), np.ptp(points, axis=0).max()
    return [(stroke - low) * 255 / side for stroke in drawing]


@pytest.mark.parametrize("second", writers())
@pytest.mark.parametrize("first", writers())
def test_there_on_and_back_again(tmp_path, first, second):
    """A to B to A: whole numbers on the canvas come back as they were, from every format that can be written."""
    origin = samples.write(tmp_path, first)
    there, back = (tmp_path / place / PLACES.get(name, "folder") for place, name in (("b", second), ("a", first)))
    for place in (there.parent, back.parent):
        place.mkdir()
    convert(origin, there, first, second)
    convert(there, back, second, first)
    truth, found = samples.read(first, origin).drawings, read(first, back)
    plain = [sorted(json.dumps([s.tolist() for s in strokes(d, n)]) for n in range(len(d))) for d in (truth, found)]
    assert plain[0] == plain[1]
    both = writer(first).HOLDS & writer(second).HOLDS
    for fact, column in {"labels": "label", "splits": "split"}.items():
        if fact in both and truth.column(column).any():
            assert sorted(truth.column(column)) == sorted(found.column(column))


def test_raw_drawings_become_an_npz_that_sketch_rnn_can_load(tmp_path):
    """As its own code loads a data set: np.load, then rows of int16 in three arrays."""
    result = convert(samples.write(tmp_path, "quickdraw_raw"), tmp_path / "cat.npz")
    assert result.dealt == samples.COUNT and "dealt into splits as the stage simplify does" in result.summary()
    data = np.load(tmp_path / "cat.npz", encoding="latin1", allow_pickle=True)
    arrays = [array for split in SPLITS for array in data[split]]
    assert len(arrays) == samples.COUNT and all(array.dtype == np.int16 and array.shape == (5, 3) for array in arrays)
    assert {array.tobytes() for array in arrays} == {samples.stroke3(n).tobytes() for n in range(samples.COUNT)}
    (tmp_path / "params.yaml").unlink()
    with pytest.raises(ParamsError, match=r"params.yaml: no such file"):
        convert(tmp_path / "cat.ndjson", tmp_path / "other.npz")
    assert not (tmp_path / "other.npz").exists()


def test_labels_become_files_of_simplified_drawings(tmp_path):
    """Names that no file can have are escaped; a single file takes its own label only."""
    labels = ["cat", "x/y", "", "..", "50% off", "été", "cat"]
    ink = Ink.from_strokes([[np.array([[0, 0, 0], [9, n, 1]])] for n in range(7)])
    drawings = Drawings.build(ink, [f"a/{n}" for n in range(7)], labels)
    quickdraw_simplified.write(tmp_path / "out", [drawings.take([0, 1, 2]), drawings.take([3, 4, 5, 6])])
    back = read("quickdraw_simplified", tmp_path / "out")
    assert sorted(back.column("label")) == sorted(labels)
    assert {path.resolve().parent for path in (tmp_path / "out").rglob("*")} == {(tmp_path / "out").resolve()}
    with pytest.raises(DataError, match=r"one file a category.*drawings of '\.\.'.*name the file \.\.\.ndjson"):
        quickdraw_simplified.write(tmp_path / "cat.ndjson", [drawings])
    assert not (tmp_path / "cat.ndjson").exists()


@pytest.mark.parametrize("target", writers())
def test_what_normalize_took_away_is_given_back(tmp_path, target):
    """Unit drawings are written in the coordinates of their source, by formats that cannot hold a frame."""
    truth = samples.read("quickdraw_raw", samples.write(tmp_path, "quickdraw_raw")).drawings
    unit = normalize.normalize(truth, normalize.NormalizeParams(frame="unit_circle", clock="arc_length"))
    unit = unit.with_ink(unit.ink, split=["train"] * len(unit))
    writer("parquet").write(tmp_path / "unit.parquet", [unit])
    out = tmp_path / "out" / PLACES.get(target, "folder")
    out.parent.mkdir()
    result = convert(tmp_path / "unit.parquet", out, "parquet", target)
    back = read(target, out)
    if "frames" in writer(target).HOLDS:
        frame = [back.column(name) for name in ("center_x", "center_y", "scale")]
        back = back.with_ink(geometry.restore(back.ink, *frame))
    elif target not in WHOLE:
        assert "frames" in result.lost
        return
    found = sorted(json.dumps([(np.rint(s) + 0.0).tolist() for s in strokes(back, n)]) for n in range(len(back)))
    assert found == sorted(json.dumps([s.tolist() for s in strokes(truth, n)]) for n in range(len(truth)))
