"""The command `inkmill`. Heavy libraries are imported by the command that needs them, so that help comes at once.

`training`, `drawing` and `data` hold the commands, which parse and print; what they do is in `pipeline.commands`.
"""

from __future__ import annotations

from collections.abc import Callable

import typer

from pipeline.cli import data, drawing, training

app = typer.Typer(
    help="From hand-drawn ink to trained, compared, versioned models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
COMMANDS: dict[str, Callable[..., None]] = {
    "run": training.run,
    "train": training.train,
    "evaluate": training.evaluate,
    "compare": training.compare,
    "models": training.models,
    "draw": drawing.draw,
    "sample": drawing.sample,
    "complete": drawing.complete,
    "redraw": drawing.redraw,
    "blend": drawing.blend,
    "import": drawing.import_weights,
    "export": drawing.export_weights,
    "study": training.study,
    "convert": data.convert,
    "report": training.report,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
app.add_typer(data.app, name="data")


def main() -> None:
    """Entry point of the console script."""
    app()
