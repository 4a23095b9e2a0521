"""Shards of random drawings, as the stages leave them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ink import geometry
from ink.manifest import Tally, header, write_manifest
from ink.parquet import write_drawings
from ink.table import Drawings, Ink


def write_shards(folder: Path, dataset: str, classes: int) -> None:
    """Write 24, 8 and 8 walks of two strokes into a project's folder, their classes in turn."""
    generator, tally, files = np.random.default_rng(0), Tally(), []
    shards = folder / "data/shards" / dataset
    for split, count in (("train", 24), ("valid", 8), ("test", 8)):
        made = []
        for _ in range(count):
            xy = np.cumsum(generator.normal(size=(9, 2)), 0)
            made.append(np.split(np.column_stack([xy, np.arange(9)]), [4]))
        ink = geometry.with_arc_length_clock(geometry.unit_circle(Ink.from_strokes(made))[0])
        names, labels = [f"{dataset}/{split}{n}" for n in range(count)], [str(n % classes) for n in range(count)]
        drawings = Drawings.build(ink, names, labels, split=[split] * count)
        write_drawings(shards / f"{split}-00000.parquet", drawings, {"dataset": dataset})
        tally.add(drawings)
        files.append({"path": f"{split}-00000.parquet", "split": split})
    before = {"params": {"normalize": {"frame": "unit_circle"}}}
    write_manifest(shards, header("shard", dataset, {}, before), {"in": 40, "quarantined": 0}, tally)
    content = json.loads((shards / "manifest.json").read_text())
    extra = {"files": files, "data_sha256": "d" * 64, "test_sha256": "t" * 64}
    (shards / "manifest.json").write_text(json.dumps(content | extra))
