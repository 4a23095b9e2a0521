"""What the stage `simplify` does to a batch: which drawings are good, how they are thinned, which split they are in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from ink import arrow, geometry, thinning
from ink.formats import Batch
from ink.params import Params
from ink.quarantine import Rejected
from ink.table import SPLITS, Drawings, hash64, validate


class SimplifyParams(Params):
    """Section `simplify`."""

    epsilon: float = Field(ge=0)
    unit: thinning.Unit
    resample: float = Field(ge=0)  # in `unit`; 0: the source's own points
    frame: Literal["source", "side255", "pixels255"]
    drop_dots: bool
    only_recognized: bool
    max_points: int = Field(ge=2)
    max_bad_fraction: float = Field(ge=0, le=1)
    valid_fraction: float = Field(ge=0, lt=1)
    test_fraction: float = Field(ge=0, lt=1)
    split_salt: str
    megabytes_per_part: float = Field(gt=0)


def check(
    batch: Batch, file: str, settings: SimplifyParams, hashes: np.ndarray, seen: set[int]
) -> tuple[np.ndarray, list[Rejected]]:
    """Return the rows of good drawings, and those that break the table's contract; `seen` collects accepted keys.

    Args:
        batch: of the source file named `file`.
        settings: a drawing with more than `max_points` is refused, if need be as resampled.
        hashes: (N,) of the batch's keys.
        seen: hashes of the keys that are taken.
    """
    drawings = batch.drawings
    why = validate(drawings)
    lengths = np.diff(drawings.ink.point_offsets)
    limit = settings.max_points
    why[(why == "") & (lengths > limit)] = f"more than max_points = {limit} points"
    sound = np.flatnonzero(why == "")
    box = geometry.bounding_boxes(only(drawings, sound).ink)  # has no answer for a drawing without points
    why[sound[(box[:, 0] == box[:, 2]) & (box[:, 1] == box[:, 3])]] = "no extent: all points are equal"
    if settings.resample:
        sound = np.flatnonzero(why == "")
        ink = only(drawings, sound).ink
        dense = thinning.resampled_points(ink, settings.resample * thinning.unit_sizes(ink, settings.unit))
        why[sound[dense > limit]] = f"more than max_points = {limit} points when resampled"
    good = np.flatnonzero(why == "")
    fresh = set(hashes[good].tolist())
    if len(fresh) < len(good) or not seen.isdisjoint(fresh):
        _refuse_duplicates(hashes, why, seen)
        good = np.flatnonzero(why == "")
    seen |= fresh
    bad = np.flatnonzero(why != "").tolist()
    keys = drawings.column("key") if bad else ()
    return good, [Rejected(file, batch.lines[row], keys[row], why[row], batch.excerpt(row)) for row in bad]


def _refuse_duplicates(hashes: np.ndarray, why: np.ndarray, seen: set[int]) -> None:
    """Give a reason to each drawing but the first of a key."""
    taken = set(seen)
    for row in np.flatnonzero(why == "").tolist():
        key = int(hashes[row])
        if key in taken:
            why[row] = "duplicate key"
        taken.add(key)


def only(drawings: Drawings, rows: np.ndarray) -> Drawings:
    """Return some rows in their order; all of them as they are, without a copy."""
    return drawings if len(rows) == len(drawings) else drawings.take(rows)


def simplify(drawings: Drawings, settings: SimplifyParams) -> Drawings:
    """Simplify the strokes of valid drawings and give each a split."""
    ink = drawings.ink
    size = thinning.unit_sizes(ink, settings.unit)
    thin = thinning.thin(ink, settings.epsilon * size, settings.resample * size if settings.resample else None)
    if settings.drop_dots:
        thin = thinning.without_dots(thin)
    frame = {}
    if settings.frame != "source":
        thin, *taken = thinning.on_canvas(thin, geometry.bounding_boxes(ink), settings.frame == "pixels255")
        frame = dict(zip(("center_x", "center_y", "scale"), taken, strict=True))
    return drawings.with_ink(thin, split=_splits(drawings, settings), **frame)


def splits_of(keys: Sequence[str] | np.ndarray | pa.StringArray, settings: SimplifyParams) -> np.ndarray:
    """Return (N,) the split of originals: a hash of (salt, key), so that adding data never moves a drawing."""
    return np.array(SPLITS, object)[_dealt(keys, settings)]


def _splits(drawings: Drawings, settings: SimplifyParams) -> pa.DictionaryArray:
    """Return the publisher's splits, else those that the keys give."""
    given = drawings.codes("split")
    names = list(dict.fromkeys([*SPLITS, *given.names]))
    place = np.array([names.index(name) if name else -1 for name in given.names], np.int64)[given.of]
    codes = np.where(place >= 0, place, _dealt(drawings.arrow("key"), settings))
    return pa.DictionaryArray.from_arrays(arrow.numbers(codes.astype(np.int32)), arrow.strings(names))


def _dealt(keys: Sequence[str] | np.ndarray | pa.StringArray, settings: SimplifyParams) -> np.ndarray:
    train, valid, test = (SPLITS.index(name) for name in ("train", "valid", "test"))
    position = hash64(keys, f"{settings.split_salt}/") / 2.0**64
    held_out = np.where(position < settings.test_fraction, test, valid)
    return np.where(position < settings.test_fraction + settings.valid_fraction, held_out, train)
