"""Where files come from: http(s), gs (public buckets), s3, file. `ink.fetch` makes whole files of what they give.

A source answers with bytes from a place on, under a condition (the validator, RFC 9110 section 8.8), or with
the whole file where that condition fails or ranges are not known to it. It never retries: it tells what may pass
(`Transient`) from what will not (`DownloadError`).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ink.errors import DownloadError, ParamsError

MIRROR_VARIABLE = "INKMILL_MIRROR"
TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class Transient(DownloadError):
    """A failure that may pass. `retry_after_s`: how long the server asks to wait, where it says so."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Origin:
    """What a server says of a file.

    Args:
        address: that was asked for.
        validator: a strong ETag (quoted) or a Last-Modified date; None where a partial file cannot be trusted later.
        size: bytes of the whole file; md5, crc32c: hex, of the whole file. None where it is not said.
    """

    address: str
    validator: str | None = None
    size: int | None = None
    md5: str | None = None
    crc32c: str | None = None


@dataclass(frozen=True)
class Opened:
    """An answer: the bytes from `start` up to `stop` (None: to an end that was not announced)."""

    origin: Origin
    start: int
    stop: int | None
    chunks: Iterator[bytes]
    content_type: str = ""


class Source(Protocol):
    """One way to reach files. Safe to use from several threads."""

    def join(self, root: str, name: str) -> str:
        """Return the address of `name`, a relative path in plain characters, under `root`."""

    def open(
        self, address: str, start: int = 0, stop: int | None = None, validator: str | None = None
    ) -> AbstractContextManager[Opened]:
        """Ask for the bytes from `start` to `stop`, provided that the file is still that of `validator`.

        Where it is not, or ranges are not served, the answer starts at 0.

        Raises:
            Transient: worth another try; DownloadError: not.
        """

    def size(self, address: str) -> int | None:
        """Return a file's size without its content; None where the server does not say."""

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder (an address that ends with a slash), sorted.

        Raises:
            DownloadError: the folder cannot be listed.
        """

    def close(self) -> None:
        """Drop the connections."""


def source_of(root: str, timeout_s: float) -> Source:
    """Return the source for the addresses under `root`; `timeout_s` bounds one connection or read.

    Raises:
        ParamsError: no source knows the scheme.
    """
    scheme = root.partition("://")[0]
    if scheme in ("http", "https", "gs"):
        from ink.sources.http import HttpSource

        return HttpSource(timeout_s)
    if scheme == "s3":
        from ink.sources.s3 import S3Source

        return S3Source(timeout_s)
    if scheme == "file":
        from ink.sources.local import LocalSource

        return LocalSource()
    raise ParamsError(f"download: {root!r}: expected an address that starts with file://, http(s)://, s3:// or gs://")


def check_name(name: str) -> str:
    """Return a relative path that stays inside its folder.

    Raises:
        DownloadError: it is absolute, climbs out, is not in its shortest form, or could pass for a temporary file.
    """
    if name != posixpath.normpath(name) or name.startswith(("/", "..")) or "\\" in name or "\0" in name:
        raise DownloadError(f"{name!r}: expected a file's path inside the source's folder; check `categories`")
    if posixpath.basename(name).startswith(".tmp-"):
        raise DownloadError(f"{name!r}: names that start with .tmp- are kept for unfinished files; rename the source")
    return name
