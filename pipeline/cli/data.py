"""Commands on data: the stages' counts and refusals, sources, statistics, conversion between formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.common import AsJson, Dataset, grid, print_json, ready

app = typer.Typer(invoke_without_command=True)


@app.callback()
def summary(
    context: typer.Context,
    dataset: Dataset = None,
    sheet: Annotated[
        Path | None, typer.Option(help="contact sheet to write; reports/<dataset>/data.png unless given")
    ] = None,
) -> None:
    """Summarise the data, list what was refused, draw a contact sheet. Example: inkmill data --dataset quickdraw"""
    if context.invoked_subcommand:
        return
    with ready():
        from pipeline.commands import data, project

        _, dataset = project.prepare(dataset, [])
        rows, refused = data.summary(dataset)
        columns = list(dict.fromkeys(name for row in rows for name in row))
        grid(columns, [[str(row.get(name, "")) for name in columns] for row in rows], f"Data of {dataset}")
        for row in refused[:20]:
            typer.echo(f"refused  {row.file}:{row.line}  {row.key}  {row.reason}")
        if len(refused) > 20:
            typer.echo(f"refused  {len(refused) - 20} more, in data/*/{dataset}/quarantine.parquet")
        sheet = sheet or Path("reports", dataset, "data.png")
        data.contact_sheet(dataset, sheet)
        typer.echo(str(sheet))


@app.command()
def sources(as_json: AsJson = False) -> None:
    """List the datasets of params.yaml: licence, address, size, what is here. Example: inkmill data sources"""
    with ready():
        from ink.params import read_params
        from pipeline.sources import rows as rows_of

        rows = rows_of(read_params())
        if as_json:
            print_json(rows)
        else:
            columns = list(rows[0]) if rows else []
            grid(columns, [list(row.values()) for row in rows], "Datasets of params.yaml", numbers=False)


@app.command()
def stats(dataset: Dataset = None, as_json: AsJson = False) -> None:
    """Write a page of statistics with pictures. Example: inkmill data stats --dataset quickdraw"""
    with ready():
        from pipeline.statistics import inputs, page

        if as_json:
            print_json(page.as_json(inputs.read_numbers(Path(), dataset)))
        else:
            typer.echo(str(page.run(Path(), dataset)))


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="file, folder or archive to read")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="file or folder to write")],
    source_format: Annotated[str | None, typer.Option("--from", help="Format of IN; guessed unless given.")] = None,
    target_format: Annotated[
        str | None, typer.Option("--to", help="Format of OUT; that of its extension unless given.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT.")] = False,
) -> None:
    """Convert ink between any two formats. Example: inkmill convert cat.ndjson cats --to svg"""
    with ready():
        from pipeline.convert import convert as run_conversion

        typer.echo(run_conversion(source, out, source_format, target_format, force=force).summary())
