"""Commands that train, measure and compare: run, train, evaluate, compare, models, study, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.cli.common import AsJson, Assignments, Dataset, grid, print_json, print_rows, print_table, ready


def run(dataset: Dataset = None, set: Assignments = None) -> None:
    """Do everything: data, judge, models, comparison, registry, report. Example: inkmill run --dataset quickdraw"""
    with ready():
        from pipeline.commands import project, trained

        params, dataset = project.prepare(dataset, set or [])
        models = params["run"]["models"]
        project.repro(f"report@{dataset}")
        print_table(trained.comparison(dataset, models), f"Test drawings of {dataset}")
        for command in trained.missing_versions(dataset, models):
            typer.echo(f"the registry lacks a model that the metrics name; make it again with: {command}")
        typer.echo(f"report    {Path('reports', dataset, 'index.html').resolve()}")
        names = [row["name"] for row in trained.registered() if row["name"].endswith(f"-{dataset}")]
        typer.echo(f"registry  {', '.join(f'{name}@champion' for name in dict.fromkeys(names))}")


def train(model: str, dataset: Dataset = None, set: Assignments = None) -> None:
    """Train, evaluate and register one model. Example: inkmill train sketchode --set models.sketchode.fit.steps=500"""
    with ready():
        from models import model_class
        from pipeline.commands import project
        from pipeline.results import one_line, read_metrics
        from pipeline.settings import JUDGE

        model_class(model)
        params, dataset = project.prepare(dataset, set or [])
        if model not in (JUDGE, *params["run"]["models"]):
            project.add_model(model)
        project.repro(project.stage_of(dataset, model))
        typer.echo(one_line(read_metrics(dataset, model)))


def evaluate(
    model: str,
    dataset: Dataset = None,
    label: Annotated[str | None, typer.Option(help="Test drawings of this class only.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a registered model on the test drawings. Example: inkmill evaluate sketchode@champion"""
    with ready():
        from pipeline.commands import project, trained

        _, dataset = project.prepare(dataset, [])
        print_rows([trained.evaluate(dataset, model, label)], as_json)


def compare(dataset: Dataset = None, as_json: AsJson = False) -> None:
    """Compare the models that were trained. Example: inkmill compare --json"""
    with ready():
        from pipeline.commands import project, trained

        params, dataset = project.prepare(dataset, [])
        print_rows(trained.comparison(dataset, params["run"]["models"]), as_json)


def models(as_json: AsJson = False) -> None:
    """List the registry. Example: inkmill models"""
    with ready():
        from pipeline.commands import trained

        rows = trained.registered()
        if as_json:
            print_json(rows)
        elif rows:
            grid(list(rows[0]), [[str(value) for value in row.values()] for row in rows], "Registry")
        else:
            typer.echo("the registry is empty; fill it with `inkmill run`")


def study(
    name: Annotated[str | None, typer.Argument(help="a block of `studies` in params.yaml")] = None,
    budget: Annotated[Literal["small", "paper"], typer.Option(help="small: two cores; paper: one GPU")] = "small",
    dataset: Annotated[str | None, typer.Option(help="In place of the block's dataset.")] = None,
    processes: Annotated[int, typer.Option(min=0, help="cells side by side; 0: what the cores allow")] = 0,
    show: Annotated[bool, typer.Option("--list", help="List the studies and their cells, run nothing.")] = False,
    set: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Run what is left of a study; its page, numbers and pictures. Example: inkmill study ablation"""
    with ready():
        from pipeline.commands import studies

        if show or name is None:
            rows = studies.as_rows(name, budget, dataset)
            if as_json:
                print_json(rows)
            else:
                grid(list(rows[0]), [[str(value) for value in row.values()] for row in rows], "Studies", numbers=False)
            return
        summary = studies.run(name, budget, dataset, processes, set or [])
        if as_json:
            print_json(summary)
            return
        for verdict in summary["verdicts"]:
            typer.echo(verdict)
        typer.echo(f"page      {Path(summary['page']).resolve()}")


def report(
    dataset: Dataset = None, open: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False
) -> None:
    """Write the report page from what has been trained. Example: inkmill report --open"""
    with ready():
        from pipeline.commands import project
        from pipeline.report.page import run as write_report

        _, dataset = project.prepare(dataset, [])
        page = write_report(Path(), dataset).resolve()
        typer.echo(str(page))
        if open:
            typer.launch(page.as_uri())
