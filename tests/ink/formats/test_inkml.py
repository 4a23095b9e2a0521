"""Promise: InkML is read as the W3C Recommendation of 2011 says, MathWriting's and CROHME's files among it."""

import tarfile

import numpy as np
import pytest

from ink.formats import inkml

HEAD = '<ink xmlns="http://www.w3.org/2003/InkML">'
XY = '<traceFormat><channel name="X" type="decimal"/><channel name="Y" type="decimal"/></traceFormat>'
XYT = XY.replace("</traceFormat>", '<channel name="T" type="decimal" units="ms"/></traceFormat>')
HELLO = """10 0, 9 14, 8 28, 7 42, 6 56, 6 70, 8 84, 8 98, 8 112, 9 126, 10 140,
 13 154, 14 168, 17 182, 18 188, 23 174, 30 160, 38 147, 49 135,
 58 124, 72 121, 77 135, 80 149, 82 163, 84 177, 87 191, 93 205"""
BUTTONS = (
    '<traceFormat><channel name="X" type="decimal"/><channel name="Y" type="decimal"/><intermittentChannels>'
    '<channel name="S1" type="boolean" default="F"/><channel name="S2" type="boolean" default="F"/>'
    "</intermittentChannels></traceFormat>"
)


def read(tmp_path, body, name="a.inkml"):
    """The one drawing of a document, and its facts."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(body if body.startswith("<") and HEAD[:4] in body else f"{HEAD}{body}</ink>", encoding="utf-8")
    (batch,) = inkml.read(tmp_path if "/" in name else path, only_recognized=False)
    assert not batch.rejected, batch.rejected
    row = {name: batch.drawings.facts.column(name)[0].as_py() for name in ("key", "label", "split", "timed")}
    return batch.drawings.ink.strokes(0), row


def fault(tmp_path, body):
    path = tmp_path / "a.inkml"
    path.write_text(f"{HEAD}{body}</ink>", encoding="utf-8")
    (batch,) = inkml.read(path, only_recognized=False)
    assert len(batch.drawings) == 0
    (row,) = batch.rejected
    return row.reason


def test_hello_of_the_recommendation(tmp_path):
    (stroke,), row = read(tmp_path, f"<trace>{HELLO}</trace>")
    expected = np.array([point.split() for point in HELLO.split(",")], float)
    assert np.array_equal(stroke[:, :2], expected) and len(stroke) == 27
    steps = np.hypot(*np.diff(expected, axis=0).T)
    assert not row["timed"] and np.allclose(stroke[:, 2], [0, *np.cumsum(steps)], rtol=1e-6)


def test_difference_encoding_of_the_recommendation(tmp_path):
    """The worked example of the Recommendation's table: velocities, accelerations, wildcards, buttons."""
    text = """1125 18432,'23'43,"7"-8,3-5,7 -3,6 2,6 8,3 6 T,2 4*T,3 6,3-6 F F"""
    (stroke,), _ = read(tmp_path, f"{BUTTONS}<trace>{text}</trace>")
    velocity = np.array(
        [[23, 43], [30, 35], [33, 30], [40, 27], [46, 29], [52, 37], [55, 43], [57, 47], [60, 53], [63, 47]]
    )
    expected = np.array([1125, 18432]) + np.vstack([[0, 0], np.cumsum(velocity, axis=0)])
    assert np.array_equal(stroke[:, :2], expected)


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("1 2,'3'4,!10!20,11 21", [(1, 2), (4, 6), (10, 20), (11, 21)]),  # ! makes values explicit again
        ("0 0,'1'2,* *,* 5", [(0, 0), (1, 2), (2, 4), (3, 9)]),  # * goes on at the same velocity
        ("5 6,* *,7 *", [(5, 6), (5, 6), (7, 6)]),  # * repeats an explicit value
        ('0 0,1 1,"1"1,0 0', [(0, 0), (1, 1), (3, 3), (5, 5)]),  # velocity before an acceleration: last difference
        ("#A #1f,-#A 3", [(10, 31), (-10, 3)]),
        ("1e1 .5,-2.5-1.5", [(10, 0.5), (-2.5, -1.5)]),
        ("1 2,3 4,", [(1, 2), (3, 4)]),
    ],
)
def test_values(tmp_path, text, points):
    (stroke,), _ = read(tmp_path, f"<trace>{text}</trace>")
    assert np.allclose(stroke[:, :2], points)


def test_integrating_agrees_with_differences_of_a_random_walk(tmp_path):
    xy = np.cumsum(np.random.default_rng(0).integers(-9, 9, (500, 2)), axis=0)
    second = np.diff(xy, n=2, axis=0)
    parts = [f"{xy[0, 0]} {xy[0, 1]}", f"'{xy[1, 0] - xy[0, 0]}'{xy[1, 1] - xy[0, 1]}"]
    parts += [f'"{second[0, 0]}"{second[0, 1]}'] + [f"{a} {b}" for a, b in second[1:]]
    (stroke,), _ = read(tmp_path, f"<trace>{','.join(parts)}</trace>")
    assert np.array_equal(stroke[:, :2], xy)


def test_channels_in_any_order_with_pressure_and_orientation(tmp_path):
    channels = [("F", ""), ("T", 'units="s"'), ("Y", 'orientation="-ve"'), ("X", "")]
    form = "".join(f'<channel name="{name}" {more}/>' for name, more in channels)
    (stroke,), row = read(tmp_path, f"<traceFormat>{form}</traceFormat><trace>9 7.5 2 1, 8 8 4 3</trace>")
    assert stroke.tolist() == [[1, -2, 0], [3, -4, 0.5]] and row["timed"]


def test_an_intermittent_clock_is_filled_in_between(tmp_path):
    form = XY.replace(
        "</traceFormat>", '<intermittentChannels><channel name="T" units="ms"/></intermittentChannels></traceFormat>'
    )
    (stroke,), row = read(tmp_path, f"{form}<trace>0 0 100,1 0,2 0,3 0 400</trace>")
    assert np.allclose(stroke[:, 2], [0, 0.1, 0.2, 0.3]) and row["timed"]


def test_timestamps_offsets_and_continuations(tmp_path):
    """Without respectTo times count from the trace's timeOffset, with it from the timestamp; all in ms."""
    strokes, _ = read(
        tmp_path, f'{XYT}<trace timeOffset="1000">0 0 0,1 1 20</trace><trace timeOffset="1500">2 2 0</trace>'
    )
    assert np.allclose(np.concatenate(strokes)[:, 2], [0, 0.02, 0.5])
    stamps = (
        '<definitions><timestamp xml:id="t0" time="5000"/><timestamp xml:id="t1" timestampRef="#t0" timeOffset="70"/>'
    )
    axes = '<channel name="X"/><channel name="Y"/><channel name="T" units="ms" respectTo="#{1}"/>'
    form = f'<traceFormat xml:id="{{0}}">{axes}</traceFormat>'
    contexts = "".join(f'<context xml:id="c{i}" traceFormatRef="#f{i}"/>' for i in (0, 1))
    body = f"{stamps}{form.format('f0', 't0')}{form.format('f1', 't1')}{contexts}</definitions>"
    traces = '<trace contextRef="#c0" continuation="begin" xml:id="a">0 0 0</trace><traceGroup contextRef="#c1">'
    traces += '<trace continuation="end" priorRef="#a">1 1 0</trace><trace>2 2 30</trace></traceGroup>'
    strokes, _ = read(tmp_path, body + traces)
    assert [len(stroke) for stroke in strokes] == [2, 1]
    assert np.allclose(np.concatenate(strokes)[:, 2], [0, 0.07, 0.1])


def test_definitions_and_the_raised_pen_are_not_ink(tmp_path):
    body = '<definitions><trace>9 9,8 8</trace></definitions><trace>1 1,2 2</trace><trace type="penUp">5 5,6 6</trace>'
    strokes, _ = read(tmp_path, body)
    assert [stroke[:, :2].tolist() for stroke in strokes] == [[[1, 1], [2, 2]]]


def test_a_mathwriting_file(tmp_path):
    body = (
        r'<annotation type="label">\vartheta =x</annotation><annotation type="normalizedLabel">\vartheta=x</annotation>'
        '<annotation type="splitTagOriginal">valid</annotation><annotation type="sampleId">000aa4c4</annotation>'
        f'{XYT}<trace id="0">901.72 479.26 0.0,900.52 482.87 12.0</trace><trace id="1">1 2 500.0,3 4 520.0</trace>'
    )
    strokes, row = read(tmp_path, body, "mathwriting/train/000aa4c4.inkml")
    assert row == {"key": "inkml/mathwriting/train/000aa4c4", "label": r"\vartheta=x", "split": "valid", "timed": True}
    assert np.allclose(np.concatenate(strokes)[:, 2], [0, 0.012, 0.5, 0.52])
    _, row = read(tmp_path / "x", f"{XYT}<trace>1 2 0</trace>", "mathwriting/synthetic/1.inkml")
    assert row["split"] == "train"


def test_a_crohme_file(tmp_path):
    body = (
        '<annotation type="writer">w123</annotation><annotation type="truth">$a&lt;\\frac{b}{c}$</annotation>'
        '<annotationXML type="truth" encoding="Content-MathML"><math xmlns="http://www.w3.org/1998/Math/MathML">'
        '<mi xml:id="A">a</mi></math></annotationXML>'
        '<trace id="1">985 3317, 986 3319</trace><trace id="2">1123 3308, 1127 3309</trace>'
        '<traceGroup xml:id="7"><annotation type="truth">Segmentation</annotation>'
        '<traceGroup xml:id="8"><annotation type="truth">a</annotation>'
        '<traceView traceDataRef="1"/><annotationXML href="A"/></traceGroup></traceGroup>'
    )
    strokes, row = read(tmp_path, XY + body)
    assert row["label"] == r"$a<\frac{b}{c}$" and not row["timed"]
    assert [stroke[0, 0] for stroke in strokes] == [985, 1123]


def test_an_archive_is_read_like_its_folder(tmp_path):
    for split in ("train", "test"):
        for n in range(3):
            read(tmp_path / "f", f"<trace>{n} 0,1 1</trace>", f"m/{split}/{n}.inkml")
    with tarfile.open(tmp_path / "m.tgz", "w:gz") as tar:
        tar.add(tmp_path / "f" / "m", "m")
    (folder,) = inkml.read(tmp_path / "f", only_recognized=False)
    (archive,) = inkml.read(tmp_path / "m.tgz", only_recognized=False)
    for column in ("key", "split"):
        assert sorted(folder.drawings.column(column)) == sorted(archive.drawings.column(column))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "no traces"),
        ("<trace></trace>", "without points"),
        ("<trace>1 2,3 nan</trace>", "expected InkML values, got 'nan'"),
        ("<trace>1 2,3</trace>", "a point of 1 values where the trace format has 2"),
        ("<trace>1 2,,3 4</trace>", "a point of 0 values"),
        ("<trace>1 2 3,1 2 3</trace>", "a point of 3 values"),
        ("<trace>1e999 0,0 0</trace>", "not finite"),
        ("<trace>0 0,'1e999'0</trace>", "not finite"),
        ("<trace>? 2,1 1</trace>", "not finite"),
        ('<trace contextRef="#x">1 2</trace>', "not in the file"),
        ('<trace contextRef="http://example.invalid/c">1 2</trace>', "not in the file"),
        ('<context xml:id="a" contextRef="#a"/><trace contextRef="#a">1 2</trace>', "in a circle"),
        ('<traceFormat><channel name="X"/></traceFormat><trace>1</trace>', "without regular channels X and Y"),
    ],
)
def test_faults_are_named(tmp_path, body, reason):
    assert reason in fault(tmp_path, body)
