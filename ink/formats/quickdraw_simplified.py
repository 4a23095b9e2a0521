"""Quick, Draw! simplified NDJSON: one drawing a line, strokes as [[xs], [ys]], whole numbers 0 to 255, no clock.

Format: README of the Quick, Draw! data set. Upstream root: the bucket `quickdraw_dataset`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

import orjson

from ink.errors import DataError
from ink.files import atomic_folder, atomic_path
from ink.formats import Batch
from ink.formats.many_files import refuse_other_files
from ink.formats.quickdraw_lines import file_stem, read_quickdraw
from ink.formats.whole_numbers import whole_strokes
from ink.table import Drawings

SPLITTABLE = True
FOLDER = "full/simplified"
SIDE = 255
HOLDS = frozenset({"labels"})
_SUFFIXES = (".ndjson", ".jsonl")
_UNLABELLED = "unlabelled"  # file of drawings without a label, in a folder


def source_files(categories: list[str]) -> list[str]:
    """Return one file a category."""
    return [f"{FOLDER}/{category}.ndjson" for category in categories]


def read(path: Path, *, only_recognized: bool, span: tuple[int, int] | None = None) -> Iterator[Batch]:
    """Yield the drawings of one category; keys are `quickdraw/<word>/<key_id>`.

    Args:
        path: `<category>.ndjson`; a line of another word is refused.
        only_recognized: skip, and count, what the game did not recognise.
        span: read the lines that begin in these bytes [start, end); line numbers then count from there.
    """
    return read_quickdraw(path, timed=False, only_recognized=only_recognized, span=span)


def write(path: Path, drawings: Iterable[Drawings]) -> None:
    """Write drawings as simplified NDJSON, batch by batch: what fits into 0 to 255 as it is, the rest scaled to it.

    The word is the label, key_id the last part of the key; country and time are not known and left out. Points
    stay as they are: nothing is resampled or thinned.

    Args:
        path: `<category>.ndjson` for drawings of that label or none; else a folder, which gets one file a label. It
            must not exist, or hold such files alone.
        drawings: batches.

    Raises:
        DataError: a label that is not the file's; a drawing or stroke is empty, or a number not finite.
        InkmillError: the folder holds other files, or cannot be written.
    """
    if path.suffix in _SUFFIXES:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            for batch in drawings:
                other = sorted(set(batch.column("label")) - {unquote(path.stem), ""})
                if other:
                    raise DataError(
                        f"{path}: this format has one file a category, and there are drawings of {other[0]!r}; "
                        f"name the file {file_stem(other[0])}.ndjson, or a folder and the format"
                    )
                file.writelines(line for _, line in _lines(batch))
        return
    refuse_other_files(path, _SUFFIXES[0])
    with atomic_folder(path) as folder:
        for batch in drawings:
            by_label: dict[str, list[bytes]] = {}
            for label, line in _lines(batch):
                by_label.setdefault(label, []).append(line)
            for label, lines in by_label.items():
                with (folder / f"{file_stem(label) or _UNLABELLED}.ndjson").open("ab") as file:
                    file.writelines(lines)


def _lines(batch: Drawings) -> Iterator[tuple[str, bytes]]:
    """Yield label and line of each drawing."""
    keys, labels = batch.column("key"), batch.column("label")
    for n, strokes in enumerate(whole_strokes(batch, low=0, high=SIDE, side=SIDE)):
        line = {
            "key_id": keys[n].rsplit("/", 1)[-1],
            "word": labels[n],
            "recognized": True,
            "drawing": [stroke.T.tolist() for stroke in strokes],
        }
        yield labels[n], orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
