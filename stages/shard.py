"""Stage 5: a few large files per split, in a fair order (`python -m stages.shard DATASET IN_DIR OUT_DIR`).

Drawings are ordered by a hash of their key, so that each row group is a fair sample of the labels whatever
the order of the sources. `manifest.json` holds each shard's sha256, `data_sha256` over all of them, and the
whole chain's parameters and sources. No valid or test drawing shares its original with train.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from ink.errors import DataError, report_errors
from ink.manifest import Tally, check_counts, describe, header, part_files, read_input, write_manifest
from ink.params import Params, read_params, section
from ink.progress import track
from ink.quarantine import write_quarantine
from ink.table import SPLITS, Drawings, DrawingsWriter, read_drawings


class ShardParams(Params):
    """Section `shard`."""

    drawings_per_shard: int = Field(ge=1)
    drawings_per_group: int = Field(ge=1)


def run(in_dir: Path, out_dir: Path, dataset: str, settings: ShardParams) -> dict[str, Any]:
    """Write the shards; return the manifest.

    Raises:
        DataError: a part changed since it was written, or splits share an original.
    """
    before = read_input(in_dir, "augment")
    head = header("shard", dataset, settings.model_dump(), before)
    drawings = Drawings.concat([read_drawings(path) for path in part_files(in_dir, before)])
    read = Tally()
    read.add(drawings)
    check_counts(in_dir, before, read)
    check_splits(drawings)
    tally, files = Tally(), []
    for split in track(SPLITS, f"shard {dataset}"):
        part = in_fair_order(drawings.where(split=split))
        for number, start in enumerate(range(0, max(1, len(part)), settings.drawings_per_shard)):
            name = f"{split}-{number:05d}.parquet"
            shard = part.take(np.arange(start, min(start + settings.drawings_per_shard, len(part))))
            with DrawingsWriter(out_dir / name, {**head, "split": split}) as writer:
                for first in range(0, len(shard), settings.drawings_per_group):
                    writer.write(shard.take(np.arange(first, min(first + settings.drawings_per_group, len(shard)))))
            tally.add(shard)
            files.append({**describe(out_dir, name, len(shard)), "split": split})
    write_quarantine(out_dir, [])
    return write_manifest(
        out_dir,
        head,
        {"in": before["counts"]["out"], "quarantined": 0},
        tally,
        files=files,
        data_sha256=hash_of(files),
        test_sha256=hash_of([file for file in files if file["split"] == "test"]),
    )


def in_fair_order(drawings: Drawings) -> Drawings:
    """Return the drawings ordered by a hash of their keys."""
    digests = [hashlib.blake2b(key.encode(), digest_size=16).digest() for key in drawings.column("key")]
    return drawings.take(np.array(sorted(range(len(digests)), key=digests.__getitem__), dtype=np.int64))


def check_splits(drawings: Drawings) -> None:
    """Refuse splits that share an original.

    Raises:
        DataError: names an original that is in train and elsewhere, or a drawing of no known split.
    """
    split, parent = drawings.column("split"), drawings.column("parent")
    unknown = set(split) - set(SPLITS)
    if unknown:
        raise DataError(f"drawings of unknown split {sorted(unknown)}; expected {', '.join(SPLITS)}")
    shared = set(parent[split == "train"]) & set(parent[split != "train"])
    if shared:
        raise DataError(f"{len(shared)} originals are in train and in another split, {min(shared)!r} among them")


def hash_of(files: list[dict[str, Any]]) -> str:
    """Return one sha256 over the hashes of files, in order."""
    return hashlib.sha256("".join(file["sha256"] for file in files).encode()).hexdigest()


def main() -> None:
    """`python -m stages.shard DATASET IN_DIR OUT_DIR`."""
    with report_errors():
        dataset, in_dir, out_dir = sys.argv[1:]
        run(Path(in_dir), Path(out_dir), dataset, section(read_params(), "shard", ShardParams, dataset))


if __name__ == "__main__":
    main()
