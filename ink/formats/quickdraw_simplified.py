"""Quick, Draw! simplified NDJSON: one drawing a line, strokes as [[xs], [ys]], whole numbers 0 to 255, no clock.

Format: README of the Quick, Draw! data set. Upstream root: the bucket `quickdraw_dataset`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from ink.files import atomic_path
from ink.formats import Batch
from ink.formats.quickdraw_lines import read_quickdraw
from ink.formats.whole_numbers import whole_strokes
from ink.table import Drawings

SPLITTABLE = True
FOLDER = "full/simplified"
SIDE = 255
HOLDS = frozenset({"labels"})


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

    Raises:
        DataError: a drawing or stroke is empty, or a number not finite.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        for batch in drawings:
            keys, labels = batch.column("key"), batch.column("label")
            for n, strokes in enumerate(whole_strokes(batch, low=0, high=SIDE, side=SIDE)):
                line = {
                    "key_id": keys[n].rsplit("/", 1)[-1],
                    "word": labels[n],
                    "recognized": True,
                    "drawing": [stroke.T.tolist() for stroke in strokes],
                }
                file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
