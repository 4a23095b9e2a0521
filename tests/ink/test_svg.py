"""Promise: what the writer writes the reader reads back, and the reader obeys SVG on every basic shape."""

import math

import numpy as np
import pytest
from defusedxml import ElementTree

from ink.errors import DataError
from ink.geometry import arc_length_clock
from ink.svg import grid_svg, to_svg
from ink.svg_reader import read_svg
from ink.table import Ink


def random_ink(seed, count=5, scale=1.0):
    rng = np.random.default_rng(seed)
    return Ink.from_strokes(
        [
            [
                np.column_stack([scale * rng.normal(size=(k, 2)), i * 20 + np.arange(k)])
                for i, k in enumerate(rng.integers(1, 15, 4))
            ]
            for _ in range(count)
        ]
    )


def svg(body, attributes=""):
    return f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}>{body}</svg>'


def strokes(body, tolerance=0.25):
    return [stroke[:, :2] for stroke in read_svg(svg(body), tolerance).strokes(0)]


def path(d, tolerance=0.25):
    return strokes(f'<path d="{d}"/>', tolerance)


def distance_to(points, line):
    """Distance of each point to a polyline."""
    a, b = line[:-1].astype(float), line[1:].astype(float)
    chord = b - a
    along = np.clip(((points[:, None] - a) * chord).sum(2) / np.maximum((chord**2).sum(1), 1e-30), 0, 1)
    return np.linalg.norm(points[:, None] - a - along[..., None] * chord, axis=2).min(axis=1)


@pytest.mark.parametrize("scale", [1.0, 300.0, 1e-3])
def test_round_trip_to_the_written_precision(scale):
    for n in range(5):
        ink = random_ink(0, scale=scale).take([n])
        back = read_svg(to_svg(ink, decimals=6))
        assert np.array_equal(back.stroke_offsets, ink.stroke_offsets)
        for axis in "xy":
            assert np.abs(getattr(back, axis) - getattr(ink, axis)).max() <= 6e-7 + 1e-7 * scale
        assert np.allclose(back.t, arc_length_clock(ink), atol=1e-4 * max(scale, 1))
        coarse = read_svg(to_svg(ink))
        assert np.abs(coarse.x - ink.x).max() <= 0.006 * np.ptp(np.concatenate([ink.x, ink.y])) / 240 * 2


def test_writer_is_one_valid_path_a_stroke_with_equal_bytes():
    ink = random_ink(1).take([2])
    text = to_svg(ink)
    assert text == to_svg(ink.strokes(0)) == to_svg(ink)
    root = ElementTree.fromstring(text)
    assert len(root.findall(".//{*}path")) == ink.n_strokes and "-0 " not in text and "nan" not in text
    left, top, width, height = map(float, root.get("viewBox").split())
    assert left < ink.x.min() and left + width > ink.x.max() and top < ink.y.min() and top + height > ink.y.max()


def test_time_coloured_drawing_covers_the_same_ink():
    ink = random_ink(2).take([0])
    back = read_svg(to_svg(ink, colour="time", decimals=6))
    assert back.n_strokes > ink.n_strokes
    inside = ~np.isin(np.arange(ink.n_points - 1), ink.stroke_offsets[1:] - 1)
    length = np.hypot(np.diff(ink.x), np.diff(ink.y))[inside].sum()
    inside = ~np.isin(np.arange(back.n_points - 1), back.stroke_offsets[1:] - 1)
    assert np.hypot(np.diff(back.x), np.diff(back.y))[inside].sum() == pytest.approx(length, rel=1e-4)
    marks = ElementTree.fromstring(to_svg(ink, colour="time")).findall(".//{*}polyline")
    assert len({mark.get("stroke") for mark in marks}) > 5


def test_grid_places_every_drawing_in_its_cell_and_escapes_titles():
    rows = [random_ink(3, scale=100.0), random_ink(4)]
    text = grid_svg(rows, ["original", "a <b> & c"], cell=96)
    root = ElementTree.fromstring(text)
    assert [element.text for element in root.findall("{*}text")] == ["original", "a <b> & c"]
    back = read_svg(text)
    assert back.n_strokes == sum(row.n_strokes for row in rows)
    left = float(root.get("width")) - 5 * 96
    owners = [(r, c) for r in range(2) for c in range(5) for _ in range(4)]
    for stroke, (row, column) in zip(back.strokes(0), owners, strict=True):
        assert set(stroke[:, 1] // 96) == {row} and set((stroke[:, 0] - left) // 96) == {column}
    assert grid_svg(rows) == grid_svg(rows) and len(ElementTree.fromstring(grid_svg(rows)).findall("{*}text")) == 0


def test_writer_refuses_what_it_cannot_write():
    ink = random_ink(5)
    with pytest.raises(ValueError, match="one drawing, got 5"):
        to_svg(ink)
    with pytest.raises(ValueError, match="'ink' or 'time', got 'red'"):
        to_svg(ink.take([0]), colour="red")
    with pytest.raises(ValueError, match="1 titles for 2 rows"):
        grid_svg([ink, ink], ["only one"])


def test_lines_polylines_and_polygons():
    body = '<line x1="1" y1="2" x2="3px" y2="4"/><polyline points="0,0 1-1.5.5 2"/><polygon points="0 0 4 0 4 3"/>'
    line, polyline, polygon = strokes(body)
    assert line.tolist() == [[1, 2], [3, 4]]
    assert polyline.tolist() == [[0, 0], [1, -1.5], [0.5, 2]]
    assert polygon.tolist() == [[0, 0], [4, 0], [4, 3], [0, 0]]
    clock = read_svg(svg(body)).t
    assert clock[1] == pytest.approx(math.hypot(2, 2)) and clock[2] == pytest.approx(math.hypot(2, 2) + 5)


@pytest.mark.parametrize(
    ("d", "expected"),
    [
        ("M1 1L4 5", [[[1, 1], [4, 5]]]),
        ("m1 1 3 4-1-1", [[[1, 1], [4, 5], [3, 4]]]),
        ("M0 0H3V4h-1v-2z", [[[0, 0], [3, 0], [3, 4], [2, 4], [2, 2], [0, 0]]]),
        ("M0 0L1 0M1 0L2 0", [[[0, 0], [1, 0]], [[1, 0], [2, 0]]]),  # two strokes though they touch
        ("M5 5l1 0z m1 1 l1 0", [[[5, 5], [6, 5], [5, 5]], [[6, 6], [7, 6]]]),  # relative to where z went
        ("M5 5h1v1z l-2 0", [[[5, 5], [6, 5], [6, 6], [5, 5]], [[5, 5], [3, 5]]]),
        ("M1 1 m2 2 l1 0", [[[3, 3], [4, 3]]]),
        ("M3 3z", [[[3, 3]]]),
        ("M3 3h0", [[[3, 3]]]),
        ("M0 0 10-5 .5.5 1e1,2E-1", [[[0, 0], [10, -5], [0.5, 0.5], [10, 0.2]]]),
        ("M0 0A0 5 0 1 0 5 5", [[[0, 0], [5, 5]]]),
    ],
)
def test_path_commands_by_hand(d, expected):
    drawn = path(d)
    assert [len(stroke) for stroke in drawn] == [len(stroke) for stroke in expected]
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(drawn, expected, strict=True))


@pytest.mark.parametrize("tolerance", [1.0, 0.1, 0.01])
def test_curves_stay_within_tolerance(tolerance):
    u = np.linspace(0, 1, 400)[:, None]
    p0, p1, p2, p3 = np.array([[0, 0], [80, 5], [-40, 90], [50, 60.0]])
    cubic = (1 - u) ** 3 * p0 + 3 * u * (1 - u) ** 2 * p1 + 3 * u**2 * (1 - u) * p2 + u**3 * p3
    quadratic = (1 - u) ** 2 * p0 + 2 * u * (1 - u) * p1 + u**2 * p2
    for d, truth in (("M0 0C80 5-40 90 50 60", cubic), ("M0 0Q80 5-40 90", quadratic)):
        line = path(d, tolerance)[0]
        assert distance_to(truth, line).max() <= tolerance
        assert len(line) < 3 + 6 * math.sqrt(100 / tolerance)
    smooth = path("M0 0C80 5-40 90 50 60S9 9 1 2", tolerance)[0]
    explicit = path("M0 0C80 5-40 90 50 60C140 30 9 9 1 2", tolerance)[0]
    assert np.array_equal(smooth, explicit)
    assert np.array_equal(path("M0 0Q80 5 40 40t9 9", tolerance)[0], path("M0 0Q80 5 40 40q-40 35 9 9", tolerance)[0])


@pytest.mark.parametrize("tolerance", [0.5, 0.01])
@pytest.mark.parametrize(("large", "sweep"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_arcs_lie_on_their_ellipse(large, sweep, tolerance):
    line = path(f"M10 0A30 20 0 {large}{sweep} 40 10", tolerance)[0].astype(float)
    assert np.allclose(line[0], [10, 0]) and np.allclose(line[-1], [40, 10], atol=1e-5)
    unit = line / [30, 20]  # a circle of radius 1 now: find its centre from the chord, by the SVG flags
    chord, half = unit[-1] - unit[0], np.linalg.norm(unit[-1] - unit[0]) / 2
    side = 1 if large != sweep else -1
    centre = (unit[0] + unit[-1]) / 2 + side * math.sqrt(1 - half**2) * np.array([-chord[1], chord[0]]) / (2 * half)
    assert np.allclose(np.linalg.norm(unit - centre, axis=1), 1, atol=1e-5)
    turned = np.cross(unit[:-1] - centre, unit[1:] - centre)
    assert np.all(turned > 0) if sweep else np.all(turned < 0)
    total = np.sum(np.arcsin(np.clip(turned, -1, 1)))
    assert (abs(total) > math.pi) == bool(large)


@pytest.mark.parametrize("tolerance", [0.5, 0.02])
def test_circle_ellipse_and_rects(tolerance):
    circle, ellipse = strokes('<circle cx="5" cy="6" r="40"/><ellipse cx="1" cy="2" rx="30" ry="10"/>', tolerance)
    radius = np.hypot(*(circle - [5, 6]).T)
    assert np.allclose(radius, 40, atol=1e-4) and np.array_equal(circle[0], circle[-1])
    middle = np.hypot(*((circle[1:] + circle[:-1]) / 2 - [5, 6]).T)
    assert 40 - middle.min() <= tolerance * 1.001
    assert np.allclose(np.hypot((ellipse[:, 0] - 1) / 30, (ellipse[:, 1] - 2) / 10), 1, atol=1e-4)
    sharp, round_ = strokes(
        '<rect x="1" y="2" width="30" height="20"/><rect width="30" height="20" rx="5"/>', tolerance
    )
    assert sharp.tolist() == [[1, 2], [31, 2], [31, 22], [1, 22], [1, 2]]
    length = np.hypot(*np.diff(round_, axis=0).T).sum()
    assert length == pytest.approx(2 * 20 + 2 * 10 + 2 * math.pi * 5, abs=6 * math.pi * tolerance)
    assert np.allclose([round_.min(0), round_.max(0)], [[0, 0], [30, 20]], atol=1e-4)


def test_tolerance_counts_after_the_transform():
    big = strokes('<circle r="1" transform="scale(400)"/>', 0.1)[0]
    plain = strokes('<circle r="400"/>', 0.1)[0]
    assert len(big) == len(plain) and np.allclose(big, plain, atol=1e-3)


def test_transform_lists_compose():
    def at(transform, outer=""):
        body = f'<g transform="{outer}"><line x1="1" y1="0" x2="0" y2="1" transform="{transform}"/></g>'
        return strokes(body)[0].round(4).tolist()

    assert at("translate(3)") == [[4, 0], [3, 1]]
    assert at("scale(2 3)") == [[2, 0], [0, 3]] and at("scale(2)") == [[2, 0], [0, 2]]
    assert at("rotate(90)") == [[0, 1], [-1, 0]] and at("rotate(90, 1, 0)") == [[1, 0], [0, -1]]
    assert at("skewX(45)") == [[1, 0], [1, 1]] and at("skewY(45)") == [[1, 1], [0, 1]]
    assert at("matrix(1 2 3 4 5 6)") == [[6, 8], [8, 10]]
    assert at("translate(10,0) scale(2)") == [[12, 0], [10, 2]]
    assert at("scale(2), translate(10,0)") == [[22, 0], [20, 2]]
    assert at("scale(2)", outer="translate(10 0)") == [[12, 0], [10, 2]]


def test_what_svg_does_not_show_is_left_out():
    hidden = (
        '<defs><path d="M0 0L1 1"/></defs><g display="none"><line x2="5"/></g><circle r="0"/><rect width="5"/>'
        '<path style="fill:red; display : none" d="M0 0L9 9"/><path d=""/><path d="M4 4"/><text>no ink</text>'
    )
    assert [stroke.tolist() for stroke in strokes(hidden + '<line x1="1" y1="1" x2="2" y2="1"/>')] == [[[1, 1], [2, 1]]]


def test_files_with_doctype_declaration_and_namespace(tmp_path):
    file = tmp_path / "drawing.svg"
    doctype = '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">'
    file.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n{doctype}\n<!-- é -->' + svg('<line x2="5"/>'), "utf-8")
    assert read_svg(file).x.tolist() == read_svg(str(file)).x.tolist() == [0, 5]
    assert read_svg('<svg><line x2="5"/></svg>').x.tolist() == [0, 5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<!DOCTYPE s [<!ENTITY a "b">]><svg>&a;</svg>', "entities are refused"),
        ('<!DOCTYPE s [<!ENTITY a SYSTEM "file:///etc/hostname">]><svg>&a;</svg>', "entities are refused"),
        ("<svg><path", "not well-formed XML"),
        ("<html/>", "expected an svg root element, got 'html'"),
        (svg(""), "found none"),
        (svg("<text>hello</text>"), "found none"),
        (svg('<path d="M 0 0 L 10"/>'), "faulty path data"),
        (svg('<path d="L 5 5"/>'), "must begin with M"),
        (svg('<path d="M 0 0 X 5 5"/>'), "SVG path commands only"),
        (svg('<path d="M 0 0 L 1e99 5"/>'), "not a finite float32"),
        (svg('<path d="M 0 0 L 1e999 5"/>'), "not a finite float32"),
        (svg('<path d="M 0 0 C 1e300 5 1e308 1e308 0 0"/>'), "raise the tolerance"),
        (svg('<path d="M 0 0 A 1e300 1e300 0 0 1 5 5"/>'), "raise the tolerance"),
        (svg('<path d="M 0 0 A 5 5 0 0 1 0 0"/>'), "faulty path data"),
        (svg('<circle r="10%"/>'), "expected a number of user units"),
        (svg('<polygon points="1 2 3"/>'), "expected pairs"),
        (svg('<polygon points="1 two"/>'), "expected numbers"),
        (svg('<line x2="5" transform="spin(4)"/>'), "'spin' with 1 numbers"),
        (svg('<line x2="5" transform="scale(4"/>'), "not a list of transforms"),
        (svg('<use href="#a"/>'), "a reference"),
        (svg('<svg><line x2="5"/></svg>'), "an svg inside"),
        ("/nowhere/at/all.svg", "cannot be read"),
    ],
)
def test_faulty_files_are_data_errors(text, message):
    with pytest.raises(DataError, match=message):
        read_svg(text)


def test_tolerance_must_be_positive():
    with pytest.raises(ValueError, match="tolerance"):
        read_svg(svg('<line x2="5"/>'), 0.0)
