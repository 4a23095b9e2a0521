"""Promise: a changed file or parameter reruns exactly the stages that depend on it."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PACKAGES = ("ink", "stages", "models", "pipeline")
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
MODELS = [name for name in PARAMS["models"] if name != "recognizer"]


def body(name: str) -> dict:
    return STAGES[name].get("do", STAGES[name])


def filled(text: str, model: str) -> str:
    for field in ("${item}", "${item.dataset}"):
        text = text.replace(field, "digits")
    return text.replace("${item.model}", model)


@functools.cache
def imports(path: Path) -> frozenset[Path]:
    """Project files that a file imports, by its import statements."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.split(".")[0] in PACKAGES:
                place = ROOT / name.replace(".", "/")
                found |= {file for file in (place.with_suffix(".py"), place / "__init__.py") if file.exists()}
    return frozenset(found)


def reachable(start: list[Path]) -> set[Path]:
    seen, waiting = set(), list(start)
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting.extend(imports(path))
    return seen


def needed(name: str, model: str) -> set[str]:
    module = body(name)["cmd"].split()[2]
    place = ROOT / module.replace(".", "/")
    start = [place / "__main__.py" if place.is_dir() else place.with_suffix(".py")]
    if module == "pipeline":
        start.append(ROOT / "models" / f"{model}.py")
        start.append(ROOT / "pipeline" / "pyfunc_model.py")
    if module in ("stages.download", "stages.simplify"):
        start.extend((ROOT / "ink" / "formats").glob("*.py"))
    bare = {"ink/__init__.py", "stages/__init__.py", "pipeline/__init__.py", "models/nn/__init__.py"}
    return {path.relative_to(ROOT).as_posix() for path in reachable(start)} - bare


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("model", MODELS)
def test_deps_hold_every_import(name: str, model: str) -> None:
    model = "recognizer" if name == "recognizer" else model
    deps = [filled(dep, model) for dep in body(name)["deps"]]
    missing = {
        path for path in needed(name, model) if not any(path == dep or path.startswith(dep + "/") for dep in deps)
    }
    assert not missing, f"{name} imports {sorted(missing)} but does not list them among its deps"


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("model", MODELS)
def test_deps_exist_and_are_needed(name: str, model: str) -> None:
    model = "recognizer" if name == "recognizer" else model
    wanted = needed(name, model)
    if "${item.model}" in body(name)["cmd"]:  # one list serves all models: what one of them needs, all have
        wanted = wanted.union(*(needed(name, other) for other in MODELS))
    for dep in (filled(dep, model) for dep in body(name)["deps"]):
        if dep.split("/")[0] in ("data", "metrics", "plots"):
            continue
        assert (ROOT / dep).exists(), f"{name}: {dep} does not exist"
        if dep.endswith(".py"):
            assert dep in wanted, f"{name} lists {dep}, which it does not import"


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("dataset", PARAMS["datasets"])
@pytest.mark.parametrize("model", MODELS)
def test_params_exist(name: str, dataset: str, model: str) -> None:
    for dotted in body(name).get("params", []):
        value = PARAMS
        for key in filled(dotted, model).replace("digits", dataset).split("."):
            assert key in value, f"{name}: params.yaml has no {dotted}"
            value = value[key]


def test_every_dataset_and_model_of_run_is_defined() -> None:
    assert set(PARAMS["run"]["datasets"]) <= set(PARAMS["datasets"])
    assert set(PARAMS["run"]["models"]) <= set(PARAMS["models"])
