"""Source formats, one file each. A reader yields batches of drawings and what it had to refuse.

`READERS` is the only list of them: a new format is one file here and one line there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Protocol

from ink.errors import ParamsError
from ink.params import suggest
from ink.quarantine import Rejected
from ink.table import Drawings

READERS = {
    "didi": "ink.formats.didi",
    "digits": "ink.formats.digits",
    "inkml": "ink.formats.inkml",
    "mnist_idx": "ink.formats.mnist_idx",
    "omniglot": "ink.formats.omniglot",
    "parquet": "ink.formats.parquet",
    "quickdraw_binary": "ink.formats.quickdraw_binary",
    "quickdraw_raw": "ink.formats.quickdraw_raw",
    "quickdraw_simplified": "ink.formats.quickdraw_simplified",
    "sketchrnn_npz": "ink.formats.sketchrnn_npz",
    "svg": "ink.formats.svg",
    "unipen": "ink.formats.unipen",
    "vectormnist": "ink.formats.vectormnist",
}


@dataclass(frozen=True)
class Batch:
    """Some drawings of one source file.

    Args:
        drawings: what could be read; `split` is "" where the publisher gives none.
        lines: the line or row of each drawing in the file, for the quarantine of those that are refused later.
        excerpt: of a drawing's number here, the start of what stood there; "" where the source is not text.
        rejected: what could not.
        skipped: what was left out on purpose, by reason.
        n_lines: lines of the source that this batch used up, where it was read from the middle.
    """

    drawings: Drawings
    lines: list[int]
    excerpt: Callable[[int], str] = lambda row: ""
    rejected: list[Rejected] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    n_lines: int = 0


class Reader(Protocol):
    """A module of this package.

    A format of lines sets `SPLITTABLE = True`; its `read` then takes `span`, bytes [start, end), too.
    A format of rasters, whose strokes are made here, sets `RASTERS = True`: to read it takes long, and a file of it
    holds one split.
    """

    def source_files(self, categories: list[str]) -> list[str]:
        """Return the paths of the files under the source's root, in order."""

    def read(self, path: Path, *, only_recognized: bool) -> Iterator[Batch]:
        """Yield the drawings of one file in batches of bounded size."""


class Writer(Protocol):
    """A module of this package that also writes.

    `HOLDS` names what the format keeps beside the coordinates, of: times, labels, splits, keys, frames
    (what normalize took away), copies (whose augmentation a drawing is). A format that cannot hold a drawing
    without a split sets `NEEDS_SPLITS = True`.
    """

    HOLDS: frozenset[str]

    def write(self, path: Path, drawings: Iterable[Drawings]) -> None:
        """Write the drawings to a file or folder, atomically; from batches, memory holds one of them."""


def reader(name: str) -> Reader:
    """Return the reader of a format.

    Raises:
        ParamsError: there is no such format.
    """
    if name not in READERS:
        raise ParamsError(f"reader {name!r} does not exist; {suggest(name, READERS)}")
    return import_module(READERS[name])  # type: ignore[return-value]


def writers() -> list[str]:
    """Return the names of the formats that can be written."""
    return [name for name in READERS if hasattr(import_module(READERS[name]), "write")]


def writer(name: str) -> Writer:
    """Return the writer of a format.

    Raises:
        ParamsError: there is no such format, or it can only be read.
    """
    if not hasattr(reader(name), "write"):
        raise ParamsError(f"format {name!r} can be read but not written; expected one of: {', '.join(writers())}")
    return import_module(READERS[name])  # type: ignore[return-value]
