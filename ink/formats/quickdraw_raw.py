"""Quick, Draw! raw NDJSON: one drawing a line, strokes as [[xs], [ys], [ts]], t in ms since its start.

Format: README of the Quick, Draw! data set. Upstream root: the bucket `quickdraw_dataset`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ink.formats import Batch
from ink.formats.collect import BadDrawing
from ink.formats.json_lines import Facts, Skip, read_lines, require, text

FOLDER = "full/raw"
UNRECOGNIZED = "not recognised by the game"


def source_files(categories: list[str]) -> list[str]:
    """Return one file a category."""
    return [f"{FOLDER}/{category}.ndjson" for category in categories]


def read(path: Path, *, only_recognized: bool) -> Iterator[Batch]:
    """Yield the drawings of one category; keys are `quickdraw/<word>/<key_id>`.

    Args:
        path: `<category>.ndjson`; a line of another word is refused.
        only_recognized: skip, and count, what the game did not recognise.
    """
    yield from read_lines(path, facts_of(path.stem, only_recognized), timed=True)


def facts_of(category: str, only_recognized: bool) -> Callable[[dict[str, Any]], Facts]:
    """Return what reads the facts of a line of `category`; the simplified files have the same."""

    def facts(record: dict[str, Any]) -> Facts:
        require(record, "key_id", "word")
        key_id = text(record["key_id"], "key_id")
        if record["word"] != category:
            raise BadDrawing("unknown category: the word is not that of the file", key_id)
        if only_recognized and not record.get("recognized", True):
            raise Skip(UNRECOGNIZED)
        return Facts(f"quickdraw/{category}/{key_id}", category)

    return facts
