"""Promise: UNIPEN is read as its definition of 1994 says: components, delineations, clocks, labels, resolutions."""

import numpy as np
import pytest

from ink.formats import unipen

HEAD = ".VERSION 1.0\n.COMMENT words of\n  several .lines\n.COORD X Y\n.POINTS_PER_SECOND 100\n"
PEN = """.PEN_DOWN
 0 0
 1 1
 2 4
.PEN_UP
 3 5
 4 6
.PEN_DOWN
 5 0
 6 1
.PEN_UP
 7 7
.PEN_DOWN
 8 0
 9 2
 10 4
"""


def read(tmp_path, text):
    path = tmp_path / "w.unp"
    path.write_bytes(text.encode("latin-1"))
    (batch,) = unipen.read(path, only_recognized=False)
    return batch


def drawings(tmp_path, text):
    """{label: strokes} of a sound file."""
    batch = read(tmp_path, text)
    assert not batch.rejected, batch.rejected
    return {label: batch.drawings.ink.strokes(n) for n, label in enumerate(batch.drawings.column("label"))}


def test_segments_of_the_finest_labelled_level(tmp_path):
    segments = (
        '.HIERARCHY WORD CHAR\n.SEGMENT WORD 0-4 BAD "ab"\n.SEGMENT CHAR 0:1-2:0 OK "a"\n'
        '.SEGMENT CHAR 2:1,4:1-4:2 OK "b"\n'
    )
    found = drawings(tmp_path, HEAD + segments + PEN)
    assert set(found) == {"a", "b"}
    assert [stroke[:, :2].tolist() for stroke in found["a"]] == [[[1, -1], [2, -4]], [[5, 0]]], "ends are included"
    assert [stroke[:, :2].tolist() for stroke in found["b"]] == [[[6, -1]], [[9, -2], [10, -4]]]
    found = drawings(tmp_path, HEAD + segments.replace('"a"', "").replace('"b"', "") + PEN)
    assert set(found) == {"ab"} and len(found["ab"]) == 3


def test_pen_up_samples_keep_the_clock_running(tmp_path):
    batch = read(tmp_path, HEAD + PEN)
    assert batch.drawings.column("timed").tolist() == [True]
    expected = np.array([0, 1, 2, 5, 6, 8, 9, 10]) / 100
    assert np.allclose(batch.drawings.ink.t, expected) and batch.drawings.column("key")[0] == "unipen/w/00000"


@pytest.mark.parametrize(
    ("between", "timed", "gap"), [(".PEN_UP\n.DT 250\n", True, 0.25), (".PEN_UP\n", False, None), ("", False, None)]
)
def test_a_gap_of_unknown_length_is_no_clock(tmp_path, between, timed, gap):
    batch = read(tmp_path, f"{HEAD}.PEN_DOWN\n0 0\n1 0\n{between}.PEN_DOWN\n2 0\n3 0\n")
    assert batch.drawings.column("timed").tolist() == [timed]
    if timed:
        assert np.allclose(batch.drawings.ink.t, [0, 0.01, 0.02 + gap, 0.03 + gap])


def test_coordinates_in_any_order_with_time_in_ms_and_two_resolutions(tmp_path):
    head = ".COORD P T Y X\n.X_POINTS_PER_INCH 254\n.Y_POINTS_PER_MM 5\n"  # 10 and 5 points a mm
    batch = read(tmp_path, head + ".PEN_DOWN\n99 1000 -3 1\n98 1020 4 2\n.PEN_UP\n.PEN_DOWN\n97 1500 5 3")
    ink = batch.drawings.ink
    assert ink.x.tolist() == [1, 2, 3] and ink.y.tolist() == [6, -8, -10]
    assert np.allclose(ink.t, [0, 0.02, 0.5]) and batch.drawings.column("timed")[0]


def test_sets_number_their_components_anew_and_empty_ones_do_not_count(tmp_path):
    one = '.START_SET s\n.SEGMENT CHARACTER 0-1 ? "{0}"\n'
    one += ".PEN_DOWN\n{1} 0\n{1} 1\n.PEN_UP\n.PEN_DOWN\n{1} 2\n{1} 3\n.PEN_UP\n"
    found = drawings(tmp_path, HEAD + one.format("p", 1) + one.format("q", 2))
    assert [[s[0, 0] for s in found[label]] for label in "pq"] == [[1, 1], [2, 2]]


@pytest.mark.parametrize(
    ("written", "label"), [(r"say \"hi\"", 'say "hi"'), (r"a\\b", r"a\b"), ("two\nlines", "two lines"), ("é.", "é.")]
)
def test_labels_are_unescaped(tmp_path, written, label):
    assert set(drawings(tmp_path, f'{HEAD}.SEGMENT WORD 0 OK "{written}"\n{PEN}')) == {label}


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        (HEAD + ".INCLUDE /etc/passwd\n" + PEN, "INCLUDE is refused", 6),
        (PEN, "before .COORD", 1),
        (HEAD, "no pen data", 0),
        (HEAD + ".PEN_DOWN\n1 2 3\n", "3 numbers, for points of 2", 6),
        (HEAD + ".PEN_DOWN\n1 x\n", "not numbers", 6),
        (HEAD + ".PEN_DOWN\n1 nan\n", "not finite", None),
        (HEAD + '.SEGMENT WORD 0-9 OK "a"\n' + PEN, "components 0 to 9, there are 5", 6),
        (HEAD + '.SEGMENT WORD 1 OK "a"\n' + PEN, "no strokes", None),
        (HEAD + '.SEGMENT WORD 0 OK "a\n' + PEN, "a .SEGMENT that is not", 6),
        (".COORD X Y\n.POINTS_PER_SECOND fast\n", "not a number", 2),
        (HEAD + '.SEGMENT WORD 0-4 OK "a"\n' * 1000 + PEN, "over and over", None),
    ],
)
def test_faults_are_named_with_their_line(tmp_path, text, reason, line):
    (row,) = read(tmp_path, text).rejected
    assert reason in row.reason and line in (None, row.line)


def test_a_bad_segment_does_not_take_the_good_ones_with_it(tmp_path):
    batch = read(tmp_path, HEAD + '.SEGMENT WORD 0 OK "a"\n.SEGMENT WORD 7 OK "b"\n.SEGMENT WORD 2 OK "c"\n' + PEN)
    assert batch.drawings.column("label").tolist() == ["a", "c"] and batch.rejected[0].key == "unipen/w/00001"
