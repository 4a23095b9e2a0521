"""Promise: `inkmill convert` keeps what both formats hold, says what is lost, and leaves nothing half done."""

import re

import numpy as np
import pytest
from typer.testing import CliRunner

from ink.errors import InkmillError, ParamsError
from ink.formats import READERS, many_files, reader, writer, writers
from ink.quarantine import Rejected
from ink.table import Drawings, Ink
from pipeline import convert as conversion
from pipeline.cli import app
from pipeline.convert import convert, guess_source
from tests.stages.helpers import mirror, record, write_category

FORMATS = ["inkml", "parquet", "svg"]
FACTS = {"labels": "label", "splits": "split", "keys": "key"}


def inkmill(*arguments):
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


def some(count=7, seed=0):
    """Drawings with all that the table can say of originals: awkward labels, keys, splits, clocks, a dot."""
    rng = np.random.default_rng(seed)
    drawings = []
    for n in range(count):
        strokes, t = [], 0.0
        for size in rng.integers(1, 9, 3):
            clock = t + np.cumsum(rng.uniform(0, 0.1, size))
            strokes.append(np.column_stack([rng.normal(size=(size, 2)) * 10.0 ** (n - 3), clock]))
            t = clock[-1]
        start = strokes[0][0, 2]
        drawings.append([stroke - (0, 0, start) for stroke in strokes])
    labels = ["cat", r"\frac{a}{b}<c & \"d\"", "", "été", "a b", "x/y", "cat"][:count]
    keys = [f"set/{n}" for n in range(count - 2)] + ["../../etc/passwd", "a b/ü?"]
    splits = ["train", "valid", "test", "", "train", "train", "test"][:count]
    return Drawings.build(Ink.from_strokes(drawings), keys, labels, split=splits, timed=True)


def read(name, path):
    batches = list(reader(name).read(path, only_recognized=False))
    assert not any(batch.rejected for batch in batches)
    return Drawings.concat([batch.drawings for batch in batches])


@pytest.mark.parametrize("second", FORMATS)
@pytest.mark.parametrize("first", FORMATS)
def test_there_and_on_keeps_what_both_formats_hold(tmp_path, first, second):
    drawings = some()
    writer(first).write(tmp_path / "a", [drawings.take([0, 1, 2]), drawings.take([3, 4, 5, 6])])
    result = convert(tmp_path / "a", tmp_path / "b", first, second)
    back = read(second, tmp_path / "b")
    order = [back.column("key").tolist().index(key) for key in drawings.column("key")]
    back = back.take(order)
    held = writer(first).HOLDS & writer(second).HOLDS
    for fact in held & set(FACTS):
        assert back.column(FACTS[fact]).tolist() == drawings.column(FACTS[fact]).tolist()
    assert np.array_equal(back.ink.stroke_offsets, drawings.ink.stroke_offsets)
    for n in range(len(drawings)):
        a, b = (np.concatenate(ink.strokes(n)) for ink in (drawings.ink, back.ink))
        exact = "svg" not in (first, second)
        assert np.allclose(a[:, :2], b[:, :2], rtol=0, atol=0 if exact else 1e-7 * np.abs(a[:, :2]).max())
        if "times" in held:
            assert np.array_equal(a[:, 2], b[:, 2])
    assert result.lost == ([] if second != "svg" or first == "svg" else ["times"])
    assert all(path.resolve().is_relative_to(tmp_path.resolve()) for path in tmp_path.rglob("*"))


def test_raw_quickdraw_to_svg_and_back(tmp_path):
    """On real drawings, through the command line, every format guessed where it can be."""
    source = mirror() / "quickdraw" / "full" / "raw" / "cat.ndjson"
    truth = read("quickdraw_raw", source)
    there = inkmill(source, tmp_path / "cats", "--to", "svg")
    assert there.exit_code == 0 and there.output.count("\n") == 1
    assert f"{len(truth)} drawings" in there.output and "svg cannot hold times" in there.output
    again = inkmill(tmp_path / "cats", tmp_path / "cats.parquet")
    assert again.exit_code == 0 and "svg to parquet" in again.output and "none refused" in again.output
    back = read("parquet", tmp_path / "cats.parquet")
    where = {key: n for n, key in enumerate(back.column("key"))}
    assert set(where) == set(truth.column("key")) and set(back.column("label")) == {"cat"}
    for n, key in enumerate(truth.column("key")):
        for a, b in zip(truth.ink.strokes(n), back.ink.strokes(where[key]), strict=True):
            moved = np.append(True, np.any(np.diff(a[:, :2], axis=0) != 0, axis=1))
            assert np.allclose(a[moved, :2], b[:, :2], rtol=0, atol=1e-4)
    assert not list(tmp_path.glob("*quarantine*")) and not list(tmp_path.glob(".tmp-*"))


def test_refusals_are_kept_counted_and_swept_by_the_next_clean_run(tmp_path):
    records = [record(1), '{"broken', record(2, [[[0, 1, 2], [0, 1, 2], [0, 9, 5]]]), record(3)]
    source = write_category(tmp_path, records)
    done = inkmill(source, tmp_path / "out.parquet")
    assert done.exit_code == 0 and "2 drawings" in done.output
    kept = tmp_path / "out.parquet.quarantine.parquet"
    assert f"refused 2 (1 x time runs backwards, 1 x truncated JSON): see {kept}" in done.output
    import pyarrow.parquet as pq

    rows = sorted((Rejected(**row) for row in pq.read_table(kept).to_pylist()), key=lambda row: row.line)
    assert [(row.file, row.line) for row in rows] == [("cat.ndjson", 2), ("cat.ndjson", 3)]
    write_category(tmp_path, [record(1)])
    assert inkmill(source, tmp_path / "out.parquet", "--force").exit_code == 0 and not kept.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("IN", "out.parquet", "--from", "quickdraw"), r"did you mean 'quickdraw_raw'"),
        (("IN", "out", "--to", "swg"), r"did you mean 'svg'"),
        (("IN", "out.xyz"), r"add --to, one of"),
        (("IN", "out", "--to", "unipen"), r"can be read but not written"),
        (("missing.ndjson", "out.parquet"), r"missing.ndjson: no such file or folder"),
        (("IN", "there.parquet"), r"there.parquet: already exists.*--force"),
        (("IN", "out.svg"), r"exactly one drawing"),
        (("IN", "IN", "--to", "parquet", "--force"), r"lie in each other"),
        (("full", "full/out", "--to", "svg"), r"lie in each other"),
        (("bad.ndjson", "out.parquet", "--from", "quickdraw_raw"), r"no drawing could be read.*truncated JSON"),
        (("strange.bytes", "out.parquet"), r"looks like no format.*--from"),
        (("IN", "mine", "--to", "svg", "--force"), r"holds thesis.doc, which is no .svg file"),
    ],
)
def test_what_cannot_be_done_is_one_paragraph_and_touches_nothing(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    source = write_category(tmp_path, [record(1), record(2)])
    (tmp_path / "there.parquet").write_text("precious")
    (tmp_path / "bad.ndjson").write_text('{"broken')
    (tmp_path / "strange.bytes").write_bytes(bytes(range(256)))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.doc").write_text("precious")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = inkmill(*(str(source) if word == "IN" else word for word in arguments))
    assert done.exit_code == 1 and re.search(message, done.output), done.output
    assert done.output.startswith("error: ") and done.output.count("\n") == 1
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    new = {path.name for path in set(after) - set(before)}
    assert {path: after.get(path) for path in before} == before
    assert new <= {"out.parquet.quarantine.parquet"}, "nothing but the refusals is left behind"


def test_a_failure_half_way_leaves_the_old_folder(tmp_path, monkeypatch):
    drawings = some()
    writer("svg").write(tmp_path / "out", [drawings.take([0])])
    writer("parquet").write(tmp_path / "in.parquet", [drawings])
    real, calls = many_files.file_name, []

    def full_disk(key):
        calls.append(key)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return real(key)

    monkeypatch.setattr(many_files, "file_name", full_disk)
    with pytest.raises(InkmillError, match="No space left"):
        convert(tmp_path / "in.parquet", tmp_path / "out", target_format="svg", force=True)
    assert len(list((tmp_path / "out").rglob("*.svg"))) == 1 and not list(tmp_path.glob(".tmp-*"))


def test_formats_are_told_apart_by_name_and_content(tmp_path):
    raw = write_category(tmp_path / "raw", [record(1)])
    assert guess_source(raw) == "quickdraw_raw" == guess_source(tmp_path / "raw")
    for name in FORMATS:
        writer(name).write(tmp_path / f"one.{name}", [some().take([0])])
        (tmp_path / f"{name}.unknown").write_bytes((tmp_path / f"one.{name}").read_bytes())
        assert guess_source(tmp_path / f"one.{name}") == name == guess_source(tmp_path / f"{name}.unknown")
    with pytest.raises(ParamsError, match="could be inkml or parquet"):
        guess_source(tmp_path)
    lines = {
        "quickdraw_simplified": '{"word": "cat", "key_id": "1", "drawing": [[[0, 1], [0, 1]]]}',
        "didi": '{"key": "1", "label_id": "a", "split": "train", "drawing": [[[0, 1], [0, 1], [0, 1]]]}',
    }
    for name, line in lines.items():
        (tmp_path / f"{name}.ndjson").write_text(f"broken\n{line}\n")
        assert conversion._guess_file(tmp_path / f"{name}.ndjson") == name


def test_every_writer_is_registered_and_file_names_do_not_collide():
    assert set(FORMATS) <= set(writers()) <= set(READERS)
    keys = [
        "a/b",
        "a b",
        "a_b",
        "..",
        ".",
        "a/../b",
        "A?",
        "A*",
        "x" * 300,
        "x" * 299 + "y",
        "",
        "a/",
        "a.svg/b",
        "a",
        "ü",
        "u",
    ]
    names = [many_files.file_name(key) for key in keys]
    assert len(set(names)) == len(keys)
    assert not any(part in ("", ".", "..") for name in names for part in name.split("/"))
