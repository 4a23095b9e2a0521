"""Stage 1: fetch a dataset's source files (`python -m stages.download DATASET OUT_DIR`).

Reads the upstream address or a mirror (file://, http(s)://, s3://, or a plain folder); writes the files
under the reader's names and `manifest.json` with their sizes and sha256. A file appears under its name
only when it is whole and is what the server says it is.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import json
import os
import sys
import urllib.parse
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field

from ink.errors import DownloadError, report_errors
from ink.files import atomic_path, sha256_file, write_json
from ink.formats import digits, reader
from ink.params import Params, read_params, section
from ink.progress import track

MIRROR_VARIABLE = "INKMILL_MIRROR"
_CHUNK = 1 << 20
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


class DownloadParams(Params):
    """Section `download` with a dataset's source."""

    mirror: str
    attempts: int = Field(ge=1)
    timeout_s: float = Field(gt=0)
    workers: int = Field(ge=1)
    reader: str
    url: str
    mirror_folder: str
    categories: list[str]
    sha256: dict[str, str]


class _Transient(DownloadError):
    """A failure that may pass: worth another try."""


def run(out_dir: Path, dataset: str, settings: DownloadParams) -> dict[str, Any]:
    """Fetch what is missing or changed; return the manifest.

    Raises:
        DownloadError: a file cannot be had, or is not what was published; files that came whole stay.
    """
    names = reader(settings.reader).source_files(settings.categories)
    known = _known(out_dir, settings)
    if settings.reader == "digits":
        with atomic_path(out_dir / digits.FILE) as temporary:
            digits.export(temporary)
    else:
        root = source_root(settings)
        with ThreadPoolExecutor(settings.workers) as pool:
            work = [
                pool.submit(_fetch_unless_there, root, name, out_dir / name, settings, known.get(name))
                for name in names
            ]
            for done in track(work, f"download {dataset}"):
                done.result()
    source = settings.url or f"package:{settings.reader}"
    files = [
        {"path": name, "bytes": (out_dir / name).stat().st_size, "sha256": sha256_file(out_dir / name)}
        for name in names
    ]
    manifest = {"dataset": dataset, "stage": "download", "url": source, "reader": settings.reader, "files": files}
    write_json(out_dir / "manifest.json", manifest)
    return manifest


def source_root(settings: DownloadParams) -> str:
    """Return the address under which the reader's files lie: the mirror's, if one is set, else upstream's."""
    mirror = os.environ.get(MIRROR_VARIABLE) or settings.mirror
    if not mirror and not settings.url:
        raise DownloadError(
            f"{', '.join(settings.categories)}: this data has no public address; fetch it from its publisher, put it "
            f"into {settings.mirror_folder}/ of a folder, and set download.mirror or {MIRROR_VARIABLE} to that folder"
        )
    if not mirror:
        return settings.url.rstrip("/")
    if "://" not in mirror:
        mirror = Path(mirror).resolve().as_uri()
    return f"{mirror.rstrip('/')}/{settings.mirror_folder}".rstrip("/")


def _known(out_dir: Path, settings: DownloadParams) -> dict[str, str]:
    """Return {path: sha256} of what an earlier run fetched from the same address, by its manifest."""
    try:
        before = json.loads((out_dir / "manifest.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    same = (before.get("url"), before.get("reader")) == (settings.url, settings.reader)
    return {entry["path"]: entry["sha256"] for entry in before["files"]} if same else {}


def _fetch_unless_there(root: str, name: str, path: Path, settings: DownloadParams, known: str | None) -> None:
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

    wanted = settings.sha256.get(name) or settings.sha256.get(path.stem)
    expected = wanted or known
    if expected and path.exists() and sha256_file(path) == expected:
        return
    address = f"{root}/{urllib.parse.quote(name) if not root.startswith('s3://') else name}"
    retrying = Retrying(
        stop=stop_after_attempt(settings.attempts),
        wait=wait_exponential_jitter(multiplier=0.5, max=30),
        retry=retry_if_exception_type(_Transient),
        reraise=True,
    )
    retrying(_fetch, address, path, settings.timeout_s, wanted)


def _fetch(address: str, path: Path, timeout_s: float, wanted: str | None) -> None:
    """Stream one file to a temporary name, check it, rename it."""
    md5, sha256, size, head = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0, b""
    with _open(address, timeout_s) as (published, chunks), atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            for chunk in chunks:
                head = head or chunk[:512]
                file.write(chunk)
                md5.update(chunk)
                sha256.update(chunk)
                size += len(chunk)
        if published.get("size") not in (None, size):
            raise _Transient(f"{address}: {size} bytes came, {published['size']} were announced; try again later")
        if published.get("md5") not in (None, md5.hexdigest()):
            raise _Transient(
                f"{address}: md5 is {md5.hexdigest()}, the server says {published['md5']}; try again later"
            )
        if wanted and sha256.hexdigest() != wanted:
            raise DownloadError(
                f"{address}: sha256 is {sha256.hexdigest()}, the dataset's download.sha256 asks for {wanted}. Either "
                f"the source changed or the file was tampered with; nothing was kept."
            )
        if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
            raise DownloadError(
                f"{address}: a web page came instead of data (a login or proxy page?); nothing was kept"
            )


@contextmanager
def _open(address: str, timeout_s: float) -> Iterator[tuple[dict[str, Any], Iterator[bytes]]]:
    """Open an address; give what the server says of the file (size, md5) and its bytes."""
    scheme = urllib.parse.urlsplit(address).scheme
    opener = {"file": _open_file, "http": _open_http, "https": _open_http, "s3": _open_s3}.get(scheme)
    if opener is None:
        raise DownloadError(f"{address}: expected an address that starts with file://, http(s):// or s3://")
    with opener(address, timeout_s) as opened:
        yield opened


@contextmanager
def _open_file(address: str, timeout_s: float) -> Iterator[tuple[dict[str, Any], Iterator[bytes]]]:
    path = Path(urllib.parse.unquote(urllib.parse.urlsplit(address).path))
    if not path.exists():
        there = sorted(p.stem for p in path.parent.glob("*")) if path.parent.exists() else []
        near = difflib.get_close_matches(path.stem, there, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the folder {path.parent} holds {len(there)} files"
        raise DownloadError(f"{path}: no such file in the mirror; {hint} Check `categories` and the mirror's address.")
    with path.open("rb") as file:
        yield {"size": path.stat().st_size}, iter(lambda: file.read(_CHUNK), b"")


@contextmanager
def _open_http(address: str, timeout_s: float) -> Iterator[tuple[dict[str, Any], Iterator[bytes]]]:
    import httpx

    try:
        with httpx.stream("GET", address, timeout=timeout_s, follow_redirects=True) as response:
            if response.status_code in _TRANSIENT:
                raise _Transient(f"{address}: the server answered {response.status_code}; try again later")
            if response.status_code >= 400:
                raise DownloadError(
                    f"{address}: the server answered {response.status_code}; check the category's spelling in "
                    f"params.yaml (upstream spells them in lower case, with spaces) and the mirror's address"
                )
            yield _published(response.headers), response.iter_bytes(_CHUNK)
    except httpx.TransportError as error:
        raise _Transient(
            f"{address}: cannot be reached ({type(error).__name__}: {error}); check the network, or set "
            f"download.mirror or {MIRROR_VARIABLE} to a mirror"
        ) from error


@contextmanager
def _open_s3(address: str, timeout_s: float) -> Iterator[tuple[dict[str, Any], Iterator[bytes]]]:
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    place = urllib.parse.urlsplit(address)
    anonymous = boto3.Session().get_credentials() is None
    config = Config(
        connect_timeout=timeout_s, read_timeout=timeout_s, signature_version=UNSIGNED if anonymous else None
    )
    try:
        answer = boto3.client("s3", config=config).get_object(Bucket=place.netloc, Key=place.path.lstrip("/"))
        etag = answer["ETag"].strip('"')
        md5 = etag if len(etag) == 32 and answer.get("ServerSideEncryption") in (None, "AES256") else None
        yield {"size": answer["ContentLength"], "md5": md5}, answer["Body"].iter_chunks(_CHUNK)
    except ClientError as error:
        status = int(error.response["ResponseMetadata"].get("HTTPStatusCode", 0))
        kind = _Transient if status in _TRANSIENT else DownloadError
        raise kind(f"{address}: {error}; check the bucket, the category's spelling and your credentials") from error
    except BotoCoreError as error:
        raise _Transient(f"{address}: {error}; check the network and AWS_ENDPOINT_URL") from error


def _published(headers: Mapping[str, str]) -> dict[str, Any]:
    """Return size and md5 as HTTP headers state them; a compressed transfer states another size."""
    published: dict[str, Any] = {}
    if "content-length" in headers and "content-encoding" not in headers:
        published["size"] = int(headers["content-length"])
    for item in headers.get("x-goog-hash", "").split(","):
        kind, _, value = item.strip().partition("=")
        if kind == "md5" and "content-encoding" not in headers:
            published["md5"] = base64.b64decode(value).hex()
    return published


def main() -> None:
    """`python -m stages.download DATASET OUT_DIR`."""
    with report_errors():
        dataset, out_dir = sys.argv[1:]
        run(Path(out_dir), dataset, section(read_params(), "download", DownloadParams, dataset))


if __name__ == "__main__":
    main()
