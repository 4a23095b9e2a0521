"""Promise: the drawing table gives back what was put in, in any slice, order and batch, and names what is wrong."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ink.errors import DataError, InkmillError
from ink.parquet import DrawingsWriter, iter_drawings, read_drawings, read_metadata, write_drawings
from ink.quarantine import QuarantineWriter
from ink.table import FACTS_SCHEMA, SCHEMA, Drawings, Ink, validate

number = st.floats(width=32, allow_nan=False, allow_infinity=False)
stroke = st.lists(st.tuples(number, number, number), min_size=1, max_size=6).map(lambda p: np.array(p, np.float32))
ragged = st.lists(st.lists(stroke, min_size=1, max_size=4), max_size=6)
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def plain(ink):
    """The ink as nested Python lists: the reference that everything is compared with."""
    return [[stroke.tolist() for stroke in ink.strokes(n)] for n in range(len(ink))]


def lists(drawings):
    return [[stroke.tolist() for stroke in drawing] for drawing in drawings]


def build(drawings, **options):
    count = len(drawings)
    return Drawings.build(
        Ink.from_strokes(drawings), [f"k{n}" for n in range(count)], [f"c{n % 3}" for n in range(count)], **options
    )


def example(count=7):
    rng = np.random.default_rng(0)
    counts = [rng.integers(1, 5, rng.integers(1, 4)) for _ in range(count)]
    return [[rng.normal(size=(k, 3)).astype(np.float32) for k in drawing] for drawing in counts]


@quick
@given(ragged)
def test_any_ink_survives_parquet(drawings):
    table = build(drawings, timed=True).to_table()
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    buffer.seek(0)
    back = Drawings.from_table(pq.read_table(buffer))
    assert plain(back.ink) == lists(drawings)
    assert back.column("key").tolist() == [f"k{n}" for n in range(len(drawings))]
    assert back.column("timed").all()


@quick
@given(ragged, st.data())
def test_take_concat_and_slices_agree_with_lists(drawings, data):
    reference = lists(drawings)
    index = data.draw(st.lists(st.integers(0, len(drawings) - 1), max_size=8)) if drawings else []
    whole = build(drawings)
    taken = whole.take(index)
    assert plain(taken.ink) == [reference[n] for n in index]
    assert taken.column("label").tolist() == [f"c{n % 3}" for n in index]
    assert plain(Ink.concat([whole.ink, taken.ink])) == reference + [reference[n] for n in index]
    assert plain(Drawings.concat([taken, whole]).ink) == [reference[n] for n in index] + reference
    a = data.draw(st.integers(0, len(drawings)))
    b = data.draw(st.integers(a, len(drawings)))
    sliced = Drawings.from_table(whole.to_table().slice(a, b - a))
    assert plain(sliced.ink) == reference[a:b]
    assert sliced.column("key").tolist() == [f"k{n}" for n in range(a, b)]


@quick
@given(ragged, st.integers(1, 3))
def test_files_of_several_row_groups(tmp_path, drawings, batch):
    whole, path = build(drawings), tmp_path / "drawings.parquet"
    with DrawingsWriter(path, {"dataset": "d"}) as writer:
        for a in range(0, len(drawings), batch):
            writer.write(whole.take(range(a, min(a + batch, len(drawings)))))
    assert plain(read_drawings(path).ink) == lists(drawings)
    pieces = list(iter_drawings(path))
    assert [len(piece) for piece in pieces[:-1]] == [batch] * (len(pieces) - 1)
    assert plain(Drawings.concat(pieces).ink) == lists(drawings)


def test_empty_table_round_trips(tmp_path):
    path = tmp_path / "none.parquet"
    write_drawings(path, build([]), {"stage": "test"})
    back = read_drawings(path)
    assert len(back) == back.ink.n_points == back.ink.n_strokes == 0
    assert back.to_table().schema.equals(SCHEMA) and len(Drawings.concat([])) == 0
    assert len(Drawings.concat([back, build(example(2))])) == 2 and len(validate(back)) == 0


def test_equal_input_gives_equal_bytes_and_metadata_travels(tmp_path):
    drawings = build(example())
    for name in ("a", "b"):
        write_drawings(tmp_path / name, drawings, {"dataset": "d", "params": {"b": 1, "a": [2, 3]}})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_metadata(tmp_path / "a") == {"schema_version": 1, "dataset": "d", "params": {"b": 1, "a": [2, 3]}}


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "drawings.parquet"
    write_drawings(path, build(example(2)), {})
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="stop"), DrawingsWriter(path, {}) as writer:
        writer.write(build(example(5)))
        raise RuntimeError("stop")
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == [path.name]


def test_where_with_ink_and_columns():
    drawings = build(example(), split=["train", "test", "train", "valid", "test", "train", "train"])
    assert drawings.where(split="train").column("key").tolist() == ["k0", "k2", "k5", "k6"]
    assert drawings.where(split="train", label="c0").column("key").tolist() == ["k0", "k6"]
    assert len(drawings.where(split="nowhere")) == 0
    scaled = drawings.with_ink(drawings.ink.take(range(7)), scale=np.full(7, 2.5), copy=np.arange(7))
    assert scaled.column("scale").tolist() == [2.5] * 7 and scaled.column("copy").tolist() == list(range(7))
    assert scaled.facts.schema.equals(FACTS_SCHEMA) and scaled.to_table().schema.equals(SCHEMA)
    assert drawings.column("copy").tolist() == [0] * 7
    assert drawings.column("parent").tolist() == drawings.column("key").tolist()


def test_labels_of_different_batches_are_joined():
    a, b = build(example(2)), Drawings.build(Ink.from_strokes(example(2)), ["x", "y"], ["z", "c1"])
    assert Drawings.concat([a, b]).column("label").tolist() == ["c0", "c1", "z", "c1"]


def test_validate_names_each_fault():
    good = np.array([[0, 0, 0], [1, 1, 1]], np.float32)
    ink = Ink.from_strokes(
        [
            [good, good + 1],
            [good[::-1]],  # within a stroke
            [good + 1, good],  # across strokes
            [good * [1, np.nan, 1]],
            [np.array([[0, 0, 0], [1, 1, np.inf], [1, 1, np.inf]])],
            [good, np.zeros((0, 3))],
            [np.zeros((0, 3))],
            [],
            [good],
        ]
    )
    reasons = validate(Drawings.build(ink, list("abcdefghi"), [""] * 9))
    assert reasons.tolist() == [
        "",
        "time runs backwards",
        "time runs backwards",
        "a coordinate or time that is not finite",
        "a coordinate or time that is not finite",
        "a stroke without points",
        "no points",
        "no points",
        "",
    ]


def test_inconsistent_buffers_are_refused():
    x = np.zeros(4, np.float32)
    with pytest.raises(ValueError, match="equally long, got 4, 4, 3"):
        Ink(x, x, x[:3], np.array([0, 4]), np.array([0, 1]))
    for offsets in ([0, 3], [1, 4], [0, 5, 4]):
        with pytest.raises(ValueError, match="stroke_offsets must ascend from 0 to 4"):
            Ink(x, x, x, np.array(offsets), np.array([0, len(offsets) - 1]))
    with pytest.raises(ValueError, match="drawing_offsets must ascend from 0 to 1"):
        Ink(x, x, x, np.array([0, 4]), np.array([0, 2]))
    with pytest.raises(ValueError, match="1 drawings of ink but 2 rows"):
        Drawings(Ink.from_strokes(example(1)), build(example(2)).facts)


def test_tables_that_are_not_drawings_are_refused(tmp_path):
    table = build(example(3)).to_table()
    with pytest.raises(DataError, match=r"lacks the columns \['t'\]"):
        Drawings.from_table(table.drop_columns(["t"]))
    longer = pa.array([[0.0] * 99] * 3, SCHEMA.field("y").type)
    with pytest.raises(DataError, match="column y has other lengths than x"):
        Drawings.from_table(table.set_column(table.schema.names.index("y"), SCHEMA.field("y"), longer))
    strange = pa.array([[0, 900]] * 3, SCHEMA.field("offsets").type)
    with pytest.raises(DataError, match="offsets are inconsistent"):
        Drawings.from_table(table.set_column(table.schema.names.index("offsets"), SCHEMA.field("offsets"), strange))


def test_files_that_are_not_drawings_are_refused(tmp_path):
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_drawings(tmp_path / "absent.parquet")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_drawings(tmp_path / "text")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other")
    with pytest.raises(DataError, match="not a drawing table of Inkmill"):
        read_metadata(tmp_path / "other")
    newer = SCHEMA.with_metadata({b"inkmill": json.dumps({"schema_version": 99}).encode()})
    pq.write_table(newer.empty_table(), tmp_path / "newer")
    with pytest.raises(DataError, match="schema version 99"):
        list(iter_drawings(tmp_path / "newer"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the writer is closed again
@pytest.mark.parametrize("make", [lambda path: DrawingsWriter(path, {}), QuarantineWriter])
def test_a_file_that_cannot_be_closed_leaves_nothing(tmp_path, monkeypatch, make):
    def full(self):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(InkmillError, match="No space left on device"):
        patched.setattr(pq.ParquetWriter, "close", full)
        with make(tmp_path / "x.parquet"):
            pass
    assert not list(tmp_path.iterdir())
