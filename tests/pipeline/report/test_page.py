"""Promise: the report says what the files say, for any labels and any missing file, and asks nothing of the network."""

from __future__ import annotations

import csv
import importlib
import inspect
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from ink.errors import DataError, InkmillError, ParamsError
from ink.manifest import Tally, header, write_manifest
from ink.metrics import chamfer, huber
from ink.parquet import read_drawings, write_drawings
from ink.table import Drawings, Ink
from pipeline.report.inputs import natural, read_inputs
from pipeline.report.page import main, run
from pipeline.report.tables import columns, comparison, confusion, verdict

HOSTILE = '</title><script src="http://evil.example/x.js">alert(1)</script>'
MODELS = ("first", "second")


class Page(HTMLParser):
    """Collects what a browser would fetch, the links, the `data` values and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.values: list[float] = []
        self.tags: list[str] = []
        self.alone: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        facts = dict(attributes)
        if tag == "a":
            self.links.append(facts.pop("href") or "")
        for name in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
            if name in facts and not (facts[name] or "").startswith(("data:", "#")):
                self.fetched.append(f"{tag} {name}={facts[name]}")
        if tag == "data":
            self.values.append(float(facts["value"] or "nan"))
        if tag == "svg" and "aria-label" not in facts and facts.get("aria-hidden") != "true":
            self.alone.append(str(facts))


def drawn(count: int, seed: int) -> Ink:
    generator = np.random.default_rng(seed)
    drawings = []
    for _ in range(count):
        points = np.cumsum(generator.normal(size=(12, 2)), axis=0)
        points = 0.9 * (points - points.mean(axis=0)) / np.abs(points - points.mean(axis=0)).max()
        walk = np.column_stack([points, np.linspace(0, 1, 12)]).astype(np.float32)
        drawings.append([walk[:7], walk[7:]])
    return Ink.from_strokes(drawings)


def write_csv(path: Path, header: str, rows: list[list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header.split(","), *rows])


def write_model(project: Path, name: str, test: Drawings, blend: float) -> dict[str, object]:
    """Write what a flow leaves; the reconstructions are the originals, moved towards other drawings."""
    other = drawn(len(test), seed=7).x
    ink = test.ink
    x = ((1 - blend) * ink.x + blend * other).astype(np.float32)
    made = Ink(x, ink.y, ink.t, ink.stroke_offsets, ink.drawing_offsets)
    plots = project / "plots/toy" / name
    write_drawings(plots / "drawings/reconstructions.parquet", test.with_ink(made), {"dataset": "toy"})
    keys = [f"strip{strip}/{frame:02d}" for strip in range(2) for frame in range(5)]
    labels = [f"{HOSTILE} → 1"] * 5 + ["1 → 2"] * 5
    write_drawings(
        plots / "drawings/interpolations.parquet", Drawings.build(drawn(10, 3), keys, labels), {"dataset": "toy"}
    )
    far, apart = huber(ink, made), chamfer(ink, made)
    label = test.column("label")
    seen = label.copy()
    seen[::3] = "2"
    facts = [test.column("key"), label, far.tolist(), apart.tolist(), seen, (seen == label).astype(int)]
    rows = [list(row) for row in zip(*facts, strict=True)]
    write_csv(plots / "drawings/per_drawing.csv", "key,label,huber,chamfer,recognized_as,correct", rows)
    history = [[epoch, 10 * epoch, 1.5 * epoch, 1e-3, 1 / epoch, 1.1 / epoch, 0.5 / epoch] for epoch in range(1, 9)]
    write_csv(plots / "history.csv", "epoch,step,seconds,learning_rate,train_loss,valid_loss,valid_xy", history)
    scores = {
        "model": name, "dataset": "toy", "registered": f"{name}-toy", "version": 4, "alias": "champion",
        "huber": float(far.mean()), "chamfer": float(apart.mean()), "accuracy": float((seen == label).mean()),
        "accuracy_original": 0.96875, "parameters": 12345 + len(name), "latent_bytes": 192, "encode_ms": 0.4125,
        "decode_ms": 3.25, "n_test": len(test), "steps": 80, "epochs": 8, "train_seconds": 12.0,
        "weights_sha256": "a" * 64, "data_sha256": "b" * 64, "git_commit": "c" * 40,
    }  # fmt: skip
    path = project / "metrics/toy" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(scores))
    return scores


@pytest.fixture
def project(tmp_path: Path) -> Path:
    labels = [str(n % 3) if n % 5 else HOSTILE for n in range(24)]
    keys = [f"toy/{n}" for n in range(24)]
    test = Drawings.build(drawn(24, 1), keys, labels, split=["test"] * 24)
    write_drawings(tmp_path / "data/shards/toy/test-00000.parquet", test, {"dataset": "toy"})
    copies = test.with_ink(test.ink, copy=np.arange(24, dtype=np.int16) % 4)
    write_drawings(tmp_path / "data/shards/toy/train-00000.parquet", copies, {"dataset": "toy"})
    write_manifest(
        tmp_path / "data/simplified/toy", header("simplify", "toy", {}, {}), {"in": 5, "quarantined": 5}, Tally()
    )
    tally = Tally()
    tally.add(test)
    write_manifest(tmp_path / "data/shards/toy", header("shard", "toy", {}, {}), {"in": 24, "quarantined": 0}, tally)
    (tmp_path / "params.yaml").write_text(
        f"run: {{models: [{', '.join(MODELS)}]}}\ndatasets: {{toy: {{title: {json.dumps('Toy & ' + HOSTILE)}}}}}\n"
    )
    for name, blend in zip(MODELS, (0.1, 0.4), strict=True):
        write_model(tmp_path, name, test, blend)
    judge = {"accuracy": 0.96875, "parameters": 9, "n_test": 24, "registered": "recognizer-toy", "version": 1}
    (tmp_path / "metrics/toy/recognizer.json").write_text(json.dumps(judge))
    return tmp_path


def test_page_fetches_nothing_and_equal_input_gives_equal_bytes(project: Path) -> None:
    first = run(project, "toy").read_bytes()
    assert first == run(project, "toy").read_bytes()
    text = first.decode()
    page = Page(text)
    assert page.fetched == [] and page.links == ["../studies/index.html"]
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", text)
    assert all((project / "reports/toy" / link).is_file() for link in page.links)
    assert page.alone == [], "a picture without a text for those who cannot see it"
    assert str(project) not in text
    assert len(first) < 3_000_000


def test_labels_and_titles_cannot_leave_their_place(project: Path) -> None:
    text = run(project, "toy").read_text()
    assert Page(text).tags.count("script") == 1
    assert "<script src" not in text
    assert "&lt;script src=" in text


def test_table_holds_the_numbers_of_the_metrics_files(project: Path) -> None:
    values = Page(run(project, "toy").read_text()).values
    for name in MODELS:
        scores = json.loads((project / f"metrics/toy/{name}.json").read_text())
        fields = [column.field for column in columns(read_inputs(project, "toy"))]
        assert [field for field in fields if scores[field] not in values] == []
    assert 0.96875 in values
    rows = comparison(read_inputs(project, "toy"))
    for row in rows:
        shown = float(row["cells"][0].text)
        assert shown == pytest.approx(1e3 * row["scores"].huber, rel=6e-3)
    assert [row["cells"][0].best for row in rows] == [True, False]


def test_intervals_are_those_of_the_drawings(project: Path) -> None:
    inputs = read_inputs(project, "toy")
    cell, far = comparison(inputs)[0]["cells"][0], inputs.models[0].per_drawing.huber
    assert float(cell.interval.removeprefix("± ")) == pytest.approx(1e3 * 1.96 * far.std(ddof=1) / 24**0.5, rel=0.05)
    gain = 1e3 * (inputs.models[1].per_drawing.huber - far)
    said = re.search(r"difference ([\d.]+)\s±\s([\d.]+)", verdict(inputs))
    assert float(said[1]) == pytest.approx(gain.mean(), rel=0.02)
    assert float(said[2]) == pytest.approx(1.96 * gain.std(ddof=1) / 24**0.5, rel=0.02)


def test_verdict_claims_no_more_than_the_drawings_bear(project: Path) -> None:
    inputs = read_inputs(project, "toy")
    assert verdict(inputs).startswith("first comes nearest to the originals")
    assert "may be chance" not in verdict(inputs) and "% of each model's drawings" in verdict(inputs)
    first, second = inputs.scored
    first.per_drawing.huber[:] = second.per_drawing.huber + np.where(np.arange(24) % 2, 1e-3, -1e-3)
    first.per_drawing.correct[0] = True
    better = second.scores.model_copy(update={"accuracy": second.scores.accuracy - 1 / 24})
    object.__setattr__(inputs.models[1], "scores", better)
    assert verdict(inputs).count("may be chance") == 2


@pytest.mark.parametrize(
    "path",
    [
        "plots/toy/second/history.csv",
        "plots/toy/second/drawings/reconstructions.parquet",
        "plots/toy/second/drawings/interpolations.parquet",
        "plots/toy/second/drawings/per_drawing.csv",
        "metrics/toy/second.json",
    ],
)
def test_a_missing_file_is_told_with_the_command_that_makes_it(project: Path, path: str) -> None:
    (project / path).unlink()
    text = run(project, "toy").read_text()
    assert "inkmill run --dataset toy" in text
    assert path in text or "not trained yet" in text
    assert "first" in text and 0.96875 in Page(text).values


def test_a_model_that_left_nothing_and_no_recogniser_and_no_shards(project: Path) -> None:
    for path in [*project.glob("plots/toy/second/**/*.*"), *project.glob("data/shards/toy/*")]:
        path.unlink()
    for name in ("second", "recognizer"):
        (project / f"metrics/toy/{name}.json").unlink()
    text = run(project, "toy").read_text()
    assert "not trained yet" in text and "dvc repro shard@toy" in text
    assert 0.96875 in Page(text).values, "the ceiling, from the model's own file"


def test_new_drawings_are_shown_of_the_models_that_make_some_and_not_missed_elsewhere(project: Path) -> None:
    assert "New drawings" not in run(project, "toy").read_text()
    keys = [f"sample{n:03d}" for n in range(60)]
    path = project / "plots/toy/second/drawings/samples.parquet"
    write_drawings(path, Drawings.build(drawn(60, 5), keys, [""] * 60), {"dataset": "toy"})
    text = run(project, "toy").read_text()
    assert "New drawings" in text and "plots/toy/first/drawings/samples.parquet" not in text
    shown = re.findall(r'aria-label="second, (sample\d+)"', text)
    assert shown == keys[: len(shown)] and len(shown) >= 24
    assert not re.search(r'aria-label="first, sample', text)


def test_no_model_at_all_is_an_error_that_says_what_to_run(project: Path, monkeypatch, capsys) -> None:
    for name in MODELS:
        (project / f"metrics/toy/{name}.json").unlink()
    with pytest.raises(InkmillError, match="inkmill run --dataset toy"):
        run(project, "toy")
    monkeypatch.chdir(project)
    with pytest.raises(SystemExit) as stopped:
        main(["toy"])
    assert stopped.value.code == 1
    assert "inkmill run --dataset toy" in capsys.readouterr().err
    assert not (project / "reports").exists()


def test_faulty_files_are_named(project: Path) -> None:
    with pytest.raises(ParamsError, match="did you mean 'toy'"):
        run(project, "toyy")
    (project / "plots/toy/first/history.csv").write_text("epoch,step\n1,2\n")
    with pytest.raises(DataError, match=r"history\.csv: lacks the columns"):
        run(project, "toy")
    (project / "metrics/toy/first.json").write_text('{"huber": "much"}')
    with pytest.raises(DataError, match=r"first\.json.*huber"):
        run(project, "toy")


def test_a_reconstruction_that_cannot_be_drawn_says_so(project: Path) -> None:
    path = project / "plots/toy/first/drawings/reconstructions.parquet"
    test = read_drawings(project / "data/shards/toy/test-00000.parquet")
    broken = test.ink.x.copy()
    broken[:] = np.nan
    ink = Ink(broken, test.ink.y, test.ink.t, test.ink.stroke_offsets, test.ink.drawing_offsets)
    write_drawings(path, test.with_ink(ink), {"dataset": "toy"})
    assert "no ink" in run(project, "toy").read_text()


def test_data_summary_counts_originals_copies_points_and_refusals(project: Path) -> None:
    counts = read_inputs(project, "toy").counts
    assert counts.originals["test"].sum() == 24 and counts.copies["test"].sum() == 0
    assert counts.originals["train"].sum() == 6 and counts.copies["train"].sum() == 18
    assert counts.points == {"test": 24 * 12} and counts.quarantined == {"shard": 0, "simplify": 5}
    assert "Quarantined: 5 (simplify 5)" in run(project, "toy").read_text()


def test_captions_state_the_settings_that_the_numbers_were_made_with(project: Path) -> None:
    text = run(project, "toy").read_text()
    source = inspect.getsource(importlib.import_module("pipeline.evaluate"))
    points = re.search(r"^_HUBER_POINTS = (\d+)", source, re.MULTILINE)
    assert f"averaged over {points[1]} equal moments" in text
    spacing = inspect.signature(chamfer).parameters["spacing"].default
    assert f"sampled every {spacing}," in text and "metrics.chamfer(test.ink, decoded)" in source


def test_confusions_count_every_drawing(project: Path) -> None:
    per_drawing = read_inputs(project, "toy").models[0].per_drawing
    found = confusion(per_drawing)
    counts = np.array([[count for count, _ in line] for line in found["matrix"]])
    assert counts.sum() == 24 and np.trace(counts) == per_drawing.correct.sum()
    assert sum(count for *_, count in found["top"]) == 24 - np.trace(counts)
    assert sorted(["10", "b", "9", "a"], key=natural) == ["9", "10", "a", "b"]


def test_a_model_that_reconstructs_nothing_has_its_row_and_misses_nothing(project: Path) -> None:
    scores = json.loads((project / "metrics/toy/second.json").read_text())
    for name in ("huber", "chamfer", "accuracy", "accuracy_original", "latent_bytes", "encode_ms", "decode_ms"):
        scores.pop(name)
    (project / "metrics/toy/second.json").write_text(json.dumps({**scores, "nll": 0.25, "kl": 0.4375}))
    for path in project.glob("plots/toy/second/drawings/*"):
        path.unlink()
    inputs = read_inputs(project, "toy")
    assert inputs.models[1].missing == () and run(project, "toy").exists()
    assert comparison(inputs)[1]["cells"][0].value is None
    assert verdict(inputs).startswith("first reconstructs")
    assert {0.25, 0.4375} <= set(Page(run(project, "toy").read_text()).values)
    assert [column.field for column in columns(inputs)][-2:] == ["nll", "kl"]
