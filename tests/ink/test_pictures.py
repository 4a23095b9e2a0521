"""Promise: contact sheets put every drawing in its own cell, in order, the same pixels each time."""

import numpy as np
import pytest

from ink.pictures import comparison, sheet
from ink.raster import time_colours
from ink.table import Ink


def drawings(count):
    rng = np.random.default_rng(0)
    return Ink.from_strokes([[np.column_stack([rng.normal(size=(6, 2)), np.arange(6)])] for _ in range(count)])


def test_sheet_places_drawings_row_by_row():
    ink = drawings(5)
    page = np.asarray(sheet(ink, 3, cell=40))
    assert page.shape == (80, 120, 3)
    for n in range(5):
        alone = np.asarray(sheet(ink.take([n]), 1, cell=40))
        row, column = divmod(n, 3)
        assert np.array_equal(page[40 * row : 40 * row + 40, 40 * column : 40 * column + 40], alone)
    assert (page[40:, 80:] == 255).all()


def test_sheet_is_deterministic_and_titles_have_room():
    ink = drawings(4)
    titles = ["cat", "an overlong title that must be cut", "", "ключ & <b>"]
    page = np.asarray(sheet(ink, 2, cell=60, titles=titles))
    assert np.array_equal(page, np.asarray(sheet(ink, 2, cell=60, titles=titles)))
    assert page.shape == (2 * 78, 120, 3)
    assert (page[60:78, :60] < 128).any() and (page[60:78, 118:] == 255).all()
    assert (page[138:, :60] == 255).all()  # the empty title


def test_comparison_has_a_row_a_name():
    ink = drawings(4)
    page = np.asarray(comparison({"original": ink, "model A": ink.take([0, 0, 0, 0])}, cell=48))
    left = page.shape[1] - 4 * 48
    assert page.shape[0] == 96 and (page[:48, :left] < 128).any()

    def cell(row, column):
        return page[row * 48 : row * 48 + 48, left + column * 48 : left + column * 48 + 48]

    assert np.array_equal(cell(0, 0), cell(1, 3)) and not np.array_equal(cell(0, 1), cell(1, 1))


def test_colour_runs_with_time():
    line = Ink.from_strokes([[np.array([[0, 0, 0], [1, 0, 1]])]])
    row = np.asarray(sheet(line, 1, cell=97))[48].astype(int)  # the middle row: full ink
    for column in (10, 48, 86):
        moment = (column + 0.5 - 97 / 12) / (97 - 97 / 6)
        assert np.abs(row[column] - time_colours(moment)).max() <= 2
    plain = np.asarray(sheet(line, 1, cell=97, colour="ink"))
    assert len(np.unique(plain[48, 10:87], axis=0)) == 1 and (plain[:40] == 255).all()


def test_bad_requests_are_refused():
    ink = drawings(2)
    with pytest.raises(ValueError, match="one drawing and one column or more, got 0 and 3"):
        sheet(Ink.from_strokes([]), 3)
    with pytest.raises(ValueError, match="got 1 titles for 2 drawings"):
        sheet(ink, 1, titles=["a"])
    with pytest.raises(ValueError, match=r"rows of one length.*'b': 1"):
        comparison({"a": ink, "b": ink.take([0])})
    with pytest.raises(ValueError, match="'time' or 'ink'"):
        sheet(ink, 1, colour="red")
