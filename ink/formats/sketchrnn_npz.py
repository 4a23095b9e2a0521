"""sketch-rnn's `.npz`: the arrays train, valid and test, a drawing as stroke-3 rows of dx, dy, pen lifted after it.

The first row leads from the origin to the first point. No clock; the publisher's split is kept. The arrays are
pickled objects and are read by `array_pickle`, which cannot run code. Format: README of sketch-rnn-datasets.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ink.errors import DataError, one_line
from ink.files import atomic_path
from ink.formats import Batch
from ink.formats.archive import BadMember, open_archive
from ink.formats.array_pickle import load_npy
from ink.formats.collect import BadDrawing, Collector
from ink.formats.pickled_arrays import BadPickle
from ink.formats.whole_numbers import whole_strokes
from ink.table import SPLITS, Drawings

HOLDS = frozenset({"splits"})
NEEDS_SPLITS = True
_LIMIT = np.iinfo(np.int16)
_SIDE = 255  # longer side of drawings that are not whole numbers


def source_files(categories: list[str]) -> list[str]:
    """Return one file a category."""
    return [f"{category}.npz" for category in categories]


def read(path: Path, *, only_recognized: bool) -> Iterator[Batch]:
    """Yield the drawings of one file; the label is its name, keys are `sketchrnn/<name>/<split>/<row>`.

    Raises:
        DataError: it is not a zip archive of the arrays train, valid and test, or one of them is no array.
    """
    label = path.stem.removesuffix(".full")
    found = Collector(path.name, milliseconds=False)
    with open_archive(path) as archive:
        there = [split for split in SPLITS if f"{split}.npy" in archive.names]
        if not there or len(there) < len(archive.names):
            raise DataError(
                f"{path}: expected the arrays {', '.join(SPLITS)} of sketch-rnn, got {archive.names[:5]}; "
                f"is it another kind of .npz?"
            )
        for split in there:
            try:
                rows = load_npy(archive.read(f"{split}.npy"))
            except (BadMember, BadPickle) as error:
                raise DataError(
                    f"{path}: its array {split} cannot be read: {one_line(error)}. Expected an array of int16 arrays, "
                    f"one a drawing; download the file again, or from its publisher."
                ) from error
            for row, stroke3 in enumerate(rows):
                key = f"sketchrnn/{path.stem}/{split}/{row:06d}"
                try:
                    found.add_points(*_absolute(stroke3), key, label, split=split, line=row)
                except BadDrawing as error:
                    found.reject(str(error), key=key, line=row)
                if found.full:
                    yield found.take()
    yield found.take()


def write(path: Path, drawings: Iterable[Drawings]) -> None:
    """Write drawings as sketch-rnn reads them: int16, the arrays train, valid and test; equal input, equal bytes.

    Coordinates are those of the source where they are whole numbers, else scaled to a longer side of 255. The
    format holds a split in one array, so all drawings are gathered, in int16, before any is written.

    Raises:
        DataError: a drawing is of no split, or a drawing or stroke is empty, or a number not finite.
    """
    gathered: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    for batch in drawings:
        keys, splits = batch.column("key"), batch.column("split")
        for n, strokes in enumerate(whole_strokes(batch, low=_LIMIT.min // 2, high=_LIMIT.max // 2, side=_SIDE)):
            if splits[n] not in gathered:
                raise DataError(
                    f"{keys[n]}: expected a split of {', '.join(SPLITS)}, got {splits[n]!r}; run the stage simplify, "
                    f"which gives one to every drawing"
                )
            gathered[splits[n]].append(_stroke3(strokes))
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for split, arrays in gathered.items():
            objects = np.empty(len(arrays), dtype=object)
            for n, array in enumerate(arrays):  # one by one: NumPy would join arrays of one length
                objects[n] = array
            content = io.BytesIO()
            np.lib.format.write_array(content, objects, allow_pickle=True)  # writing runs nothing of the file's
            member = zipfile.ZipInfo(f"{split}.npy")
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content.getbuffer())


def _absolute(stroke3: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return (points, 2) and the end of each stroke."""
    if not isinstance(stroke3, np.ndarray) or stroke3.ndim != 2 or stroke3.shape[1] != 3:
        raise BadDrawing("not rows of dx, dy, pen")
    pen = stroke3[:, 2]
    if not np.isin(pen, (0, 1)).all():
        raise BadDrawing("a pen that is neither 0 nor 1")
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused with its batch
        points = np.cumsum(stroke3[:, :2].astype(np.float64), axis=0)
    ends = np.flatnonzero(pen) + 1
    if len(pen) and not pen[-1]:  # the drawing ends with the pen on the paper
        ends = np.append(ends, len(pen))
    return points, ends


def _stroke3(strokes: list[np.ndarray]) -> np.ndarray:
    """Return (points, 3) int16."""
    points = np.concatenate(strokes)
    result = np.zeros((len(points), 3), np.int16)
    result[:, :2] = np.diff(points, axis=0, prepend=0)
    result[np.cumsum([len(stroke) for stroke in strokes]) - 1, 2] = 1
    return result
