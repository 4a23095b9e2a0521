"""What a study leaves: an MLflow run with a child a cell, `metrics/studies/`, `plots/studies/` and its page."""

from __future__ import annotations

import csv
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from ink.files import atomic_path, write_json, write_text
from ink.pictures import animation, comparison
from ink.svg import animation_svg
from pipeline import registry, tracking
from pipeline.checkpoint import fingerprint
from pipeline.studies import page
from pipeline.studies.cell import ROOT, Finished
from pipeline.studies.declare import read_study
from pipeline.studies.index import FOLDER, write_index
from pipeline.studies.shown import Shown
from pipeline.studies.views import VIEWS

EXPERIMENT = "studies"
_MOST_METRICS = 1000  # that MLflow takes in one call
_FRAME_MS = 50


@dataclass(frozen=True)
class Book:
    """The MLflow run of a study: one parent for one set of fingerprints, a child for each finished cell.

    Args:
        place: of the study among results.
        path: where the ids are kept.
        facts: tags of all of its runs.
        run_id: of the parent.
        experiment: id.
        children: cell -> run id.
    """

    place: str
    path: Path
    facts: dict[str, str]
    run_id: str
    experiment: str
    children: dict[str, str]
    prints: str

    def write(self, found: Finished) -> None:
        """Log a finished cell, once."""
        cell = found.cell
        if cell.name in self.children:
            return
        client = mlflow.MlflowClient()
        tags = {
            **self.facts,
            MLFLOW_PARENT_RUN_ID: self.run_id,
            "cell": cell.name,
            "seed": str(cell.seed),
            "model": cell.model,
            "fingerprint": found.fingerprint,
        }
        run_id = client.create_run(self.experiment, tags=tags, run_name=cell.name).info.run_id
        given = {"model": cell.model, "seed": cell.seed, "work": cell.work, **cell.levels, "stop": cell.stop or ""}
        params = [Param(name, str(value)[:6000]) for name, value in given.items()]
        numbers = {name: value for name, value in found.numbers.items() if isinstance(value, int | float)}
        now = int(1000 * time.time())
        metrics = [Metric(name, float(value), now, 0) for name, value in numbers.items()]
        for row in found.history:
            metrics += [
                Metric(f"history.{name}", float(value), now, int(row["step"]))
                for name, value in row.items()
                if name != "step"
            ]
        client.log_batch(run_id, params=params)
        for first in range(0, len(metrics), _MOST_METRICS):
            client.log_batch(run_id, metrics=metrics[first : first + _MOST_METRICS])
        client.set_terminated(run_id)
        self.children[cell.name] = run_id
        self.save()

    def save(self) -> None:
        """Keep the ids."""
        write_json(self.path, {"fingerprint": self.prints, "run_id": self.run_id, "children": self.children})

    def close(self, summary: dict[str, Any], files: Path) -> None:
        """Log what the study found, and end its run."""
        client = mlflow.MlflowClient()
        client.log_dict(self.run_id, summary, "study.json")
        client.log_artifacts(self.run_id, str(files), "pictures")
        client.set_terminated(self.run_id)


def open_book(place: str, name: str, budget: str, dataset: str, prints: dict[str, str]) -> Book:
    """Return the study's run: the one of the same fingerprints, else a new one."""
    client = mlflow.MlflowClient()
    path, whole = ROOT / place / "mlflow.json", fingerprint(prints, [])
    experiment = registry.open_store(EXPERIMENT)
    facts = {"study": name, "budget": budget, "dataset": dataset, "git_commit": tracking.git_commit()}
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["fingerprint"] == whole and _exists(client, known["run_id"]):
            return Book(place, path, facts, known["run_id"], experiment, known["children"], whole)
    run = client.create_run(experiment, tags={**facts, "fingerprint": whole}, run_name=place)
    client.log_batch(run.info.run_id, tags=[RunTag("cells", str(len(prints)))])
    book = Book(place, path, facts, run.info.run_id, experiment, {}, whole)
    book.save()
    return book


def finish(params: dict[str, Any], place: str, name: str, found: list[Finished], book: Book) -> dict[str, Any]:
    """Write the study's numbers, pictures and page; return the numbers."""
    study = read_study(params, name)
    shown = VIEWS[study.view].show(found, study.show)
    facts = book.facts
    command = f"inkmill study {name}" + (f" --budget {facts['budget']}" if facts["budget"] != "small" else "")
    command += f" --dataset {facts['dataset']}" if facts["dataset"] != study.dataset else ""
    summary = {
        "study": name,
        "about": study.about,
        **{key: facts[key] for key in ("dataset", "budget", "git_commit")},
        "command": command,
        "cell_seconds": round(sum(one.seconds for one in found), 1),
        "mlflow_run_id": book.run_id,
        "page": page_of(place).as_posix(),
        "verdicts": [*shown.verdicts, *dict.fromkeys(note for one in found for note in one.notes)],
        "summary": shown.summary,
        "cells": [_cell(one) for one in found],
    }
    plots = Path("plots") / "studies" / place
    _write_plots(plots, shown, found)
    write_json(Path("metrics") / "studies" / f"{place}.json", summary)
    write_text(page_of(place), page.render(study, summary, shown))
    book.close(summary, plots)
    write_index(Path())
    return summary


def page_of(place: str) -> Path:
    """Return where a study's page lies."""
    return FOLDER / place / "index.html"


def _cell(one: Finished) -> dict[str, Any]:
    cell = one.cell
    named = {"cell": cell.name, "model": cell.model, "levels": cell.levels, "seed": cell.seed, "stop": cell.stop}
    return {**named, "seconds": one.seconds, "fingerprint": one.fingerprint, "numbers": one.numbers, "notes": one.notes}


def _write_plots(folder: Path, shown: Shown, found: list[Finished]) -> None:
    """Write results.csv, the charts as SVG, the rows of drawings as PNG, the films as GIF and SVG."""
    names = list(dict.fromkeys(name for one in found for name in one.numbers))
    axes = list(found[0].cell.levels)
    with atomic_path(folder / "results.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["model", *axes, "seed", *names])
        for one in found:
            levels = [one.cell.levels[axis] for axis in axes]
            writer.writerow([one.cell.model, *levels, one.cell.seed, *(one.numbers.get(name, "") for name in names)])
    for chart in shown.charts:
        write_text(folder / f"{_slug(chart.title)}.svg", page.standalone(chart))
    by_length: dict[int, dict[str, Any]] = {}
    for title, models in shown.strips.items():
        for model, ink in models.items():
            label = " · ".join(part for part in (title, model) if part)
            by_length.setdefault(len(ink), {})[label.replace("→", "to").replace("·", "|")] = ink
    for length, rows in by_length.items():
        with atomic_path(folder / f"drawings-{length}.png") as temporary:
            comparison(rows).save(temporary, format="PNG")
    for title, models in shown.films.items():
        write_text(folder / f"{_slug(title)}.svg", animation_svg(models, seconds=_seconds(models)))
        frames = animation(models)
        with atomic_path(folder / f"{_slug(title)}.gif") as temporary:
            shared = [frame.quantize(32) for frame in frames]
            shared[0].save(temporary, format="GIF", save_all=True, append_images=shared[1:], duration=_FRAME_MS, loop=0)


def _seconds(models: dict[str, Any]) -> float:
    return len(next(iter(models.values()))) * _FRAME_MS / 1000


def _slug(title: str) -> str:
    return "-".join("".join(letter if letter.isalnum() else " " for letter in title.lower()).split())


def _exists(client: mlflow.MlflowClient, run_id: str) -> bool:
    try:
        return client.get_run(run_id).info.lifecycle_stage == "active"
    except MlflowException:
        return False
