"""Promise: the compiled reader of JSON strokes reads what a JSON parser reads, to the last bit, or leaves it alone."""

import json
import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import orjson
import pytest

from ink.formats import lines as lines_module
from ink.formats import quickdraw_lines, quickdraw_raw
from ink.formats.json_strokes import BLANK, OTHER, PLAIN, scan
from ink.formats.lines import read_chunks
from ink.table import Drawings
from tests.stages.helpers import mirror, record, write_category


def scanned(rows, axes=3):
    text = b"".join(row + b"\n" for row in rows)
    buffer = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(buffer == 10)
    return scan(buffer, np.concatenate([[0], ends[:-1] + 1]), ends, axes), buffer


def numbers(values):
    line = b'{"drawing":[[[' + b",".join(values) + b"],[" + b",".join(values) + b"]]]}"
    return scanned([line], axes=2)[0]


def test_numbers_are_rounded_as_the_standard_library_rounds_them():
    rng = random.Random(3)
    texts = [
        "0",
        "-0",
        "-0.0",
        "0.1",
        "9007199254740993",
        "999999999999999999",
        "1.00000005960464477",
        "0.30000001192092896",
    ]
    for _ in range(20_000):
        digits = str(rng.randrange(10 ** rng.randint(1, 18)))
        cut = rng.randrange(len(digits))
        texts.append(rng.choice(["", "-"]) + (f"{digits[:cut]}.{digits[cut:]}" if cut and digits[0] != "0" else digits))
    found = numbers([text.encode() for text in texts])
    assert list(found.status) == [PLAIN] and list(found.points) == [len(texts)]
    expected = np.array(orjson.loads("[" + ",".join(texts) + "]"), np.float64)
    np.testing.assert_array_equal(found.axes[0], expected)
    np.testing.assert_array_equal(found.axes[0], found.axes[1])


@pytest.mark.parametrize(
    "text",
    [
        b"01",
        b"+1",
        b".5",
        b"1.",
        b"1e3",
        b"1E3",
        b"NaN",
        b"Infinity",
        b"-",
        b"1234567890123456789",
        b"0x1",
        b"1 2",
        b"null",
        b'"1"',
        b"",
    ],
)
def test_a_number_that_is_not_plain_is_left_to_the_explaining_path(text):
    assert list(numbers([b"1", text]).status) == [OTHER]


def test_fields_come_in_any_order_with_any_spaces_and_strangers_between():
    found, buffer = scanned(
        [
            b'{"x" : null , "drawing" : [ [ [1 , 2] , [3,4] ] , [[5],[6]] ] , "recognized" : false,"key_id" : "k"} \r',
            b"   ",
            b'{"key_id":"a","key_id":"b","drawing":[[[1],[2]]]}',
            b'{"word":"a\\u0062","drawing":[[[1],[2]]]}',
            b'{"drawing":[[[1],[2,3]]]}',
            b'{"drawing":[]}',
            b'{"drawing":[[[],[]]]}',
            b'{"drawing":[[[1],[2]]]} x',
            b'{"drawing":[[[1],[2]]],}',
            b'{"word":"ok","drawing":[[[1],[2]]]}',
        ],
        axes=2,
    )
    assert list(found.status) == [PLAIN, BLANK, *[OTHER] * 7, PLAIN]
    assert list(found.strokes) == [2, *[0] * 8, 1] and list(found.points) == [2, 1, 1]
    assert list(found.recognized[[0, -1]]) == [0, -1]
    assert bytes(buffer[slice(*found.key[0])]) == b"k" and bytes(buffer[slice(*found.word[-1])]) == b"ok"
    np.testing.assert_array_equal(found.axes, [[1, 2, 5, 1], [3, 4, 6, 2]])


def test_lists_of_any_length_stay_in_their_room():
    long = b",".join([b"1"] * 5000)
    for line in (b'{"drawing":[[[' + long + b"]]]}", b'{"drawing":[[[1],[' + long + b"],[1]]]}", b"[" + long):
        assert list(scanned([line])[0].status) == [OTHER]
    assert list(scanned([b'{"drawing":[[[' + long + b"]]]}"], axes=1)[0].points) == [5000]
    with pytest.raises(ValueError, match="followed by its newline"):
        scan(np.frombuffer(b"{}\n{} ", np.uint8), np.array([0, 3]), np.array([2, 5]), 2)


def test_the_mirrors_drawings_are_read_exactly():
    for path in sorted((mirror() / "quickdraw/full/raw").glob("*.ndjson"))[::40]:
        rows = path.read_bytes().splitlines()
        found, _ = scanned(rows)
        assert set(found.status) == {PLAIN}
        strokes = [np.array(stroke, np.float64) for row in rows for stroke in orjson.loads(row)["drawing"]]
        np.testing.assert_array_equal(found.axes, np.concatenate(strokes, axis=1))
        np.testing.assert_array_equal(found.points, [stroke.shape[1] for stroke in strokes])


def read_all(path, **more):
    batches = list(quickdraw_raw.read(path, only_recognized=False, **more))
    drawings = Drawings.concat([batch.drawings for batch in batches])
    rows = [(row.line, row.key, row.reason) for batch in batches for row in batch.rejected]
    return drawings.to_table(), rows, [line for batch in batches for line in batch.lines]


def test_both_paths_agree_on_mutated_lines(tmp_path, monkeypatch):
    """Every byte-level damage gives the rows and the reasons that the explaining path alone gives."""
    rng = random.Random(5)
    rows = []
    for key in range(1500):
        line = bytearray(json.dumps(record(key)).encode())
        for _ in range(rng.choice([0, 1, 1, 2])):
            place = rng.randrange(len(line))
            kind = rng.randrange(3)
            if kind == 0:
                line[place] = rng.choice(b'0123456789.,:[]{}"-eE tfn\\')
            elif kind == 1:
                del line[place]
            else:
                line.insert(place, rng.choice(b'019.,:[]{}" -e'))
        rows.append(bytes(line).decode())
    path = write_category(tmp_path, rows)
    found = read_all(path)

    def nothing_is_plain(buffer, starts, ends, axes):
        result = scan(buffer, starts, ends, axes)
        status = np.where(result.status == BLANK, BLANK, OTHER)
        none = np.zeros(0, np.int64)
        return replace(result, status=status, points=none, axes=np.zeros((axes, 0)), strokes=np.zeros_like(starts))

    monkeypatch.setattr(quickdraw_lines, "scan", nothing_is_plain)
    expected = read_all(path)
    assert found[1:] == expected[1:] and found[0].equals(expected[0])
    assert 300 < found[0].num_rows < 1300  # both kinds of line are there


def test_spans_part_a_file_without_losing_or_doubling_a_line(tmp_path):
    path = write_category(tmp_path, [record(key) for key in range(40)])
    size, rng = path.stat().st_size, random.Random(1)
    whole = read_all(path)[0]
    for _ in range(20):
        cuts = [0, *sorted(rng.randrange(size + 1) for _ in range(3)), size]
        keys = [key for a, b in pairwise(cuts) for key in read_all(path, span=(a, b))[0]["key"].to_pylist()]
        assert keys == whole["key"].to_pylist(), cuts


@pytest.mark.parametrize("chunk", [7, 50, 1000])
def test_a_line_of_any_length_is_read_or_refused_in_bounded_memory(chunk, tmp_path, monkeypatch):
    monkeypatch.setattr(lines_module, "CHUNK_BYTES", chunk)
    monkeypatch.setattr(lines_module, "MAX_LINE_BYTES", 60)
    path = tmp_path / "x.ndjson"
    path.write_bytes(b"a" * 30 + b"\n" + b"b" * 5000 + b"\n\n" + b"c" * 20)
    parts = list(read_chunks(path))
    assert max(len(part.buffer) for part in parts) <= 2 * (chunk + 60)
    kept = [(part.first + row, part.line(row)) for part in parts for row in range(len(part.starts))]
    refused = [(row.line, row.excerpt[:2]) for part in parts for row in part.rejected]
    expected = [(1, b"a" * 30), (3, b""), (4, b"c" * 20)]
    assert (kept, refused) == (expected, [(2, "bb")])
