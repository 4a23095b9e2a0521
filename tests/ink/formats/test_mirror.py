"""Promise: of the real data every drawing comes through, the right way up, in the split of its publisher."""

import io
import re
import zipfile
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import distance_transform_edt

from ink.formats import mnist_idx
from ink.formats.omniglot import read as read_omniglot
from ink.table import Drawings, Ink, validate
from tests.ink.formats.samples import read
from tests.stages.helpers import mirror


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("aaron_sheep", {"train": 7400, "valid": 300, "test": 300}),
        ("short_kanji", {"train": 10_000, "valid": 600, "test": 500}),
    ],
)
def test_sheep_and_kanji_are_complete(name, counts):
    batch = read("sketchrnn_npz", mirror() / "sketch-rnn-datasets" / f"{name}.npz")
    assert Counter(batch.drawings.column("split")) == counts and not batch.rejected
    assert set(validate(batch.drawings)) == {""} and not batch.drawings.column("timed").any()


def test_quick_draw_is_complete_over_all_categories():
    paths = sorted((mirror() / "quickdraw" / "full" / "raw").glob("*.ndjson"))
    lines = sum(sum(1 for line in path.read_bytes().split(b"\n") if line.strip()) for path in paths)
    batches = [read("quickdraw_raw", path) for path in paths]
    assert (len(paths), lines) == (305, 8394)
    assert sum(len(batch.drawings) for batch in batches) == lines and not any(batch.rejected for batch in batches)


@pytest.fixture(scope="module")
def omniglot():
    path = mirror() / "omniglot" / "strokes_background_small1.zip"
    return Drawings.concat([batch.drawings for batch in read_omniglot(path, only_recognized=False)])


def test_omniglot_is_complete_point_by_point(omniglot):
    """The archive is counted here line by line; seven drawings of it have a clock that runs backwards."""
    points, names = 0, 0
    with zipfile.ZipFile(mirror() / "omniglot" / "strokes_background_small1.zip") as archive:
        for name in archive.namelist():
            if re.fullmatch(r"strokes_\w+/\w+/character\d\d/\d{4}_\d\d\.txt", name):
                names += 1
                points += archive.read(name).count(b",") // 2
    assert (len(omniglot), omniglot.ink.n_points) == (names, points) and names == 2720
    assert Counter(validate(omniglot)) == {"": names - 7, "time runs backwards": 7}
    per_character = Counter(omniglot.column("label"))
    assert len(per_character) == 136 and set(per_character.values()) == {20}
    assert omniglot.column("timed").all() and 0.1 < np.median(omniglot.ink.t[omniglot.ink.point_offsets[1:] - 1]) < 20


def test_omniglot_lies_on_its_own_images(omniglot):
    """The publisher's 105 x 105 images are the truth for where the ink is, and which way is up."""
    keys = omniglot.column("key")
    upright, turned = [], []
    with zipfile.ZipFile(mirror() / "omniglot" / "images_background_small1.zip") as archive:
        for n in range(0, len(keys), 40):
            place = keys[n].removeprefix("omniglot/")
            image = Image.open(io.BytesIO(archive.read(f"images_background_small1/{place}.png")))
            distance = distance_transform_edt(np.asarray(image))
            first, last = omniglot.ink.point_offsets[n : n + 2]
            x, y = (np.clip(np.rint(v[first:last]), 0, 104).astype(int) for v in (omniglot.ink.x, omniglot.ink.y))
            upright.append(distance[y, x].mean())
            turned.append(distance[104 - y, x].mean())
    assert np.mean(upright) < 1.5 and np.mean(turned) > 3


def test_mnist_is_complete(monkeypatch):
    """By the published numbers of each digit. To vectorise all takes minutes: here each raster becomes its box."""

    def boxes(images):
        corners = [np.argwhere(image > 0)[:, ::-1] for image in images]
        ends = [np.stack([found.min(axis=0), found.max(axis=0)]) for found in corners]
        return Ink.from_strokes([[np.column_stack([end, [0, 1]])] for end in ends])

    monkeypatch.setattr(mnist_idx, "vectorize", boxes)
    batch = read("mnist_idx", mirror() / "mnist" / "t10k-images-idx3-ubyte.gz")
    assert len(batch.drawings) == len(set(batch.drawings.column("key"))) == 10_000 and not batch.rejected
    published = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert Counter(batch.drawings.column("label")) == {str(n): count for n, count in enumerate(published)}
    assert set(batch.drawings.column("split")) == {"test"} and set(validate(batch.drawings)) == {""}


def test_first_rasters_of_mnist_are_vectorised_where_their_ink_is():
    images = mnist_idx.read_idx(mirror() / "mnist" / "t10k-images-idx3-ubyte.gz")[:20]
    ink = mnist_idx.vectorize(images)
    for n, image in enumerate(images):
        points = np.concatenate(ink.strokes(n))[:, :2]
        near = distance_transform_edt(image < 60)[tuple(np.clip(points[:, ::-1].astype(int), 0, 27).T)]
        assert near.max() <= 1.5, n
