"""The drawing table: the contract of every stage (schema, ragged views; `ink.parquet` writes and reads it).

A batch of drawings is two things side by side: `Ink`, the points in flat buffers, and a small Arrow
table with one row of facts per drawing. Kernels run on the buffers, stages replace the ink and keep
the facts, and nothing loops over points in Python.

Legend: N drawings, S strokes, P points.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ink import arrow
from ink.errors import DataError, one_line

SCHEMA_VERSION = 1
SPLITS = ("train", "valid", "test")

_FACTS = [
    pa.field("key", pa.string(), nullable=False),
    pa.field("label", pa.dictionary(pa.int32(), pa.string()), nullable=False),
    pa.field("split", pa.dictionary(pa.int32(), pa.string()), nullable=False),
    pa.field("parent", pa.string(), nullable=False),
    pa.field("copy", pa.int16(), nullable=False),
    pa.field("timed", pa.bool_(), nullable=False),
    pa.field("center_x", pa.float32(), nullable=False),
    pa.field("center_y", pa.float32(), nullable=False),
    pa.field("scale", pa.float32(), nullable=False),
]
_POINTS = [pa.field(name, pa.list_(pa.field("item", pa.float32(), nullable=False)), nullable=False) for name in "xyt"]
_OFFSETS = pa.field("offsets", pa.list_(pa.field("item", pa.int32(), nullable=False)), nullable=False)

FACTS_SCHEMA = pa.schema(_FACTS)
SCHEMA = pa.schema([*_FACTS[:5], *_POINTS, _FACTS[5], _OFFSETS, *_FACTS[6:]])


@dataclass(frozen=True, eq=False)
class Ink:
    """Ragged ink of N drawings in flat buffers.

    Stroke s holds the points `stroke_offsets[s]:stroke_offsets[s + 1]`; drawing n holds the strokes
    `drawing_offsets[n]:drawing_offsets[n + 1]`.

    Args:
        x, y: (P,) float32, coordinates in the unit of the table (y grows downwards).
        t: (P,) float32, seconds since the drawing's first pen-down.
        stroke_offsets: (S + 1,) int64, ascending, first 0, last P.
        drawing_offsets: (N + 1,) int64, ascending, first 0, last S.
    """

    x: np.ndarray
    y: np.ndarray
    t: np.ndarray
    stroke_offsets: np.ndarray
    drawing_offsets: np.ndarray

    def __post_init__(self) -> None:
        points, strokes = len(self.x), len(self.stroke_offsets) - 1
        if not len(self.y) == len(self.t) == points:
            raise ValueError(f"x, y, t must be equally long, got {points}, {len(self.y)}, {len(self.t)}")
        for name, offsets, last in (
            ("stroke", self.stroke_offsets, points),
            ("drawing", self.drawing_offsets, strokes),
        ):
            if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != last or np.any(np.diff(offsets) < 0):
                raise ValueError(f"{name}_offsets must ascend from 0 to {last}")

    def __len__(self) -> int:
        return len(self.drawing_offsets) - 1

    @property
    def n_points(self) -> int:
        """Number of points of all drawings."""
        return len(self.x)

    @property
    def n_strokes(self) -> int:
        """Number of strokes of all drawings."""
        return len(self.stroke_offsets) - 1

    @property
    def point_offsets(self) -> np.ndarray:
        """(N + 1,) int64: the first point of each drawing, and P."""
        return self.stroke_offsets[self.drawing_offsets]

    def strokes(self, n: int) -> list[np.ndarray]:
        """Return the strokes of drawing n, each (points, 3) float32 of x, y, t. For display, not for kernels."""
        first, last = self.drawing_offsets[n], self.drawing_offsets[n + 1]
        bounds = self.stroke_offsets[first : last + 1]
        return [np.stack([self.x[a:b], self.y[a:b], self.t[a:b]], axis=1) for a, b in itertools.pairwise(bounds)]

    def take(self, indices: np.ndarray | Sequence[int]) -> Ink:
        """Return the drawings at `indices`, in that order (repeats allowed)."""
        indices = np.asarray(indices, dtype=np.int64)
        stroke_index, drawing_offsets = _gather(self.drawing_offsets, indices)
        point_index, stroke_offsets = _gather(self.stroke_offsets, stroke_index)
        return Ink(self.x[point_index], self.y[point_index], self.t[point_index], stroke_offsets, drawing_offsets)

    def with_xy(self, x: np.ndarray, y: np.ndarray) -> Ink:
        """Return the same drawings at other coordinates, (P,) each; they are kept in float32."""
        return Ink(x.astype(np.float32), y.astype(np.float32), self.t, self.stroke_offsets, self.drawing_offsets)

    def with_t(self, t: np.ndarray) -> Ink:
        """Return the same drawings with another clock, (P,); it is kept in float32."""
        return Ink(self.x, self.y, t.astype(np.float32), self.stroke_offsets, self.drawing_offsets)

    @classmethod
    def from_strokes(cls, drawings: Iterable[Sequence[np.ndarray]]) -> Ink:
        """Build ink from drawings given as lists of strokes, each (points, 3) of x, y, t."""
        strokes: list[np.ndarray] = []
        counts = [0]
        for drawing in drawings:
            strokes.extend(np.asarray(stroke, dtype=np.float32).reshape(-1, 3) for stroke in drawing)
            counts.append(len(strokes))
        flat = np.concatenate(strokes) if strokes else np.zeros((0, 3), dtype=np.float32)
        lengths = np.array([0, *(len(stroke) for stroke in strokes)], dtype=np.int64)
        x, y, t = (np.ascontiguousarray(flat[:, column]) for column in range(3))
        return cls(x, y, t, np.cumsum(lengths), np.array(counts, dtype=np.int64))

    @classmethod
    def concat(cls, parts: Sequence[Ink]) -> Ink:
        """Join batches of drawings end to end."""
        if not parts:
            return cls.from_strokes([])
        x, y, t = (np.concatenate([getattr(part, name) for part in parts]) for name in "xyt")
        return cls(
            x,
            y,
            t,
            _join_offsets([part.stroke_offsets for part in parts]),
            _join_offsets([part.drawing_offsets for part in parts]),
        )


class Codes(NamedTuple):
    """A column of names: row n holds `names[of[n]]`; a name may be there that no row has."""

    names: list[str]
    of: np.ndarray


@dataclass(frozen=True, eq=False)
class Drawings:
    """N drawings: their ink and one row of facts each.

    Args:
        ink: the points.
        facts: Arrow table of schema `FACTS_SCHEMA`, N rows.
    """

    ink: Ink
    facts: pa.Table

    def __post_init__(self) -> None:
        if len(self.ink) != self.facts.num_rows:
            raise ValueError(f"{len(self.ink)} drawings of ink but {self.facts.num_rows} rows of facts")
        if self.facts.schema.names != FACTS_SCHEMA.names:
            raise ValueError(f"facts must have the columns {FACTS_SCHEMA.names}, got {self.facts.schema.names}")

    def __len__(self) -> int:
        return len(self.ink)

    def column(self, name: str) -> np.ndarray:
        """Return one column of facts as a NumPy array (strings as objects)."""
        column = self.arrow(name)
        if pa.types.is_string(column.type) or pa.types.is_dictionary(column.type):
            return arrow.texts(column)
        return arrow.values(column)

    def arrow(self, name: str) -> pa.Array:
        """Return one column of facts as an Arrow array."""
        return self.facts.column(name).combine_chunks()

    def codes(self, name: str) -> Codes:
        """Return one column of names (label, split) as numbers; no object per row."""
        column = self.arrow(name)
        return Codes(column.dictionary.to_pylist(), arrow.values(column.indices))

    def take(self, indices: np.ndarray | Sequence[int]) -> Drawings:
        """Return the drawings at `indices`, in that order."""
        indices = np.asarray(indices, dtype=np.int64)
        return Drawings(self.ink.take(indices), self.facts.take(arrow.numbers(indices)))

    def where(self, **wanted: str) -> Drawings:
        """Return the drawings whose facts equal the values given: `drawings.where(split="train")`."""
        mask = np.ones(len(self), dtype=bool)
        for name, value in wanted.items():
            mask &= self.column(name) == value
        return self.take(np.flatnonzero(mask))

    def with_ink(self, ink: Ink, **columns: Any) -> Drawings:
        """Return the same rows with other ink; keyword arguments replace columns of facts."""
        facts = self.facts
        for name, values in columns.items():
            field = FACTS_SCHEMA.field(name)
            column = arrow.column(values, field.type)
            facts = facts.set_column(facts.schema.names.index(name), field, column)
        return Drawings(ink, facts)

    def to_table(self) -> pa.Table:
        """Return the Arrow table of schema `SCHEMA` (the points are shared, not copied).

        Dictionaries hold the names that occur, sorted: equal rows give equal tables, wherever they came from.
        """
        ink = self.ink
        point_offsets = arrow.numbers(ink.point_offsets.astype(np.int32))
        columns = {name: self.facts.column(name) for name in FACTS_SCHEMA.names}
        columns |= {name: _sorted_dictionary(self.codes(name)) for name in ("label", "split")}
        for name in "xyt":
            columns[name] = pa.ListArray.from_arrays(
                point_offsets, arrow.numbers(np.asarray(getattr(ink, name), np.float32)), type=SCHEMA.field(name).type
            )
        starts = ink.stroke_offsets[:-1]
        owner = np.repeat(np.arange(len(ink)), np.diff(ink.drawing_offsets))
        local = (starts - ink.point_offsets[:-1][owner]).astype(np.int32)
        columns["offsets"] = pa.ListArray.from_arrays(
            arrow.numbers(ink.drawing_offsets.astype(np.int32)), arrow.numbers(local), type=SCHEMA.field("offsets").type
        )
        return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)

    @classmethod
    def from_table(cls, table: pa.Table) -> Drawings:
        """Read an Arrow table of schema `SCHEMA`.

        Raises:
            DataError: a column is missing or of another type.
        """
        missing = [name for name in SCHEMA.names if name not in table.schema.names]
        if missing:
            raise DataError(f"drawing table lacks the columns {missing}; it has {table.schema.names}")
        table = table.select(SCHEMA.names).cast(SCHEMA).combine_chunks()
        if table.num_rows == 0:
            return cls(Ink.from_strokes([]), table.select(FACTS_SCHEMA.names))
        lists = {name: table.column(name).chunk(0) for name in ("x", "y", "t", "offsets")}
        point_offsets = _list_offsets(lists["x"])
        for name in "yt":
            if not np.array_equal(_list_offsets(lists[name]), point_offsets):
                raise DataError(f"drawing table: column {name} has other lengths than x")
        drawing_offsets = _list_offsets(lists["offsets"])
        owner = np.repeat(np.arange(table.num_rows), np.diff(drawing_offsets))
        local = arrow.values(lists["offsets"].flatten()).astype(np.int64)
        stroke_offsets = np.append(local + point_offsets[:-1][owner], point_offsets[-1])
        x, y, t = (arrow.values(lists[name].flatten()) for name in "xyt")
        try:
            ink = Ink(x, y, t, stroke_offsets, drawing_offsets)
        except ValueError as error:
            raise DataError(f"drawing table: stroke offsets are inconsistent: {one_line(error)}") from error
        if not np.array_equal(ink.point_offsets, point_offsets):
            raise DataError("drawing table: the offsets of a drawing do not begin at 0, or it has points but no stroke")
        return cls(ink, table.select(FACTS_SCHEMA.names))

    @classmethod
    def build(
        cls,
        ink: Ink,
        key: Sequence[str] | pa.Array,
        label: Sequence[str] | pa.Array,
        *,
        split: Sequence[str] | pa.Array | None = None,
        timed: bool = False,
    ) -> Drawings:
        """Make originals (copy 0, their own parent, no normalization taken away) from ink, keys and labels."""
        count = len(ink)
        keys = arrow.strings(key)
        columns = [
            keys,
            arrow.names(label),
            arrow.names(split) if split is not None else arrow.same("", count),
            keys,
            arrow.numbers(np.zeros(count, np.int16)),
            arrow.numbers(np.full(count, timed)),
            arrow.numbers(np.zeros(count, np.float32)),
            arrow.numbers(np.zeros(count, np.float32)),
            arrow.numbers(np.ones(count, np.float32)),
        ]
        return cls(ink, pa.table(columns, schema=FACTS_SCHEMA))

    @classmethod
    def concat(cls, parts: Sequence[Drawings]) -> Drawings:
        """Join batches end to end."""
        if not parts:
            return cls(Ink.from_strokes([]), FACTS_SCHEMA.empty_table())
        facts = pa.concat_tables([part.facts for part in parts]).unify_dictionaries().combine_chunks()
        return cls(Ink.concat([part.ink for part in parts]), facts)


def hash64(keys: Iterable[str] | pa.StringArray, prefix: str = "") -> np.ndarray:
    """Return (N,) uint64 hashes of strings (BLAKE2b of prefix + key), equal on every machine."""
    start, hashed = prefix.encode(), hashlib.blake2b
    if isinstance(keys, pa.StringArray):
        data, starts = arrow.spans(keys)
        whole, pairs = bytes(data), itertools.pairwise(starts.tolist())
        digests = b"".join([hashed(start + whole[a:b], digest_size=8).digest() for a, b in pairs])
    else:
        digests = b"".join([hashed(start + key.encode(), digest_size=8).digest() for key in keys])
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def validate(drawings: Drawings) -> np.ndarray:
    """Check every drawing against the table's contract.

    Returns:
        (N,) array of objects: "" for a good drawing, else the reason that it is not.
    """
    ink = drawings.ink
    reasons = np.full(len(drawings), "", dtype=object)
    points_of = np.diff(ink.point_offsets)
    owner = np.repeat(np.arange(len(ink)), points_of)
    not_finite = ~(np.isfinite(ink.x) & np.isfinite(ink.y) & np.isfinite(ink.t))
    backwards = np.zeros(ink.n_points, dtype=bool)
    backwards[1:] = (ink.t[1:] < ink.t[:-1]) & (owner[1:] == owner[:-1])
    empty_stroke = np.repeat(np.arange(len(ink)), np.diff(ink.drawing_offsets))[np.diff(ink.stroke_offsets) == 0]
    reasons[np.unique(owner[backwards])] = "time runs backwards"
    reasons[np.unique(empty_stroke)] = "a stroke without points"
    reasons[np.unique(owner[not_finite])] = "a coordinate or time that is not finite"
    reasons[points_of == 0] = "no points"
    return reasons


def gathered(batches: Iterable[Drawings], drawings: int, points: int) -> Iterator[Drawings]:
    """Join batches until so many drawings or points have come together; none is cut, empty ones are left out."""
    waiting: list[Drawings] = []
    for batch in batches:
        if len(batch):
            waiting.append(batch)
        if sum(map(len, waiting)) >= drawings or sum(part.ink.n_points for part in waiting) >= points:
            yield Drawings.concat(waiting)
            waiting = []
    if waiting:
        yield Drawings.concat(waiting)


def common_length(rows: Mapping[str, Ink]) -> int:
    """Return how many drawings each row has.

    Raises:
        ValueError: no rows, no drawings, or rows of different lengths.
    """
    lengths = {name: len(ink) for name, ink in rows.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"expected rows of one length, 1 or more, got {lengths}")
    return next(iter(lengths.values()))


def _sorted_dictionary(codes: Codes) -> pa.DictionaryArray:
    used = np.unique(codes.of).tolist()
    names = sorted({codes.names[code] for code in used})
    place = np.zeros(len(codes.names), np.int32)
    place[used] = [names.index(codes.names[code]) for code in used]
    return pa.DictionaryArray.from_arrays(arrow.numbers(place[codes.of]), arrow.strings(names))


def _gather(offsets: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the element indices of the ragged rows `indices`, and the offsets of the gathered rows."""
    starts = offsets[indices]
    lengths = offsets[indices + 1] - starts
    gathered = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    elements = np.arange(gathered[-1]) + np.repeat(starts - gathered[:-1], lengths)
    return elements, gathered


def _join_offsets(parts: Sequence[np.ndarray]) -> np.ndarray:
    lengths = np.concatenate([np.diff(part) for part in parts])
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _list_offsets(array: pa.ListArray) -> np.ndarray:
    offsets = arrow.values(array.offsets).astype(np.int64)
    return offsets - offsets[0]
