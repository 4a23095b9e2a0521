"""Promise: help comes at once, names every command and gives each an example that it understands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from pipeline.cli import COMMANDS, app

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "mlflow", "prefect", "numba", "numpy", "pyarrow", "pydantic", "matplotlib"}
GROUP = get_command(app)
LEAVES = {**{name: GROUP.commands[name] for name in COMMANDS}, **GROUP.commands["data"].commands}


def test_help_needs_no_heavy_library() -> None:
    program = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from pipeline.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print(*sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not HEAVY & set(done.stdout.split())


def test_help_names_every_command() -> None:
    said = CliRunner().invoke(app, ["--help"]).stdout
    for name in (*COMMANDS, "data"):
        assert re.search(rf"\b{name}\b", said), name


@pytest.mark.parametrize("command", LEAVES.values(), ids=list(LEAVES))
def test_each_example_is_a_command_line(command: click.Command) -> None:
    _, _, example = command.help.partition("Example: inkmill ")
    assert example, f"{command.name}: its help gives no example"
    words = example.split()
    context = command.make_context(command.name, words[words.index(command.name) + 1 :])
    assert context.params
