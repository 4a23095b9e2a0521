"""`params.yaml`: read, checked against frozen settings classes, edited without touching the rest.

A settings class holds no default for a tuned number: the number lives in `params.yaml`. Every fault of
a section is reported at once, and a misspelt key is answered with the nearest one that exists.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ink.errors import ParamsError
from ink.files import write_text

PARAMS_FILE = Path("params.yaml")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where PyYAML has it: ten times faster, both are safe


class Params(BaseModel):
    """Base of every settings class: frozen, unknown keys refused, NaN and infinity refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


P = TypeVar("P", bound=Params)


def read_params(path: Path | str = PARAMS_FILE) -> dict[str, Any]:
    """Read `params.yaml` as plain values.

    Raises:
        ParamsError: the file is missing, not YAML, or not a mapping.
    """
    try:
        value = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_LOADER)
    except FileNotFoundError as error:
        raise ParamsError(f"{path}: no such file; run from the project's folder, where params.yaml lies") from error
    except yaml.YAMLError as error:
        raise ParamsError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(value, dict):
        raise ParamsError(f"{path}: expected a mapping of sections, got {type(value).__name__}")
    return value


def dataset_block(params: dict[str, Any], dataset: str) -> dict[str, Any]:
    """Return the block of one dataset.

    Raises:
        ParamsError: there is no such dataset.
    """
    datasets = params.get("datasets") or {}
    if dataset not in datasets:
        raise ParamsError(f"dataset {dataset!r} is not in params.yaml; {suggest(dataset, datasets)}")
    return datasets[dataset]


def section(params: dict[str, Any], name: str, settings: type[P], dataset: str | None = None) -> P:
    """Return one section as checked settings; a dataset's block of the same name overrides its keys.

    Raises:
        ParamsError: a key is missing, misspelt or has a bad value; all faults in one message.
    """
    values = dict(params.get(name) or {})
    if dataset is not None:
        values |= dataset_block(params, dataset).get(name) or {}
    return check(values, settings, where=name if dataset is None else f"{name} (dataset {dataset})")


def check(values: dict[str, Any], settings: type[P], where: str) -> P:
    """Validate `values` against `settings`; `where` names the place in the error."""
    try:
        return settings.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(_fault(item, settings) for item in error.errors())
        raise ParamsError(f"params.yaml, section {where}: {faults}") from error


def set_values(assignments: Iterable[str], path: Path | str = PARAMS_FILE) -> None:
    """Edit `params.yaml` in place: the values change, every other character of the file stays.

    Args:
        assignments: `section.key=value` each, the value in YAML. A key must exist already. `@file` stands for the
            assignments in a file, one a line; empty lines and those that begin with # do not count.
        path: the file.

    Raises:
        ParamsError: an assignment is malformed or names no existing key. The file is as it was.
    """
    assignments = [line for assignment in assignments for line in _expanded(assignment)]
    if not assignments:
        return
    read_params(path)
    document = Path(path).read_text(encoding="utf-8")
    for assignment in assignments:
        dotted, equals, text = assignment.partition("=")
        if not equals:
            raise ParamsError(f"--set {assignment!r}: expected section.key=value")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ParamsError(f"--set {assignment!r}: the value is not valid YAML: {error}") from error
        place = _find(yaml.compose(document, Loader=_LOADER), dotted.strip())
        document = _with_value(document, place.start_mark.index, _end(place), value)
    write_text(path, document)


def _with_value(document: str, start: int, end: int, value: Any) -> str:
    written = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=10**9).strip()[1:-1]
    if not document[start - 1].isspace() and document[start - 1] not in "[{,":  # `key:` alone is null
        written = f" {written}"
    rest = document[end:]
    if comment := re.match(r" +#", rest):  # stays in its column where there is room
        before, after = (at - document.rfind("\n", 0, at) for at in (end, start))  # columns
        room = before + len(comment[0]) - 1 - (after + len(written))
        rest = " " * max(1, room) + rest[len(comment[0]) - 1 :]
    return document[:start] + written + rest


def _find(root: yaml.Node | None, dotted: str) -> yaml.Node:
    """Return the value that a dotted path names."""
    assert root is not None
    place = root
    for name in dotted.split("."):
        known = {key.value: value for key, value in place.value} if isinstance(place, yaml.MappingNode) else {}
        if name not in known:
            raise ParamsError(f"--set {dotted}: no key {name!r} in params.yaml; {suggest(name, known)}")
        place = known[name]
    return place


def _end(node: yaml.Node) -> int:
    """Return where a value's text ends. YAML lets a block end only where the next thing begins, past its comments."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return node.end_mark.index


def _expanded(assignment: str) -> list[str]:
    if not assignment.startswith("@"):
        return [assignment]
    try:
        lines = Path(assignment[1:]).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ParamsError(f"--set {assignment}: the file cannot be read ({error.strerror or error})") from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def suggest(wrong: str, known: Iterable[str]) -> str:
    """Return `did you mean …?` where one name is near, else the list of names."""
    known = sorted(map(str, known))
    near = difflib.get_close_matches(wrong, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"expected one of: {', '.join(known) or '(none)'}"


def _fault(item: Any, settings: type[Params]) -> str:
    place = ".".join(map(str, item["loc"]))
    if item["type"] == "extra_forbidden":
        return f"unknown key {place!r}, {suggest(str(item['loc'][-1]), settings.model_fields)}"
    if item["type"] == "missing":
        return f"key {place!r} is missing"
    return f"{place}: {item['msg'].lower()}, got {item['input']!r}"
