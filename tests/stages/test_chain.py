"""Promise: through all five stages drawings are counted, splits share nothing, equal input gives equal bytes."""

import hashlib
import json
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest

from ink import geometry
from ink.errors import DataError
from ink.manifest import Tally, describe, header, write_manifest
from ink.parquet import iter_drawings, read_drawings, read_metadata, write_drawings
from ink.table import SPLITS, Drawings, Ink
from stages import augment, download, normalize, shard, simplify
from tests.stages.helpers import (
    ALONE,
    AUGMENT,
    SIMPLIFY,
    balanced,
    download_params,
    mirror,
    record,
    run_rest,
    run_simplify,
)

CLOCK = normalize.NormalizeParams(frame="unit_circle", clock="arc_length")


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    root = tmp_path_factory.mktemp("chain")
    first = run_simplify(root, [record(key) for key in range(60)])
    return root, {"simplify": first, **run_rest(root)}


def hashes(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*")) if path.is_file() and "source" not in path.parts
    }  # fmt: skip


def shards(root, split):
    return Drawings.concat([read_drawings(path) for path in sorted((root / "shards").glob(f"{split}-*.parquet"))])


def test_counts_add_up_after_each_stage(chain):
    _, manifests = chain
    assert all(balanced(manifest) for manifest in manifests.values())
    order = ["simplify", "normalize", "augment", "shard"]
    for before, after in pairwise(order):
        assert manifests[before]["counts"]["out"] == manifests[after]["counts"]["in"]
    train = manifests["normalize"]["splits"]["train"]["drawings"]
    assert manifests["augment"]["counts"]["made"] == 2 * train


def test_two_runs_are_equal_byte_for_byte_and_name_no_place_or_time(chain, tmp_path):
    root, _ = chain
    run_simplify(tmp_path, [record(key) for key in range(60)])
    run_rest(tmp_path)
    assert hashes(tmp_path) == hashes(root)
    for path in root.rglob("*"):
        if path.is_file() and "source" not in path.parts:
            assert str(root).encode() not in path.read_bytes(), path


def test_splits_are_disjoint_and_only_train_has_copies(chain):
    root, _ = chain
    parents = {split: set(shards(root, split).column("parent")) for split in ("train", "valid", "test")}
    assert not parents["train"] & (parents["valid"] | parents["test"]) and not parents["valid"] & parents["test"]
    assert all(parents.values())
    assert set(shards(root, "train").column("copy")) == {0, 1, 2}
    assert set(shards(root, "test").column("copy")) == set(shards(root, "valid").column("copy")) == {0}


def test_shared_originals_are_refused(tmp_path):
    ink = Ink.from_strokes([[np.array([[0, 0, 0], [1, 1, 1]])]] * 2)
    drawings = Drawings.build(ink, ["a", "b"], ["", ""], split=["train", "test"])
    drawings = drawings.with_ink(ink, parent=np.array(["a", "a"]))
    head, tally = header("augment", "q", {}, {}), Tally()
    write_drawings(tmp_path / "part-00000.parquet", drawings, head)
    tally.add(drawings)
    files = [describe(tmp_path, "part-00000.parquet", 2)]
    write_manifest(tmp_path, head, {"in": 2, "quarantined": 0}, tally, files=files)
    settings = shard.ShardParams(megabytes_per_shard=1.0, drawings_per_group=10)
    with pytest.raises(DataError, match="1 originals are in train and in another split"):
        shard.run(tmp_path, tmp_path / "out", "q", settings, ALONE)
    assert not list((tmp_path / "out").iterdir())


def test_everything_is_in_the_unit_circle_on_an_arc_length_clock(chain):
    root, _ = chain
    ink = shards(root, "train").ink
    assert np.hypot(ink.x, ink.y).max() <= 1 + 1e-5
    assert np.allclose(ink.t, geometry.arc_length_clock(ink), atol=1e-5)


def test_normalize_can_be_undone(chain):
    root, _ = chain
    before = read_drawings(root / "simplified" / "part-00000.parquet")
    after = normalize.normalize(before, CLOCK)
    back = geometry.restore(after.ink, *(after.column(name) for name in ("center_x", "center_y", "scale")))
    assert np.allclose(back.x, before.ink.x, atol=1e-3) and np.allclose(back.y, before.ink.y, atol=1e-3)


def test_the_source_clock_is_kept_when_asked_for(chain):
    root, _ = chain
    before = read_drawings(root / "simplified" / "part-00000.parquet")
    kept = normalize.normalize(before, normalize.NormalizeParams(frame="unit_circle", clock="source"))
    assert np.array_equal(kept.ink.t, before.ink.t) and kept.column("timed").all()


@pytest.mark.parametrize("kind", ["perlin", "gaussian", "affine", "drop"])
def test_copies_depend_on_seed_key_and_copy_alone(chain, kind):
    root, _ = chain
    drawings = read_drawings(root / "normalized" / "part-00000.parquet")
    settings = augment.AugmentParams(**AUGMENT | {"kind": kind, "drop_probability": 0.5})

    def by_key(parts, seed=0):
        found = {}
        for part in parts:
            for batch in augment.copies(part, settings, seed):
                found |= {key: np.concatenate(batch.ink.strokes(n)) for n, key in enumerate(batch.column("key"))}
        return found

    whole = by_key([drawings])
    pieces = by_key([drawings.take([n]) for n in range(len(drawings) - 1, -1, -1)])
    assert whole.keys() == pieces.keys() and all(np.array_equal(whole[key], pieces[key]) for key in whole)
    assert all(np.abs(points[:, :2]).max() <= 1 + 1e-5 for points in whole.values())
    other = by_key([drawings], seed=1)
    same = np.mean([np.array_equal(whole[key], other[key]) for key in whole])
    assert same < (1 if kind == "drop" else 1e-9), "a drawing here has one inner point to drop"


def test_no_noise_means_no_copies(chain):
    root, _ = chain
    drawings = read_drawings(root / "normalized" / "part-00000.parquet")
    assert augment.copies(drawings, augment.AugmentParams(**(AUGMENT | {"kind": "none"})), 0) == []


def test_shards_are_of_one_size_and_hashed(chain):
    root, manifests = chain
    rows = {split: [f["rows"] for f in manifests["shard"]["files"] if f["split"] == split] for split in SPLITS}
    assert len(rows["train"]) > 2 and all(max(some) - min(some) <= 1 for some in rows.values())
    for file in manifests["shard"]["files"]:
        path = root / "shards" / file["path"]
        assert file["rows"] == len(read_drawings(path))
        assert file["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    joined = "".join(file["sha256"] for file in manifests["shard"]["files"])
    assert manifests["shard"]["data_sha256"] == hashlib.sha256(joined.encode()).hexdigest()
    assert set(manifests["shard"]["params"]) == {"simplify", "normalize", "augment", "shard"}
    assert manifests["shard"]["source"][0]["sha256"]


@pytest.mark.parametrize("fault", ["count", "class", "content", "stage"])
def test_a_stage_refuses_input_that_is_not_what_its_manifest_says(tmp_path, fault):
    run_simplify(tmp_path, [record(key) for key in range(20)])
    path = tmp_path / "simplified" / "manifest.json"
    manifest = json.loads(path.read_text())
    if fault == "count":
        manifest["counts"]["out"] += 1
    elif fault == "class":
        manifest["splits"]["train"]["classes"]["cat"]["drawings"] += 1
    elif fault == "stage":
        manifest["stage"] = "shard"
    else:
        (tmp_path / "simplified" / "part-00000.parquet").write_bytes(b"PAR1")
    path.write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="simplif"):
        normalize.run(tmp_path / "simplified", tmp_path / "normalized", "q", CLOCK, ALONE)
    assert not (tmp_path / "normalized" / "manifest.json").exists()


def test_real_quickdraw_through_all_stages_loses_no_drawing(tmp_path):
    """The number that goes in is counted here from the files: the last line of each ends without a newline."""
    source = mirror() / "quickdraw"
    categories = ["cat", "pig", "face", "fish", "flower", "firetruck", "garden", "owl"]
    lines = [
        line for c in categories for line in (source / f"full/raw/{c}.ndjson").read_bytes().split(b"\n") if line.strip()
    ]
    unrecognised = sum(not json.loads(line)["recognized"] for line in lines)
    download.run(tmp_path / "raw", "q", download_params(source.as_uri(), categories))
    settings = simplify.SimplifyParams(**(SIMPLIFY | {"max_points": 100_000}))
    first = simplify.run(tmp_path / "raw", tmp_path / "simplified", "q", settings, ALONE)
    assert first["counts"] == {
        "in": len(lines), "out": len(lines) - unrecognised, "quarantined": 0,
        "skipped": {"not recognised by the game": unrecognised},
    }  # fmt: skip
    rest = run_rest(tmp_path, per_shard=0.1, per_group=100)
    assert all(balanced(manifest) for manifest in rest.values())
    labels = {label for split in rest["shard"]["splits"].values() for label in split["classes"]}
    assert labels == set(categories)
    tables = [pq.read_table(path) for path in sorted((tmp_path / "shards").glob("train-*.parquet"))]
    sizes = [table.nbytes / 2**20 for table in tables]
    assert len(sizes) > 2 and max(sizes) < 1.2 * 0.1 and min(sizes) > 0.6 * max(sizes), "drawings differ in size"
    for file in rest["shard"]["files"]:
        held = rest["shard"]["splits"][file["split"]]["classes"]
        for group in list(iter_drawings(tmp_path / "shards" / file["path"]))[:-1]:
            assert len(group) == 100 and set(group.column("split")) == {file["split"]}
            for label, count in held.items():
                share = count["drawings"] / sum(entry["drawings"] for entry in held.values())
                assert abs((group.column("label") == label).sum() / 100 - share) < 0.1, "labels are spread evenly"


def test_each_file_says_which_source_and_settings_made_it(chain):
    root, manifests = chain
    folders = {"simplify": "simplified", "normalize": "normalized", "augment": "augmented", "shard": "shards"}
    for stage, folder in folders.items():
        for entry in manifests[stage]["files"]:
            said = read_metadata(root / folder / entry["path"])
            for name in ("schema_version", "dataset", "stage", "params", "source"):
                assert said[name] == manifests[stage][name], (stage, name)
    assert set(manifests["shard"]["params"]) == {"simplify", "normalize", "augment", "shard"}
    assert all(entry["sha256"] and entry["url"] for entry in manifests["shard"]["source"])
