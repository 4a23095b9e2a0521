"""The 1,797 handwritten digits that ship inside scikit-learn (UCI optdigits test set): 8x8 rasters, 0 to 16.

The source is not a file but a package; `stages.download` writes it as one CSV file of 64 pixels and a label.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ink.errors import DataError, one_line
from ink.formats import Batch
from ink.quarantine import Rejected
from ink.table import Drawings
from ink.vectorize import vectorize

RASTERS = True
FILE = "digits.csv"
_SIDE, _WHITE = 8, 16


def source_files(categories: list[str]) -> list[str]:
    """Return the one file; digits have no categories to choose from."""
    return [FILE]


def export(path: Path) -> None:
    """Write scikit-learn's digits to `path`."""
    from sklearn.datasets import load_digits  # heavy, and needed by this source alone

    data = load_digits()
    np.savetxt(path, np.column_stack([data.data, data.target]), fmt="%d", delimiter=",")


def read(path: Path, *, only_recognized: bool) -> Iterator[Batch]:
    """Yield the digits, vectorised; keys are `digits/<row>`.

    Raises:
        DataError: the file is not 65 columns of numbers.
    """
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise DataError(f"{path}: expected 64 pixels and a label per line: {one_line(error)}") from error
    if table.shape[1] != _SIDE * _SIDE + 1:
        raise DataError(f"{path}: expected {_SIDE * _SIDE + 1} columns, got {table.shape[1]}")
    pixels, labels = table[:, :-1], table[:, -1]
    why = np.full(len(table), "", dtype=object)
    why[~np.isin(labels, np.arange(10))] = "a label other than 0 to 9"
    why[~((pixels >= 0) & (pixels <= _WHITE)).all(axis=1)] = f"a pixel that is not from 0 to {_WHITE}"
    good = np.flatnonzero(why == "")
    drawings = Drawings.build(
        vectorize(pixels[good].reshape(-1, _SIDE, _SIDE)),
        [f"digits/{row:04d}" for row in good],
        [str(int(label)) for label in labels[good]],
    )
    bad = [Rejected(path.name, row + 1, f"digits/{row:04d}", why[row]) for row in np.flatnonzero(why != "").tolist()]
    yield Batch(drawings, lines=(good + 1).tolist(), rejected=bad)
