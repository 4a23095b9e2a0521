"""Promise: a file appears under its name only when it is whole and what was published; else a clear error."""

import base64
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from ink.errors import DownloadError, InkmillError
from ink.params import set_values
from stages import download
from tests.stages.helpers import download_params, record, write_category

BODY = (json.dumps(record(1)) + "\n").encode() * 50


class Handler(BaseHTTPRequestHandler):
    """Misbehaves as the first part of the path says."""

    seen: ClassVar[Counter[str]] = Counter()

    def log_message(self, *_args):
        """Say nothing."""

    def answer(self, body, **headers):
        self.send_response(200)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        kind = self.path.split("/")[1]
        Handler.seen[kind] += 1
        good = base64.b64encode(hashlib.md5(BODY).digest()).decode()
        if kind == "ok":
            self.answer(BODY, x_goog_hash=f"crc32c=AAAAAA==,md5={good}")
        elif kind == "cut":
            self.answer(BODY[:100], Content_Length=str(len(BODY)))
        elif kind == "flaky" and Handler.seen[kind] > 2:
            self.answer(BODY)
        elif kind == "flaky":
            self.send_error(500 if Handler.seen[kind] == 1 else 429)
        elif kind == "md5":
            self.answer(BODY, x_goog_hash="md5=AAAAAAAAAAAAAAAAAAAAAA==")
        elif kind == "html":
            self.answer(b"\n<!DOCTYPE html><html>log in</html>", Content_Type="text/html")
        elif kind == "slow":
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY[:2000])
            self.wfile.flush()
            time.sleep(20)
        else:
            self.send_error(404)


@pytest.fixture(scope="module")
def server():
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch):
    monkeypatch.delenv("INKMILL_MIRROR", raising=False)
    Handler.seen.clear()


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_whole_file_arrives_and_is_kept_on_the_next_run(server, tmp_path):
    settings = download_params(f"{server}/ok", ["cat"])
    first = download.run(tmp_path, "q", settings)
    path = tmp_path / first["files"][0]["path"]
    assert path.read_bytes() == BODY
    assert first["files"] == [
        {
            "path": "full/raw/cat.ndjson",
            "address": f"{server}/ok/full/raw/cat.ndjson",
            "bytes": len(BODY),
            "sha256": hashlib.sha256(BODY).hexdigest(),
            "validator": None,
            "lines": None,
            "whole_bytes": len(BODY),
        }
    ]
    assert download.run(tmp_path, "q", settings) == first
    assert Handler.seen["ok"] == 1
    path.write_bytes(b"rotten")
    assert download.run(tmp_path, "q", settings) == first
    assert Handler.seen["ok"] == 2


def test_what_may_pass_is_tried_again(server, tmp_path):
    download.run(tmp_path, "q", download_params(f"{server}/flaky", ["cat"]))
    assert Handler.seen["flaky"] == 3


@pytest.mark.parametrize(
    ("kind", "message", "tries"),
    [
        ("cut", "cannot be reached|announced", 2),
        ("md5", "md5 is .* the server says", 2),
        ("html", "web page", 1),
        ("gone", "404", 1),
    ],
)
def test_what_is_not_the_file_is_refused_and_leaves_nothing(server, tmp_path, kind, message, tries):
    with pytest.raises(DownloadError, match=message) as caught:
        download.run(tmp_path, "q", download_params(f"{server}/{kind}", ["cat"], attempts=2))
    assert "writing failed" not in str(caught.value)
    assert Handler.seen[kind] == tries
    assert files(tmp_path) == []


def test_wrong_sha256_is_refused_at_once(server, tmp_path):
    with pytest.raises(DownloadError, match="sha256"):
        download.run(tmp_path, "q", download_params(f"{server}/ok", ["cat"], sha256={"cat": "0" * 64}))
    assert Handler.seen["ok"] == 1
    assert files(tmp_path) == []


def test_unreachable_mirror_is_named_with_what_to_do(tmp_path):
    settings = download_params("https://example.invalid", ["cat"], mirror="http://127.0.0.1:9", attempts=1)
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:9/quickdraw/full/raw/cat.*INKMILL_MIRROR"):
        download.run(tmp_path, "q", settings)


@pytest.mark.parametrize("as_uri", [True, False])
def test_folder_mirror_and_its_near_names(tmp_path, monkeypatch, as_uri):
    source = tmp_path / "mirror"
    write_category(source / "quickdraw", [record(1)], "The Eiffel Tower")
    monkeypatch.setenv("INKMILL_MIRROR", source.as_uri() if as_uri else str(source))
    found = download.run(tmp_path / "out", "q", download_params("https://example.invalid", ["The Eiffel Tower"]))
    assert str(tmp_path) not in json.dumps(found)
    with pytest.raises(DownloadError, match="did you mean 'The Eiffel Tower'"):
        download.run(tmp_path / "out", "q", download_params("https://example.invalid", ["The Eifel Tower"]))


def test_kill_in_the_middle_leaves_no_file_under_the_final_name(server, tmp_path):
    code = (
        "import sys; from pathlib import Path; from stages import download\n"
        "from tests.stages.helpers import download_params\n"
        "download.run(Path(sys.argv[1]), 'q', download_params(sys.argv[2], ['cat'], timeout_s=30.0))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), f"{server}/slow"], cwd=Path(__file__).parents[2]
    )
    deadline = time.monotonic() + 20
    while not list(tmp_path.rglob(".tmp-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    left = files(tmp_path)
    assert left and all(Path(name).name.startswith(".tmp-") for name in left)
    assert files(tmp_path) == left
    download.run(tmp_path, "q", download_params(f"{server}/ok", ["cat"]))
    assert files(tmp_path) == ["full/raw/cat.ndjson", "manifest.json"], "the next run sweeps what the killed one left"


def test_a_user_error_is_one_paragraph_without_a_traceback(tmp_path):
    root = Path(__file__).parents[2]
    (tmp_path / "params.yaml").write_text((root / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "stages.download", "nosuch", "out"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr


def test_errors_are_the_users(server, tmp_path):
    with pytest.raises(InkmillError, match="file://"):
        download.run(tmp_path, "q", download_params("ftp://127.0.0.1/x", ["cat"]))


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOSPC, "free some space"), (errno.EROFS, "may write to"), (errno.EACCES, "may write to")],
)
def test_a_folder_that_refuses_is_one_paragraph_at_the_command_line(tmp_path, monkeypatch, capsys, number, says):
    root = Path(__file__).parents[2]
    (tmp_path / "params.yaml").write_text((root / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    source = tmp_path / "mirror"
    write_category(source / "quickdraw", [record(1)], "cat")
    set_values(["datasets.quickdraw.download.categories=[cat]"], tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INKMILL_MIRROR", str(source))
    monkeypatch.setattr(sys, "argv", ["download", "quickdraw", "out"])
    with monkeypatch.context() as patch:

        def refuse(self, *_args, **_named):
            raise OSError(number, os.strerror(number), str(self))

        patch.setattr(Path, "touch" if number == errno.ENOSPC else "mkdir", refuse)
        with pytest.raises(SystemExit) as left:
            download.main()
    said = capsys.readouterr().err
    assert left.value.code == 1 and said.startswith("error: ") and said.count("\n") == 1 and says in said
    download.main()
    assert files(tmp_path / "out") == ["full/raw/cat.ndjson", "manifest.json"]
    licence = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))["licence"]
    assert licence.startswith("CC BY 4.0")
