"""What the commands share: their options, the surroundings that they run in, and tables for the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from ink.errors import report_errors

Dataset = Annotated[str | None, typer.Option(help="A dataset of params.yaml; the first of run.datasets unless given.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", help="section.key=value, written to params.yaml; @file: one a line.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_COLUMNS = (
    ("registered", "model", "{}"),
    ("version", "version", "{}"),
    ("alias", "alias", "{}"),
    ("huber", "huber x1e-3", "{:.3f}"),
    ("chamfer", "chamfer x1e-3", "{:.1f}"),
    ("accuracy", "recognised", "{:.1%}"),
    ("accuracy_original", "ceiling", "{:.1%}"),
    ("nll", "-log p nats", "{:.4f}"),
    ("nll_real", "to the end", "{:.4f}"),
    ("kl", "KL nats", "{:.4f}"),
    ("parameters", "parameters", "{:,}"),
    ("latent_bytes", "latent bytes", "{}"),
    ("encode_ms", "encode ms", "{:.3f}"),
    ("decode_ms", "decode ms", "{:.3f}"),
    ("train_seconds", "train s", "{:.0f}"),
)


@contextmanager
def ready() -> Iterator[None]:
    """Set the environment, which heavy libraries read when they are imported; turn user errors into one paragraph."""
    from pipeline.environment import load_environment

    load_environment()
    with report_errors():
        yield


def print_json(found: Any) -> None:
    """Print a value as indented JSON."""
    typer.echo(json.dumps(found, indent=2))


def print_rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print models' numbers, as JSON or as a table."""
    if as_json:
        print_json(rows)
    else:
        print_table(rows, "Test drawings")


def print_table(rows: list[dict[str, Any]], title: str) -> None:
    """Print models' numbers: the columns of `_COLUMNS` in which some row has one."""
    scale = {"huber": 1000, "chamfer": 1000}
    columns = [column for column in _COLUMNS if any(column[0] in row for row in rows)]
    cells = [
        [
            form.format(row[key] * scale.get(key, 1) if key in scale else row[key]) if key in row else ""
            for key, _, form in columns
        ]
        for row in rows
    ]
    grid([heading for _, heading, _ in columns], cells, title)


def grid(columns: list[str], rows: list[list[str]], title: str, numbers: bool = True) -> None:
    """Print a table of texts; `numbers`: columns after the first are set right."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index and numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)
