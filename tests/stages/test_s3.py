"""Promise: with a real S3 interface at AWS_ENDPOINT_URL, downloads and the DVC remote work as with files."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

from ink.errors import DownloadError
from ink.fetch import Partial
from ink.params import read_params
from ink.sources import source_of
from stages import download
from tests.stages.helpers import download_params, record

ROOT = Path(__file__).parents[2]
LINES = [(json.dumps(record(n)) + "\n").encode() for n in range(50)]
BODY = b"".join(LINES)
STAGE = "download@quickdraw"
KEY = "data/quickdraw/full/raw/hot air balloon.ndjson"
SETTINGS = download_params("https://example.invalid", ["hot air balloon"], attempts=1)


@pytest.fixture(scope="module")
def endpoint():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def client(endpoint, monkeypatch, tmp_path):
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1", "INKMILL_MIRROR": "s3://ink/data", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="ink")
    client.put_object(Bucket="ink", Key=KEY, Body=BODY)
    return client


def test_s3_mirror(client, tmp_path):
    result = download.run(tmp_path, "q", SETTINGS)
    assert (tmp_path / result["files"][0]["path"]).read_bytes() == BODY
    assert result["files"][0]["validator"] == client.head_object(Bucket="ink", Key=KEY)["ETag"]
    with pytest.raises(DownloadError, match=r"s3://ink/data/quickdraw/full/raw/cat\.ndjson"):
        download.run(tmp_path, "q", SETTINGS.model_copy(update={"categories": ["cat"]}))


def test_without_credentials_the_request_is_anonymous(client, tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(DownloadError, match=r"403.*your credentials"):
        download.run(tmp_path, "q", SETTINGS)
    client.put_object_acl(Bucket="ink", Key=KEY, ACL="public-read")
    result = download.run(tmp_path, "q", SETTINGS)
    assert (tmp_path / result["files"][0]["path"]).read_bytes() == BODY


@pytest.mark.parametrize("changed", [False, True])
def test_a_partial_file_is_gone_on_with_unless_the_object_changed(client, tmp_path, changed):
    root = "s3://ink/data/quickdraw"
    source = source_of(root, 5.0)
    address = source.join(root, "full/raw/hot air balloon.ndjson")
    target = tmp_path / "full" / "raw" / "hot air balloon.ndjson"
    target.parent.mkdir(parents=True)
    with source.open(address) as opened:
        partial = Partial(target)
        partial.begin(opened.origin)
        partial.path.write_bytes(BODY[:1000])
    with source.open(address, 1000, None, opened.origin.validator) as rest:
        assert (rest.start, rest.stop, b"".join(rest.chunks)) == (1000, len(BODY), BODY[1000:])
    expected = BODY[::-1] if changed else BODY
    client.put_object(Bucket="ink", Key=KEY, Body=expected)
    with source.open(address, 1000, None, opened.origin.validator) as rest:
        assert rest.start == (0 if changed else 1000)
    source.close()
    download.run(tmp_path, "q", SETTINGS)
    assert target.read_bytes() == expected and not list(tmp_path.rglob(".tmp-*"))


def test_samples_and_all_categories(client, tmp_path):
    client.put_object(Bucket="ink", Key="data/quickdraw/full/raw/ant.ndjson", Body=BODY)
    result = download.run(tmp_path, "q", SETTINGS.model_copy(update={"categories": "all", "sample": 7}))
    assert [Path(entry["path"]).stem for entry in result["files"]] == ["ant", "hot air balloon"]
    assert (tmp_path / result["files"][0]["path"]).read_bytes() == b"".join(LINES[:7])
    client.delete_object(Bucket="ink", Key="data/quickdraw/full/raw/ant.ndjson")


def test_an_endpoint_that_is_none_is_one_sentence(client, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(DownloadError, match="AWS_ENDPOINT_URL"):
        download.run(tmp_path, "q", SETTINGS)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    with pytest.raises(DownloadError, match="AWS_ENDPOINT_URL"):
        download.run(tmp_path, "q", SETTINGS)


def test_data_of_the_download_stage_travels_by_a_dvc_remote(client, endpoint, tmp_path, monkeypatch):
    """Reproduce from S3, push to S3, clone, pull; then nothing is left to do. The stage is the project's own."""
    from dvc.repo import Repo

    client.put_object(Bucket="ink", Key="data/quickdraw/full/raw/cat.ndjson", Body=BODY)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))

    def git(folder, *command):
        subprocess.run(["git", "-C", folder, *command], check=True, capture_output=True)

    def repo(folder):
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PYTHONPATH", str(folder))
        return Repo(str(folder))

    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    for name in ("dvc.yaml", ".dvcignore", ".gitignore"):
        shutil.copy(ROOT / name, first / name)
    for name in ("ink", "stages"):
        shutil.copytree(ROOT / name, first / name, ignore=shutil.ignore_patterns("__pycache__"))
    params = read_params(ROOT / "params.yaml")
    params["run"]["datasets"] = ["quickdraw"]
    params["datasets"]["quickdraw"]["download"]["categories"] = ["cat"]
    (first / "params.yaml").write_text(yaml.safe_dump(params))
    git(first, "init", "-q")
    Repo.init(str(first)).close()
    remote = {"url": "s3://ink/dvc", "endpointurl": endpoint}
    lines = [f"    {name} = {value}" for name, value in remote.items()]
    (first / ".dvc" / "config").write_text("\n".join(["[core]", "    remote = store", "['remote \"store\"']", *lines]))
    with repo(first) as dvc:
        assert len(dvc.reproduce(STAGE)) == 1
        git(first, "add", "-A")
        git(first, "-c", "user.name=t", "-c", "user.email=t@example.invalid", "commit", "-qm", "data")
        assert dvc.push([STAGE]) > 0
    git(tmp_path, "clone", "-q", str(first), str(second))
    place = Path("data", "raw", "quickdraw", "full", "raw")
    monkeypatch.setenv("INKMILL_MIRROR", "http://127.0.0.1:9")
    with repo(second) as dvc:
        dvc.pull([STAGE])
        assert (second / place / "cat.ndjson").read_bytes() == BODY
        assert dvc.reproduce(STAGE) == [], "what was pulled needs no run"
    params["download"]["attempts"] += 1
    (second / "params.yaml").write_text(yaml.safe_dump(params))
    half = second / place / ".tmp-part-dog.ndjson"
    half.write_bytes(b"half")
    with repo(second) as dvc:
        assert len(dvc.reproduce(STAGE)) == 1, "a rerun keeps the files that are here: it needed no source"
    assert [file.name for file in (second / place).iterdir()] == ["cat.ndjson"]
