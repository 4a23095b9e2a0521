"""Promise: stroke-5 rows are sketch-rnn's of a drawing in any frame, and come back as the drawing."""

import numpy as np
import pytest
import torch

from ink import geometry
from ink.table import Ink
from models.nn.recurrent.stroke5 import DOWN, END, UP, Stroke5, lengths, offset_deviation, order_by_length, states, vary

PLAIN = Stroke5(max_points=20, side=255.0, epsilon=0.0, keep_dots=True)


def ink_of(*drawings):
    return Ink.from_strokes(
        [[np.column_stack([np.array(s, float), np.arange(len(s))]) for s in drawing] for drawing in drawings]
    )


def test_rows_are_offsets_in_pixels_and_a_one_hot_pen():
    """By hand: longest side 51 becomes 255, so a unit is 5 pixels; the first point has no row."""
    rows = PLAIN.collate(ink_of([[(0, 0), (51, 0), (51, 10)], [(0, 0), (1, 1)]]))[0]
    expected = [(255, 0, DOWN), (0, 50, UP), (-255, -50, DOWN), (5, 5, UP)]
    assert [(int(dx), int(dy)) for dx, dy in rows[:4, :2]] == [(dx, dy) for dx, dy, _ in expected]
    assert states(rows[None])[0].tolist() == [pen for *_, pen in expected] + [END] * 16
    assert bool((rows[:, 2:].sum(1) == 1).all()) and not bool(rows[4:, :2].any())


def test_the_frame_of_a_drawing_does_not_matter():
    rng = np.random.default_rng(0)
    ink = ink_of(*[[np.cumsum(rng.normal(size=(6, 2)), 0)] for _ in range(5)])
    unit = geometry.unit_circle(ink)[0]
    far = geometry.restore(unit, np.full(5, 40.0), np.full(5, -3.0), np.linspace(0.1, 90, 5))
    moved = (PLAIN.collate(far) - PLAIN.collate(unit))[..., :2].abs()
    assert float(moved.max()) <= 1 and float((moved > 0).float().mean()) < 0.01  # float32 at a half pixel


def test_drawings_come_back():
    rng = np.random.default_rng(1)
    ink = ink_of(*[np.split(np.cumsum(rng.normal(size=(12, 2)), 0), [5, 6]) for _ in range(8)])
    back = PLAIN.to_ink(PLAIN.collate(ink))
    assert np.array_equal(back.stroke_offsets, ink.stroke_offsets)
    unit = geometry.unit_circle(ink)[0]
    np.testing.assert_allclose(back.x, unit.x, atol=0.02)  # half a pixel of 255, and the frame that it moves
    np.testing.assert_allclose(back.y, unit.y, atol=0.02)


@pytest.mark.parametrize("at", [0, 1])
def test_dots_are_kept_or_dropped(at):
    strokes = [[(0, 0), (10, 0)]]
    strokes.insert(at, [(5, 5)])
    kept = PLAIN.to_ink(PLAIN.collate(ink_of(strokes)))
    assert np.diff(kept.stroke_offsets).tolist() == [len(stroke) for stroke in strokes]
    dropped = Stroke5(20, 255.0, 0.0, False)
    assert lengths(states(dropped.collate(ink_of(strokes)))).tolist() == [1]
    nothing = dropped.collate(ink_of([[(0, 0)], [(3, 3)]]))
    assert lengths(states(nothing)).tolist() == [0] and len(dropped.to_ink(nothing)) == 1


def test_of_a_drawing_that_is_too_long_the_beginning_is_kept_and_does_not_end():
    line = [[(n, n % 3) for n in range(40)]]
    rows = PLAIN.collate(ink_of(line))
    assert lengths(states(rows)).tolist() == [20] and END not in states(rows)
    longer = Stroke5(60, 255.0, 0.0, True).collate(ink_of(line))
    assert torch.equal(longer[:, :20], rows) and lengths(states(longer)).tolist() == [39]


def test_the_tolerance_is_in_pixels():
    bent = [[(0, 0), (50, 1.9), (100, 0), (255, 0)]]
    assert lengths(states(Stroke5(20, 255.0, 2.0, True).collate(ink_of(bent)))).tolist() == [1]
    assert lengths(states(Stroke5(20, 255.0, 1.8, True).collate(ink_of(bent)))).tolist() == [2]


def test_the_scalar_is_the_deviation_of_all_real_offsets():
    rows = PLAIN.collate(ink_of([[(0, 0), (51, 0), (51, 10)]], [[(0, 0), (0, 51)]]))
    assert float(offset_deviation(rows)) == pytest.approx(np.std([255, 0, 0, 50, 0, 255]))


def test_variation_scales_each_axis_and_merges_what_is_left_out():
    rng = np.random.default_rng(2)
    ink = ink_of(*[np.split(np.cumsum(rng.normal(size=(18, 2)), 0), [7]) for _ in range(300)])
    rows = PLAIN.collate(ink)
    torch.manual_seed(0)
    assert torch.equal(vary(rows, 0.0, 0.0), rows)
    thin = vary(rows, 0.0, 0.3)
    torch.testing.assert_close(thin[..., :2].sum(1), rows[..., :2].sum(1))
    assert bool(((states(thin) == UP).sum(1) == (states(rows) == UP).sum(1)).all()), "strokes and their ends stay"
    gone = 1 - float(lengths(states(thin)).sum() / lengths(states(rows)).sum())
    assert gone == pytest.approx(0.3 * 15 / 17, abs=0.02)
    ends = PLAIN.to_pixels(thin), PLAIN.to_pixels(rows)
    last = [i.x[i.stroke_offsets[1:] - 1] for i in ends]
    np.testing.assert_allclose(last[0], last[1], atol=1e-3)
    wide = vary(rows, 0.15, 0.0)
    factor = (wide[..., :2].abs().sum(1) / rows[..., :2].abs().sum(1)).numpy()
    assert 0.85 <= factor.min() < 0.87 and 1.13 < factor.max() <= 1.1501
    assert abs(np.corrcoef(factor.T)[0, 1]) < 0.2 and torch.equal(states(wide), states(rows))


@pytest.mark.parametrize("count", [0, 5, 64, 700])
def test_batches_sorted_by_length_hold_every_drawing_once_and_little_padding(count):
    counts = np.random.default_rng(3).integers(5, 250, count)

    def epoch(together, seed=0):
        return order_by_length(counts, 16, together, np.random.default_rng(seed))

    def padded(order):
        batches = [counts[order[start : start + 16]] for start in range(0, len(order), 16)]
        return sum(int((batch.max() - batch).sum()) for batch in batches)

    for together in (1, 8, 1000):
        assert sorted(epoch(together)) == list(range(count))
        assert np.array_equal(epoch(together), epoch(together))
    if count == 700:
        assert padded(epoch(8)) < 0.2 * padded(epoch(1))
        batches = [frozenset(epoch(8, seed)[:16]) for seed in range(20)]
        assert len(set(batches)) == 20  # who meets whom is drawn anew
        firsts = [counts[list(batch)].mean() for batch in batches]
        assert min(firsts) < 80 and max(firsts) > 170  # no order of lengths among the batches
