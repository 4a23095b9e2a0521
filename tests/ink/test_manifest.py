"""Promise: a manifest is written only when its numbers add up, and read only when it is what was asked for."""

import json

import numpy as np
import pytest

from ink.errors import DataError
from ink.manifest import (
    FILE_NAME,
    Tally,
    check_counts,
    describe,
    header,
    part_files,
    read_input,
    read_manifest,
    write_manifest,
)
from ink.quarantine import Rejected, read_quarantine, reasons, refuse_if_too_many, write_quarantine
from ink.table import Drawings, Ink


def tally(splits: list[str]) -> Tally:
    ink = Ink.from_strokes([[np.zeros((n + 1, 3))] for n in range(len(splits))])
    result = Tally()
    result.add(Drawings.build(ink, [str(n) for n in range(len(splits))], ["cat"] * len(splits), split=splits))
    return result


def test_a_tally_counts_drawings_and_points_per_split_and_class():
    counted = tally(["train", "test", "train"]).by_split()
    assert counted["train"] == {"drawings": 2, "points": 1 + 3, "classes": {"cat": {"drawings": 2, "points": 4}}}
    assert counted["test"]["points"] == 2


def test_numbers_that_do_not_add_up_are_not_written(tmp_path):
    with pytest.raises(DataError, match="lost count"):
        write_manifest(tmp_path, header("simplify", "q", {}, {}), {"in": 5, "quarantined": 1}, tally(["train"] * 3))
    assert not list(tmp_path.iterdir())
    counts = {"in": 6, "quarantined": 1, "skipped": {"why": 2}}
    written = write_manifest(tmp_path, header("simplify", "q", {"a": 1}, {}), counts, tally(["train"] * 3))
    assert read_manifest(tmp_path, "simplify") == written == read_input(tmp_path, "simplify")


def test_a_missing_broken_or_foreign_manifest_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="run the stage simplify first"):
        read_input(tmp_path, "simplify")
    (tmp_path / FILE_NAME).write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        read_input(tmp_path, "simplify")
    (tmp_path / FILE_NAME).write_text(json.dumps({"stage": "shard"}))
    with pytest.raises(DataError, match="expected the output of the stage simplify, got that of 'shard'"):
        read_input(tmp_path, "simplify")


def test_counts_and_contents_are_compared(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    files = [describe(tmp_path, "a", 1)]
    manifest = write_manifest(
        tmp_path, header("s", "q", {}, {}), {"in": 1, "quarantined": 0}, tally(["train"]), files=files
    )
    check_counts(tmp_path, manifest, tally(["train"]))
    with pytest.raises(DataError, match="do not match"):
        check_counts(tmp_path, manifest, tally(["test"]))
    assert part_files(tmp_path, manifest) == [tmp_path / "a"]
    (tmp_path / "a").write_bytes(b"2")
    with pytest.raises(DataError, match="missing or changed"):
        part_files(tmp_path, manifest)


def test_quarantine_round_trip_and_limit(tmp_path):
    rows = [Rejected("f", 3, "k", "bad", "x" * 500), Rejected("f", 9, "", "worse"), Rejected("f", 10, "", "worse")]
    write_quarantine(tmp_path, rows)
    back = read_quarantine(tmp_path)
    assert [row.line for row in back] == [3, 9, 10] and len(back[0].excerpt) == 200
    assert list(reasons(rows)) == ["worse", "bad"]
    refuse_if_too_many(rows, 60, 0.05, tmp_path)
    with pytest.raises(DataError, match=r"3 of 59 .*2 x worse"):
        refuse_if_too_many(rows, 59, 0.05, tmp_path)
