"""Promise: rasters become few, natural strokes: holes stay open, nothing is lost, recognition survives."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from skimage.draw import disk, ellipse_perimeter, line
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from ink.raster import rasterize
from ink.vectorize import vectorize, vectorize_one


def thick(*pixels: tuple[np.ndarray, np.ndarray], size: int = 28) -> np.ndarray:
    """Lines drawn with a round, antialiased pen three pixels wide. A square pen's corners would bend the ends."""
    paper = np.ones((size, size), bool)
    for rows, columns in pixels:
        paper[rows, columns] = False
    return np.clip(2.0 - distance_transform_edt(paper), 0.0, 1.0)


def test_a_line_is_one_stroke_from_top_to_bottom_within_a_pixel_of_the_truth():
    (stroke,) = vectorize_one(thick(line(4, 6, 23, 20)))
    ends = stroke[[0, -1]]
    assert np.abs(ends - [[6.5, 4.5], [20.5, 23.5]]).max() < 1.5
    direction = np.array([20 - 6, 23 - 4]) / np.hypot(14, 19)
    offset = stroke - [6.5, 4.5]
    assert np.abs(offset @ [-direction[1], direction[0]]).max() < 0.5


def test_a_ring_is_one_closed_stroke_that_starts_at_its_top():
    (stroke,) = vectorize_one(thick(ellipse_perimeter(14, 14, 9, 6)))
    assert np.allclose(stroke[0], stroke[-1])
    assert stroke[0, 1] == pytest.approx(stroke[:, 1].min(), abs=0.3)
    on_ellipse = np.hypot((stroke[:, 0] - 14.5) / 6, (stroke[:, 1] - 14.5) / 9)
    assert np.abs(on_ellipse - 1).max() < 0.1


def test_a_cross_is_two_straight_strokes_not_four_or_a_bent_pair():
    strokes = vectorize_one(thick(line(4, 14, 24, 14), line(14, 4, 14, 24)))
    assert len(strokes) == 2
    narrow = sorted(np.ptp(stroke, axis=0).min() for stroke in strokes)
    assert narrow[1] < 1.0
    assert all(np.ptp(stroke, axis=0).max() > 18 for stroke in strokes)


def test_a_stem_that_runs_into_a_bowl_is_one_stroke():
    strokes = vectorize_one(thick(ellipse_perimeter(19, 14, 5, 5), line(4, 12, 17, 9)))
    assert len(strokes) == 1
    assert strokes[0][0, 1] < 6, "a 6 starts at the top of its stem"


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-4, 4)])
def test_shifting_the_raster_shifts_the_strokes(shift):
    image = thick(line(8, 9, 19, 18), line(19, 18, 19, 9))
    moved = vectorize_one(np.roll(image, shift, axis=(0, 1)))
    still = vectorize_one(image)
    assert [len(stroke) for stroke in moved] == [len(stroke) for stroke in still]
    for a, b in zip(moved, still, strict=True):
        assert np.allclose(a, b + np.array(shift[::-1]), atol=1e-6)


def test_intensity_scale_does_not_matter():
    digit = load_digits().images[8]
    for a, b in zip(vectorize_one(digit), vectorize_one(digit * 255 / 16), strict=True):
        assert np.allclose(a, b, atol=1e-6)


def test_time_is_arc_length_with_joins_and_bounds_are_the_raster():
    ink = vectorize(load_digits().images[:60])
    for n in range(60):
        points = np.concatenate(ink.strokes(n)).astype(np.float64)
        walked = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points[:, :2], axis=0).T))])
        assert np.allclose(points[:, 2], walked, rtol=1e-5, atol=1e-4)
        assert points[:, :2].min() > -1 and points[:, :2].max() < 9


def test_blank_full_and_tiny_rasters_do_not_break_it():
    blank, full = np.zeros((8, 8)), np.ones((8, 8))
    dot = np.zeros((28, 28))
    dot[disk((14, 14), 2)] = 1
    ink = vectorize(np.stack([blank, full, np.eye(8)]))
    assert np.diff(ink.drawing_offsets)[0] == 0
    assert np.all(np.diff(ink.drawing_offsets)[1:] > 0)
    (stroke,) = vectorize_one(dot)
    assert np.abs(stroke - 14.5).max() < 2.5
    vectorize_one(np.ones((1, 1)))


@pytest.mark.parametrize("image", [np.full((1, 8, 8), np.nan), -np.ones((1, 8, 8)), np.ones((8, 8))])
def test_what_is_not_a_raster_is_refused(image):
    with pytest.raises(ValueError, match="expected"):
        vectorize(image)


def test_real_digits_stay_recognisable_and_need_few_strokes():
    """A neighbour classifier on drawn strokes must stay near the same classifier on the pixels."""
    data = load_digits()
    chosen = np.random.default_rng(5).permutation(len(data.target))[:600]
    ink, truth = vectorize(data.images[chosen]), data.target[chosen]
    strokes = np.diff(ink.drawing_offsets)
    assert strokes.min() >= 1
    for digit, most in {0: 1.2, 3: 1.3, 5: 1.3, 6: 1.2, 8: 1.3, 9: 1.4, 4: 2.5, 7: 2.2}.items():
        assert strokes[truth == digit].mean() <= most, digit
    drawn = rasterize(ink, size=16, line_width=2.5).reshape(len(chosen), -1) / 255.0
    scores = {
        name: KNeighborsClassifier(3).fit(x[:420], truth[:420]).score(x[420:], truth[420:])
        for name, x in {"strokes": drawn, "pixels": data.data[chosen]}.items()
    }
    assert scores["strokes"] > 0.90, scores
    assert scores["strokes"] > scores["pixels"] - 0.07, scores
