"""One file from a source to its place: resumed, checked, tried again; under its name only when it is whole.

The unfinished file lies beside the target as `.tmp-part-<name>`, with what the server said of it in
`.tmp-part-<name>.json`. Both survive a kill. The next try goes on from there if the server still has that very
file (its validator), and throws them away if not. Memory holds one chunk, whatever the file's size.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import google_crc32c

from ink.errors import DownloadError, InkmillError
from ink.files import TEMPORARY_PREFIX, publish, write_json
from ink.sources import Opened, Origin, Source, Transient

_CHUNK = 1 << 20
_FIRST_WINDOW, _LARGEST_WINDOW = 1 << 20, 16 << 20  # bytes of one ranged read of a sample
_HEAD = 1024  # bytes looked at to tell a web page from data

Report = Callable[[int, int | None], None]  # bytes here, bytes of the whole where known


@dataclass(frozen=True)
class Wanted:
    """A file to fetch.

    Args:
        address: where from; path: where to.
        lines: only the first so many; 0 is the whole file.
        sha256: of the whole file, where it must be a certain one.
    """

    address: str
    path: Path
    lines: int = 0
    sha256: str | None = None


@dataclass(frozen=True)
class Fetched:
    """A file that is here. `lines`: how many of its first lines, None for all of it; `whole_bytes`: of all of it."""

    bytes: int
    sha256: str
    validator: str | None
    lines: int | None
    whole_bytes: int | None


@dataclass(frozen=True)
class Patience:
    """How often to try without getting further, and how long to wait in between (doubling, with jitter)."""

    attempts: int
    delay_s: float
    longest_delay_s: float


class Partial:
    """The unfinished file of a target, and its origin."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f"{TEMPORARY_PREFIX}part-{target.name}")
        self._note = self.path.with_name(f"{self.path.name}.json")

    @property
    def size(self) -> int:
        """Bytes that are here."""
        return self.path.stat().st_size if self.path.exists() else 0

    def origin(self, address: str) -> Origin | None:
        """Return where the partial file comes from; None, and no partial file, where that cannot be continued."""
        try:
            origin = Origin(**json.loads(self._note.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            origin = None
        if origin is None or origin.address != address or not origin.validator or not self.path.exists():
            self.discard()
            return None
        return origin

    def begin(self, origin: Origin) -> None:
        """Start an empty file of that origin."""
        self.discard()
        if origin.validator:
            write_json(self._note, asdict(origin))
        self.path.touch()

    def shorten(self, lines: int) -> None:
        """Keep no more than the first lines."""
        os.truncate(self.path, end_of_lines(self.path, lines))

    def continue_from(self, file: Path, origin: Origin) -> None:
        """Start from a copy of a file that holds the origin's first bytes, unless more of them are here already."""
        if self.origin(origin.address) and self.size >= file.stat().st_size:
            return
        self.begin(origin)
        shutil.copyfile(file, self.path)

    def finish(self) -> None:
        """Give the file its final name."""
        publish(self.path, self.target)
        self._note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Throw it away."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


def fetch(source: Source, wanted: Wanted, patience: Patience, report: Report, stopped: Event) -> Fetched:
    """Bring one file to its place.

    Args:
        source: of the file's address.
        report: told of every chunk.
        stopped: set from outside, it ends the work soon; what came stays for the next time.

    Raises:
        DownloadError: the file cannot be had, or is not what was published.
        InkmillError: it cannot be written here.
    """
    from tenacity import Retrying, retry_if_exception_type, sleep_using_event

    partial = Partial(wanted.path)
    retrying = Retrying(
        stop=_fruitless(partial, wanted.address, patience.attempts, stopped),
        wait=_pause(patience),
        sleep=sleep_using_event(stopped),
        retry=retry_if_exception_type(Transient),
        reraise=True,
    )
    with writing(wanted.path):
        wanted.path.parent.mkdir(parents=True, exist_ok=True)
        return retrying(_attempt, source, wanted, partial, report, stopped)


def _attempt(source: Source, wanted: Wanted, partial: Partial, report: Report, stopped: Event) -> Fetched:
    origin = partial.origin(wanted.address)
    if origin and wanted.lines:
        partial.shorten(wanted.lines)
    have = partial.size
    lines = count_lines(partial.path) if wanted.lines and have else 0
    windows = itertools.chain((_FIRST_WINDOW << n for n in range(4)), itertools.repeat(_LARGEST_WINDOW))
    whole = origin is not None and origin.size == have
    while not whole and not (wanted.lines and lines >= wanted.lines):
        resumable = origin is not None and origin.validator is not None
        start = have if resumable else 0
        stop = start + next(windows) if wanted.lines and (resumable or origin is None) else None
        with source.open(wanted.address, start, stop, origin.validator if origin else None) as opened:
            chunks = _data(opened)
            if opened.start == 0:
                partial.begin(opened.origin)
                origin, have, lines = opened.origin, 0, 0
            elif origin is None or opened.start != have or origin.size not in (None, opened.origin.size):
                partial.discard()
                raise Transient(f"{wanted.address}: the file changed while it was fetched; try again later")
            else:  # the validator may be left out of this answer (RFC 9110, 15.3.7); the hashes may be new
                origin = replace(opened.origin, validator=origin.validator)
            before = have
            with partial.path.open("ab") as file:
                for chunk in chunks:
                    if stopped.is_set():
                        raise DownloadError(f"{wanted.address}: stopped; what came is kept for the next time")
                    if wanted.lines:
                        chunk, found = _first_lines(chunk, wanted.lines - lines)
                        lines += found
                    file.write(chunk)
                    have += len(chunk)
                    report(have, origin.size if not wanted.lines else have)
                    if wanted.lines and lines >= wanted.lines:
                        break
        if wanted.lines and lines >= wanted.lines:
            whole = have == origin.size
        elif opened.stop is not None and (have != opened.stop or have == before < (origin.size or 0)):
            if have > opened.stop:
                partial.discard()
            raise Transient(f"{wanted.address}: {have} bytes came, {opened.stop} were announced; try again later")
        else:
            whole = origin.size is None or have == origin.size
    assert origin is not None
    sha256 = _verify(partial, origin, wanted, whole)
    partial.finish()
    return Fetched(have, sha256, origin.validator, None if whole else wanted.lines, have if whole else origin.size)


def _data(opened: Opened) -> Iterator[bytes]:
    """Return the answer's bytes after a look at the first ones.

    Raises:
        DownloadError: they are a web page.
    """
    head = b""
    for chunk in opened.chunks:
        head += chunk
        if len(head) >= _HEAD or opened.start:
            break
    if not opened.start and is_web_page(head, opened.content_type):
        raise DownloadError(
            f"{opened.origin.address}: a web page came instead of data (a login or proxy page?); nothing of it was "
            f"kept. Open the address in a browser, log in where it asks for it, and run the same command again."
        )
    return itertools.chain([head] if head else [], opened.chunks)


def is_web_page(head: bytes, content_type: str) -> bool:
    """Tell an HTML page from data by its first bytes; no source format is HTML."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:_HEAD].lower()
    marks = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script")
    return start.startswith(b"<") and ("html" in content_type.lower() or any(mark in start for mark in marks))


def count_lines(path: Path) -> int:
    """Return the number of newlines in a file."""
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(_CHUNK), b""))


def end_of_lines(path: Path, lines: int) -> int:
    """Return where the first lines of a file end, in bytes; the file's size where it has fewer."""
    end = 0
    with path.open("rb") as file:
        while lines and (chunk := file.read(_CHUNK)):
            piece, found = _first_lines(chunk, lines)
            end += len(piece)
            lines -= found
    return end


def _first_lines(chunk: bytes, lines: int) -> tuple[bytes, int]:
    """Return what belongs to the first `lines` lines (1 or more), and how many newlines that holds."""
    found = chunk.count(b"\n")
    if found < lines:
        return chunk, found
    end = -1
    for _ in range(lines):
        end = chunk.index(b"\n", end + 1)
    return chunk[: end + 1], lines


def _verify(partial: Partial, origin: Origin, wanted: Wanted, whole: bool) -> str:
    """Return the sha256, after comparing a whole file with what the server and the user say of it."""
    sha256 = hashlib.sha256()
    kind, published = ("md5", origin.md5) if origin.md5 else ("crc32c", origin.crc32c)
    check: Any = None
    if whole and published:
        check = hashlib.md5(usedforsecurity=False) if origin.md5 else google_crc32c.Checksum()
    with partial.path.open("rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            sha256.update(chunk)
            if check:
                check.update(chunk)
    if check and check.digest().hex() != published:
        partial.discard()
        raise Transient(
            f"{wanted.address}: {kind} is {check.digest().hex()}, the server says {published}; nothing was kept, try "
            f"again later"
        )
    if whole and wanted.sha256 and sha256.hexdigest() != wanted.sha256:
        partial.discard()
        raise DownloadError(
            f"{wanted.address}: sha256 is {sha256.hexdigest()}, the dataset's download.sha256 asks for "
            f"{wanted.sha256}. Either the source changed or the file was tampered with; nothing was kept."
        )
    return sha256.hexdigest()


def _fruitless(partial: Partial, address: str, attempts: int, stopped: Event) -> Callable[[Any], bool]:
    """Stop after so many tries in a row that brought no further byte that the next one can build on."""
    best, tries = 0, 0

    def stop(_state: Any) -> bool:
        nonlocal best, tries
        have = partial.size if partial.origin(address) else 0
        best, tries = (have, 0) if have > best else (best, tries + 1)
        return stopped.is_set() or tries >= attempts

    return stop


def _pause(patience: Patience) -> Callable[[Any], float]:
    """Wait as long as the server asks for; else longer each time, up to half of it random."""
    from tenacity import wait_exponential, wait_random

    growing = wait_exponential(multiplier=patience.delay_s, max=patience.longest_delay_s)
    jitter = wait_random(0.5, 1)

    def wait(state: Any) -> float:
        error = state.outcome.exception()
        if error.retry_after_s is None:
            return growing(state) * jitter(state)
        if error.retry_after_s > patience.longest_delay_s:
            raise DownloadError(
                f"{error} (it asks to wait {error.retry_after_s:.0f} s, more than download.longest_delay_s = "
                f"{patience.longest_delay_s:g} allows). What came is kept; run the same command again then."
            ) from error
        return error.retry_after_s

    return wait


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write into one paragraph.

    Raises:
        InkmillError: instead of any OSError.
    """
    try:
        yield
    except InkmillError:
        raise  # a DownloadError is an OSError too, but it is about the source
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "free some space or choose another disk, and run the same command again: what came is kept"
        elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            advice = "expected a folder that this user may write to; change its permissions or choose another one"
        else:
            advice = "what came is kept; check the disk and run the same command again"
        raise InkmillError(f"{path}: cannot be written ({why}); {advice}.") from error
