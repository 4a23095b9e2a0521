"""SVG, one drawing a file: paths, polylines, lines, circles and the rest, curves flattened (`ink.svg_reader`).

The label is the file's `data-label`, else the name of its folder (as in TU-Berlin's sketches); the split is
`data-split`, else a folder named train, valid or test.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

import numpy as np

from ink.errors import DataError
from ink.formats import Batch
from ink.formats.many_files import SPLIT_NAMES, Parsed, Unreadable, read_files, split_of_folder, write_files, xml_safe
from ink.svg import to_svg
from ink.svg_reader import ink_of, parse_svg, side_of
from ink.table import SPLITS, Drawings

SUFFIXES = (".svg",)
HOLDS = frozenset({"labels", "splits", "keys"})
TOLERANCE = 1 / 2000  # of the picture's longer side: largest distance between a curve and its polyline
_COARSE = 1e30


def source_files(categories: list[str]) -> list[str]:
    """Return the categories: files or archives of SVG, by their path below the source's root."""
    return list(categories)


def read(path: Path, *, only_recognized: bool) -> Iterator[Batch]:
    """Yield the drawings of an SVG file, a folder or an archive; keys are `svg/<path without suffix>`.

    Raises:
        DataError: the source cannot be read at all; a faulty file is only rejected.
    """
    return read_files(path, SUFFIXES, "svg", _parse)


def write(path: Path, drawings: Iterable[Drawings]) -> None:
    """Write one SVG per drawing; as `write_files`. Coordinates are exact to float32 of the drawing's extent.

    A point that repeats the one before it comes back as one.
    """
    write_files(Path(path), drawings, SUFFIXES[0], _render)


def _parse(data: bytes, name: PurePosixPath) -> Iterator[Parsed]:
    try:
        root = parse_svg(data, "")
        ink = ink_of(root, "", TOLERANCE * _side(root))
    except DataError as error:
        raise Unreadable(str(error).removeprefix(": ")) from error
    said = {key: root.get(f"data-{key}", "") for key in ("key", "label", "split")}
    folder = name.parent.name if name.parent.name.lower() not in SPLIT_NAMES else ""
    label = said["label"] if root.get("data-label") is not None else folder
    split = said["split"] if said["split"] in SPLITS else split_of_folder(name)
    yield Parsed([stroke.astype(np.float64) for stroke in ink.strokes(0)], label, split, said["key"])


def _side(root: Element) -> float:
    """Return the picture's longer side; where it does not say, that of its ink."""
    side = side_of(root)
    if side is None:
        ink = ink_of(root, "", _COARSE)
        side = float(max(np.ptp(ink.x), np.ptp(ink.y)))
    return side if 0 < side < math.inf else 1.0


def _render(drawings: Drawings, row: int) -> str:
    data = {name: xml_safe(drawings.facts.column(name)[row].as_py()) for name in ("key", "label", "split")}
    ink = drawings.ink.take([row])
    largest = float(max(np.abs(ink.x).max(), np.abs(ink.y).max()))
    decimals = min(30, max(0, 7 - math.floor(math.log10(largest)))) if largest > 0 else 0
    return to_svg(ink, decimals=decimals, data=data)
