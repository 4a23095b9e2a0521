"""The 1,797 handwritten digits that ship inside scikit-learn (UCI optdigits test set): 8x8 rasters, 0 to 16.

The source is not a file but a package; `stages.download` writes it as one CSV file of 64 pixels and a label.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ink.errors import DataError
from ink.formats import Batch
from ink.table import Drawings
from ink.vectorize import vectorize

RASTERS = True
FILE = "digits.csv"
_SIDE = 8


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
        raise DataError(f"{path}: expected 64 pixels and a label per line: {error}") from error
    if table.shape[1] != _SIDE * _SIDE + 1:
        raise DataError(f"{path}: expected {_SIDE * _SIDE + 1} columns, got {table.shape[1]}")
    images = table[:, :-1].reshape(-1, _SIDE, _SIDE)
    keys = [f"digits/{row:04d}" for row in range(len(table))]
    drawings = Drawings.build(vectorize(images), keys, [str(int(label)) for label in table[:, -1]])
    yield Batch(drawings, lines=list(range(1, len(table) + 1)))
