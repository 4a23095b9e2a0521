"""Omniglot's online strokes (Lake et al. 2015): a zip of one text file a drawing.

`<alphabet>/<character>/<id>_<drawer>.txt` is START, lines of x,y,t with t in ms, and BREAK after each stroke. The
source's y points upwards (it is negative, 0 at the top of the 105 x 105 canvas); here it is turned, so that it lies
on the archive of images. Upstream root: https://raw.githubusercontent.com/brendenlake/omniglot/master/python
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from ink.errors import DataError
from ink.formats import Batch
from ink.formats.archive import BadMember, open_archive
from ink.formats.collect import BadDrawing, Collector
from ink.quarantine import EXCERPT_LENGTH

_MAX_DRAWING = 1 << 24  # bytes of one text file
_NUMBER = rb"-?\d{1,17}(?:\.\d{0,40})?(?:[eE][-+]?\d{1,3})?"
_DRAWING = re.compile(
    rb"\s*START\r?\n(?:(?:" + rb",".join([_NUMBER] * 3) + rb"\r?\n)+BREAK(?:\r?\n|\Z))+\s*\Z"
)  # fmt: skip


def source_files(categories: list[str]) -> list[str]:
    """Return one archive a category: background, background_small1, evaluation."""
    return [f"strokes_{category}.zip" for category in categories]


def read(path: Path, *, only_recognized: bool) -> Iterator[Batch]:
    """Yield the drawings of an archive; labels are `<alphabet>/<character>`, keys `omniglot/<label>/<id>_<drawer>`.

    Raises:
        DataError: it is not a zip archive, or holds nothing.
    """
    found = Collector(path.name, milliseconds=True)
    with open_archive(path) as archive:
        if not archive.names:
            raise DataError(f"{path}: holds no files; expected one text file a drawing. Download it again.")
        for row, name in enumerate(sorted(archive.names)):
            place = PurePosixPath(name)
            key = "/".join(["omniglot", *place.parts[-3:-1], place.stem])
            content = b""
            try:
                if len(place.parts) < 3 or place.suffix != ".txt":
                    raise BadDrawing("not a text file in a folder <alphabet>/<character>")
                content = archive.read(name, _MAX_DRAWING)
                points, ends = _points(content)
                found.add_points(points, ends, key, "/".join(place.parts[-3:-1]), line=row, excerpt=name)
            except (BadDrawing, BadMember) as error:
                excerpt = f"{name}: {content[:EXCERPT_LENGTH].decode('utf-8', 'replace')}"
                found.reject(str(error), key=key, line=row, excerpt=excerpt)
            if found.full:
                yield found.take()
    yield found.take()


def _points(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return (points, 3) of x, y downwards and t in ms, and the end of each stroke."""
    if not _DRAWING.match(content):
        cut = content.lstrip().startswith(b"START") and not content.rstrip().endswith(b"BREAK")
        raise BadDrawing("truncated: no BREAK at its end" if cut else "not START, lines of x,y,t, and BREAK")
    strokes = content.strip().removeprefix(b"START").removesuffix(b"BREAK").split(b"BREAK")
    ends = np.cumsum([stroke.count(b",") // 2 for stroke in strokes])
    numbers = b",".join(stroke.strip().replace(b"\n", b",") for stroke in strokes)
    points = np.fromstring(numbers.decode("ascii"), dtype=np.float64, sep=",").reshape(-1, 3)
    points[:, 1] *= -1
    return points, ends
