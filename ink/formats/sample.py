"""The first drawings of a file, for formats that cannot be cut when they are downloaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from ink.formats import Batch


def first_drawings(batches: Iterator[Batch], count: int, one_split: bool) -> Iterator[Batch]:
    """Yield the first drawings of a file: `count` of each of the publisher's splits, in their order.

    What was refused or skipped counts while drawings are still taken.

    Args:
        batches: of the whole file.
        count: of each split, or in all where the publisher gives none.
        one_split: the file holds one split only, so that nothing is read once it is full.
    """
    taken: Counter[str] = Counter()
    for batch in batches:
        split = batch.drawings.column("split")
        keep = np.zeros(len(split), np.bool_)
        for name in np.unique(split.astype(str)):
            rows = np.flatnonzero(split == name)[: count - taken[name]]
            keep[rows] = True
            taken[name] += len(rows)
        yield batch if keep.all() else _only(batch, np.flatnonzero(keep))
        if one_split and max(taken.values(), default=0) == count:
            return


def _only(batch: Batch, rows: np.ndarray) -> Batch:
    lines = [batch.lines[row] for row in rows]
    last = max(lines, default=-1)
    return Batch(
        batch.drawings.take(rows),
        lines,
        lambda row: batch.excerpt(int(rows[row])),
        [bad for bad in batch.rejected if bad.line < last],
        batch.skipped if len(rows) else Counter(),
        batch.n_lines,
    )
