"""Files over HTTP (RFC 9110): ranges under a condition, and what headers say of size and hash.

Public Google Cloud Storage buckets (gs://) are read through their HTTPS addresses.
"""

from __future__ import annotations

import base64
import binascii
import re
import ssl
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import cache
from html.parser import HTMLParser

import httpx

from ink.errors import DownloadError
from ink.sources import MIRROR_VARIABLE, TRANSIENT_STATUS, Opened, Origin, Transient

GOOGLE_STORAGE = "https://storage.googleapis.com"
_LARGEST_LISTING = 64 << 20  # bytes
_OWN_COMPRESSION = (".gz", ".tgz")  # a file that is compressed itself; some servers call that a transfer encoding


class HttpSource:
    """Source of http://, https:// and gs:// addresses."""

    def __init__(self, timeout_s: float) -> None:
        headers = {"Accept-Encoding": "identity", "User-Agent": "inkmill"}
        self._client = httpx.Client(timeout=timeout_s, follow_redirects=True, headers=headers, verify=_trust())

    def join(self, root: str, name: str) -> str:
        """Return the address of a file under a folder's address."""
        return f"{_https(root).rstrip('/')}/{urllib.parse.quote(name)}"

    @contextmanager
    def open(
        self, address: str, start: int = 0, stop: int | None = None, validator: str | None = None
    ) -> Iterator[Opened]:
        """GET the file, or a range of it (If-Range); a server that breaks the conditions is asked for all of it."""
        with _connection_errors(address):
            response = self._get(address, start, stop, validator)
            try:
                if response.status_code == 416 or (
                    response.status_code == 206 and not _fits(response, start, validator)
                ):
                    response.close()
                    response = self._get(address)
                _check_status(response, address)
                encoded = _encoded(response)
                place, end, _ = _content_range(response) or (0, _length(response, encoded), None)
                chunks = response.iter_bytes() if encoded else response.iter_raw()
                kind = response.headers.get("content-type", "")
                yield Opened(_origin(response, address, encoded), place, end, chunks, kind)
            finally:
                response.close()

    def size(self, address: str) -> int | None:
        """Return what a HEAD request says."""
        with _connection_errors(address):
            response = self._client.head(_https(address))
        html = response.headers.get("content-type", "").startswith("text/html")
        return None if html or response.status_code != 200 else _length(response)

    def names(self, folder: str) -> list[str]:
        """Return the files in a folder: a bucket's listing, else the links of the server's own index page."""
        folder = _https(folder)
        if folder.startswith(GOOGLE_STORAGE + "/"):
            return self._bucket_names(folder)
        links = _Links()
        links.feed(self._text(folder).decode("utf-8", "replace"))
        found = {urllib.parse.unquote(link) for link in links.found if re.fullmatch(r"(\./)?[^/?#:]+", link)}
        if not found:
            raise DownloadError(
                f"{folder}: cannot be listed: the server shows no index of this folder. Name the categories in "
                f"params.yaml instead of `all`, or set download.categories_url to a list of them."
            )
        return sorted(name.removeprefix("./") for name in found)

    def lines(self, address: str) -> list[str]:
        """Return the lines of a short text."""
        return self._text(address).decode("utf-8", "replace").splitlines()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _get(
        self, address: str, start: int = 0, stop: int | None = None, validator: str | None = None
    ) -> httpx.Response:
        headers = {}
        if start or stop is not None:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        if start and validator:
            headers["If-Range"] = validator
        return self._client.send(self._client.build_request("GET", _https(address), headers=headers), stream=True)

    def _text(self, address: str) -> bytes:
        text = bytearray()
        with self.open(address) as opened:
            for chunk in opened.chunks:
                text += chunk
                if len(text) > _LARGEST_LISTING:
                    raise DownloadError(f"{address}: expected a list of files, got more than {_LARGEST_LISTING} bytes")
        return bytes(text)

    def _bucket_names(self, folder: str) -> list[str]:
        """List a public bucket's folder through the XML interface that Google shares with S3."""
        from defusedxml import ElementTree
        from defusedxml.common import DefusedXmlException

        bucket, _, prefix = urllib.parse.unquote(folder.removeprefix(GOOGLE_STORAGE + "/")).partition("/")
        query = {"list-type": "2", "delimiter": "/", "prefix": prefix}
        names: list[str] = []
        while True:
            address = f"{GOOGLE_STORAGE}/{bucket}?{urllib.parse.urlencode(query)}"
            try:
                page = ElementTree.fromstring(self._text(address))
            except (ElementTree.ParseError, DefusedXmlException) as error:
                raise DownloadError(f"{address}: expected a bucket's listing in XML: {error}") from error
            keys = [key.text or "" for key in page.iterfind("{*}Contents/{*}Key")]
            names += [key.removeprefix(prefix) for key in keys if key != prefix]
            following = page.findtext("{*}NextContinuationToken")
            if not following or query.get("continuation-token") == following:
                return sorted(names)
            query["continuation-token"] = following


@cache
def _trust() -> ssl.SSLContext:
    """Return the certificates that this machine trusts; reading them takes longer than a small download."""
    return httpx.create_ssl_context()


class _Links(HTMLParser):
    """Collects the targets of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


@contextmanager
def _connection_errors(address: str) -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        if isinstance(error, httpx.UnsupportedProtocol):
            raise DownloadError(f"{address}: {error}") from error
        raise Transient(
            f"{address}: cannot be reached ({type(error).__name__}: {error}); check the network, or set "
            f"download.mirror or {MIRROR_VARIABLE} to a mirror"
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DownloadError(f"{address}: {type(error).__name__}: {error}; check the address") from error


def _https(address: str) -> str:
    if not address.startswith("gs://"):
        return address
    return f"{GOOGLE_STORAGE}/{urllib.parse.quote(urllib.parse.unquote(address.removeprefix('gs://')))}"


def _check_status(response: httpx.Response, address: str) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    if status in TRANSIENT_STATUS:
        raise Transient(f"{address}: the server answered {status}; try again later", _retry_after(response, time.time))
    if status in (401, 403):
        advice = "the server wants credentials, or the bucket is not public"
    elif status in (407, 511):
        advice = "a proxy or a login page stands between; log in, or check the proxy's settings"
    else:
        advice = (
            "check the category's spelling in params.yaml (upstream spells them in lower case, with spaces) and the "
            "mirror's address"
        )
    raise DownloadError(f"{address}: the server answered {status}; {advice}")


def _fits(response: httpx.Response, start: int, validator: str | None) -> bool:
    """Tell whether a 206 is a part of the file that was asked for: not every server heeds If-Range."""
    part = _content_range(response)
    if part is None or part[0] != start or _encoded(response):
        return False
    if not start or not validator:
        return True
    said = response.headers.get("etag" if validator.startswith('"') else "last-modified")
    return said in (None, validator)


def _content_range(response: httpx.Response) -> tuple[int, int, int] | None:
    """Return start, end (exclusive) and size of the whole as a 206 says them; None for another answer."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("content-range", "").strip())
    return (int(found[1]), int(found[2]) + 1, int(found[3])) if found and response.status_code == 206 else None


def _encoded(response: httpx.Response) -> bool:
    """Tell whether the bytes are compressed for the transfer alone: then sizes and ranges are not the file's."""
    if response.headers.get("content-encoding", "").lower() in ("", "identity"):
        return False
    return not str(response.url.path).endswith(_OWN_COMPRESSION)


def _origin(response: httpx.Response, address: str, encoded: bool) -> Origin:
    headers = response.headers
    if encoded:
        return Origin(address)
    part = _content_range(response)
    size = part[2] if part else _length(response, encoded)
    hashes: dict[str, str] = {}
    if headers.get("x-goog-stored-content-encoding", "identity") == "identity":
        for item in headers.get("x-goog-hash", "").split(","):
            kind, _, value = item.strip().partition("=")
            hashes[kind] = _hex(value)
    return Origin(address, _validator(response), size, hashes.get("md5") or None, hashes.get("crc32c") or None)


def _validator(response: httpx.Response) -> str | None:
    """Return a strong validator: an ETag that is not weak, else a date at least a second old (RFC 9110, 8.8.2.2)."""
    etag = response.headers.get("etag", "")
    if etag.startswith('"'):
        return etag
    modified = response.headers.get("last-modified", "")
    try:
        age = parsedate_to_datetime(response.headers.get("date", "")) - parsedate_to_datetime(modified)
    except (ValueError, TypeError):
        return None
    return modified if age.total_seconds() >= 1 else None


def _retry_after(response: httpx.Response, now: Callable[[], float]) -> float | None:
    """Return the seconds that Retry-After asks for: a number, or a date."""
    value = response.headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now())
    except (ValueError, TypeError):
        return None


def _length(response: httpx.Response, encoded: bool = False) -> int | None:
    """Return the file's size as Content-Length says it."""
    text = response.headers.get("content-length", "")
    return int(text) if text.isdigit() and not encoded else None


def _hex(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).hex()
    except binascii.Error:
        return ""
