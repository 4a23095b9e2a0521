"""Promise: whatever a file holds, a reader ends in rows, rejections or one paragraph, soon and within bounds."""

import gzip
import io
import tarfile
import time
import warnings
import zipfile

import numpy as np
import pytest

from ink.errors import DataError, InkmillError
from ink.formats import inkml, many_files, parquet, reader, svg, unipen
from ink.table import Drawings, Ink, validate
from tests.ink.formats.samples import write

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


def pack(path, members):
    """Write (name, content) pairs as the archive that the suffix names; names may come twice."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of a name that is there already
                    archive.writestr(name, content)
        return
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content.encode()))


@pytest.mark.parametrize("suffix", [".zip", ".tgz"])
def test_members_that_are_too_large_or_lead_out_are_refused_one_by_one(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(many_files, "MAX_BYTES", 1000)
    good = INKML.format("a", "1 2,3 4")
    noise = "".join(map(chr, np.random.default_rng(0).integers(33, 127, 2000)))
    members = [("large.inkml", noise), ("../../out.inkml", good), ("/etc/out.inkml", good), ("a/good.inkml", good)]
    pack(tmp_path / f"a{suffix}", members)
    (batch,) = inkml.read(tmp_path / f"a{suffix}", only_recognized=False)
    assert batch.drawings.column("key").tolist() == ["inkml/a/good"]
    out = "a name that leads out of the archive"
    assert [row.reason for row in batch.rejected] == ["a member larger than 0 MiB", out, out]
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"], "nothing is unpacked"


@pytest.mark.parametrize("suffix", [".zip", ".tgz"])
def test_a_bomb_is_refused_whole_before_it_is_unpacked(tmp_path, suffix):
    pack(tmp_path / f"a{suffix}", [("a.inkml", INKML.format("a", "1 2,3 4")), ("bomb.inkml", " " * (60 << 20))])
    with pytest.raises(DataError, match="more than 250 times its size"):
        list(inkml.read(tmp_path / f"a{suffix}", only_recognized=False))


def test_of_two_members_of_one_name_none_is_read(tmp_path):
    one, two = INKML.format("a", "1 2,3 4"), INKML.format("b", "5 6,7 8")
    pack(tmp_path / "a.zip", [("a.inkml", one), ("a.inkml", two), ("b.inkml", one)])
    (batch,) = inkml.read(tmp_path / "a.zip", only_recognized=False)
    assert batch.drawings.column("key").tolist() == ["inkml/b"]
    assert [(row.file, row.reason) for row in batch.rejected] == [("a.inkml", "2 members of one name")]
    content = write(tmp_path, "sketchrnn_npz").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    pack(tmp_path / "twice.zip", [*members, members[0]])
    with pytest.raises(DataError, match=r"array train cannot be read: 2 members of one name"):
        list(reader("sketchrnn_npz").read(tmp_path / "twice.zip", only_recognized=False))
    pack(tmp_path / "omniglot.zip", [("a/b/0001_01.txt", "x"), ("a/b/0001_01.txt", "y")])
    (batch,) = reader("omniglot").read(tmp_path / "omniglot.zip", only_recognized=False)
    assert [row.reason for row in batch.rejected] == ["2 members of one name"]


def test_a_tar_with_a_damaged_or_boundless_header_loses_nothing_in_silence(tmp_path):
    good = INKML.format("a", "1 2,3 4")
    pack(tmp_path / "a.tgz", [(f"{n}.inkml", good) for n in range(3)])
    tar = bytearray(gzip.decompress((tmp_path / "a.tgz").read_bytes()))
    second = tar.index(b"1.inkml")
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.XHDTYPE, 3 << 30
    for name, damaged in {
        "checksum": tar[: second + 3] + b"\xff" + tar[second + 4 :],
        "cut": tar[: second + 100],
        "pax": tar[:second] + header.tobuf() + tar[second:],
        "hole": tar[:second] + bytes(1024) + tar[second:],
        "no end": tar[:second],
    }.items():
        (tmp_path / f"{name}.tar").write_bytes(damaged)
        with pytest.raises(DataError, match=r"a damaged header|a header of 3221225472 bytes|zeros after its end"):
            list(inkml.read(tmp_path / f"{name}.tar", only_recognized=False))


def test_names_that_are_not_utf_8_become_keys(tmp_path):
    good, name = INKML.format("a", "1 2,3 4").encode(), "b\udcff\udcfe.inkml"  # as Python has undecodable bytes
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / name).write_bytes(good)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "folder" / name, name)
    for source in (tmp_path / "folder", tmp_path / "a.tar", tmp_path / "folder" / name):
        (batch,) = inkml.read(source, only_recognized=False)
        assert batch.drawings.column("key").tolist() == ["inkml/b\ufffd\ufffd"]


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
    with pytest.raises(DataError, match=r"damaged|cannot be read|expected a zip archive, got a file that is none"):
        list(inkml.read(tmp_path / name, only_recognized=False))
    with pytest.raises(DataError, match="found none"):
        (tmp_path / "empty").mkdir()
        list(inkml.read(tmp_path / "empty", only_recognized=False))
