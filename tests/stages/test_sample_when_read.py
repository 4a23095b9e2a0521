"""Promise: `download.sample` means the first drawings of a category in every format, also where files come whole."""

import numpy as np
import pytest

from ink.formats import READERS, mnist_idx, reader
from ink.manifest import read_manifest
from ink.parquet import read_drawings
from ink.table import Drawings
from pipeline.statistics.inputs import raw_sample
from stages import download, simplify
from tests.ink.formats import samples
from tests.stages.helpers import ALONE, SIMPLIFY, balanced, download_params, mirror

WHOLE = sorted(set(READERS) - {"didi", "quickdraw_raw", "quickdraw_simplified", "digits"})
CATEGORY = {
    "sketchrnn_npz": "sheep", "vectormnist": "VectorMNIST", "omniglot": "background", "mnist_idx": "t10k",
    "inkml": "ink.zip", "svg": "svg.zip", "unipen": "cat.unp", "parquet": "cat.parquet", "quickdraw_binary": "cat",
}  # fmt: skip


def run(root, source, name, sample, **changes):
    settings = download_params("https://example.invalid", [CATEGORY[name]], reader=name, sample=sample)
    settings = settings.model_copy(update={"mirror": source.as_uri(), "mirror_folder": ""})
    download.run(root / "raw", "q", settings)
    values = simplify.SimplifyParams(**SIMPLIFY | changes)
    return simplify.run(root / "raw", root / "simplified", "q", values, ALONE)


def keys(root):
    parts = sorted((root / "simplified").glob("part-*.parquet"))
    return Drawings.concat([read_drawings(part) for part in parts]).column("key").tolist()


def put(folder, name):
    """The sample where the reader's source has it."""
    folder.mkdir(parents=True)
    path = samples.write(folder, name)
    (file, *_) = reader(name).source_files([CATEGORY[name]])
    if file != path.name:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        path.rename(folder / file)
    return folder


@pytest.mark.parametrize("name", WHOLE)
def test_the_first_drawings_of_each_split_in_the_order_of_the_file(tmp_path, name):
    source = put(tmp_path / "source", name)
    count = 1 if name == "mnist_idx" else 3
    whole, part = run(tmp_path / "whole", source, name, 0), run(tmp_path / "part", source, name, count)
    everything, found = keys(tmp_path / "whole"), keys(tmp_path / "part")
    in_splits = [*everything[:3], *everything[6:]]  # six train, one valid, one test
    wanted = in_splits if name == "sketchrnn_npz" else everything[:count]
    assert found == wanted and len(everything) > len(wanted)
    assert balanced(whole) and balanced(part)
    assert part["params"]["download"] == {"sample": count} and "download" not in whole["params"]


def test_what_is_refused_beyond_the_sample_is_not_counted(tmp_path):
    arrays = {"train": [samples.stroke3(n) for n in range(6)], "valid": [], "test": []}
    arrays["train"][1] = np.zeros((2, 5), np.int16)
    arrays["train"][4] = np.zeros((2, 5), np.int16)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "sheep.npz").write_bytes(samples.npz(arrays))
    manifest = run(tmp_path, tmp_path / "source", "sketchrnn_npz", 2)
    assert manifest["counts"] == {"in": 3, "out": 2, "quarantined": 1, "skipped": {}}
    assert keys(tmp_path) == ["sketchrnn/sheep/train/000000", "sketchrnn/sheep/train/000002"]


def test_rasters_beyond_the_sample_are_not_vectorised(tmp_path, monkeypatch):
    seen = []
    real = mnist_idx.vectorize
    monkeypatch.setattr(mnist_idx, "_BATCH", 50)
    monkeypatch.setattr(mnist_idx, "vectorize", lambda images: seen.append(len(images)) or real(images))
    manifest = run(tmp_path, mirror() / "mnist", "mnist_idx", 60)
    assert manifest["counts"]["out"] == 60 and sum(seen) == 100
    assert len(keys(tmp_path)) == 60


def test_sheep_of_the_mirror_by_sample(tmp_path):
    source = mirror() / "sketch-rnn-datasets"
    settings = download_params("https://example.invalid", ["aaron_sheep"], reader="sketchrnn_npz", sample=500)
    settings = settings.model_copy(update={"mirror": source.as_uri(), "mirror_folder": ""})
    download.run(tmp_path / "raw", "q", settings)
    values = simplify.SimplifyParams(**SIMPLIFY)
    manifest = simplify.run(tmp_path / "raw", tmp_path / "simplified", "q", values, ALONE)
    drawn = {split: entry["drawings"] for split, entry in manifest["splits"].items()}
    assert drawn == {"train": 500, "valid": 300, "test": 300}
    raw = read_manifest(tmp_path / "raw", "download")
    measured = Drawings.concat(list(raw_sample(tmp_path / "raw", raw, values, manifest["counts"]["in"])))
    assert measured.column("key").tolist() == keys(tmp_path), "statistics are of what was read"
