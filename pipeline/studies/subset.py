"""The training drawings of a study's cell: a nested part of the shards' originals, with noise of its own choice."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np
from pydantic import Field

from ink.errors import ParamsError
from ink.params import Params, section, suggest
from ink.table import Drawings
from pipeline.dataset import Dataset
from stages.augment import AugmentParams, copies


class SubsetParams(Params):
    """Section `subset`: what of the shards a cell works on. The stages know nothing of it."""

    fraction: float = Field(gt=0, le=1)  # of the training originals of each class, by hash: 0.25 lies within 0.5
    classes: list[str]  # [] = all


def of_cell(data: Dataset, params: dict[str, Any]) -> Dataset:
    """Return the dataset as a cell sees it: fewer classes, fewer originals, copies made anew in memory.

    Valid and test keep all drawings of the classes, and a class keeps its index.

    Raises:
        ParamsError: a class that the dataset lacks.
    """
    subset = section(params, "subset", SubsetParams)
    augment = section(params, "augment", AugmentParams, data.name)
    for name in subset.classes:
        if name not in data.classes:
            raise ParamsError(f"subset.classes: {data.name} has no class {name!r}; {suggest(name, data.classes)}")
    train, valid, test = (_of_classes(part, subset.classes) for part in (data.originals(), data.valid, data.test))
    train = train.take(nested(train, subset.fraction))
    seed = int(params["run"]["seed"])
    return dataclasses.replace(
        data, train=Drawings.concat([train, *copies(train, augment, seed)]), valid=valid, test=test
    )


def nested(drawings: Drawings, fraction: float) -> np.ndarray:
    """Return the indices, ascending, of a fraction of each class, 1 or more, chosen by the hash of the keys.

    A smaller fraction lies within a larger one, and neither depends on the order of the drawings.
    """
    labels = drawings.column("label")
    rank = np.array(
        [hashlib.blake2b(f"subset/{key}".encode(), digest_size=8).hexdigest() for key in drawings.column("key")]
    )
    chosen = []
    for label in np.unique(labels):
        of_label = np.flatnonzero(labels == label)
        count = max(1, round(fraction * len(of_label)))
        chosen.append(of_label[np.argsort(rank[of_label])[:count]])
    return np.sort(np.concatenate(chosen))


def _of_classes(drawings: Drawings, classes: list[str]) -> Drawings:
    if not classes:
        return drawings
    return drawings.take(np.flatnonzero(np.isin(drawings.column("label").astype(str), classes)))
