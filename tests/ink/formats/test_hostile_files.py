"""Promise: whatever a file holds, a reader ends in rows, rejections or one paragraph, soon and within bounds."""

import time
import zipfile

import numpy as np
import pytest

from ink.errors import DataError, InkmillError
from ink.formats import inkml, many_files, parquet, reader, svg, unipen
from ink.table import Drawings, Ink, validate

LAUGHS = (
    '<!DOCTYPE {0} [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    + "]>"
)
OUTSIDE = '<!DOCTYPE {0} [<!ENTITY i SYSTEM "file:///etc/passwd">]>'
DTD = '<!DOCTYPE {0} SYSTEM "http://example.invalid/x.dtd">'
INKML = '<ink xmlns="http://www.w3.org/2003/InkML"><annotation type="label">{0}</annotation><trace>{1}</trace></ink>'
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><title>{0}</title><path d="{1}"/></svg>'


def outcome(name, path):
    """(drawings, rejections) or the error's text; anything else but an InkmillError fails the test."""
    try:
        batches = list(reader(name).read(path, only_recognized=False))
    except InkmillError as error:
        assert "\n\n" not in str(error) and len(str(error)) < 2000
        return str(error)
    for batch in batches:
        validate(batch.drawings)
    return sum(len(batch.drawings) for batch in batches), sum(len(batch.rejected) for batch in batches)


@pytest.mark.parametrize(("name", "body", "ink"), [("inkml", INKML, "1 2,3 4"), ("svg", SVG, "M1 2L3 4")])
@pytest.mark.parametrize("head", [LAUGHS, OUTSIDE])
def test_entities_are_refused_before_they_are_expanded(tmp_path, name, body, ink, head):
    path = tmp_path / f"a.{name}"
    root = {"inkml": "ink", "svg": "svg"}[name]
    path.write_text(head.format(root) + body.format("&i;", ink))
    start = time.process_time()
    assert outcome(name, path) == (0, 1)
    assert time.process_time() - start < 10
    path.write_text(DTD.format(root) + body.format("fine", ink))
    assert outcome(name, path) in ((1, 0), (0, 1)), "a DTD that is named is never fetched"


def sample(name, path):
    """Write a sound file of a format."""
    rng = np.random.default_rng(0)
    strokes = [[np.column_stack([rng.normal(size=(6, 2)), np.arange(6)]) for _ in range(3)] for _ in range(4)]
    drawings = Drawings.build(Ink.from_strokes(strokes), list("abcd"), list("xxyy"), timed=True)
    if name == "parquet":
        parquet.write(path, [drawings])
    elif name == "unipen":
        text = '.COORD X Y T\n.HIERARCHY W C\n.SEGMENT C 0-1 OK "a"\n.SEGMENT C 2:1-2:2 ? "b\\""\n'
        path.write_text(text + ".PEN_DOWN\n1 2 3\n4 5 6\n.PEN_UP\n7 8 9\n.PEN_DOWN\n1 1 10\n2 2 20\n3 3 30\n")
    elif name == "inkml":
        text = '<traceFormat><channel name="X"/><channel name="Y"/><channel name="T" units="ms"/></traceFormat>'
        body = INKML.format("a", "1 2 3,'4'5'6,\"1\"2'3,* #A 4").replace("<trace>", text + "<trace>")
        path.write_text(
            body.replace("</ink>", '<traceGroup><trace timeOffset="90">9 9 1,-1-2-3</trace></traceGroup></ink>')
        )
    else:
        path.write_text(SVG.format("a", "M0 0C1 1 2 2 3 0S5 5 6 6A3 2 10 0 1 9 9Zm1 1l2 2h3v-4q1 1 2 2t3 3"))


@pytest.mark.parametrize("name", ["inkml", "svg", "unipen", "parquet"])
def test_200_random_mutations_end_well(tmp_path, name):
    path = tmp_path / f"a{reader(name).SUFFIXES[0]}"
    sample(name, path)
    sound = path.read_bytes()
    drawings, rejections = outcome(name, path)
    assert drawings >= 1 and not rejections
    rng = np.random.default_rng(20240711)
    seen = set()
    start = time.process_time()
    for _ in range(200):
        data = bytearray(sound)
        for _ in range(rng.integers(1, 6)):
            at = int(rng.integers(0, max(1, len(data) - 1)))
            match rng.integers(4):
                case 0:
                    data[at] = int(rng.integers(256))
                case 1:
                    del data[at : at + int(rng.integers(1, 30))]
                case 2:
                    data[at:at] = data[at : at + int(rng.integers(1, 30))]
                case 3:
                    data[at:at] = rng.choice([b"1e999", b"nan", b"-", b"'", b'"', b"\x00", b"<", b"&", b"#", b"\n."])
        path.write_bytes(data)
        seen.add(type(outcome(name, path)))
    assert seen and time.process_time() - start < 60


@pytest.mark.parametrize("form", ["inkml", "inkml differences", "svg", "unipen"])
def test_a_trace_of_200_000_points_is_read_whole(tmp_path, form):
    points = np.cumsum(np.random.default_rng(1).integers(-5, 6, (200_000, 2)), axis=0) + np.arange(200_000)[:, None]
    rows = [f"{x} {y}" for x, y in points.tolist()]
    if form == "inkml differences":
        first, steps = points[:2], np.diff(points, axis=0)[1:]
        text = ",".join([*(f"!{x}!{y}" for x, y in first), *(f"'{x}'{y}" for x, y in steps)])
        module, text = inkml, INKML.format("a", text)
    elif form == "inkml":
        module, text = inkml, INKML.format("a", ",".join(rows))
    elif form == "svg":
        module, text = svg, SVG.format("a", "M" + "L".join(rows))
    else:
        module, text = unipen, ".COORD X Y\n.PEN_DOWN\n" + "\n".join(rows) + "\n"
    path = tmp_path / f"a{module.SUFFIXES[0]}"
    path.write_text(text)
    start = time.process_time()
    (batch,) = module.read(path, only_recognized=False)
    assert time.process_time() - start < 60
    ink = batch.drawings.ink
    keep = np.append(True, np.any(np.diff(points, axis=0) != 0, axis=1)) if form == "svg" else slice(None)
    assert np.array_equal(np.stack([ink.x, -ink.y if form == "unipen" else ink.y], axis=1), points[keep])


def test_many_small_files_come_in_bounded_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(many_files, "_BATCH_DRAWINGS", 4)
    for n in range(10):
        (tmp_path / f"{n}.inkml").write_text(INKML.format("a", "1 2,3 4" if n % 3 else "broken"))
    batches = list(inkml.read(tmp_path, only_recognized=False))
    assert [len(batch.drawings) + len(batch.rejected) for batch in batches] == [4, 4, 2]
    keys = [key for batch in batches for key in batch.drawings.column("key")]
    assert keys == [f"inkml/{n}" for n in range(10) if n % 3]


def test_a_file_that_is_too_large_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(many_files, "MAX_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.inkml", " " * 10_000_000)
        archive.writestr("../../good.inkml", INKML.format("a", "1 2,3 4"))
    (batch,) = inkml.read(tmp_path / "a.zip", only_recognized=False)
    assert len(batch.drawings) == 1 and "larger than" in batch.rejected[0].reason
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"], "nothing is unpacked"


@pytest.mark.parametrize("depth", [500, 100_000])
def test_deep_nesting_is_no_stack_overflow(tmp_path, depth):
    path = tmp_path / "a.inkml"
    body = "<traceGroup>" * depth + "<trace>1 2,3 4</trace>" + "</traceGroup>" * depth
    path.write_text(f'<ink xmlns="http://www.w3.org/2003/InkML">{body}</ink>')
    assert outcome("inkml", path) in ((1, 0), (0, 1))


@pytest.mark.parametrize("name", ["a.zip", "a.tgz", "b.inkml"])
def test_a_broken_archive_or_missing_file_is_one_paragraph(tmp_path, name):
    if name[0] == "a":
        (tmp_path / name).write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(DataError, match=r"damaged|cannot be read"):
        list(inkml.read(tmp_path / name, only_recognized=False))
    with pytest.raises(DataError, match="found none"):
        (tmp_path / "empty").mkdir()
        list(inkml.read(tmp_path / "empty", only_recognized=False))
