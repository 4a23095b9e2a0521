"""Promise: `inkmill data sources` says of every dataset what is known, and waits for no server that does not answer."""

import json
import socket
import time

import pytest
from typer.testing import CliRunner

from ink.params import read_params
from pipeline import sources
from pipeline.cli import app
from stages import download
from tests.faulty_server import serve
from tests.stages.helpers import download_params, record, write_category

BASE = download_params("", ["cat", "pig"]).model_dump()
OWN = {"url", "reader", "categories", "mirror_folder", "sha256", "categories_url", "sample"}


def block(**changes):
    own = {key: value for key, value in (BASE | changes).items() if key in OWN}
    return {"title": "Some ink", "licence": "CC0", "download": own}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INKMILL_MIRROR", raising=False)
    for name in ("cat", "pig"):
        write_category(tmp_path / "source", [record(n, word=name) for n in range(20)], name)
    return tmp_path


def write_params(project, **datasets):
    common = {key: value for key, value in BASE.items() if key not in OWN - {"sample"}}
    (project / "params.yaml").write_text(json.dumps({"download": common, "datasets": datasets}))


def test_sizes_come_from_the_server_then_from_the_manifest(project, monkeypatch):
    monkeypatch.setattr(sources, "_PATIENCE_S", 60.0)  # a busy machine answers late; patience has a test of its own
    body = (project / "source" / "full" / "raw" / "cat.ndjson").read_bytes()
    files = {f"/full/raw/{name}.ndjson": body for name in ("cat", "pig")}
    with serve(files=files) as server:
        write_params(project, ink=block(url=server.root), local=block(url=(project / "source").as_uri()))
        table = {row["name"]: row for row in sources.rows(read_params())}
        assert table["ink"] == {
            "name": "ink", "title": "Some ink", "licence": "CC0", "address": server.root,
            "size": sources._readable(2 * len(body)), "here": "nothing",
        }  # fmt: skip
        assert table["local"]["size"] == table["ink"]["size"]
        download.run(project / "data" / "raw" / "ink", "ink", download_params(server.root, ["cat"], sample=3))
    row = sources.rows(read_params())[0]
    part = sum(len(line) for line in body.splitlines(keepends=True)[:3])
    assert row["size"] == sources._readable(len(body))
    assert row["here"] == f"1 file, {sources._readable(part)} (first 3 drawings of each)"


def test_a_silent_server_and_an_unreachable_one_are_not_waited_for(project, monkeypatch):
    monkeypatch.setattr(sources, "_PATIENCE_S", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        write_params(project, silent=block(url=address), away=block(url="http://127.0.0.1:9"))
        start = time.monotonic()
        assert [row["size"] for row in sources.rows(read_params())] == ["?", "?"]
        assert time.monotonic() - start < 2


def test_data_without_an_address_has_its_row(project):
    write_params(project, packed=block(url="", mirror_folder=""), theirs=block(url="", mirror_folder="theirs"))
    rows = [(row["address"], row["size"], row["here"]) for row in sources.rows(read_params())]
    assert rows == [
        (f"package:{BASE['reader']}", "?", "nothing"),
        ("by hand, into theirs/ of a mirror", "?", "nothing"),
    ]


def test_the_command_prints_a_table_and_json_and_data_itself_still_works(project):
    write_params(project, local=block(url=(project / "source").as_uri()))
    before = (project / "params.yaml").read_text()
    shown = CliRunner().invoke(app, ["data", "sources"])
    assert shown.exit_code == 0 and "Some ink" in shown.output and "CC0" in shown.output
    listed = CliRunner().invoke(app, ["data", "sources", "--json"])
    assert [row["name"] for row in json.loads(listed.output)] == ["local"]
    assert (project / "params.yaml").read_text() == before
    (project / "params.yaml").unlink()
    for command in (["data"], ["data", "sources"]):
        missing = CliRunner().invoke(app, command)
        assert missing.exit_code == 1 and "params.yaml: no such file" in missing.output
