"""The data as the stages left it: counts, refusals, a contact sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ink import pictures
from ink.errors import DataError
from ink.files import atomic_path
from ink.manifest import read_manifest
from ink.quarantine import Rejected, read_quarantine
from pipeline.dataset import load_dataset

STAGES = {"simplified": "simplify", "normalized": "normalize", "augmented": "augment", "shards": "shard"}


def summary(dataset: str) -> tuple[list[dict[str, Any]], list[Rejected]]:
    """Return each stage's counts, and every refused drawing.

    Raises:
        DataError: no stage has run.
    """
    rows, refused = [], list[Rejected]()
    for folder, stage in STAGES.items():
        place = Path("data") / folder / dataset
        if not place.exists():
            continue
        manifest = read_manifest(place, stage)
        counts = manifest["counts"]
        skipped = sum(counts.get("skipped", {}).values())
        splits = {split: entry["drawings"] for split, entry in manifest["splits"].items()}
        points = sum(entry["points"] for entry in manifest["splits"].values())
        numbers = {"in": counts["in"], "made": counts.get("made", 0), "out": counts["out"]}
        rows.append(
            {
                "stage": stage,
                **numbers,
                "quarantined": counts["quarantined"],
                "skipped": skipped,
                "points": points,
                **splits,
            }
        )
        refused += read_quarantine(place)
    if not rows:
        raise DataError(f"data: nothing here for {dataset}; run `dvc repro shard@{dataset}`")
    return rows, refused


def contact_sheet(dataset: str, out: Path, per_class: int = 12) -> None:
    """Draw some training originals of each class, chosen by the shards' hash order."""
    originals = load_dataset(dataset).originals()
    labels = originals.column("label")
    chosen = np.concatenate([np.flatnonzero(labels == name)[:per_class] for name in np.unique(labels)])
    with atomic_path(out) as temporary:
        pictures.sheet(originals.ink.take(chosen), per_class, titles=list(labels[chosen])).save(temporary, format="PNG")
