"""Promise: a pickle gives arrays or a refusal; no file can run code, exhaust memory or hang."""

import contextlib
import os
import pickle
import struct
import subprocess
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from ink.errors import DataError
from ink.formats.archive import MAX_RATIO, BadMember, open_archive
from ink.formats.array_pickle import load_npy, loads
from ink.formats.pickled_arrays import BadPickle
from tests.ink.formats.samples import npz, read, stroke3, write, zipped
from tests.stages.helpers import mirror

VALUES = [
    np.arange(6, dtype=np.float32).reshape(3, 2),
    np.ones((3, 2))[:, ::-1],
    np.asfortranarray(np.arange(6.0).reshape(3, 2)),
    np.zeros((0, 3), np.int16),
    np.arange(3, dtype=">i4"),
    np.array([True, False]),
    [1, -2.5, None, True, "ä", b"raw", (10**18, ())],
]


def same(a, b):
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_of_every_protocol_come_back(protocol):
    assert same(VALUES, loads(pickle.dumps(VALUES, protocol=protocol)))
    shared = [VALUES[0], VALUES[0]]
    assert same(shared, loads(pickle.dumps(shared, protocol=protocol)))


@pytest.mark.parametrize("name", ["aaron_sheep", "short_kanji"])
def test_real_python_2_arrays_are_those_of_numpys_own_loader(name):
    path = mirror() / "sketch-rnn-datasets" / f"{name}.npz"
    truth = np.load(path, allow_pickle=True, encoding="latin1")
    with open_archive(path) as archive:
        for split in ("train", "valid", "test"):
            assert same(list(truth[split]), load_npy(archive.read(f"{split}.npy")))


class Runs:
    """Runs a function of arguments when it is unpickled."""

    def __init__(self, what, *arguments):
        self.what, self.arguments = what, arguments

    def __reduce__(self):
        return self.what, self.arguments


def attacks(mark):
    """Pickles that touch the file `mark` when pickle.loads reads them, each by another way."""
    command = f"touch {mark}".encode()
    line = command.decode()
    for protocol in (0, 1, 2, 3, 4, 5):
        yield pickle.dumps(Runs(os.system, line), protocol=protocol)
        yield pickle.dumps([np.zeros((2, 2)), Runs(subprocess.call, ["touch", str(mark)])], protocol=protocol)
        yield pickle.dumps([[np.zeros((2, 2)), Runs(eval, f"__import__('os').system({line!r})")]], protocol=protocol)
    text = b"X" + struct.pack("<I", len(command)) + command
    yield b"\x80\x02(" + text + b"ios\nsystem\n."  # INST
    yield b"\x80\x02(cos\nsystem\n" + text + b"o."  # OBJ
    yield b"\x80\x02cos\nsystem\n" + text + b"\x85R."
    yield b"\x80\x04\x8c\x02os\x8c\x06system\x93" + text + b"\x85R."
    yield b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncos\nsystem\n" + text + b"\x87R."
    yield b"\x80\x04\x8c\x05numpy\x8c\x0ef2py.os.system\x93" + text + b"\x85R."  # dotted name
    yield b"\x80\x02c__builtin__\nbytes\n" + text + b"\x85R."


def test_no_attack_runs_code(tmp_path):
    mark = tmp_path / "ran"
    ran = 0
    for attack in attacks(mark):
        with contextlib.suppress(Exception):
            pickle.loads(attack)  # shows that these attacks are real ones
        ran += mark.exists()
        mark.unlink(missing_ok=True)
        with pytest.raises(BadPickle):
            loads(attack)
        with pytest.raises(BadPickle):
            load_npy(
                b"\x93NUMPY\x01\x00\x40\x00"
                + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(64)
                + attack
            )
        assert not mark.exists()
    assert ran >= 20


def test_an_attack_in_a_data_set_is_a_refusal_or_one_quarantine_row(tmp_path):
    mark = tmp_path / "ran"
    evil = pickle.dumps(Runs(os.system, f"touch {mark}"))
    batch = read("vectormnist", write(tmp_path, "vectormnist", zipped({"3/a.pkl": evil})))
    assert [row.reason for row in batch.rejected] == ["a pickle that asks for code to run"]
    with pytest.raises(DataError, match="array train cannot be read: a pickle that asks for code to run"):
        read("sketchrnn_npz", write(tmp_path, "sketchrnn_npz", npz({"train": [Runs(os.system, f"touch {mark}")]})))
    assert not mark.exists()


def doubling():
    """Each list holds the one before ten times: 10**300 elements to walk."""
    return b"\x80\x02]q\x00" + b"".join(
        b"](" + b"h" + bytes([n]) + (b"h" + bytes([n])) * 9 + b"eq" + bytes([n + 1]) for n in range(250)
    ) + b"."  # fmt: skip


def bombs():
    array = pickle.dumps(np.zeros(10_000), protocol=2)[2:-1]
    state = b"(K\x01\x8a\x08" + struct.pack("<q", 1 << 61) + b"\x85cnumpy\ndtype\nU\x02f8\x85R\x89U\x00tb."
    head = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    return {
        "memo doubling": doubling(),
        "one array many times": b"\x80\x02](" + array + b"r\xff\xff\xff\x00" + b"j\xff\xff\xff\x00" * 50_000 + b"e.",
        "itself": b"\x80\x02]q\x00h\x00a.",
        "huge memo slot": b"\x80\x02Nr\xff\xff\xff\xff.",
        "huge bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b".",
        "huge text": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b".",
        "huge frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"].",
        "huge number": b"\x80\x02\x8b\xff\xff\xff\x7f" + b"\xff" * 1000 + b".",
        "huge shape": head + state,
        "deep": b"\x80\x02" + b"]" * 60_000 + b"a" * 59_999 + b".",
        "out-of-band buffer": b"\x80\x05\x97.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent id": b"\x80\x02Pevil\n.",
        "never ends": b"\x80\x02" + b"N" * 100_000,
        "below the mark": b"\x80\x02K\x01(0.",
        "unfinished array": head + b".",
        "object dtype over bytes": head + b"(K\x01K\x01\x85cnumpy\ndtype\nU\x02O8\x85R\x89U\x08" + b"A" * 8 + b"tb.",
        "text dtype": head + b"(K\x01K\x01\x85cnumpy\ndtype\nU\x02U2\x85R\x89U\x08" + b"A" * 8 + b"tb.",
        "empty": b"",
    }


@pytest.mark.parametrize("name", bombs())
def test_bombs_end_quickly_and_small(name):
    data = bombs()[name]
    tracemalloc.start()
    start = time.process_time()
    try:
        if name in ("huge memo slot", "huge frame"):  # harmless: nothing is made of the number
            loads(data)
        else:
            with pytest.raises(BadPickle):
                loads(data)
        assert time.process_time() - start < 30 and tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()


def test_zip_bombs_and_names_that_lead_out_are_refused(tmp_path):
    bomb = zipped({"train.npy": bytes(40 << 20)})
    path = tmp_path / "bomb.npz"
    path.write_bytes(bomb)
    with pytest.raises(DataError, match=f"more than {MAX_RATIO} times its size"):
        read("sketchrnn_npz", path)
    path.write_bytes(zipped({"train.npy": bytes(20 << 20), "valid.npy": os.urandom(1 << 18)}))
    with pytest.raises(DataError, match="unpacks to more than"):
        read("sketchrnn_npz", path)
    for name in ("../3/a.pkl", "/3/a.pkl", "3/../../a.pkl", "C:/3/a.pkl"):
        batch = read("vectormnist", write(tmp_path, "vectormnist", zipped({name: pickle.dumps([stroke3(0)])})))
        assert [row.reason for row in batch.rejected] == ["a name that leads out of the archive"]
    assert [file.name for file in tmp_path.parent.iterdir() if file.name.endswith(".pkl")] == []


def test_a_member_that_lies_about_its_size_is_refused(tmp_path):
    content = bytearray(zipped({"3/a.pkl": b"x" * 5000}))
    place = content.rfind(b"PK\1\2")
    content[place + 24 : place + 28] = struct.pack("<I", 9)
    path = tmp_path / "lies.zip"
    path.write_bytes(content)
    with open_archive(path) as archive, pytest.raises(BadMember, match=r"damaged|another size"):
        archive.read("3/a.pkl")
    path.write_bytes(zipped({"a": b"1" * 99}, zipfile.ZIP_BZIP2))
    with open_archive(path) as archive, pytest.raises(BadMember, match="packing"):
        archive.read("a")
