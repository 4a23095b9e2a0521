"""Promise: what is written loads in the tools that have this format, and comes back as it was."""

import json

import numpy as np
import pytest

from ink.errors import DataError
from ink.formats import quickdraw_simplified, sketchrnn_npz
from ink.table import Drawings, Ink
from stages import normalize
from tests.ink.formats.samples import COUNT, read, stroke3, strokes, write

CLOCK = normalize.NormalizeParams(frame="unit_circle", clock="arc_length")


def plain(ink):
    return [[stroke[:, :2].tolist() for stroke in ink.strokes(n)] for n in range(len(ink))]


@pytest.mark.parametrize("normalized", [False, True])
def test_stroke_3_npz_loads_in_numpy_as_sketch_rnn_loads_it(tmp_path, normalized):
    drawings = read("sketchrnn_npz", write(tmp_path, "sketchrnn_npz")).drawings
    written = normalize.normalize(drawings, CLOCK) if normalized else drawings
    path = tmp_path / "out.npz"
    sketchrnn_npz.write(path, iter([written.take(range(3)), written.take(range(3, COUNT))]))
    data = np.load(path, allow_pickle=True, encoding="latin1")
    assert [len(data[split]) for split in ("train", "valid", "test")] == [6, 1, 1]
    for n, array in enumerate(np.concatenate([data[split] for split in ("train", "valid", "test")])):
        assert array.dtype == np.int16 and np.array_equal(array, stroke3(n))
    assert plain(read("sketchrnn_npz", path).drawings.ink) == plain(drawings.ink)
    first = path.read_bytes()
    sketchrnn_npz.write(path, [written])
    assert path.read_bytes() == first


@pytest.mark.parametrize("normalized", [False, True])
def test_simplified_ndjson_comes_back(tmp_path, normalized):
    drawings = read("quickdraw_simplified", write(tmp_path, "quickdraw_simplified")).drawings
    path = tmp_path / "out" / "cat.ndjson"
    quickdraw_simplified.write(path, [normalize.normalize(drawings, CLOCK) if normalized else drawings])
    assert [json.loads(line)["drawing"] for line in path.read_text().splitlines()] == [strokes(n) for n in range(COUNT)]
    back = read("quickdraw_simplified", path).drawings
    assert back.to_table().equals(drawings.to_table())


def test_other_coordinates_are_scaled_to_the_canvas_of_quick_draw(tmp_path):
    points = np.array([[-3.5, 10, 0], [6.5, 12.25, 0], [1.5, 15, 0]])
    drawings = Drawings.build(
        Ink.from_strokes([[points], [points[:1]]]), ["a/1", "a/2"], ["cat"] * 2, split=["train"] * 2
    )
    quickdraw_simplified.write(tmp_path / "cat.ndjson", [drawings])
    first, second = (json.loads(line)["drawing"] for line in (tmp_path / "cat.ndjson").read_text().splitlines())
    assert first == [[[0, 255, 128], [0, 57, 128]]] and second == [[[0], [0]]]
    sketchrnn_npz.write(tmp_path / "cat.npz", [drawings])
    data = np.load(tmp_path / "cat.npz", allow_pickle=True, encoding="latin1")
    assert data["train"][0].tolist() == [[0, 0, 0], [255, 57, 0], [-127, 71, 1]]


def test_a_drawing_without_split_is_named(tmp_path):
    drawings = Drawings.build(Ink.from_strokes([[np.ones((2, 3))]]), ["a/1"], ["cat"])
    with pytest.raises(DataError, match="a/1: expected a split"):
        sketchrnn_npz.write(tmp_path / "cat.npz", [drawings])
    assert list(tmp_path.iterdir()) == []
