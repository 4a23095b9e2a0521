"""What the page on a dataset reads: the stages' manifests, their drawings as a stream, what they refused.

Read in one pass: the simplified drawings, all of them, and of the raw files at most about `MOST_RAW` drawings.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from ink.errors import DataError, ParamsError
from ink.formats import Batch, reader
from ink.formats.sample import first_drawings
from ink.manifest import part_files, read_input
from ink.params import PARAMS_FILE, dataset_block, read_params
from ink.parquet import iter_drawings
from ink.progress import track
from ink.quarantine import FILE_NAME, Rejected
from ink.table import SPLITS, Drawings, hash64
from pipeline.report.inputs import natural
from pipeline.statistics.numbers import InkStatistics, lowest_hashes, measure
from stages.preparation import SimplifyParams, check

FOLDERS = {
    "download": "raw",
    "simplify": "simplified",
    "normalize": "normalized",
    "augment": "augmented",
    "shard": "shards",
}
MOST_RAW = 20_000  # raw drawings that are measured
MOST_RASTERS = 2_000  # of rasters, whose drawings cost milliseconds each to make
SHEET_CLASSES = 24
SHEET_DRAWINGS = 12
_EXAMPLES = 3  # of each reason
_MOST_REASONS = 20  # of each stage; the rest are counted together
_PIECES = 16  # places of a large file at which the raw sample is read
_PIECE_BYTES = 1 << 20  # smaller pieces are not worth their seek


@dataclass(frozen=True)
class Stage:
    """What one stage did.

    Args:
        name: of the stage.
        came, made, out, quarantined: counts of drawings; None where the stage does not count them.
        skipped: drawings left out on purpose, by reason.
        splits: drawings by split; points: of all of them.
        files, bytes: what lies in its folder, manifests and quarantine aside.
    """

    name: str
    came: int | None
    made: int | None
    out: int | None
    quarantined: int | None
    skipped: dict[str, int]
    splits: dict[str, int]
    points: int | None
    files: int
    bytes: int


@dataclass(frozen=True)
class ClassCounts:
    """Originals of one class by split, in the order of `SPLITS`, and the points of all of them."""

    label: str
    drawings: tuple[int, ...]
    points: int

    @property
    def total(self) -> int:
        """Drawings of all splits."""
        return sum(self.drawings)


@dataclass(frozen=True)
class Refused:
    """One reason for which a stage refused drawings: how many, and the first few of them."""

    stage: str
    reason: str
    count: int
    examples: tuple[Rejected, ...]


@dataclass(frozen=True, eq=False)
class DataNumbers:
    """Everything that the page says.

    Args:
        dataset, title, licence: which data; reader: its format.
        stages: in their order; classes: in natural order; refused: by stage, most frequent first.
        raw: of the drawings that simplify accepts, before simplification; raw_files: how many files they come from.
        raw_whole: `raw` are all of them, not a sample.
        simplified: of all drawings after simplification.
        epsilon, unit, resample: of the simplification.
        sheet: some drawings of each class of `sheet_labels`.
        warnings: why the stages do not belong together; empty where they do.
    """

    dataset: str
    title: str
    licence: str
    reader: str
    stages: tuple[Stage, ...]
    classes: tuple[ClassCounts, ...]
    refused: tuple[Refused, ...]
    raw: InkStatistics
    raw_files: int
    raw_whole: bool
    simplified: InkStatistics
    epsilon: float
    unit: str
    resample: float
    sheet: Drawings
    sheet_labels: tuple[str, ...]
    warnings: tuple[str, ...]


def read_numbers(project: Path, dataset: str | None = None) -> DataNumbers:
    """Measure the data of a dataset.

    Args:
        project: folder of params.yaml.
        dataset: a block of `datasets` there; None: the first of run.datasets.

    Raises:
        ParamsError: params.yaml is missing, wrong, or does not know the dataset.
        DataError: a stage has not run, or a file is not what its stage wrote.
    """
    params = read_params(project / PARAMS_FILE)
    name = dataset or _first_dataset(params)
    block = dataset_block(params, name)
    places = {stage: project / "data" / folder / name for stage, folder in FOLDERS.items()}
    manifests = {stage: read_input(place, stage) for stage, place in places.items()}
    return _numbers(name, block, places, manifests)


def most_raw(reader_name: str) -> int:
    """Return how many drawings of raw files of a format are measured."""
    return MOST_RASTERS if getattr(reader(reader_name), "RASTERS", False) else MOST_RAW


def raw_sample(folder: Path, manifest: dict[str, Any], settings: SimplifyParams, total: int) -> Iterator[Drawings]:
    """Yield the drawings of raw files that simplify accepts, all or about `most_raw`, the same ones every time.

    A file of lines is read at places spread evenly over it, any other from its beginning; each gives in proportion
    to its bytes.

    Args:
        folder: output of the stage download; manifest: its own.
        settings: of the stage simplify; total: drawings that it read.

    Raises:
        DataError: a file is missing, was changed, or cannot be read.
    """
    share = min(1.0, most_raw(manifest["reader"]) / max(1, total))
    size = max(1, sum(entry["bytes"] for entry in manifest["files"]))
    source, seen = reader(manifest["reader"]), set[int]()
    for entry in track(manifest["files"], "raw files"):
        path = folder / entry["path"]
        if not path.is_file() or path.stat().st_size != entry["bytes"]:
            raise DataError(f"{path}: missing or changed since its download; run that stage again")
        left = math.ceil(share * total * entry["bytes"] / size) if share < 1 else total
        spans = _spans(entry["bytes"], share) if share < 1 and getattr(source, "SPLITTABLE", False) else [None]
        for span in spans:
            piece = {"span": span} if span else {}
            batches = source.read(path, only_recognized=settings.only_recognized, **piece)
            if manifest["sample"] and not getattr(source, "SPLITTABLE", False):  # simplify read no more
                batches = first_drawings(batches, manifest["sample"], one_split=getattr(source, "RASTERS", False))
            for batch in batches:
                good = _accepted(batch, path.name, settings, seen)
                yield good if span or share == 1 else good.take(range(min(left, len(good))))
                left -= len(batch.drawings)
                if left <= 0 and not span:
                    break


def _numbers(
    name: str, block: dict[str, Any], places: dict[str, Path], manifests: dict[str, dict[str, Any]]
) -> DataNumbers:
    simplify = manifests["simplify"]
    try:
        settings = SimplifyParams.model_validate(simplify["params"]["simplify"])
    except ValidationError as error:
        raise DataError(
            f"{places['simplify']}: simplified by another version of Inkmill, with other settings; run "
            f"`dvc repro shard@{name}`"
        ) from error
    total = simplify["counts"]["in"]
    classes = _classes(simplify["splits"])
    labels = [counts.label for counts in classes]
    hashes = dict(zip(labels, hash64(labels).tolist(), strict=True))
    sheet_labels = sorted(sorted(labels, key=hashes.__getitem__)[:SHEET_CLASSES], key=natural)
    simplified, sheet = InkStatistics(), Drawings.concat([])
    for path in track(part_files(places["simplify"], simplify), "simplified drawings"):
        for drawings in iter_drawings(path):
            simplified = simplified.plus(drawings)
            sheet = lowest_hashes(sheet, drawings, sheet_labels, SHEET_DRAWINGS)
    return DataNumbers(
        dataset=name,
        title=str(block.get("title", name)),
        licence=str(block.get("licence", "")),
        reader=manifests["download"]["reader"],
        stages=tuple(_stage(stage, places[stage], manifest) for stage, manifest in manifests.items()),
        classes=classes,
        refused=tuple(row for stage in manifests for row in _refused(stage, places[stage], manifests[stage])),
        raw=measure(raw_sample(places["download"], manifests["download"], settings, total)),
        raw_files=len(manifests["download"]["files"]),
        raw_whole=total <= most_raw(manifests["download"]["reader"]),
        simplified=simplified,
        epsilon=settings.epsilon,
        unit=settings.unit,
        resample=settings.resample,
        sheet=sheet,
        sheet_labels=tuple(sheet_labels),
        warnings=tuple(_warnings(name, manifests)),
    )


def _first_dataset(params: dict[str, Any]) -> str:
    try:
        return str(params["run"]["datasets"][0])
    except (LookupError, TypeError) as error:
        raise ParamsError("params.yaml: run.datasets names no dataset; name one with --dataset") from error


def _accepted(batch: Batch, file: str, settings: SimplifyParams, seen: set[int]) -> Drawings:
    good, _ = check(batch, file, settings, hash64(batch.drawings.column("key")), seen)
    return batch.drawings.take(good)


def _spans(size: int, share: float) -> list[tuple[int, int]]:
    """Return pieces of a file of `size` bytes that hold a `share` of it, one in the middle of each equal part."""
    wanted = max(1, round(share * size))
    pieces = min(_PIECES, max(1, wanted // _PIECE_BYTES))
    length = -(-wanted // pieces)
    starts = [int((number + 0.5) * size / pieces - length / 2) for number in range(pieces)]
    return [(max(0, start), min(size, start + length)) for start in starts]


def _stage(name: str, folder: Path, manifest: dict[str, Any]) -> Stage:
    counts, splits = manifest.get("counts", {}), manifest.get("splits", {})
    return Stage(
        name=name,
        came=counts.get("in"),
        made=counts.get("made"),
        out=counts.get("out"),
        quarantined=counts.get("quarantined"),
        skipped=counts.get("skipped", {}),
        splits={split: entry["drawings"] for split, entry in splits.items()},
        points=sum(entry["points"] for entry in splits.values()) if splits else None,
        files=len(manifest["files"]),
        bytes=sum(_size(folder / entry["path"], name) for entry in manifest["files"]),
    )


def _size(path: Path, stage: str) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise DataError(f"{path}: missing since {stage} wrote it; run that stage again") from error


def _classes(splits: dict[str, Any]) -> tuple[ClassCounts, ...]:
    labels = sorted({label for entry in splits.values() for label in entry["classes"]}, key=natural)
    nothing = {"drawings": 0, "points": 0}
    found = []
    for label in labels:
        rows = [splits.get(split, {}).get("classes", {}).get(label, nothing) for split in SPLITS]
        found.append(ClassCounts(label, tuple(row["drawings"] for row in rows), sum(row["points"] for row in rows)))
    return tuple(found)


def _refused(stage: str, folder: Path, manifest: dict[str, Any]) -> list[Refused]:
    """Return the reasons of one stage, counts by its manifest, examples from its quarantine."""
    counts = Counter(manifest.get("reasons", {}))
    shown = dict(counts.most_common(_MOST_REASONS))
    examples = _examples(folder / FILE_NAME, shown)
    rows = [Refused(stage, reason, count, tuple(examples[reason])) for reason, count in shown.items()]
    rest = counts.total() - sum(shown.values())
    if rest:
        rows.append(Refused(stage, f"{len(counts) - len(shown):,} other reasons", rest, ()))
    return rows


def _examples(path: Path, counts: dict[str, int]) -> dict[str, list[Rejected]]:
    """Return the first few rows of each reason; reads no further than these."""
    found: dict[str, list[Rejected]] = {reason: [] for reason in counts}
    waiting = sum(min(_EXAMPLES, count) for count in counts.values())
    if not waiting:
        return found
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(4096):
                for row in batch.to_pylist():
                    examples = found.get(row["reason"])
                    if examples is not None and len(examples) < _EXAMPLES:
                        examples.append(Rejected(**row))
                        waiting -= 1
                if waiting <= 0:
                    break
    except (pa.ArrowException, OSError, TypeError, KeyError) as error:
        raise DataError(f"{path}: not a readable quarantine ({error}); run the stage that writes it again") from error
    return found


def _warnings(dataset: str, manifests: dict[str, dict[str, Any]]) -> list[str]:
    """Return what shows that the stages ran on different data or settings."""
    stages = list(manifests)[1:]
    again = f"run `dvc repro shard@{dataset}`"
    found = []
    hashes = {entry["sha256"] for entry in manifests["download"]["files"]}
    if hashes != {entry["sha256"] for entry in manifests["simplify"]["source"]}:
        found.append(f"The raw files are not those that simplify read; {again}.")
    for before, after in pairwise(stages):
        same = all(manifests[after]["params"].get(key) == value for key, value in manifests[before]["params"].items())
        if manifests[after]["counts"]["in"] != manifests[before]["counts"]["out"] or not same:
            found.append(f"{after} did not read what {before} has here: it is older or newer; {again}.")
    return found
