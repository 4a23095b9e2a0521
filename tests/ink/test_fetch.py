"""Promise: what a broken line or a kill leaves is gone on with, and only the whole file, checked, gets its name."""

import errno
import random
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

import pytest

from ink.errors import DownloadError, InkmillError
from ink.fetch import Patience, Wanted, fetch, is_web_page
from ink.sources import check_name, source_of
from tests.faulty_server import google_hash, serve

BODY = random.Random(5).randbytes(300_000)
LINES = b"".join(b'{"key_id": "%d", "drawing": "%s"}\n' % (n, b"x" * (n % 900)) for n in range(6000))
HTML = b"<!DOCTYPE html><html><body>log in</body></html>"
GONE = (404, {})


def get(server, path, attempts=2, **wanted):
    source = source_of(server.root, 2.0)
    patience = Patience(attempts, delay_s=0.01, longest_delay_s=2.0)
    try:
        target = Wanted(source.join(server.root, "f"), path, **wanted)
        return fetch(source, target, patience, lambda *_: None, Event())
    finally:
        source.close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_cut_connection_is_gone_on_with_where_it_broke(tmp_path):
    with serve(files={"/f": BODY}, headers=google_hash(BODY), script=[100_000, 150_000, 1]) as server:
        got = get(server, tmp_path / "f", attempts=1)  # each try brings something, so none of them counts
    assert (tmp_path / "f").read_bytes() == BODY
    assert server.asked_ranges == [None, "bytes=100000-", "bytes=250000-", "bytes=250001-"]
    assert [asked.get("if-range") for asked in server.asked] == [None, '"one"', '"one"', '"one"']
    assert server.sent == len(BODY), "no byte came twice"
    assert got.validator == '"one"' and names(tmp_path) == ["f"]


@pytest.mark.parametrize("heeds_if_range", [True, False])
@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        ("etag", '"old"', '"new"'),
        ("modified", "Sun, 01 Jan 2017 00:00:00 GMT", "Mon, 02 Jan 2017 00:00:00 GMT"),
    ],
)
def test_a_file_that_changed_meanwhile_is_fetched_anew(tmp_path, heeds_if_range, kind, old, new):
    settings = {"etag": None, kind: old, "heeds_if_range": heeds_if_range}
    with serve(files={"/f": bytes(400_000)}, script=[200_000, GONE], **settings) as server:
        with pytest.raises(DownloadError, match="404"):
            get(server, tmp_path / "f")
        assert names(tmp_path) == [".tmp-part-f", ".tmp-part-f.json"]
        server.files["/f"] = BODY
        setattr(server, kind, new)
        get(server, tmp_path / "f")
    assert server.asked[2]["range"] == "bytes=200000-" and server.asked[2]["if-range"] == old
    assert (tmp_path / "f").read_bytes() == BODY and names(tmp_path) == ["f"]


@pytest.mark.parametrize(
    "settings",
    [
        {"ranges": False},
        {"etag": 'W/"weak"'},
        {"etag": None},
        {"etag": None, "modified": "Fri, 01 Jan 2100 00:00:00 GMT"},  # later than Date: not a strong validator
    ],
)
def test_without_ranges_or_a_strong_validator_the_file_comes_whole_anew(tmp_path, settings):
    with serve(files={"/f": BODY}, script=[100_000], **settings) as server:
        get(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY and names(tmp_path) == ["f"]
    assert server.asked_ranges == ([None, "bytes=100000-"] if "ranges" in settings else [None, None])


@pytest.mark.parametrize("error", [20, -1000])
def test_a_wrong_content_length_is_noticed(tmp_path, error):
    with serve(files={"/f": BODY}, headers=google_hash(BODY), etag=None, length_error=error) as server:
        with pytest.raises(DownloadError, match=r"cannot be reached|md5 is"):
            get(server, tmp_path / "f")
        assert len(server.asked) == 2 and names(tmp_path) == []


@pytest.mark.parametrize("kind", ["md5", "crc32c"])
def test_a_hash_that_the_server_publishes_is_checked_over_the_whole_resumed_file(tmp_path, kind):
    other = {"crc32c": ""} if kind == "md5" else {"md5": ""}
    with serve(files={"/f": BODY}, headers=google_hash(BODY, **other), script=[100_000]) as server:
        get(server, tmp_path / "f")
        (tmp_path / "f").unlink()
        server.headers = google_hash(BODY[:-1], **other)
        server.script = [100_000]
        with pytest.raises(DownloadError, match=rf"{kind} is \w+, the server says"):
            get(server, tmp_path / "f")
    assert names(tmp_path) == []


def test_errors_of_the_server_pass_and_its_wishes_are_heeded(tmp_path):
    script = [(500, {}), (503, {}), (429, {"Retry-After": "1"})]
    with serve(files={"/f": BODY}, script=script) as server:
        start = time.monotonic()
        get(server, tmp_path / "f", attempts=4)
        assert time.monotonic() - start >= 1
        assert (tmp_path / "f").read_bytes() == BODY and len(server.asked) == 4
        server.script = [(429, {"Retry-After": "86400"})]
        with pytest.raises(DownloadError, match=r"86400 s.*longest_delay_s"):
            get(server, tmp_path / "g")


def test_a_login_page_is_refused_and_does_not_cost_what_is_half_here(tmp_path):
    with serve(files={"/f": BODY}, script=[100_000, GONE]) as server:
        with pytest.raises(DownloadError):
            get(server, tmp_path / "f")
        server.files["/f"], server.etag, server.headers = HTML, None, {"Content-Type": "text/html"}
        with pytest.raises(DownloadError, match="web page"):
            get(server, tmp_path / "f")
        server.files["/f"], server.etag, server.headers = BODY, '"one"', {}
        get(server, tmp_path / "f")
    assert server.asked_ranges[-1] == "bytes=100000-"
    assert (tmp_path / "f").read_bytes() == BODY


@pytest.mark.parametrize(
    ("head", "kind", "page"),
    [
        (b"\xef\xbb\xbf\n <!doctype HTML>", "", True),
        (b"<?xml version='1.0'?><!DOCTYPE html PUBLIC ''>", "application/xml", True),
        (b"<!-- hi --><p>", "text/html; charset=utf-8", True),
        (b"<?xml version='1.0'?><ink xmlns='http://www.w3.org/2003/InkML'>", "application/xml", False),
        (b"<svg viewBox='0 0 1 1'>", "image/svg+xml", False),
        (b'{"word": "<html>"}', "text/html", False),
        (b"PK\x03\x04", "text/html", False),
        (b"", "text/html", False),
    ],
)
def test_web_pages_are_told_from_data(head, kind, page):
    assert is_web_page(head, kind) == page


@pytest.mark.parametrize("settings", [{}, {"ranges": False}, {"etag": None}])
@pytest.mark.parametrize("lines", [300, 5000, 6000, 50_000])
def test_a_sample_is_the_first_lines_and_costs_little_more_than_they(tmp_path, settings, lines):
    wanted = b"".join(LINES.splitlines(keepends=True)[:lines])
    with serve(files={"/f": LINES}, headers=google_hash(LINES), **settings) as server:
        got = get(server, tmp_path / "f", lines=lines)
    assert (tmp_path / "f").read_bytes() == wanted and names(tmp_path) == ["f"]
    assert got.lines == (lines if lines < 6000 else None) and got.whole_bytes == len(LINES)
    if not settings:
        assert server.sent <= min(2 * len(wanted) + (1 << 20), len(LINES))
        assert all(asked.get("if-range") == '"one"' for asked in server.asked[1:])


def test_a_sample_is_gone_on_with_too(tmp_path):
    with serve(files={"/f": LINES}, script=[100_000, 5]) as server:
        get(server, tmp_path / "f", attempts=1, lines=2000)
    assert (tmp_path / "f").read_bytes() == b"".join(LINES.splitlines(keepends=True)[:2000])
    assert server.asked_ranges[1].startswith("bytes=100000-")


def test_an_answer_with_compressed_transfer_is_unpacked_but_a_gz_file_is_not(tmp_path):
    import gzip

    packed = gzip.compress(BODY)
    with serve(files={"/f": packed, "/f.gz": packed}, headers={"Content-Encoding": "gzip"}) as server:
        got = get(server, tmp_path / "f")
        assert (tmp_path / "f").read_bytes() == BODY and got.validator is None
        source = source_of(server.root, 2.0)
        address = source.join(server.root, "f.gz")
        fetch(source, Wanted(address, tmp_path / "f.gz"), Patience(1, 0, 0), lambda *_: None, Event())
        source.close()
    assert (tmp_path / "f.gz").read_bytes() == packed


KILLED = """
import sys
from pathlib import Path
from threading import Event
from ink.fetch import Patience, Wanted, fetch
from ink.sources import source_of
source = source_of(sys.argv[1], 5.0)
fetch(source, Wanted(sys.argv[1] + "/f", Path(sys.argv[2])), Patience(3, 0.01, 1.0), lambda *_: None, Event())
"""


def test_killed_at_any_moment_the_next_run_ends_with_the_same_bytes_and_no_strays(tmp_path):
    chance = random.Random(2)
    kill_at = 0
    child = None

    def maybe_kill(sent):
        nonlocal kill_at
        if child and sent >= kill_at:
            time.sleep(chance.random() * 0.02)
            child.kill()
            kill_at = 1 << 40
        time.sleep(0.001)

    with serve(files={"/f": BODY}, headers=google_hash(BODY), before_chunk=maybe_kill) as server:
        for _ in range(5):
            kill_at = chance.randrange(0, 60_000)
            command = [sys.executable, "-c", KILLED, server.root, str(tmp_path / "f")]
            child = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)
            child.wait()
            assert "f" not in names(tmp_path) or (tmp_path / "f").read_bytes() == BODY
        child = None
        get(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY and names(tmp_path) == ["f"]
    resumed = [asked["range"] for asked in server.asked if "range" in asked]
    assert resumed, "at least one run went on where a killed one stopped"


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOSPC, "free some space"), (errno.EROFS, "may write to"), (errno.EIO, "check the disk")],
)
def test_what_the_disk_refuses_is_one_paragraph_and_what_came_stays(tmp_path, monkeypatch, number, says):
    class Refusing:
        def __init__(self, file):
            self._file, self._room = file, 100_000

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._file.close()

        def write(self, chunk):
            if self._room < len(chunk):
                raise OSError(number, "refused")
            self._room -= len(chunk)
            return self._file.write(chunk)

    real = Path.open

    def refusing(path, mode="r", *rest, **named):
        opened = real(path, mode, *rest, **named)
        return Refusing(opened) if mode == "ab" else opened

    with serve(files={"/f": BODY}) as server:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", refusing)
            with pytest.raises(InkmillError, match=says) as caught:
                get(server, tmp_path / "f")
        assert "\n" not in str(caught.value) and str(tmp_path / "f") in str(caught.value)
        get(server, tmp_path / "f")
    assert server.asked_ranges[-1] and (tmp_path / "f").read_bytes() == BODY and names(tmp_path) == ["f"]


def test_a_stop_from_outside_keeps_what_came(tmp_path):
    stopped = Event()

    def stop_in_the_middle(sent):
        if sent > 100_000 and not stopped.is_set():
            time.sleep(0.1)  # what was sent gets read
            stopped.set()

    with serve(files={"/f": BODY}, before_chunk=stop_in_the_middle) as server:
        source = source_of(server.root, 2.0)
        target = Wanted(f"{server.root}/f", tmp_path / "f")
        with pytest.raises(DownloadError, match="kept"):
            fetch(source, target, Patience(3, 0.01, 1.0), lambda *_: None, stopped)
        source.close()
        get(server, tmp_path / "f")
    assert server.asked_ranges[-1] and (tmp_path / "f").read_bytes() == BODY


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a/../../b", "a//b", ".tmp-part-a", "..", "a\\b"])
def test_no_name_leads_out_of_the_folder(name):
    with pytest.raises(DownloadError):
        check_name(name)


def test_memory_does_not_grow_with_the_file(tmp_path):
    peak = "import resource\npeak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
    parts = KILLED.rpartition("fetch(source,")
    code = f"{peak}{parts[0]}before = peak()\n{parts[1]}{parts[2]}print(peak() - before)"
    with serve(files={"/f": bytes(1 << 26)}) as server:
        command = [sys.executable, "-c", code, server.root, str(tmp_path / "f")]
        done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert (tmp_path / "f").stat().st_size == 1 << 26
    assert int(done.stdout) < 24 << 10, "KiB, of a file of 64 MiB"
