"""Promise: a registered model's new drawings come as files, by what the model can; what it cannot is said."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from ink.errors import DataError, InkmillError, ParamsError
from ink.formats import reader
from ink.table import Drawings
from pipeline import generate
from pipeline.commands import drawing
from tests.models.helpers import drawings, tiny


@pytest.fixture(scope="module")
def model():
    made = tiny("sketchrnn").eval()
    made.prepare(drawings(20))
    return made


def test_samples_are_their_seeds_and_fill_rows(model):
    rows = generate.sample(model, 23, 0.5, seed=1)
    assert [len(ink) for ink in rows.values()] == [8, 8, 7]
    again, other = generate.sample(model, 23, 0.5, seed=1), generate.sample(model, 23, 0.5, seed=2)
    same = [np.array_equal(a.x, b.x) for a, b in zip(rows.values(), again.values(), strict=True)]
    assert all(same) and not np.array_equal(rows[" "].x, other[" "].x)
    assert len(generate.sample(model, 1, 0.0, seed=1)) == 1, "temperature 0 is greedy"


def test_endings_begin_with_what_was_given(model):
    rows = generate.complete(model, drawings(2), 1.0, 4, endings=3, temperature=1.0, seed=0)
    assert [len(ink) for ink in rows.values()] == [4, 4]
    given = rows["begun 1"].take([0])
    assert given.n_points == 5, "four offsets, five points"
    new = generate.complete(model, drawings(1), 1.0, 0, endings=3, temperature=1.0, seed=0)
    assert len(new["begun"]) == 4, "an empty beginning gives new drawings"


def test_a_beginning_that_fills_the_model_is_refused():
    short = tiny("sketchrnn_decoder", max_points=3).eval()
    with pytest.raises(InkmillError, match="the beginning has 3 points or more, as many as the model draws"):
        generate.complete(short, drawings(1), 1.0, None, endings=2, temperature=None, seed=0)


def test_redrawings_have_a_row_a_temperature(model):
    rows = generate.redraw(model, drawings(3), [0.0, 0.5], seed=0)
    assert list(rows) == ["original", "tau 0", "tau 0.5"] and all(len(ink) == 3 for ink in rows.values())


def test_blends_go_from_one_to_the_other_and_analogies_add_up(model):
    ink = drawings(3)
    path = generate.blend(model, ink.take([0, 1]), 5)["a to b"]
    ends = generate.blend(model, ink.take([1, 0]), 5)["a to b"]
    assert len(path) == 5 and np.allclose(path.take([0]).x, ends.take([4]).x, atol=1e-4)
    assert len(generate.blend(model, ink, 2)["a, b, c, a-b+c"]) == 4
    same = generate.blend(model, ink.take([0, 0, 1]), 2)["a, b, c, a-b+c"]
    alone = generate.blend(model, ink.take([1, 1]), 2)["a to b"]
    np.testing.assert_allclose(same.take([3]).x, alone.take([0]).x, atol=1e-4)
    with pytest.raises(InkmillError, match="expected two drawings, or three"):
        generate.blend(model, ink.take([0]), 5)


@pytest.mark.parametrize(
    ("name", "call", "message"),
    [
        ("rnn_seq2seq", lambda m: generate.sample(m, 3, None, 0), "RNNSeq2Seq makes no new drawings"),
        ("sketchode", lambda m: generate.complete(m, drawings(1), 1.0, 3, 2, None, 0), "completes no drawings"),
        ("sketchode", lambda m: generate.redraw(m, drawings(1), [1.0], 0), "in one way only"),
        ("sketchrnn_decoder", lambda m: generate.blend(m, drawings(2), 5), "has no code that could be blended"),
        ("sketchrnn_decoder", lambda m: generate.sample(m, 3, 11.0, 0), r"temperature must be in \[0, 10\]"),
        ("sketchrnn_decoder", lambda m: generate.sample(m, 0, None, 0), "--count 0: expected 1 or more"),
        ("sketchrnn_decoder", lambda m: generate.complete(m, drawings(1), 2.0, 3, 2, None, 0), "0 < extent <= 1"),
    ],
)
def test_what_a_model_cannot_do_is_said(name, call, message):
    with pytest.raises(InkmillError, match=message):
        call(tiny(name).eval())


def test_drawings_are_chosen_by_key_or_class():
    data = Drawings.build(drawings(4), [f"k/{n}" for n in range(4)], ["cat", "owl", "cat", "owl"])
    assert generate.chosen(data, ["k/2", "k/0"], None, 9).column("key").tolist() == ["k/2", "k/0"]
    assert generate.chosen(data, [], "owl", 1).column("key").tolist() == ["k/1"]
    with pytest.raises(ParamsError, match=r"no test drawing is of the class 'zebra'; expected one of: cat, owl"):
        generate.chosen(data, [], "zebra", 1)
    with pytest.raises(ParamsError, match=r"no test drawing has the key 'k/9'; did you mean"):
        generate.chosen(data, ["k/9"], None, 1)


def test_files_hold_the_drawings(model, tmp_path):
    rows = generate.sample(model, 12, 0.4, seed=0)
    for name in ("a.svg", "a.png", "a.gif", "a.ndjson"):
        generate.write(rows, tmp_path / name)
    groups = ElementTree.parse(tmp_path / "a.svg").getroot().findall("{http://www.w3.org/2000/svg}g")
    assert len(groups) == 12
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames > 10
        film.seek(film.n_frames - 1)
        last = np.asarray(film.convert("L"))
        film.seek(0)
        assert (last < 128).sum() > (np.asarray(film.convert("L")) < 128).sum()
    lines = [json.loads(line) for line in (tmp_path / "a.ndjson").read_text().splitlines()]
    assert len(lines) == 12 and lines[0]["word"] == "a"
    batches = list(reader("quickdraw_simplified").read(tmp_path / "a.ndjson", only_recognized=True))
    assert sum(len(batch.drawings) for batch in batches) + sum(len(batch.rejected) for batch in batches) == 12
    assert len(generate.read_begun(tmp_path / "a.ndjson")) == 12
    with pytest.raises(DataError, match=r"nothing\.ndjson: no such file"):
        generate.read_begun(tmp_path / "nothing.ndjson")
    (tmp_path / "b.ndjson").write_text((tmp_path / "a.ndjson").read_text())
    with pytest.raises(DataError, match="12 refused, the first in line 1: unknown category"):
        generate.read_begun(tmp_path / "b.ndjson")
    with pytest.raises(InkmillError, match=r"expected a name that ends with \.svg, \.png, \.gif, \.ndjson"):
        generate.write(rows, tmp_path / "a.txt")


def test_a_count_takes_the_first_of_a_file_and_no_count_all(tmp_path, monkeypatch):
    line = {"word": "line", "countrycode": "", "timestamp": "2017-01-01 00:00:00 UTC", "recognized": True}
    lines = [{**line, "key_id": str(n), "drawing": [[[0, 10 * n + 10], [0, 5]]]} for n in range(5)]
    (tmp_path / "line.ndjson").write_text("".join(json.dumps(each) + "\n" for each in lines))
    sizes = []
    monkeypatch.setattr(drawing, "loaded", lambda dataset, name: (None, None))
    monkeypatch.setattr(generate, "redraw", lambda model, ink: sizes.append(len(ink)))
    monkeypatch.setattr(generate, "write", lambda rows, out: None)

    def redraw(count):
        asked = {"file": tmp_path / "line.ndjson", "keys": None, "label": None, "count": count}
        drawing.generate("digits", "any", tmp_path / "out.svg", "redraw", asked)

    for count in (None, 1, 3):
        redraw(count)
    assert sizes == [5, 1, 3]
    for count in (0, 6):
        with pytest.raises(InkmillError, match=rf"--count {count}: expected 1 to 5, the drawings of .*line\.ndjson"):
            redraw(count)
