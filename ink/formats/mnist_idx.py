"""MNIST and its kin in IDX format (LeCun): big-endian header, then bytes; gzipped or not.

A dataset's block lists the image files as categories, without `-images-idx3-ubyte.gz`: [train, t10k].
`train` keeps train's split open to the hash, `t10k` is the publisher's test split. So is a part named `...-test`, as
EMNIST's are (Cohen et al. 2017: `emnist-letters-train`, `emnist-letters-test`); EMNIST's rasters are transposed in its
files and are turned here, and its labels are numbers, as its own mapping files explain them.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ink.errors import DataError, one_line
from ink.formats import Batch
from ink.table import Drawings
from ink.vectorize import vectorize

RASTERS = True
_IMAGES, _LABELS = "-images-idx3-ubyte.gz", "-labels-idx1-ubyte.gz"
_BATCH = 250  # rasters at a time: they cost milliseconds each, and a sample reads no more than it needs
_TESTS = ("t10k", "-test")
_TRANSPOSED = "emnist-"
_MAX_BYTES = 1 << 30  # unpacked; EMNIST, the largest of the kin, needs 640 MB
_CHUNK = 1 << 20
_MAX_SIDE = 512  # pixels of a raster


def source_files(categories: list[str]) -> list[str]:
    """Return images and labels of each part, images first."""
    return [f"{part}{suffix}" for part in categories for suffix in (_IMAGES, _LABELS)]


def read(path: Path, *, only_recognized: bool) -> Iterator[Batch]:
    """Yield the vectorised rasters of an images file; the labels file beside it is read with it, and gives nothing.

    Raises:
        DataError: either file is not IDX, or their counts differ.
    """
    if path.name.endswith(_LABELS):
        return
    part = path.name.removesuffix(_IMAGES)
    images, labels = read_idx(path), read_idx(path.with_name(part + _LABELS))
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise DataError(f"{path}: images {images.shape} and labels {labels.shape} do not belong together")
    if part.startswith(_TRANSPOSED):
        images = images.swapaxes(1, 2)
    for start in range(0, len(images), _BATCH):
        rows = range(start, min(start + _BATCH, len(images)))
        keys = [f"mnist/{part}/{row:05d}" for row in rows]
        split = ["test" if part.endswith(_TESTS) else ""] * len(rows)
        names = [str(labels[row]) for row in rows]
        yield Batch(
            Drawings.build(vectorize(images[rows.start : rows.stop]), keys, names, split=split), lines=list(rows)
        )


def read_idx(path: Path) -> np.ndarray:
    """Return an IDX file of unsigned bytes as an array.

    Raises:
        DataError: the file is missing, truncated, damaged or of another type.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            raw = bytearray()  # grows with what is there, not with what is allowed
            while len(raw) <= _MAX_BYTES and (chunk := stream.read(_CHUNK)):
                raw += chunk
        zero, kind, dimensions = struct.unpack(">HBB", raw[:4])
        shape = struct.unpack(f">{dimensions}I", raw[4 : 4 + 4 * dimensions])
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise DataError(f"{path}: not a readable IDX file ({one_line(error)})") from error
    values = np.frombuffer(raw, np.uint8)[4 + 4 * dimensions :]
    if len(raw) > _MAX_BYTES or max(shape[1:], default=0) > _MAX_SIDE:
        raise DataError(
            f"{path}: expected rasters of {_MAX_SIDE} pixels a side at most, {_MAX_BYTES >> 20} MiB in all, got shape "
            f"{shape}; is it damaged? Download it again."
        )
    if zero != 0 or kind != 8 or len(values) != math.prod(shape):
        raise DataError(f"{path}: expected IDX bytes of shape {shape}, got type {kind} and {len(values)} values")
    return values.reshape(shape)
