"""Promise: every line is kept, skipped or quarantined with its file, line and reason; splits never move."""

import gzip
import json
import re
import struct
import time

import numpy as np
import pytest

from ink import geometry
from ink.errors import DataError
from ink.parquet import read_drawings
from ink.quarantine import FILE_NAME, SCHEMA, read_quarantine
from stages import download, simplify
from tests.stages.helpers import ALONE, SIMPLIFY, balanced, download_params, record, run_simplify

GOOD = [record(key) for key in range(8)]
TEXT = json.dumps(record(99))
FAULTS = {
    "truncated": (TEXT[:60], "truncated JSON"),
    "not an object": ("[1, 2]", "not a JSON object"),
    "missing fields": ({"word": "cat"}, "no field key_id, drawing"),
    "nan": (record(99, [[[0, float("nan")], [0, 1], [0, 1]]]), "not finite"),
    "infinity": (record(99, [[[0, float("inf")], [0, 1], [0, 1]]]), "not finite"),
    "beyond float32": (record(99, [[[0, 1e300], [0, 1], [0, 1]]]), "not finite"),
    "text": (record(99, [[["0", "1"], [0, 1], [0, 1]]]), "not a number"),
    "null": (record(99, [[[0, None], [0, 1], [0, 1]]]), "not a number"),
    "huge integer": (TEXT.replace("50", "1" + "0" * 400), "not a number|not finite"),
    "no strokes": (record(99, []), "empty drawing"),
    "empty stroke": (record(99, [[[], [], []]]), "without points"),
    "ragged": (record(99, [[[0, 1], [0], [0, 1]]]), "one length"),
    "two axes": (record(99, [[[0, 1], [0, 1]]]), "one length"),
    "backwards": (record(99, [[[0, 1, 2], [0, 1, 2], [0, 9, 5]]]), "time runs backwards"),
    "backwards between strokes": (
        record(99, [[[0, 1], [0, 1], [0, 9]], [[5, 6], [5, 6], [3, 4]]]),
        "time runs backwards",
    ),
    "too long": (record(99, [[list(range(6000))] * 3]), "more than max_points"),
    "no extent": (record(99, [[[7, 7], [7, 7], [0, 1]]]), "no extent"),
    "wrong word": (record(99, word="dog"), "unknown category"),
    "duplicate": (record(3), "duplicate key"),
    "deep": ("[" * 100_000, "truncated JSON"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_quarantined_with_its_place_and_reason(tmp_path, fault):
    line, reason = FAULTS[fault]
    manifest = run_simplify(tmp_path, [*GOOD[:5], "", line, *GOOD[5:]])
    (row,) = read_quarantine(tmp_path / "simplified")
    assert (row.file, row.line) == ("cat.ndjson", 7), "the line of the file, blank ones counted"
    assert re.search(reason, row.reason)
    assert row.excerpt and len(row.excerpt) <= 200
    assert balanced(manifest) and manifest["counts"] == {"in": 9, "out": 8, "quarantined": 1, "skipped": {}}


def test_faults_deep_in_a_large_file_keep_their_line_number(tmp_path):
    lines = [record(key) for key in range(4500)]
    lines[4321] = record(4321, [[[0, 1, 2], [0, 1, 2], [0, 9, 5]]])
    run_simplify(tmp_path, lines)
    assert [row.line for row in read_quarantine(tmp_path / "simplified")] == [4322]


def test_a_good_drawing_is_kept_after_a_bad_one_of_the_same_key(tmp_path):
    manifest = run_simplify(tmp_path, [record(1, [[[7, 7], [7, 7], [0, 1]]]), record(1), record(2)])
    assert manifest["counts"]["out"] == 2


def test_unrecognised_is_skipped_and_counted_only_on_request(tmp_path):
    lines = [*GOOD, record(50, recognized=False)]
    assert run_simplify(tmp_path / "a", lines)["counts"]["skipped"] == {"not recognised by the game": 1}
    kept = run_simplify(tmp_path / "b", lines, only_recognized=False)
    assert kept["counts"] == {"in": 9, "out": 9, "quarantined": 0, "skipped": {}}


def test_an_empty_quarantine_is_written_with_its_columns(tmp_path):
    import pyarrow.parquet as pq

    run_simplify(tmp_path, GOOD)
    table = pq.read_table(tmp_path / "simplified" / FILE_NAME)
    assert table.num_rows == 0 and table.schema.equals(SCHEMA)


def test_too_many_faults_stop_the_stage_and_leave_the_quarantine_alone(tmp_path):
    run_simplify(tmp_path, GOOD)
    (tmp_path / "raw" / "manifest.json").unlink()  # else the download keeps what it has
    with pytest.raises(DataError, match=r"3 of 11 .*truncated JSON.*quarantine\.parquet"):
        run_simplify(tmp_path, [*GOOD, "{", "{", "{"], max_bad_fraction=0.05)
    assert [path.name for path in (tmp_path / "simplified").iterdir()] == [FILE_NAME]
    assert len(read_quarantine(tmp_path / "simplified")) == 3


def test_times_become_seconds_since_the_first_pen_down(tmp_path):
    run_simplify(tmp_path, [record(1, [[[0, 100], [0, 50], [500, 1500]]])])
    drawings = read_drawings(tmp_path / "simplified" / "part-00000.parquet")
    assert np.allclose(drawings.ink.t, [0.0, 1.0]) and drawings.column("timed").all()


@pytest.mark.parametrize("unit", ["radius", "side255"])
def test_epsilon_is_in_the_unit_that_is_asked_for(tmp_path, unit):
    x = np.linspace(0, 300, 200)
    bump = record(1, [[x.tolist(), (10 * np.sin(x / 20)).tolist(), np.arange(200).tolist()]])
    run_simplify(tmp_path, [bump], unit=unit, epsilon=2.0 if unit == "side255" else 0.02)
    ink = read_drawings(tmp_path / "simplified" / "part-00000.parquet").ink
    box = np.ptp(np.array(bump["drawing"][0][:2], np.float32), axis=1)
    epsilon = 2.0 * box.max() / 255 if unit == "side255" else 0.02 * np.hypot(*box) / 2
    rdp = pytest.importorskip("rdp").rdp
    assert ink.n_points == len(rdp(np.array(bump["drawing"][0][:2], np.float32).T, epsilon=epsilon))


def test_a_stroke_of_two_hundred_thousand_points_is_quick(tmp_path):
    x, y = np.cumsum(np.random.default_rng(0).normal(size=(2, 200_000)), axis=1)
    line = record(1, [[x.tolist(), y.tolist(), list(range(200_000))]])
    run_simplify(tmp_path / "warm", GOOD)
    start = time.monotonic()
    assert run_simplify(tmp_path / "a", [line], max_points=10**6)["counts"]["out"] == 1
    assert time.monotonic() - start < 5


def test_splits_are_a_hash_of_the_key_and_never_move_when_data_is_added(tmp_path):
    def splits(folder, keys):
        run_simplify(folder, [record(key) for key in keys])
        drawings = read_drawings(folder / "simplified" / "part-00000.parquet")
        return dict(zip(drawings.column("key"), drawings.column("split"), strict=True))

    few, many = splits(tmp_path / "a", range(300)), splits(tmp_path / "b", range(999, -1, -1))
    assert all(many[key] == split for key, split in few.items())
    shares = {name: list(many.values()).count(name) / 1000 for name in ("train", "valid", "test")}
    assert abs(shares["valid"] - 0.2) < 0.04 and abs(shares["test"] - 0.2) < 0.04


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes())


def mnist(root, images, labels, part="train"):
    source = root / "source"
    source.mkdir(parents=True, exist_ok=True)
    (source / f"{part}-images-idx3-ubyte.gz").write_bytes(images)
    (source / f"{part}-labels-idx1-ubyte.gz").write_bytes(labels)
    download.run(root / "raw", "m", download_params(source.as_uri(), [part], reader="mnist_idx"))
    return simplify.run(root / "raw", root / "simplified", "m", simplify.SimplifyParams(**SIMPLIFY), ALONE)


def test_mnist_is_vectorised_and_a_blank_raster_is_quarantined(tmp_path):
    images = np.zeros((3, 28, 28), np.uint8)
    images[0, 5:20, 13:16] = 255
    images[2, 8:11, 4:20] = 200
    manifest = mnist(tmp_path, idx(images), idx(np.array([1, 2, 7])), part="t10k")
    assert manifest["counts"] == {"in": 3, "out": 2, "quarantined": 1, "skipped": {}}
    assert [row.reason for row in read_quarantine(tmp_path / "simplified")] == ["no points"]
    drawings = read_drawings(tmp_path / "simplified" / "part-00000.parquet")
    assert list(drawings.column("label")) == ["1", "7"] and set(drawings.column("split")) == {"test"}
    assert geometry.bounding_boxes(drawings.ink).max() < 28


@pytest.mark.parametrize(("part", "split"), [("emnist-letters-test", "test"), ("emnist-letters-train", None)])
def test_emnist_lies_transposed_in_its_files_and_has_its_own_test_part(tmp_path, part, split):
    """A wide bar, transposed as the publisher stores it, comes back wide."""
    images = np.zeros((1, 28, 28), np.uint8)
    images[0, 10:14, 4:24] = 255
    mnist(tmp_path, idx(images.swapaxes(1, 2)), idx(np.array([12])), part=part)
    drawings = read_drawings(tmp_path / "simplified" / "part-00000.parquet")
    x0, y0, x1, y1 = geometry.bounding_boxes(drawings.ink)[0]
    assert x1 - x0 > 10 > 4 > y1 - y0 and 4 <= x0 < x1 <= 24 and 10 <= y0 <= y1 <= 14
    assert drawings.column("key").tolist() == [f"mnist/{part}/00000"] and drawings.column("label").tolist() == ["12"]
    assert split is None or drawings.column("split").tolist() == [split]


@pytest.mark.parametrize("damage", ["truncated", "not gzip", "counts"])
def test_damaged_idx_is_refused_with_its_name(tmp_path, damage):
    images, labels = idx(np.full((4, 28, 28), 9)), idx(np.arange(4))
    images = {"truncated": images[:-9], "not gzip": b"\x00\x01hello", "counts": idx(np.full((3, 28, 28), 9))}[damage]
    with pytest.raises(DataError, match="train-images"):
        mnist(tmp_path, images, labels)
