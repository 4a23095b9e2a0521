"""Promise: the page on a dataset says what its drawings are, however they are batched, and runs nothing of theirs."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from typer.testing import CliRunner

from ink.errors import DataError, ParamsError
from ink.manifest import read_manifest
from ink.parquet import iter_drawings
from ink.thinning import Unit
from pipeline.cli import app
from pipeline.statistics import inputs, page
from stages import augment, download, normalize, shard, simplify
from tests.stages.helpers import ALONE, AUGMENT, SIMPLIFY, download_params, mirror, record, write_category

HOSTILE = '<script src="http://evil.example/x.js">alert(1)</script>\u202e'


class Page(HTMLParser):
    """Tags, what a browser would fetch, and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [
            value or "" for name, value in attributes
            if name in ("src", "href", "srcset", "action") and not (value or "").startswith(("data:", "#"))
        ]  # fmt: skip

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def build(project: Path, reader: str = "quickdraw_raw", categories: tuple[str, ...] = ("cat",)) -> None:
    """Run all stages of dataset q on project/source."""
    data = project / "data"
    source = download_params("https://example.invalid", list(categories), mirror=(project / "source").as_uri())
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("INKMILL_MIRROR", raising=False)
        download.run(data / "raw" / "q", "q", source.model_copy(update={"reader": reader}))
    simplify.run(data / "raw/q", data / "simplified/q", "q", simplify.SimplifyParams(**SIMPLIFY), ALONE)
    clock = normalize.NormalizeParams(frame="unit_circle", clock="arc_length")
    normalize.run(data / "simplified/q", data / "normalized/q", "q", clock, ALONE)
    settings = augment.AugmentParams(**AUGMENT)
    augment.run(data / "normalized/q", data / "augmented/q", "q", settings, 0, ALONE)
    sizes = shard.ShardParams(megabytes_per_shard=0.05, drawings_per_group=20)
    shard.run(data / "augmented/q", data / "shards/q", "q", sizes, ALONE)
    block = {"title": f"Some ink {HOSTILE}", "licence": HOSTILE}
    (project / "params.yaml").write_text(json.dumps({"run": {"datasets": ["q"]}, "datasets": {"q": block}}))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 drawings, 3 that the game did not recognise, 2 broken lines."""
    project = tmp_path_factory.mktemp("data")
    records = [record(n) for n in range(40)] + [record(n, recognized=False) for n in range(40, 43)]
    write_category(project / "source" / "quickdraw", [*records, HOSTILE, '{"word": "cat"}'])
    build(project)
    return project


def test_counts_bytes_and_points_are_those_of_the_files(built: Path) -> None:
    numbers = inputs.read_numbers(built, "q")
    by_name = {stage.name: stage for stage in numbers.stages}
    simplified = by_name["simplify"]
    assert (simplified.came, simplified.out, simplified.quarantined) == (45, 40, 2)
    assert simplified.skipped == {"not recognised by the game": 3}
    assert by_name["augment"].made == 2 * simplified.splits["train"]
    assert by_name["download"].bytes == (built / "source/quickdraw/full/raw/cat.ndjson").stat().st_size
    assert (
        by_name["shard"].bytes
        == sum(path.stat().st_size for path in (built / "data/shards/q").glob("t*.parquet"))
        + (built / "data/shards/q/valid-00000.parquet").stat().st_size
    )
    assert numbers.raw_whole and numbers.raw.n_points == 40 * 5 and numbers.simplified.drawings == 40
    assert numbers.simplified.n_points == simplified.points
    assert [row.drawings for row in numbers.classes] == [
        tuple(simplified.splits[s] for s in ("train", "valid", "test"))
    ]
    assert [(row.count, row.examples[0].line) for row in numbers.refused] == [(1, 45), (1, 44)]
    assert numbers.warnings == () and numbers.raw.duration.largest == pytest.approx(0.045)


def test_hostile_titles_and_excerpts_stay_text(built: Path) -> None:
    shown = Page(page.run(built, "q").read_text(encoding="utf-8"))
    assert shown.tags.count("script") == 1 and shown.fetched == []
    assert '<script src="http://evil.example/x.js">' in shown.text and "\u202e" not in shown.text.split("Quarantine")[1]
    assert "cat.ndjson:44" in shown.text and "Speed within a stroke" not in shown.text
    assert "Duration of a drawing" in shown.text


def test_hostile_labels_stay_text_and_classes_beyond_the_bound_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "SHEET_CLASSES", 3)
    names = [f"<b>&{n}\"'" for n in range(5)]
    for name in names:
        write_category(tmp_path / "source" / "quickdraw", [record(n, word=name) for n in range(2)], name)
    build(tmp_path, categories=tuple(names))
    shown = Page(page.run(tmp_path).read_text(encoding="utf-8"))
    assert shown.tags.count("b") == 3 and all(name in shown.text for name in names)
    assert "3 of 5 classes" in shown.text and "The other 2 classes" in shown.text


def test_an_untimed_source_shows_no_times(tmp_path: Path) -> None:
    folder = tmp_path / "source/quickdraw/full/simplified"
    lines = [json.dumps(record(n, [[[0, 50, 90 + n], [0, 30, n]], [[5, 5], [1, 40]]])) for n in range(30)]
    folder.mkdir(parents=True)
    (folder / "cat.ndjson").write_text("\n".join(lines))
    build(tmp_path, reader="quickdraw_simplified")
    numbers = inputs.read_numbers(tmp_path, "q")
    said = json.dumps(page.as_json(numbers))
    text = Page(page.render(numbers)).text
    assert "This source has no clock" in text and "Duration of a drawing" not in text
    assert '"duration"' not in said and '"speed_profile"' not in said and numbers.raw.timed == 0


def test_the_raw_sample_is_bounded_spread_and_the_same_every_time(
    built: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_category(tmp_path / "source" / "quickdraw", [record(n) for n in range(1500)])
    build(tmp_path)
    monkeypatch.setattr(inputs, "MOST_RAW", 200)
    monkeypatch.setattr(inputs, "_PIECE_BYTES", 1000)
    folder = tmp_path / "data/raw/q"
    settings = simplify.SimplifyParams(**SIMPLIFY)
    manifest = read_manifest(folder, "download")
    keys = [
        [int(key.rsplit("/")[-1]) for part in inputs.raw_sample(folder, manifest, settings, 1500)
         for key in part.column("key")]
        for _ in range(2)
    ]  # fmt: skip
    assert keys[0] == keys[1] == sorted(set(keys[0]))
    assert 150 < len(keys[0]) < 250 and np.histogram(keys[0], 10, (0, 1500))[0].min() > 5
    assert "a sample of" in Page(page.render(inputs.read_numbers(tmp_path, "q"))).text


@pytest.mark.parametrize("unit", get_args(Unit))
def test_every_unit_of_the_simplification_has_words(built: Path, unit: str) -> None:
    numbers = dataclasses.replace(inputs.read_numbers(built, "q"), unit=unit, resample=1.5)
    text = Page(page.render(numbers)).text
    assert re.search(r"ε = 0.01 \([\w' ]{10,}\) from points placed every 1.5 of that unit", text)


def test_faults_are_one_paragraph_that_says_what_to_do(built: Path, tmp_path: Path) -> None:
    project = tmp_path / "copy"
    shutil.copytree(built, project)
    with pytest.raises(ParamsError, match="is not in params"):
        inputs.read_numbers(project, "nothing")
    shard_file = next((project / "data/shards/q").glob("test-*"))
    shard_file.unlink()
    with pytest.raises(DataError, match="missing since shard wrote it"):
        inputs.read_numbers(project, "q")
    shutil.rmtree(project / "data/shards")
    with pytest.raises(DataError, match="run the stage shard first"):
        inputs.read_numbers(project, "q")
    part = project / "data/simplified/q/part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-20])
    shutil.copytree(built / "data/shards", project / "data/shards")
    with pytest.raises(DataError, match="missing or changed since simplify"):
        inputs.read_numbers(project, "q")


def test_stages_of_different_runs_are_warned_of(built: Path, tmp_path: Path) -> None:
    project = tmp_path / "copy"
    shutil.copytree(built, project)
    path = project / "data/shards/q/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["params"]["simplify"]["epsilon"] = 0.5
    manifest["params"]["augment"]["copies"] = 9
    path.write_text(json.dumps(manifest))
    assert [text.split(";")[0] for text in inputs.read_numbers(project, "q").warnings] == [
        "shard did not read what augment has here: it is older or newer"
    ]


def test_the_command_prints_the_path_or_the_numbers(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(built)
    params = Path("params.yaml").read_bytes()
    shown = CliRunner().invoke(app, ["data", "stats"])
    assert shown.exit_code == 0 and shown.output.strip() == "reports/q/data.html"
    before = Path("reports/q/data.html").read_bytes()
    listed = json.loads(CliRunner().invoke(app, ["data", "stats", "--dataset", "q", "--json"]).output)
    assert listed["simplified"]["drawings"] == 40 and listed["classes"]["cat"]["train"] > 0
    CliRunner().invoke(app, ["data", "stats"])
    assert Path("reports/q/data.html").read_bytes() == before and Path("params.yaml").read_bytes() == params


def test_real_drawings_have_points_and_durations_that_their_files_say(tmp_path: Path) -> None:
    """The truth is counted here from the JSON itself."""
    text = (mirror() / "quickdraw/full/raw/owl.ndjson").read_text()
    path = tmp_path / "source/quickdraw/full/raw/owl.ndjson"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    build(tmp_path, categories=("owl",))
    kept = [r["drawing"] for line in text.splitlines() if (r := json.loads(line))["recognized"]]
    numbers = inputs.read_numbers(tmp_path, "q")
    assert numbers.raw.n_points == sum(len(stroke[0]) for drawing in kept for stroke in drawing)
    assert numbers.raw.n_strokes == numbers.simplified.n_strokes == sum(map(len, kept))
    seconds = [(drawing[-1][2][-1] - drawing[0][2][0]) / 1000 for drawing in kept]
    assert numbers.simplified.duration.mean == pytest.approx(np.mean(seconds), abs=1e-4)
    parts = [part for path in sorted((tmp_path / "data/simplified/q").glob("part-*")) for part in iter_drawings(path)]
    assert sum(part.ink.n_points for part in parts) == numbers.simplified.n_points < numbers.raw.n_points
