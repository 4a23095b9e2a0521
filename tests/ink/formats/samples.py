"""Small files of every source format, written to the published descriptions and not by our own writers."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ink.formats import Batch, reader
from ink.table import Drawings

COUNT = 8
RASTERS = 2  # vectorising takes its time


def strokes(n: int) -> list[list[list[int]]]:
    """Drawing n: two strokes of [xs, ys], whole numbers 0 to 255 and a corner at 0, 0."""
    return [[[0, 50, 90 + n], [0, 30, n]], [[5, 5], [1, 40]]]


def timed(n: int) -> list[list[list[int]]]:
    """Drawing n with a third axis: t in ms, from 100 on."""
    return [[*xy, [100 + 500 * s + 10 * i for i in range(len(xy[0]))]] for s, xy in enumerate(strokes(n))]


def stroke3(n: int) -> np.ndarray:
    """Drawing n as sketch-rnn holds it."""
    points = np.concatenate([np.transpose(stroke) for stroke in strokes(n)])
    return np.column_stack([np.diff(points, axis=0, prepend=0), [0, 0, 1, 0, 1]]).astype(np.int16)


def record(n: int, drawing: Any) -> dict[str, Any]:
    """A line of Quick, Draw!."""
    return {"word": "cat", "countrycode": "CH", "timestamp": "2017-03-02", "recognized": n != 3, "key_id": str(n)} | {
        "drawing": drawing
    }


def binary(n: int) -> bytes:
    """Drawing n in the binary format."""
    body = b"".join(struct.pack("<H", len(x)) + bytes(x) + bytes(y) for x, y in strokes(n))
    return struct.pack("<Q2sbIH", 2**63 + n, b"CH", int(n != 3), 1488461110, 2) + body


def npz(arrays: dict[str, list[np.ndarray]], protocol: int = 2) -> bytes:
    """An `.npz` of object arrays, with the given pickle protocol."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays.items():
            objects = np.empty(len(values), dtype=object)
            for n, value in enumerate(values):
                objects[n] = value
            header = {"descr": "|O", "fortran_order": False, "shape": objects.shape}
            member = io.BytesIO()
            np.lib.format.write_array_header_1_0(member, header)
            archive.writestr(f"{name}.npy", member.getvalue() + pickle.dumps(objects, protocol=protocol))
    return content.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, value in members.items():
            archive.writestr(name, value)
    return content.getvalue()


def omniglot(n: int) -> bytes:
    """Drawing n as Omniglot's text: y upwards."""
    texts = ["".join(f"{x}.5,{-y},{t}\n" for x, y, t in np.transpose(stroke)) + "BREAK\n" for stroke in timed(n)]
    return ("START\n" + "".join(texts)).encode()


def idx(array: np.ndarray) -> bytes:
    """An IDX file of bytes."""
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes())


def _lines(records: list[dict[str, Any]]) -> bytes:
    return "\n".join(map(json.dumps, records)).encode()


def _images() -> bytes:
    images = np.zeros((RASTERS, 12, 12))
    for n in range(RASTERS):
        images[n, 2:10, 1 + n] = 255
    return idx(images)


SAMPLES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "quickdraw_raw": ("cat.ndjson", lambda: _lines([record(n, timed(n)) for n in range(COUNT)])),
    "quickdraw_simplified": ("cat.ndjson", lambda: _lines([record(n, strokes(n)) for n in range(COUNT)])),
    "quickdraw_binary": ("cat.bin", lambda: b"".join(map(binary, range(COUNT)))),
    "sketchrnn_npz": (
        "sheep.npz",
        lambda: npz({"train": [stroke3(n) for n in range(6)], "valid": [stroke3(6)], "test": [stroke3(7)]}),
    ),
    "vectormnist": (
        "VectorMNIST.zip",
        lambda: zipped(
            {
                f"VectorMNIST/{n}/{n:03d}.pkl": pickle.dumps([np.transpose(s).astype(float) for s in strokes(n)])
                for n in range(COUNT)
            }
        ),
    ),
    "didi": (
        "diagrams.ndjson",
        lambda: _lines(
            [
                {"key": f"k{n}", "label_id": f"d{n % 2}", "split": ["train", "valid", "test"][n % 3]}
                | {"drawing": timed(n), "writing_guide": {"width": 800, "height": 600}}
                for n in range(COUNT)
            ]
        ),
    ),
    "omniglot": (
        "strokes_background.zip",
        lambda: zipped({f"strokes/Latin/character{n:02d}/{n:04d}_01.txt": omniglot(n) for n in range(COUNT)}),
    ),
    "mnist_idx": ("t10k-images-idx3-ubyte.gz", _images),
}


def write(folder: Path, name: str, content: bytes | None = None) -> Path:
    """Write the sample of a reader, or other content under its name; return the path."""
    file, make = SAMPLES[name]
    path = folder / file
    path.write_bytes(make() if content is None else content)
    if name == "mnist_idx":
        (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(idx(np.arange(RASTERS)))
    return path


def read(name: str, path: Path, only_recognized: bool = False) -> Batch:
    """Read a whole file as one batch."""
    batches = list(reader(name).read(path, only_recognized=only_recognized))
    for batch in batches:
        assert len(batch.lines) == len(batch.drawings)
    excerpts = [batch.excerpt(row) for batch in batches for row in range(len(batch.drawings))]
    return Batch(
        Drawings.concat([batch.drawings for batch in batches]),
        [line for batch in batches for line in batch.lines],
        excerpts.__getitem__,
        [row for batch in batches for row in batch.rejected],
        sum((batch.skipped for batch in batches), Counter()),
    )
