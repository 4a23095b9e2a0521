"""Shards in memory: what training and evaluation read, with the facts that tie a result to its data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ink.errors import DataError
from ink.parquet import read_drawings
from ink.table import SPLITS, Drawings


@dataclass(frozen=True)
class Dataset:
    """The drawings of one dataset by split.

    Args:
        name: of the dataset.
        train, valid, test: the drawings; only train holds augmented copies.
        classes: labels in sorted order; a label's index is its class.
        data_sha256: hash over the hashes of all shards.
        test_sha256: hash over the hashes of the test shards: what makes two scores comparable.
    """

    name: str
    train: Drawings
    valid: Drawings
    test: Drawings
    classes: tuple[str, ...]
    data_sha256: str
    test_sha256: str

    def labels(self, drawings: Drawings) -> np.ndarray:
        """Return (N,) int64 class indices."""
        return np.searchsorted(np.array(self.classes), drawings.column("label").astype(str)).astype(np.int64)

    def originals(self) -> Drawings:
        """Return the training drawings that are not augmented copies."""
        return self.train.take(np.flatnonzero(self.train.column("copy") == 0))


def load_dataset(name: str, root: Path | str = "data/shards") -> Dataset:
    """Read the shards of a dataset.

    Raises:
        DataError: there are no shards, they are not in the unit circle, or a split is empty.
    """
    folder = Path(root) / name
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{folder}: no shards here; make them with `dvc repro shard@{name}`") from error
    frame = manifest["params"]["normalize"]["frame"]
    if frame != "unit_circle":
        raise DataError(
            f"{folder}: drawings in the frame {frame!r}; models, rasters and metrics here want unit_circle. Set "
            f"normalize.frame in params.yaml, then run `dvc repro shard@{name}`"
        )
    splits: dict[str, Drawings] = {}
    for split in SPLITS:
        parts = [read_drawings(folder / shard["path"]) for shard in manifest["files"] if shard["split"] == split]
        splits[split] = Drawings.concat(parts)
        if len(splits[split]) == 0:
            raise DataError(
                f"{folder}: no drawing in the {split} split; add data, or change simplify.valid_fraction and "
                f"simplify.test_fraction in params.yaml, then run `dvc repro shard@{name}`"
            )
    classes = sorted(set().union(*(set(part.column("label").astype(str)) for part in splits.values())))
    return Dataset(
        name=name,
        **splits,
        classes=tuple(classes),
        data_sha256=manifest["data_sha256"],
        test_sha256=manifest["test_sha256"],
    )
