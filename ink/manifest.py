"""Manifests: what a stage read, wrote and refused, and that the numbers add up."""

from __future__ import annotations

import json
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ink.errors import DataError
from ink.files import sha256_file, write_json
from ink.table import SCHEMA_VERSION, Drawings

FILE_NAME = "manifest.json"


class Tally:
    """Counts drawings and points per split and class while a stage streams."""

    def __init__(self) -> None:
        self.drawings: Counter[tuple[str, str]] = Counter()
        self.points: Counter[tuple[str, str]] = Counter()

    def add(self, drawings: Drawings) -> None:
        """Count one batch."""
        splits, labels = drawings.codes("split"), drawings.codes("label")
        pair = splits.of * len(labels.names) + labels.of
        count = np.bincount(pair)
        points = np.bincount(pair, np.diff(drawings.ink.point_offsets))  # exact: float64 below 2**53
        for code in np.flatnonzero(count).tolist():
            key = (splits.names[code // len(labels.names)], labels.names[code % len(labels.names)])
            self.drawings[key] += int(count[code])
            self.points[key] += int(points[code])

    def merge(self, other: Tally) -> None:
        """Add what another tally counted."""
        self.drawings += other.drawings
        self.points += other.points

    @property
    def total(self) -> int:
        """Number of drawings."""
        return self.drawings.total()

    def by_split(self) -> dict[str, Any]:
        """Return {split: {drawings, points, classes: {label: {drawings, points}}}}, sorted."""
        result: dict[str, Any] = {}
        for (split, label), count in sorted(self.drawings.items()):
            entry = result.setdefault(split, {"drawings": 0, "points": 0, "classes": {}})
            entry["drawings"] += count
            entry["points"] += self.points[split, label]
            entry["classes"][label] = {"drawings": count, "points": self.points[split, label]}
        return result


def header(stage: str, dataset: str, params: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Return what a stage's manifest and each of its Parquet files say of how they came to be.

    Args:
        stage, dataset: whose.
        params: the stage's settings; those of the stages before it come from `before`.
        before: the manifest of the stage that was read, with its `params` and `source`.
    """
    return {
        "dataset": dataset,
        "stage": stage,
        "params": {**before.get("params", {}), stage: params},
        "source": before.get("source", []),
    }


def write_manifest(
    folder: Path, head: dict[str, Any], counts: dict[str, Any], tally: Tally, **more: Any
) -> dict[str, Any]:
    """Write and return a stage's manifest.

    Args:
        folder: the stage's output.
        head: what `header` gave.
        counts: `in`, `quarantined`, and where they occur `skipped` (by reason) and `made`; `out` is the tally's.
        tally: of what was written.
        more: further facts.

    Raises:
        DataError: in + made is not out + quarantined + skipped.
    """
    counts = {"in": counts["in"], "out": tally.total, **{k: v for k, v in counts.items() if k != "in"}}
    left = counts["in"] + counts.get("made", 0)
    right = counts["out"] + counts["quarantined"] + sum(counts.get("skipped", {}).values())
    if left != right:
        raise DataError(
            f"{folder}: {head['stage']} lost count: {left} drawings went in or were made, {right} came out: {counts}"
        )
    manifest = {
        "schema_version": SCHEMA_VERSION,
        **head,
        "counts": counts,
        "splits": tally.by_split(),
        **more,
    }
    write_json(folder / FILE_NAME, manifest)
    return manifest


def read_manifest(folder: Path, stage: str) -> dict[str, Any]:
    """Read a folder's manifest.

    Raises:
        DataError: there is none; says which stage makes it.
    """
    path = folder / FILE_NAME
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; run the stage {stage} first (`dvc repro`)") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not valid JSON ({error}); run the stage {stage} again") from error


def read_input(folder: Path, stage: str) -> dict[str, Any]:
    """Read the manifest of the folder that a stage works on.

    Raises:
        DataError: there is none, or the folder is another stage's output.
    """
    manifest = read_manifest(folder, stage)
    if manifest.get("stage") != stage:
        raise DataError(
            f"{folder / FILE_NAME}: expected the output of the stage {stage}, got that of {manifest.get('stage')!r}; "
            f"check the input folder on the command line"
        )
    return manifest


def check_counts(folder: Path, manifest: dict[str, Any], read: Tally) -> None:
    """Compare what was read from a folder with what its manifest says is there, per split and class.

    Raises:
        DataError: they differ.
    """
    if read.by_split() != manifest["splits"] or read.total != manifest["counts"]["out"]:
        raise DataError(
            f"{folder}: the files hold {read.total} drawings that do not match the manifest's counts per split and "
            f"class ({manifest['counts']['out']} in all); run the stage {manifest['stage']} again"
        )


def part_files(folder: Path, manifest: dict[str, Any]) -> list[Path]:
    """Return the files that a manifest lists, in order, after checking that they are the ones it means.

    Raises:
        DataError: a file is missing or its content is another.
    """
    paths = [folder / part["path"] for part in manifest["files"]]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing lets go of Python's lock
        found = list(pool.map(lambda path: sha256_file(path) if path.exists() else None, paths))
    for path, sha256, part in zip(paths, found, manifest["files"], strict=True):
        if sha256 != part["sha256"]:
            raise DataError(f"{path}: missing or changed since {manifest['stage']} wrote it; run that stage again")
    return paths


def describe(folder: Path, name: str, rows: int) -> dict[str, Any]:
    """Return a file's entry for a manifest."""
    return {"path": name, "rows": rows, "sha256": sha256_file(folder / name)}
