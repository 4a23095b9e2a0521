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
import pyarrow as pa
import pyarrow.parquet as pq

from ink.formats import Batch, reader
from ink.table import SCHEMA, SCHEMA_VERSION, Drawings

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


def inkml(n: int) -> bytes:
    """Drawing n as InkML: explicit values, or, for odd n, differences (W3C, 3.2.1) and a context by reference."""
    if n % 2:
        rows = [
            ", ".join(f"{a} {b} {c}" for a, b, c in np.diff(np.transpose(stroke), axis=0).tolist())
            for stroke in timed(n)
        ]
        first = [np.transpose(stroke)[0].tolist() for stroke in timed(n)]
        traces = [f"{a} {b} {c}, '{_quoted(row)}" for (a, b, c), row in zip(first, rows, strict=True)]
    else:
        traces = [", ".join(f"{a} {b} {c}" for a, b, c in np.transpose(stroke).tolist()) for stroke in timed(n)]
    form = (
        '<traceFormat xml:id="f"><channel name="X" type="decimal"/><channel name="Y" type="decimal"/>'
        '<channel name="T" type="integer" units="ms"/></traceFormat>'
    )
    if n % 2:
        form = f'<definitions>{form}<context xml:id="c" traceFormatRef="#f"/></definitions>'
    attribute = ' contextRef="#c"' if n % 2 else ""
    body = "".join(f"<trace{attribute}>{trace}</trace>" for trace in traces)
    head = '<ink xmlns="http://www.w3.org/2003/InkML"><annotation type="label">cat</annotation>'
    return f"{head}{form}{body}</ink>".encode()


def _quoted(row: str) -> str:
    """A row of differences, each channel of its first point marked."""
    first, *others = row.split(", ")
    return ", ".join([first.replace(" ", " '"), *others])


def svg(n: int) -> bytes:
    """Drawing n as SVG: polylines, or, for odd n, relative paths in a group."""
    if n % 2:
        shapes = []
        for stroke in strokes(n):
            points = np.transpose(stroke)
            moves = " ".join(f"l{dx},{dy}" for dx, dy in np.diff(points, axis=0))
            shapes.append(f'<path d="m{points[0][0]},{points[0][1]} {moves}"/>')
        body = f'<g transform="translate(1 0) translate(-1 0)">{"".join(shapes)}</g>'
    else:
        body = "".join(
            '<polyline points="' + " ".join(f"{x},{y}" for x, y in np.transpose(stroke)) + '"/>'
            for stroke in strokes(n)
        )
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 255 255" data-label="cat">{body}</svg>'.encode()


def unipen() -> bytes:
    """All drawings as one UNIPEN file: y upwards, a segment a drawing."""
    text = ".VERSION 1.0\n.COORD X Y T\n.HIERARCHY DRAWING\n"
    for n in range(COUNT):
        text += f'.SEGMENT DRAWING {2 * n}-{2 * n + 1} OK "cat"\n'
        for stroke in timed(n):
            text += ".PEN_DOWN\n" + "".join(f" {x} {-y} {t}\n" for x, y, t in np.transpose(stroke)) + ".PEN_UP\n"
    return text.encode()


def parquet() -> bytes:
    """All drawings as the drawing table of design.md, from plain lists."""
    rows = []
    for n in range(COUNT):
        points = np.concatenate([np.transpose(stroke) for stroke in strokes(n)])
        length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
        facts = {"key": f"own/{n}", "parent": f"own/{n}", "label": "cat", "split": "", "copy": 0, "timed": False}
        ink = {"x": points[:, 0].tolist(), "y": points[:, 1].tolist(), "t": length.tolist(), "offsets": [0, 3]}
        rows.append(facts | ink | {"center_x": 0.0, "center_y": 0.0, "scale": 1.0})
    metadata = {b"inkmill": json.dumps({"schema_version": SCHEMA_VERSION}).encode()}
    content = io.BytesIO()
    table = pa.Table.from_pylist(rows, SCHEMA.with_metadata(metadata))
    pq.write_table(table, content, compression="none", write_statistics=False)
    return content.getvalue()


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


def _digits() -> bytes:
    rows = [[16 * (2 + n <= place % 8 <= 3 + n and 8 <= place < 56) for place in range(64)] for n in range(RASTERS)]
    return "".join(",".join(map(str, [*row, n])) + "\n" for n, row in enumerate(rows)).encode()


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
    "digits": ("digits.csv", _digits),
    "inkml": ("ink.zip", lambda: zipped({f"cat/{n}.inkml": inkml(n) for n in range(COUNT)})),
    "svg": ("svg.zip", lambda: zipped({f"cat/{n}.svg": svg(n) for n in range(COUNT)})),
    "unipen": ("cat.unp", unipen),
    "parquet": ("cat.parquet", parquet),
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
