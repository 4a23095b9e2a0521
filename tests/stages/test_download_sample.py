"""Promise: a dataset is as much of its source as was asked for, whichever way it came to be asked for so much."""

import json
import random

import pytest

from ink.errors import DownloadError, InkmillError
from ink.files import exclusive
from ink.formats import reader
from stages import download, simplify
from tests.faulty_server import google_hash, serve
from tests.stages.helpers import ALONE, SIMPLIFY, download_params, mirror, record, write_category

NAMES = ["cat", "hot air balloon"]
LINES = {name: [(json.dumps(record(n, word=name)) + "\n").encode() for n in range(40)] for name in NAMES}


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch):
    monkeypatch.delenv("INKMILL_MIRROR", raising=False)


@pytest.fixture
def server():
    bodies = {f"/full/raw/{name}.ndjson": b"".join(lines) for name, lines in LINES.items()}
    with serve(files=bodies) as running:
        yield running


def content(folder):
    """Every file of a folder that is not a manifest."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if name != "manifest.json"}


@pytest.mark.parametrize("ranges", [True, False])
def test_any_way_to_a_sample_gives_what_the_direct_one_gives(server, tmp_path, ranges):
    server.ranges = ranges
    ways = random.Random(3).choices([0, 1, 5, 20, 39, 40, 60], k=9)
    for step, n in enumerate(ways):
        there = download.run(tmp_path / "way", "q", download_params(server.root, NAMES, sample=n))
        direct = download.run(tmp_path / str(step), "q", download_params(server.root, NAMES, sample=n))
        expected = {f"full/raw/{name}.ndjson": b"".join(lines[: n or None]) for name, lines in LINES.items()}
        assert content(tmp_path / "way") == content(tmp_path / str(step)) == expected
        assert there == direct and there["sample"] == n
        assert all(entry["lines"] == (n if 0 < n < 40 else None) for entry in there["files"])


def test_a_larger_sample_fetches_what_is_missing_and_a_smaller_one_nothing(server, tmp_path):
    def run(n):
        server.asked.clear()
        download.run(tmp_path, "q", download_params(server.root, ["cat"], sample=n))
        return server.asked_ranges

    run(5)
    have = sum(map(len, LINES["cat"][:5]))
    assert [asked.split("-")[0] for asked in run(30)] == [f"bytes={have}"]
    assert server.asked[0]["if-range"] == '"one"'
    assert run(30) == [] and run(7) == []
    server.etag = '"two"'
    server.files["/full/raw/cat.ndjson"] = b"".join(reversed(LINES["cat"]))
    run(10)
    assert content(tmp_path)["full/raw/cat.ndjson"] == b"".join(LINES["cat"][::-1][:10]), (
        "nothing of two versions mixed"
    )


def test_what_a_broken_run_left_serves_a_run_that_asks_for_more_or_less(server, tmp_path):
    body = server.files["/full/raw/cat.ndjson"]
    server.headers = google_hash(body)

    def broken(n, after):
        server.script = [after, (404, {})]
        with pytest.raises(DownloadError):
            download.run(tmp_path, "q", download_params(server.root, ["cat"], sample=n))

    def run(n):
        server.asked.clear()
        download.run(tmp_path, "q", download_params(server.root, ["cat", "cat"], sample=n))
        assert content(tmp_path) == {"full/raw/cat.ndjson": b"".join(LINES["cat"][: n or None])}
        return [asked.split("-")[0] for asked in server.asked_ranges]

    broken(0, 3000)
    assert run(5) == [], "the half of the whole file held the sample"
    broken(0, 2000)
    assert run(0) == [f"bytes={sum(map(len, LINES['cat'][:5])) + 2000}"], "the longer of file and unfinished file"
    run(5)
    server.headers = google_hash(body, md5="AAAAAAAAAAAAAAAAAAAAAA==")
    with pytest.raises(DownloadError, match="md5"):
        run(0)
    assert content(tmp_path) == {"full/raw/cat.ndjson": b"".join(LINES["cat"][:5])}


def test_a_sample_goes_through_the_next_stage_and_the_mirror_does_not_show_there(server, tmp_path):
    write_category(tmp_path / "mirror" / "quickdraw", [record(n) for n in range(40)])
    as_file = download_params(server.root, ["cat"], sample=10, mirror=str(tmp_path / "mirror"))
    download.run(tmp_path / "a", "q", download_params(server.root, ["cat"], sample=10))
    download.run(tmp_path / "b", "q", as_file)
    settings = simplify.SimplifyParams(**SIMPLIFY)
    results = [simplify.run(tmp_path / way, tmp_path / f"{way}-out", "q", settings, ALONE) for way in "ab"]
    assert results[0] == results[1] and results[0]["counts"]["in"] == 10


@pytest.mark.parametrize("way", ["file", "http", "publisher"])
def test_all_categories_are_what_the_publisher_lists_or_the_mirror_holds(server, tmp_path, way):
    for name in NAMES:
        write_category(tmp_path / "mirror" / "quickdraw", [record(1, word=name)], name)
    index = "".join(f'<li><a href="{name.replace(" ", "%20")}.ndjson">{name}</a>' for name in NAMES)
    server.files["/full/raw/"] = f'<html><a href="../">up</a><a href="?C=N">sort</a>{index}</html>'.encode()
    server.files["/categories.txt"] = b"cat\nhot air balloon\n\n"
    changes = {
        "file": {"mirror": str(tmp_path / "mirror")},
        "http": {},
        "publisher": {"categories_url": f"{server.root}/categories.txt"},
    }[way]
    manifest = download.run(tmp_path / "out", "q", download_params(server.root, "all", **changes))
    assert [entry["path"] for entry in manifest["files"]] == [f"full/raw/{name}.ndjson" for name in NAMES]


def test_a_public_bucket_is_read_and_listed_by_its_gs_address(server, tmp_path, monkeypatch):
    monkeypatch.setattr("ink.sources.http.GOOGLE_STORAGE", server.root)
    pages = {
        "": (["full/raw/", "full/raw/cat.ndjson"], "<NextContinuationToken>n</NextContinuationToken>"),
        "&continuation-token=n": (["full/raw/hot air balloon.ndjson"], ""),
    }
    for query, (keys, more) in pages.items():
        found = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in keys)
        page = f"<ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'>{found}{more}</ListBucketResult>"
        server.files[f"/ink?list-type=2&delimiter=/&prefix=full/raw/{query}"] = page.encode()
    for name, lines in LINES.items():
        server.files[f"/ink/full/raw/{name}.ndjson"] = b"".join(lines)
    manifest = download.run(tmp_path, "q", download_params("gs://ink", "all"))
    assert [entry["path"] for entry in manifest["files"]] == [f"full/raw/{name}.ndjson" for name in NAMES]
    assert content(tmp_path)["full/raw/cat.ndjson"] == b"".join(LINES["cat"])


def test_a_list_that_is_none_is_refused(server, tmp_path):
    server.files["/categories.txt"] = b"<p>not found</p>"
    with pytest.raises(DownloadError, match="one category a line"):
        address = f"{server.root}/categories.txt"
        download.run(tmp_path, "q", download_params(server.root, "all", categories_url=address))
    server.files["/full/raw/"] = b"<html>nothing</html>"
    with pytest.raises(DownloadError, match=r"categories_url|web page"):
        download.run(tmp_path, "q", download_params(server.root, "all"))


def test_one_missing_file_stops_the_rest_and_what_is_here_is_not_fetched_again(server, tmp_path):
    with pytest.raises(DownloadError, match=r"dog\.ndjson.*404"):
        download.run(tmp_path, "q", download_params(server.root, ["cat", "dog"], workers=1))
    server.files["/full/raw/dog.ndjson"] = b"".join(LINES["cat"])
    server.asked.clear()
    download.run(tmp_path, "q", download_params(server.root, ["cat", "dog"]))
    assert len(server.asked) == 1
    assert not list(tmp_path.rglob(".tmp-*"))
    download.run(tmp_path, "q", download_params(server.root, ["dog"]))
    assert set(content(tmp_path)) == {"full/raw/dog.ndjson"}, "what is asked for no longer does not stay in the data"


def test_two_downloads_do_not_write_into_one_folder(server, tmp_path):
    with exclusive(tmp_path), pytest.raises(InkmillError, match="another process"):
        download.run(tmp_path, "q", download_params(server.root, ["cat"]))


def test_hashes_of_a_whole_file_do_not_trouble_a_sample(server, tmp_path):
    server.headers = google_hash(b"".join(LINES["cat"]))
    download.run(tmp_path, "q", download_params(server.root, ["cat"], sample=3, sha256={"cat": "0" * 64}))
    with pytest.raises(DownloadError, match="sha256"):
        download.run(tmp_path, "q", download_params(server.root, ["cat"], sample=0, sha256={"cat": "0" * 64}))
    assert content(tmp_path)["full/raw/cat.ndjson"] == b"".join(LINES["cat"][:3]), "the sample stays"


def test_the_whole_mirror_over_file_and_its_sample_agree(tmp_path):
    place = mirror()
    settings = download_params("https://example.invalid", "all", mirror=str(place), sample=3)
    manifest = download.run(tmp_path, "q", settings)
    files = sorted((place / "quickdraw" / "full" / "raw").glob("*.ndjson"), key=lambda file: file.stem)
    assert len(manifest["files"]) == len(files) > 100
    assert [e["path"] for e in manifest["files"]] == reader("quickdraw_raw").source_files([f.stem for f in files])
    for entry, file in zip(manifest["files"], files, strict=True):
        assert (tmp_path / entry["path"]).read_bytes() == b"".join(file.read_bytes().splitlines(keepends=True)[:3])
