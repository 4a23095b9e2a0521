"""Promise: what is written twice agrees: deployments, README, parameters, the environment file."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import click
import pytest
import torch
import yaml
from typer.main import get_command

from ink.params import dataset_block, read_params, section, set_values
from models import REGISTRY
from pipeline.cli import app
from pipeline.settings import build_model, run_params
from pipeline.studies.declare import cells
from stages.augment import AugmentParams
from stages.normalize import NormalizeParams
from stages.shard import ShardParams
from stages.simplify import SimplifyParams
from stages.upstream import DownloadParams

ROOT = Path(__file__).parent.parent
PARAMS = read_params(ROOT / "params.yaml")
SECTIONS = {
    "download": DownloadParams,
    "simplify": SimplifyParams,
    "normalize": NormalizeParams,
    "augment": AugmentParams,
    "shard": ShardParams,
}


@pytest.mark.parametrize("dataset", PARAMS["datasets"])
def test_every_section_parses_for_every_dataset(dataset: str) -> None:
    run_params(PARAMS)
    for name, settings in SECTIONS.items():
        section(PARAMS, name, settings, dataset)
    assert set(dataset_block(PARAMS, dataset)) == {*SECTIONS, "title", "licence", "model"}


@pytest.mark.parametrize("dataset", PARAMS["datasets"])
@pytest.mark.parametrize("model", REGISTRY)
def test_every_registered_model_has_a_block_that_builds(dataset: str, model: str) -> None:
    assert build_model(PARAMS, dataset, model, classes=3).config is not None


def test_deployments_name_flows_datasets_and_models_that_exist() -> None:
    content = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    for deployment in content["deployments"]:
        path, _, flow = deployment["entrypoint"].partition(":")
        assert hasattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), flow)
        given = deployment["parameters"]
        if flow == "run_study":
            assert cells(PARAMS, given["name"], given["budget"])
        else:
            assert given["dataset"] in PARAMS["datasets"]
            assert given["model"] in REGISTRY
        for schedule in deployment["schedules"]:
            assert "slug" in schedule and "active" in schedule, "a redeploy would revive a schedule without them"


def test_readme_names_only_what_exists() -> None:
    readme = (ROOT / "README.md").read_text()
    for path in re.findall(r"`([\w./]+/)`", readme):
        assert (ROOT / path).exists() or path in ("mlruns/",), f"README names {path}"
    for path in re.findall(r"\]\(([\w./]+)\)", readme):
        assert (ROOT / path).exists(), f"README links {path}"
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make (\w+) ", readme):
        assert re.search(rf"^{target}:", makefile, re.M), f"README names make {target}"


def parsed(command: click.Command, words: list[str]) -> dict[str, object]:
    """The values that a command line gives its command; click's errors where it does not fit it."""
    known = getattr(command, "commands", {})
    if words and words[0] in known:
        return parsed(known[words[0]], words[1:])
    return command.make_context(command.name, list(words)).params


@pytest.mark.parametrize("document", ["README.md", "docs/studies.md"])
def test_commands_of_the_documents_are_commands(document: str, tmp_path: Path) -> None:
    lines = re.findall(r"^inkmill .*|(?<=`)inkmill [^`]+", (ROOT / document).read_text(), re.M)
    assert len(lines) > 5
    for line in lines:
        given = parsed(get_command(app), shlex.split(line, comments=True)[1:])
        copy = tmp_path / "params.yaml"
        copy.write_text((ROOT / "params.yaml").read_text())
        set_values(given.get("set") or [], copy)
        assert given.get("dataset") in (None, *PARAMS["datasets"])
        if given.get("name"):
            assert given["name"] in PARAMS["studies"]


def test_constraints_keep_the_bounds_that_the_stack_needs() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "constraints.txt").read_text(), re.M))
    version = tuple(int(part) for part in pins["fastapi"].split(".")[:2])
    assert version < (0, 151), "prefect's server does not import with a newer fastapi"
    assert int(pins["pyarrow"].split(".")[0]) < 26
    assert pins["torch"] == "2.13.0"


def test_budgets_name_parameters_that_exist(tmp_path: Path) -> None:
    for budget in sorted((ROOT / "budgets").glob("*.txt")):
        copy = tmp_path / "params.yaml"
        copy.write_text((ROOT / "params.yaml").read_text())
        set_values([f"@{budget}"], copy)
        changed = read_params(copy)
        for dataset in PARAMS["datasets"]:
            for model in REGISTRY:
                with torch.device("meta"):  # sizes without numbers: the larger ones take seconds to draw
                    assert build_model(changed, dataset, model, classes=3).config is not None
