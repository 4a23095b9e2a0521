"""Quick, Draw! binary: the simplified drawings packed, 0 to 255, no clock. Little endian, a drawing:

key_id uint64, countrycode 2 bytes, recognized int8, timestamp uint32, number of strokes uint16; a stroke: number
of points uint16, all x uint8, all y uint8. Nothing marks where a drawing begins, and the file does not say its
category: the label is the file's name. Reference: `examples/binary_file_parser.py` of the Quick, Draw! data set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numba import njit

from ink.errors import DataError
from ink.formats import Batch
from ink.formats.collect import MAX_DRAWINGS, MAX_POINTS, Collector, Row, to_batch
from ink.formats.quickdraw_lines import UNRECOGNIZED
from ink.quarantine import Rejected

FOLDER = "full/binary"
_HEAD = 17  # bytes before a drawing's first stroke
_CHUNK = 1 << 22
_MAX_RECORD = 1 << 26  # bytes of one drawing that are waited for; the format would allow 8 GiB
_EXCERPT = 32  # bytes, in hexadecimal


def source_files(categories: list[str]) -> list[str]:
    """Return one file a category."""
    return [f"{FOLDER}/{category}.bin" for category in categories]


def read(path: Path, *, only_recognized: bool) -> Iterator[Batch]:
    """Yield the drawings of one category; keys are `quickdraw/<category>/<key_id>`.

    What stands after the last whole drawing is one row of the quarantine.

    Args:
        path: `<category>.bin`.
        only_recognized: skip, and count, what the game did not recognise.

    Raises:
        DataError: the file cannot be read.
    """
    data, row, place, ended = np.zeros(0, np.uint8), 0, 0, False
    try:
        with path.open("rb") as file:
            while True:
                counts = _scan(data, MAX_DRAWINGS, MAX_POINTS)
                if counts[0] == 0:
                    if ended or len(data) >= _MAX_RECORD:
                        break
                    more = file.read(max(_CHUNK, len(data)))
                    ended = not more
                    data = np.concatenate([data, np.frombuffer(more, np.uint8)])
                    continue
                yield _batch(path, data[: counts[3]], counts, row, only_recognized)
                row, place, data = row + int(counts[0]), place + int(counts[3]), data[counts[3] :]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); download it again") from error
    if len(data):
        reason = "a truncated drawing at the end of the file" if ended else f"a drawing of over {_MAX_RECORD >> 20} MiB"
        excerpt = f"from byte {place}: {data[:_EXCERPT].tobytes().hex()}"
        rest = Collector(path.name, milliseconds=False)
        rest.reject(reason, line=row, excerpt=excerpt)
        yield rest.take()


def _batch(path: Path, data: np.ndarray, counts: np.ndarray, row: int, only_recognized: bool) -> Batch:
    """Make a batch of whole records."""
    key_ids, recognized = np.zeros(counts[0], np.uint64), np.zeros(counts[0], np.int8)
    drawing_offsets, stroke_offsets = np.zeros(counts[0] + 1, np.int64), np.zeros(counts[1] + 1, np.int64)
    x, y = np.zeros(counts[2]), np.zeros(counts[2])
    _fill(data, key_ids, recognized, drawing_offsets, stroke_offsets, x, y)
    category = path.stem
    keys = [f"quickdraw/{category}/{key_id}" for key_id in key_ids.tolist()]
    keep = recognized == 1 if only_recognized else (recognized == 0) | (recognized == 1)
    rejected = [
        Rejected(path.name, row + n, keys[n], "recognized is neither 0 nor 1")
        for n in np.flatnonzero((recognized != 0) & (recognized != 1)).tolist()
    ]
    skipped = Counter({UNRECOGNIZED: int(np.sum(recognized == 0))} if only_recognized else {})
    kept = np.flatnonzero(keep)
    if len(kept) < len(keep):
        of_stroke = np.repeat(keep, np.diff(drawing_offsets))
        of_point = np.repeat(of_stroke, np.diff(stroke_offsets))
        x, y = x[of_point], y[of_point]
        stroke_offsets = np.append(0, np.cumsum(np.diff(stroke_offsets)[of_stroke]))
        drawing_offsets = np.append(0, np.cumsum(np.diff(drawing_offsets)[kept]))
    rows = [Row(keys[n], category, line=row + n) for n in kept.tolist()]
    return to_batch(path.name, x, y, None, stroke_offsets, drawing_offsets, rows, rejected, +skipped)


@njit(cache=True, nogil=True)
def _uint16(data, place):
    return np.int64(data[place]) | (np.int64(data[place + 1]) << 8)


@njit(cache=True, nogil=True)
def _scan(data, max_drawings, max_points):
    """Return (4,) int64: drawings, strokes, points and bytes of the whole records at the start of `data`."""
    drawings, strokes, points, end = 0, 0, 0, 0
    while drawings < max_drawings and points < max_points:
        if end + _HEAD > len(data):
            break
        count, place, inside = _uint16(data, end + 15), end + _HEAD, 0
        whole = True
        for _ in range(count):
            if place + 2 > len(data):
                whole = False
                break
            size = _uint16(data, place)
            place += 2 + 2 * size
            inside += size
        if not whole or place > len(data):
            break
        drawings += 1
        strokes += count
        points += inside
        end = place
    return np.array([drawings, strokes, points, end])


@njit(cache=True, nogil=True)
def _fill(data, key_ids, recognized, drawing_offsets, stroke_offsets, x, y):
    """Unpack whole records; the arrays have the sizes that `_scan` counted."""
    place, stroke, point = 0, 0, 0
    for n in range(len(key_ids)):
        for byte in range(8):
            key_ids[n] |= np.uint64(data[place + byte]) << np.uint64(8 * byte)
        recognized[n] = np.int8(data[place + 10])
        count = _uint16(data, place + 15)
        place += _HEAD
        for _ in range(count):
            size = _uint16(data, place)
            place += 2
            for i in range(size):
                x[point + i] = data[place + i]
                y[point + i] = data[place + size + i]
            place += 2 * size
            point += size
            stroke += 1
            stroke_offsets[stroke] = point
        drawing_offsets[n + 1] = stroke
