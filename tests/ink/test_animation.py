"""Promise: an animation shows every frame once, in its turn, all in one scale and place."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from ink.pictures import animation
from ink.svg import animation_svg
from ink.table import Ink

SVG = "{http://www.w3.org/2000/svg}"


def moving(count: int, reach: float = 0.8) -> Ink:
    """A short line that moves to the right, frame by frame."""
    places = np.linspace(-reach, reach, count)
    return Ink.from_strokes([[np.array([[x, -0.1, 0], [x, 0.1, 1]])] for x in places])


def test_a_moving_line_moves_across_the_frames_at_an_even_pace():
    frames = animation({"one": moving(5)}, cell=100, colour="ink")
    ink = [255 - np.asarray(frame.convert("L"), float)[:100] for frame in frames]
    middle = np.array([(one.sum(0) * (np.arange(100) + 0.5)).sum() / one.sum() for one in ink])
    np.testing.assert_allclose(np.diff(middle), 0.4 * 50 * 0.92, atol=0.2)
    assert all(frame.size == frames[0].size for frame in frames)


def test_rows_stand_beside_each_other_and_ink_beyond_the_square_shrinks_all_frames_alike():
    frames = animation({"a": moving(3), "b": moving(3, reach=4.0)}, cell=100, colour="ink")
    assert frames[0].size[0] == 200
    right = 255 - np.asarray(frames[0].convert("L"), float)[:100, 100:]
    assert right.sum() > 0, "the line at -4 is inside the picture"
    with pytest.raises(ValueError, match="rows of one length"):
        animation({"a": moving(3), "b": moving(2)})


def test_the_svg_shows_one_frame_at_every_moment():
    count = 4
    root = ElementTree.fromstring(animation_svg({"a": moving(count), "b <": moving(count)}, seconds=2))
    shown = np.zeros((2, count, 100), bool)
    moments = (np.arange(100) + 0.5) / 100
    columns = [group for group in root.findall(f"{SVG}g")]
    for column, group in enumerate(columns):
        for frame, inner in enumerate(group.findall(f"{SVG}g")):
            animate = inner.find(f"{SVG}animate")
            times = [float(time) for time in animate.get("keyTimes").split(";")]
            values = animate.get("values").split(";")
            state = np.array(values)[np.searchsorted(times, moments, side="right") - 1]
            shown[column, frame] = state == "visible"
            assert animate.get("calcMode") == "discrete" and times[0] == 0 and inner.find(f"{SVG}path") is not None
    for frame in range(count):
        np.testing.assert_array_equal(shown[:, frame], np.tile((moments * count).astype(int) == frame, (2, 1)))
    assert [text.text for text in root.findall(f"{SVG}text")] == ["a", "b <"]
