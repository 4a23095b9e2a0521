"""Promise: each reader gives the published format's drawings, labels, splits and clock; what is bad is quarantined."""

import io
import json
import pickle
import re
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from ink.errors import DataError
from ink.formats import READERS, reader
from ink.table import validate
from tests.ink.formats.samples import (
    COUNT,
    SAMPLES,
    binary,
    npz,
    omniglot,
    read,
    record,
    stroke3,
    strokes,
    timed,
    write,
    zipped,
)

VECTOR = sorted(set(SAMPLES) - {"mnist_idx", "digits"})
TIMED = {"quickdraw_raw", "didi", "omniglot", "inkml", "unipen"}
SPLITS = {
    "didi": ["train", "valid", "test", "train", "valid", "test", "train", "valid"],
    "sketchrnn_npz": ["train"] * 6 + ["valid", "test"],
}


def test_every_reader_has_a_sample_here():
    assert set(READERS) == set(SAMPLES)


@pytest.mark.parametrize("name", VECTOR)
def test_the_drawings_come_back(tmp_path, name):
    batch = read(name, write(tmp_path, name))
    drawings = batch.drawings
    assert len(drawings) == COUNT and not batch.rejected and not batch.skipped
    for n in range(COUNT):
        wanted = [np.transpose(stroke) for stroke in strokes(n)]
        got = drawings.ink.strokes(n)
        shift = [0.5, 0] if name == "omniglot" else [0, 0]
        assert [stroke[:, :2].tolist() for stroke in got] == [(stroke + shift).tolist() for stroke in wanted]
        clock = np.concatenate([stroke[:, 2] for stroke in got])
        if name in TIMED:
            assert np.allclose(clock, (np.concatenate([s[2] for s in timed(n)]) - 100) / 1000)
        else:
            path = np.concatenate(wanted)
            steps = np.hypot(*np.diff(path, axis=0).T)
            assert np.allclose(clock, np.concatenate([[0], np.cumsum(steps)]), rtol=1e-6)
    assert (drawings.column("timed") == (name in TIMED)).all()
    assert drawings.column("split").tolist() == SPLITS.get(name, [""] * COUNT)
    assert len(set(drawings.column("key"))) == COUNT and set(validate(drawings)) == {""}


def test_labels_and_keys(tmp_path):
    first = {name: read(name, write(tmp_path, name)).drawings.take([0, 1]) for name in VECTOR}
    got = {name: (d.column("label")[1], d.column("key")[1]) for name, d in first.items()}
    assert got == {
        "quickdraw_raw": ("cat", "quickdraw/cat/1"),
        "quickdraw_simplified": ("cat", "quickdraw/cat/1"),
        "quickdraw_binary": ("cat", f"quickdraw/cat/{2**63 + 1}"),
        "sketchrnn_npz": ("sheep", "sketchrnn/sheep/train/000001"),
        "vectormnist": ("1", "vectormnist/1/001"),
        "didi": ("d1", "didi/k1"),
        "omniglot": ("Latin/character01", "omniglot/Latin/character01/0001_01"),
        "inkml": ("cat", "inkml/cat/1"),
        "svg": ("cat", "svg/cat/1"),
        "unipen": ("cat", "unipen/cat/00001"),
        "parquet": ("cat", "own/1"),
    }


@pytest.mark.parametrize("name", ["quickdraw_raw", "quickdraw_simplified", "quickdraw_binary"])
def test_what_the_game_did_not_recognise_is_skipped_and_counted(tmp_path, name):
    batch = read(name, write(tmp_path, name), only_recognized=True)
    assert len(batch.drawings) == COUNT - 1 and batch.skipped == {"not recognised by the game": 1}
    assert 3 not in [int(key.rsplit("/", 1)[1]) & 0xFF for key in batch.drawings.column("key")]


def test_a_folder_of_vectormnist_reads_like_the_archive(tmp_path):
    folder = tmp_path / "VectorMNIST"
    for n in range(COUNT):
        (folder / str(n)).mkdir(parents=True)
        (folder / str(n) / f"{n:03d}.pkl").write_bytes(
            pickle.dumps([np.transpose(stroke).astype(float) for stroke in strokes(n)], protocol=2)
        )
    a, b = read("vectormnist", folder), read("vectormnist", write(tmp_path, "vectormnist"))
    assert a.drawings.to_table().equals(b.drawings.to_table())


@pytest.mark.parametrize("cut", [1, 5, 16, 17, 18, 27, 30])
def test_a_truncated_binary_keeps_every_whole_drawing_and_quarantines_the_rest(tmp_path, cut):
    content = b"".join(map(binary, range(40))) + binary(40)[:cut]
    batch = read("quickdraw_binary", write(tmp_path, "quickdraw_binary", content))
    assert len(batch.drawings) == 40 and batch.lines == list(range(40))
    (row,) = batch.rejected
    assert row.line == 40 and "truncated" in row.reason and f"from byte {len(content) - cut}" in row.excerpt


def test_a_binary_larger_than_its_chunks_loses_nothing(tmp_path):
    sizes = [(7 * n) % 300 for n in range(30_000)]
    content = b"".join(
        struct.pack("<Q2sbIHH", n, b"CH", 1, 0, 1, size + 1) + bytes(2 * size + 2) for n, size in enumerate(sizes)
    )
    path = write(tmp_path, "quickdraw_binary", content)
    batches = list(reader("quickdraw_binary").read(path, only_recognized=True))
    assert max(len(batch.drawings) for batch in batches) <= 2000 and len(content) > 1 << 23
    keys = [key for batch in batches for key in batch.drawings.column("key")]
    assert keys == [f"quickdraw/cat/{n}" for n in range(30_000)]
    assert sum(batch.drawings.ink.n_points for batch in batches) == sum(sizes) + 30_000


def lines(*records):
    return b"\n".join(r if isinstance(r, bytes) else json.dumps(r).encode() for r in records)


DIDI = {"key": "k", "label_id": "d", "split": "train", "drawing": timed(0)}
FAULTS = {
    "three axes": ("quickdraw_simplified", lines(record(0, timed(0))), "two lists of one length"),
    "true": ("quickdraw_simplified", lines(record(0, [[[True, 2], [0, 1]]])), "not a number"),
    "surrogate": ("quickdraw_raw", b'{"key_id": "\\ud800", "word": "cat", "drawing": []}', "not valid Unicode"),
    "key is a list": ("quickdraw_raw", lines(record(0, timed(0)) | {"key_id": [1]}), "key_id is neither"),
    "long line": ("quickdraw_raw", b"[" * (70 << 20) + b"\n", "longer than 64 MiB"),
    "other split": ("didi", lines(DIDI | {"split": "dev"}), "a split other than"),
    "no split": ("didi", lines({k: v for k, v in DIDI.items() if k != "split"}), "no field split"),
    "pen 2": ("sketchrnn_npz", npz({"train": [stroke3(0) + np.array([0, 0, 2], np.int16)]}), "pen that is neither"),
    "pen half": ("sketchrnn_npz", npz({"train": [np.full((3, 3), 0.5)]}), "pen that is neither"),
    "stroke-5": ("sketchrnn_npz", npz({"train": [np.zeros((4, 5))]}), "not rows of dx, dy, pen"),
    "no rows": ("sketchrnn_npz", npz({"train": [np.zeros((0, 3), np.int16)]}), "empty drawing"),
    "infinite": ("sketchrnn_npz", npz({"train": [np.array([[np.inf, 0, 0], [1, 1, 1]])]}), "not finite"),
    "beyond float32": ("sketchrnn_npz", npz({"train": [np.array([[1e300, 0, 0], [1, 1, 1]])]}), "not finite"),
    "text": ("vectormnist", zipped({"0/a.pkl": pickle.dumps([[["0", "1"], ["2", "3"]]])}), "not a number"),
    "ragged": ("vectormnist", zipped({"0/a.pkl": pickle.dumps([[[0, 1], [2]]])}), "not rows of x, y"),
    "no strokes": ("vectormnist", zipped({"0/a.pkl": pickle.dumps([])}), "not a list of strokes"),
    "three columns": ("vectormnist", zipped({"0/a.pkl": pickle.dumps([np.zeros((4, 3))])}), "not rows of x, y"),
    "no folder": ("vectormnist", zipped({"a.pkl": b""}), "outside the folders"),
    "no BREAK": ("omniglot", zipped({"A/c/1_01.txt": omniglot(0)[:-6]}), "no BREAK"),
    "two columns": ("omniglot", zipped({"A/c/1_01.txt": b"START\n1,2\n1,2,3,4\nBREAK\n"}), "not START, lines"),
    "nan": ("omniglot", zipped({"A/c/1_01.txt": b"START\nnan,2,3\nBREAK\n"}), "not START, lines"),
    "empty stroke": ("omniglot", zipped({"A/c/1_01.txt": b"START\nBREAK\n"}), "not START, lines"),
    "damaged flag": ("quickdraw_binary", binary(0)[:10] + b"\x07" + binary(0)[11:], "neither 0 nor 1"),
    "empty binary stroke": ("quickdraw_binary", struct.pack("<Q2sbIHH", 1, b"CH", 1, 0, 1, 0), "without points"),
    "no binary stroke": ("quickdraw_binary", struct.pack("<Q2sbIH", 1, b"CH", 1, 0, 0), "empty drawing"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_one_quarantine_row_with_its_reason(tmp_path, fault):
    name, content, reason = FAULTS[fault]
    batch = read(name, write(tmp_path, name, content))
    (row,) = batch.rejected
    assert re.search(reason, row.reason) and len(batch.drawings) == 0
    assert row.file == SAMPLES[name][0]


@pytest.mark.parametrize("name", ["sketchrnn_npz", "vectormnist", "omniglot", "mnist_idx"])
@pytest.mark.parametrize("content", [b"", b"PK\5\6", b"hello" * 100])
def test_a_file_of_another_kind_is_refused_with_its_name(tmp_path, name, content):
    path = write(tmp_path, name, content)
    with pytest.raises(DataError, match=re.escape(str(path))):
        read(name, path)


def test_an_npz_of_other_arrays_is_refused(tmp_path):
    with pytest.raises(DataError, match="expected the arrays train, valid, test"):
        read("sketchrnn_npz", write(tmp_path, "sketchrnn_npz", npz({"weights": [stroke3(0)]})))


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        (3, "-1", "a pixel"),
        (3, "NaN", "a pixel"),
        (3, "1e308", "a pixel"),
        (64, "inf", "a label"),
        (64, "2.5", "a label"),
    ],
)
def test_a_digit_that_is_none_is_one_quarantine_row(tmp_path, column, value, reason):
    good, bad = SAMPLES["digits"][1]().decode().splitlines()
    cells = bad.split(",")
    cells[column] = value
    batch = read("digits", write(tmp_path, "digits", f"{good}\n{','.join(cells)}\n".encode()))
    (row,) = batch.rejected
    assert row.reason.startswith(reason) and (row.file, row.line, row.key) == ("digits.csv", 2, "digits/0001")
    assert batch.drawings.column("key").tolist() == ["digits/0000"] and batch.lines == [1]


def test_a_small_idx_file_takes_little_memory(tmp_path):
    path = write(tmp_path, "mnist_idx")
    read("mnist_idx", path)
    tracemalloc.start()
    try:
        read("mnist_idx", path)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_a_damaged_parquet_file_is_whole_or_refused(tmp_path):
    """Arrow takes a damaged page for the end of a column, and tells of text that is not UTF-8 only when it is used."""
    content = SAMPLES["parquet"][1]()
    damage = [content[:n] + b"\0" + content[n + 1 :] for n in range(5, 700, 5)]
    damage += [content.replace(b"own/1", b"\xffwn/1"), content.replace(b"center_x", b"\1enter_x")]
    refused = 0
    for damaged in damage:
        path = write(tmp_path, "parquet", damaged)
        try:
            drawings = read("parquet", path).drawings
            assert len(drawings) == COUNT and "".join(drawings.column("key")).encode()
        except DataError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("name", ["vectormnist", "omniglot"])
def test_a_member_without_a_name_is_quarantined(tmp_path, name):
    content = SAMPLES[name][1]()
    first = zipfile.ZipFile(io.BytesIO(content)).namelist()[0].encode()
    batch = read(name, write(tmp_path, name, content.replace(first, b"\0" + first[1:])))
    assert len(batch.drawings) == COUNT - 1
    assert [row.reason for row in batch.rejected if "name" in row.reason or "folder" in row.reason]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_of_another_packing_is_quarantined_unread(tmp_path, method):
    """Sound or damaged: only deflate is unpacked, whose sizes can be bounded."""
    content = zipped({"a.inkml": bytes(range(256)) * 8}, method)
    place = content.index(b"a.inkml") + 12
    for damage in (b"", b"\xff" * 12):
        path = write(tmp_path, "inkml", content[:place] + damage + content[place + len(damage) :])
        batch = read("inkml", path)
        assert not len(batch.drawings)
        assert [(row.file, row.reason) for row in batch.rejected] == [("a.inkml", "a packing other than deflate")]
