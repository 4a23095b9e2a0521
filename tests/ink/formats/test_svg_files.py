"""Promise: SVG files become drawings with curves within the tolerance, and labels and splits from where they stand."""

import numpy as np
import pytest

from ink.formats import svg
from tests.ink.test_svg import distance_to


def write(path, body, attributes=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}>{body}</svg>', encoding="utf-8")
    return path


def read(path):
    (batch,) = svg.read(path, only_recognized=False)
    return batch


@pytest.mark.parametrize("side", [1.0, 256.0, 1e6])
@pytest.mark.parametrize("attribute", ['viewBox="0 0 {0} {0}"', 'width="{0}" height="{0}"', ""])
def test_beziers_and_circles_are_within_the_tolerance_at_any_scale(tmp_path, side, attribute):
    """Against exact evaluation (Bernstein form, cosine) at 2,000 points of each curve."""
    cubic = side * np.array([[0.1, 0.2], [0.9, 0.0], [0.2, 1.0], [0.95, 0.9]])
    quadratic = side * np.array([[0.0, 0.5], [1.0, 0.1], [0.5, 1.0]])
    d = "M{} {} C{} {} {} {} {} {}".format(*cubic.ravel()) + " M{} {} Q{} {} {} {}".format(*quadratic.ravel())
    circle = f'<circle cx="{0.5 * side}" cy="{0.5 * side}" r="{0.4 * side}"/>'
    batch = read(write(tmp_path / "a.svg", f'<path d="{d}"/>{circle}', attribute.format(side)))
    u = np.linspace(0, 1, 2000)[:, None]
    angle = 2 * np.pi * u[:, 0]
    exact = [
        (1 - u) ** 3 * cubic[0] + 3 * u * (1 - u) ** 2 * cubic[1] + 3 * u**2 * (1 - u) * cubic[2] + u**3 * cubic[3],
        (1 - u) ** 2 * quadratic[0] + 2 * u * (1 - u) * quadratic[1] + u**2 * quadratic[2],
        side * (0.5 + 0.4 * np.stack([np.cos(angle), np.sin(angle)], axis=1)),
    ]
    for curve, stroke in zip(exact, batch.drawings.ink.strokes(0), strict=True):
        line = stroke[:, :2].astype(float)
        assert distance_to(curve, line).max() <= svg.TOLERANCE * side * 1.01
        assert 8 < len(line) < 200, "no more points than the tolerance asks for"
        assert np.allclose(line[[0, -1]], curve[[0, -1]], rtol=1e-6, atol=1e-6 * side)


def test_labels_and_splits_come_from_the_file_or_its_folders(tmp_path):
    line = '<line x1="0" y1="0" x2="3" y2="4"/>'
    write(tmp_path / "s" / "airplane" / "1.svg", line)
    write(tmp_path / "s" / "test" / "bee" / "2.svg", line)
    write(tmp_path / "s" / "train" / "3.svg", line)
    write(tmp_path / "s" / "x" / "4.svg", line, 'data-key="q/&quot;4" data-label="a&amp;b" data-split="valid"')
    drawings = read(tmp_path / "s").drawings
    rows = list(zip(*(drawings.column(name).tolist() for name in ("key", "label", "split")), strict=True))
    assert rows == [
        ("svg/airplane/1", "airplane", ""),
        ("svg/test/bee/2", "bee", "test"),
        ("svg/train/3", "", "train"),
        ('q/"4', "a&b", "valid"),
    ]
    assert drawings.ink.t.tolist() == [0, 5] * 4


def test_bad_files_are_rejected_by_name_and_the_good_ones_stay(tmp_path):
    write(tmp_path / "a.svg", '<path d="M0 0L1 1"/>')
    write(tmp_path / "b.svg", '<path d="M0 0 C1 1"/>')
    write(tmp_path / "c.svg", "<text>no ink</text>")
    write(tmp_path / "d.svg", '<path d="M0 0LNaN 1"/>')
    write(tmp_path / "e.svg", '<path d="M0 0L1e99 1"/>')
    batch = read(tmp_path)
    assert len(batch.drawings) == 1
    assert [row.file for row in batch.rejected] == ["b.svg", "c.svg", "d.svg", "e.svg"]
    assert all(row.reason for row in batch.rejected)
