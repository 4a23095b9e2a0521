"""Promise: ink is drawn as its clock says, and charts bear any losses."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ink.table import Drawings, Ink
from pipeline.report.charts import Series, line_chart, linear_ticks, log_ticks, number
from pipeline.report.drawings import BANDS, by_key, half_extent, ink_svg
from pipeline.report.render import whole


def test_ink_follows_the_drawing_and_its_clock() -> None:
    line = np.array([[-1.0, 0.0, 0.0], [1.0, 0.0, 1.0]], dtype=np.float32)
    strokes = by_key(Drawings.build(Ink.from_strokes([[line]]), ["k"], ["l"]))["k"]
    found = re.findall(r'<path class="(\w)" d="M(\d+) (\d+)l(\d+) 0"/>', ink_svg(strokes, 1.0, "a line"))
    assert [name for name, *_ in found] == list(BANDS), "each sixteenth of the time has its colour, in order"
    starts = np.array([int(x) for _, x, _, _ in found])
    assert np.abs(starts - (9 + 182 * np.arange(16) / 16)).max() <= 0.5
    assert {y for _, _, y, _ in found} == {"100"}
    assert half_extent([strokes, None]) == 1.0


def test_ticks_are_round_and_cover() -> None:
    assert linear_ticks(0, 60) == [0, 20, 40, 60]
    assert log_ticks(0.03, 0.9) == pytest.approx([0.02, 0.05, 0.1, 0.2, 0.5, 1])
    assert [number(v) for v in (0.05, 1e-7, 2e6, 0)] == ["0.05", "1e-7", "2e6", "0"]
    for low, high in ((1e-9, 1.0), (3.0, 3.0), (0.11, 0.12)):
        ticks = log_ticks(low, high)
        assert ticks[0] <= low * (1 + 1e-9) and ticks[-1] >= high * (1 - 1e-9)


def test_charts_bear_negative_constant_and_missing_losses() -> None:
    x = np.arange(1.0, 6.0)
    gaps = np.array([1.0, np.nan, 0.5, np.inf, 0.25])
    lines = [Series("a", 0, x, gaps), Series("b", 1, x, -x), Series("c", 2, x, np.full(5, np.nan))]
    text = line_chart(lines, "epoch", "loss")
    assert "nan" not in text and "inf" not in text and "logarithmic" not in text
    assert line_chart([], "epoch", "loss") == ""
    assert "logarithmic" in line_chart([Series("a", 0, x[:1], x[:1])], "epoch", "loss")


def test_no_line_break_parts_a_number_and_all_text_is_escaped() -> None:
    assert whole("2.4e-07") == '<span class="whole">2.4e-07</span>'
    assert whole("at -0.06 ± 0.38, 1 <b>") == 'at <span class="whole">-0.06 ± 0.38</span>, 1 &lt;b&gt;'
    for text in ("10,000 points (unit-circle units)", "-5", "yes", ""):
        assert whole(text) == text
