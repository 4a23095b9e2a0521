"""VectorMNIST (Das et al., ICLR 2022): a zip, or a folder, of one folder a digit with one pickle a sample.

A pickle holds a list of strokes, each (points, 2) of x and y; no clock. It is read by `array_pickle`, which cannot
run code. The label is the folder's name; a folder train, valid or test above it gives the split. Coordinates are
taken as they come: the publisher does not say which way y points.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ink.errors import DataError
from ink.formats import Batch
from ink.formats.archive import BadMember, open_archive
from ink.formats.array_pickle import loads
from ink.formats.collect import NOT_A_NUMBER, BadDrawing, Collector
from ink.formats.pickled_arrays import BadPickle
from ink.table import SPLITS

_MAX_SAMPLE = 1 << 24  # bytes of one pickle


def source_files(categories: list[str]) -> list[str]:
    """Return one archive a category."""
    return [f"{category}.zip" for category in categories]


def read(path: Path, *, only_recognized: bool) -> Iterator[Batch]:
    """Yield the drawings of an archive or folder; keys are `vectormnist/<split, if any>/<digit>/<sample>`.

    Raises:
        DataError: it is neither, or holds nothing.
    """
    found = Collector(path.name, milliseconds=False)
    row = -1
    for row, (name, content) in enumerate(_samples(path)):
        try:
            place = PurePosixPath(name)
            if len(place.parts) < 2:
                raise BadDrawing("a file outside the folders of digits")
            label = place.parts[-2]
            split = next((part for part in place.parts[:-2] if part in SPLITS), "")
            key = "/".join(part for part in ("vectormnist", split, label, place.stem) if part)
            if isinstance(content, BadMember):
                raise BadDrawing(str(content), key)
            points, ends = _drawing(content, key)
            found.add_points(points, ends, key, label, split=split, line=row, excerpt=name)
        except BadDrawing as error:
            found.reject(str(error), key=error.key, line=row, excerpt=name)
        if found.full:
            yield found.take()
    if row < 0:
        raise DataError(f"{path}: holds no files; expected one folder a digit with one pickle a sample")
    yield found.take()


def _samples(path: Path) -> Iterator[tuple[str, bytes | BadMember]]:
    """Yield name and content of each sample, in the order of names."""
    if not path.is_dir():
        with open_archive(path) as archive:
            for name in sorted(archive.names):
                try:
                    content: bytes | BadMember = archive.read(name, _MAX_SAMPLE)
                except BadMember as error:
                    content = error
                yield name, content
        return
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        name = file.relative_to(path).as_posix()
        try:
            small = file.stat().st_size <= _MAX_SAMPLE
            yield name, file.read_bytes() if small else BadMember(f"a file larger than {_MAX_SAMPLE >> 20} MiB")
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror or error}); check its permissions") from error


def _drawing(content: bytes, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (points, 2) and the end of each stroke."""
    try:
        value = loads(content)
    except BadPickle as error:
        raise BadDrawing(str(error), key) from error
    strokes = [_stroke(stroke, key) for stroke in value] if isinstance(value, list | tuple) else []
    if not strokes:
        raise BadDrawing("not a list of strokes", key)
    return np.concatenate(strokes), np.cumsum([len(stroke) for stroke in strokes])


def _stroke(value: Any, key: str) -> np.ndarray:
    """Return (points, 2) float64."""
    try:
        points = np.asarray(value)
    except ValueError as error:  # ragged
        raise BadDrawing("a stroke is not rows of x, y", key) from error
    if points.ndim != 2 or points.shape[1] != 2:
        raise BadDrawing("a stroke is not rows of x, y", key)
    if points.dtype.kind not in "iuf":
        raise BadDrawing(NOT_A_NUMBER, key)
    return points.astype(np.float64)
