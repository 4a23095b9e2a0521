"""Quick, Draw! raw NDJSON: one drawing a line, strokes as [[xs], [ys], [ts]], t in ms since its start.

Format: README of the Quick, Draw! data set. Upstream root: the bucket `quickdraw_dataset`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ink.formats import Batch
from ink.formats.quickdraw_lines import read_quickdraw

SPLITTABLE = True
FOLDER = "full/raw"


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
    return read_quickdraw(path, timed=True, only_recognized=only_recognized, span=span)
