"""Settings and sources that the stage tests share."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from stages import augment, download, normalize, shard, simplify
from stages.upstream import DownloadParams
from stages.workers import WorkerParams

SIMPLIFY = {
    "epsilon": 0.01, "unit": "radius", "only_recognized": True, "max_points": 5000, "max_bad_fraction": 1.0,
    "valid_fraction": 0.2, "test_fraction": 0.2, "split_salt": "test", "megabytes_per_part": 64,
    "resample": 0.0, "frame": "source", "drop_dots": False,
}  # fmt: skip
ALONE = WorkerParams(count=1, cluster="")
AUGMENT = {
    "kind": "perlin", "copies": 2, "sigma": 0.15, "frequency": 1.0, "max_segment": 0.1,
    "rotation_deg": 10.0, "stretch": 0.15, "shear": 0.1, "drop_probability": 0.3,
}  # fmt: skip


def record(key: int, drawing: Any = None, word: str = "cat", recognized: bool = True) -> dict[str, Any]:
    """One raw Quick, Draw! drawing; every key has another shape."""
    strokes = [[[0, 50, 90 + key], [0, 30, key], [0, 10, 20]], [[5, 5], [1, 40], [30, 45]]]
    return {
        "word": word,
        "recognized": recognized,
        "key_id": str(key),
        "drawing": strokes if drawing is None else drawing,
    }


def write_category(folder: Path, records: list[Any], category: str = "cat") -> Path:
    """Write a category file under an upstream-like root; strings go in as they are."""
    path = folder / "full" / "raw" / f"{category}.ndjson"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records), encoding="utf-8")
    return path


def download_params(url: str, categories: list[str], **changes: Any) -> DownloadParams:
    """Download settings for a Quick, Draw! source."""
    values = {
        "mirror": "", "attempts": 3, "delay_s": 0.01, "longest_delay_s": 2.0, "timeout_s": 2.0, "workers": 2,
        "sample": 0, "reader": "quickdraw_raw", "url": url, "mirror_folder": "quickdraw",
        "categories": categories, "sha256": {},
    }  # fmt: skip
    return DownloadParams(**(values | changes))


def run_simplify(root: Path, records: list[Any], workers: WorkerParams = ALONE, **changes: Any) -> dict[str, Any]:
    """Download and simplify records; the output lies in root/simplified."""
    write_category(root / "source" / "quickdraw", records)
    source = download_params("https://example.invalid", ["cat"], mirror=(root / "source").as_uri())
    download.run(root / "raw", "q", source)
    settings = simplify.SimplifyParams(**(SIMPLIFY | changes))
    return simplify.run(root / "raw", root / "simplified", "q", settings, workers)


def run_rest(
    root: Path, per_shard: float = 0.01, per_group: int = 10, workers: WorkerParams = ALONE
) -> dict[str, dict[str, Any]]:
    """Run normalize, augment and shard on root/simplified; return their manifests."""
    clock = normalize.NormalizeParams(frame="unit_circle", clock="arc_length")
    return {
        "normalize": normalize.run(root / "simplified", root / "normalized", "q", clock, workers),
        "augment": augment.run(
            root / "normalized", root / "augmented", "q", augment.AugmentParams(**AUGMENT), 0, workers
        ),
        "shard": shard.run(
            root / "augmented",
            root / "shards",
            "q",
            shard.ShardParams(megabytes_per_shard=per_shard, drawings_per_group=per_group),
            workers,
        ),
    }  # fmt: skip


def balanced(manifest: dict[str, Any]) -> bool:
    """Tell whether a manifest's counts add up, in total and over its splits and classes."""
    counts, splits = manifest["counts"], manifest["splits"].values()
    left = counts["in"] + counts.get("made", 0)
    right = counts["out"] + counts["quarantined"] + sum(counts.get("skipped", {}).values())
    classes = sum(entry["drawings"] for split in splits for entry in split["classes"].values())
    return left == right and counts["out"] == sum(split["drawings"] for split in splits) == classes


def mirror() -> Path:
    """The folder of real data; skips the test where there is none."""
    place = Path(os.environ.get("INKMILL_MIRROR", "") or Path(__file__).parents[2] / ".." / "shared" / "data").resolve()
    if not (place / "quickdraw").is_dir():
        pytest.skip("no mirror of real data: set INKMILL_MIRROR, or put it at ../shared/data beside the checkout")
    return place
