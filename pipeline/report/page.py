"""The report stage: one self-contained page that compares the models of a dataset.

    python -m pipeline.report.page digits

Reads what the training flows left (`pipeline.report.inputs`), writes `reports/<dataset>/index.html`, and the list of
studies that it links. The page asks nothing of the network, and equal input gives equal bytes: it holds no clock, no
path of the machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ink.errors import report_errors
from ink.files import write_text
from pipeline.report import gallery, tables
from pipeline.report.charts import Series, line_chart
from pipeline.report.inputs import ModelFiles, ReportInputs, read_inputs, train_command
from pipeline.report.render import render_page
from pipeline.studies.index import write_index

_PAGE = "reports/<dataset>/index.html"


def run(project: Path, dataset: str) -> Path:
    """Write the report of one dataset, and the list of studies that it links.

    Args:
        project: folder of params.yaml.
        dataset: a block of `datasets` in params.yaml.

    Returns:
        The path of the page.

    Raises:
        ParamsError: params.yaml is missing, wrong, or does not know the dataset.
        InkmillError: no model has been trained on the dataset, or the page cannot be written.
        DataError: a file is there but is not what it must be.
    """
    page = project / "reports" / dataset / "index.html"
    write_text(page, render(read_inputs(project, dataset)))
    write_index(project)  # no stage's output: each study writes it anew
    return page


def render(inputs: ReportInputs) -> str:
    """Return the page as HTML."""
    nearest = tables.by_huber(inputs.scored)[0].scores
    return render_page(
        "report.html.jinja",
        dataset=inputs.dataset,
        title=inputs.title,
        verdict=tables.verdict(inputs),
        recognizer=inputs.recognizer,
        ceiling=tables.ceiling(inputs),
        columns=tables.columns(inputs),
        rows=tables.comparison(inputs),
        warnings=consistency(inputs),
        curves=learning_curves(inputs.models),
        terms=loss_terms(inputs.models),
        examples=gallery.examples(inputs) if inputs.test_shards else None,
        strips=gallery.strips(inputs),
        samples=gallery.samples(inputs),
        worst=gallery.worst(inputs),
        confusions=[
            (model.name, found) for model in inputs.models if (found := tables.confusion(model.per_drawing)) is not None
        ],
        data=tables.data_summary(inputs.counts) if inputs.counts else None,
        missing={model.name: model.missing for model in inputs.models},
        train_command=train_command(inputs.dataset),
        nearest=nearest,
        shard=inputs.test_shards[0].name if inputs.test_shards else "test-00000.parquet",
    )


def learning_curves(models: Sequence[ModelFiles]) -> list[str]:
    """Return the charts of validation loss against epochs and against wall time."""
    charts = [_chart(models, x, "valid_loss", label, "validation loss") for x, label in _clocks(models)]
    return [chart for chart in charts if chart]


def loss_terms(models: Sequence[ModelFiles]) -> list[tuple[str, str]]:
    """Return (name, chart) of every other loss in the histories: the training loss, then the parts."""
    names = {name: None for model in models for name in model.history or () if name.startswith(("train_", "valid_"))}
    names.pop("valid_loss", None)
    charts = [(name, _chart(models, "epoch", name, "epoch", name.replace("_", " "))) for name in names]
    return [(name, chart) for name, chart in charts if chart]


def consistency(inputs: ReportInputs) -> list[str]:
    """Return what makes the models' numbers less than comparable; empty where nothing does."""
    scored = inputs.scored
    found = []
    if len({model.scores.data_sha256 for model in scored}) > 1:
        found.append("The models were not trained on the same data (data_sha256 differs).")
    if len({model.scores.n_test for model in scored}) > 1:
        counts = ", ".join(f"{model.name} {model.scores.n_test:,}" for model in scored)
        found.append(f"The models were not scored on equally many test drawings ({counts}).")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m pipeline.report.page DATASET`, in the project's folder."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.report.page", description=f"Write {_PAGE}.")
    parser.add_argument("dataset", help="a block of `datasets` in params.yaml")
    dataset = parser.parse_args(arguments).dataset
    with report_errors():
        print(run(Path(), dataset).as_posix())


def _clocks(models: Sequence[ModelFiles]) -> list[tuple[str, str]]:
    """Return (column, label) of the x axes; wall time in minutes where a run took over ten."""
    longest = max((float(np.nanmax(model.history["seconds"])) for model in models if model.history), default=0.0)
    return [("epoch", "epoch"), ("minutes", "training time, min") if longest > 600 else ("seconds", "training time, s")]


def _chart(models: Sequence[ModelFiles], x: str, y: str, x_label: str, y_label: str) -> str:
    series = [
        Series(model.name, place, _x_values(model.history, x), model.history[y])
        for place, model in enumerate(models)
        if model.history is not None and y in model.history
    ]
    return line_chart(series, x_label, y_label)


def _x_values(history: dict[str, Any], name: str) -> np.ndarray:
    return history["seconds"] / 60 if name == "minutes" else history[name]


if __name__ == "__main__":
    main()
