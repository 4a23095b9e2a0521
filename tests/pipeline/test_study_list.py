"""Promise: the list of studies says what each found, links its page, and escapes whatever they say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ink.errors import DataError
from pipeline.studies.index import write_index


def write_study(project: Path, place: str, **changes: str | list[str]) -> None:
    found = {
        "study": place,
        "about": "Why",
        "dataset": "digits",
        "budget": "small",
        "command": f"inkmill study {place}",
    }
    found |= {"page": f"reports/studies/{place}/index.html", "verdicts": ["it does"], "cells": []} | changes
    path = project / "metrics/studies" / f"{place}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))


def test_every_study_is_listed_under_its_dataset(tmp_path: Path) -> None:
    write_study(tmp_path, "b")
    write_study(tmp_path, "a", dataset="sheep", verdicts=["1 < 2 <script>"])
    write_study(tmp_path, "a-paper", study="a", budget="paper")
    text = write_index(tmp_path).read_text()
    found = re.findall(r'<h2 id="(\w+)">|<a href="([^"]+)">([^<]+)</a>', text)
    assert found == [
        ("digits", "", ""),
        ("", "a-paper/index.html", "a, paper budget"),
        ("", "b/index.html", "b"),
        ("sheep", "", ""),
        ("", "a/index.html", "a"),
    ]
    assert "1 &lt; 2 &lt;script&gt;" in text and "<script" not in text
    assert write_index(tmp_path).read_text() == text


def test_an_empty_list_says_how_to_fill_it(tmp_path: Path) -> None:
    text = write_index(tmp_path).read_text()
    assert "inkmill study NAME" in text and "href=" not in text.replace('href="data:,"', "")


def test_a_faulty_file_is_named(tmp_path: Path) -> None:
    write_study(tmp_path, "a")
    (tmp_path / "metrics/studies/b.json").write_text('{"study": "b"}')
    with pytest.raises(DataError, match=r"b\.json: about: field required; run `inkmill study`"):
        write_index(tmp_path)
