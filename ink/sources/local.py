"""Files of this machine (file://). They are read from the start each time: that costs nothing worth resuming."""

from __future__ import annotations

import difflib
import os
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ink.errors import DownloadError
from ink.sources import Opened, Origin

_CHUNK = 1 << 20


class LocalSource:
    """Source of file:// addresses."""

    def join(self, root: str, name: str) -> str:
        """Return the address of a file under a folder's address."""
        return f"{root.rstrip('/')}/{urllib.parse.quote(name)}"

    @contextmanager
    def open(
        self, address: str, start: int = 0, stop: int | None = None, validator: str | None = None
    ) -> Iterator[Opened]:
        """Open the file; the answer always starts at 0."""
        path = _path(address)
        if not path.exists():
            raise DownloadError(_absent(path))
        with _opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            yield Opened(Origin(address, size=size), 0, size, _chunks(file, path))

    def size(self, address: str) -> int | None:
        """Return the file's size."""
        path = _path(address)
        return path.stat().st_size if path.is_file() else None

    def names(self, folder: str) -> list[str]:
        """Return the files in a folder."""
        path = _path(folder)
        try:
            return sorted(entry.name for entry in path.iterdir() if entry.is_file())
        except OSError as error:
            raise DownloadError(f"{path}: cannot be listed ({error.strerror}); check the mirror's address") from error

    def close(self) -> None:
        """Nothing is held."""


def _path(address: str) -> Path:
    return Path(urllib.parse.unquote(address.removeprefix("file://")))


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise DownloadError(f"{path}: cannot be read ({error.strerror}); expected a readable file") from error


def _chunks(file: BinaryIO, path: Path) -> Iterator[bytes]:
    while True:
        try:
            chunk = file.read(_CHUNK)
        except OSError as error:
            raise DownloadError(f"{path}: reading stopped ({error.strerror or error}); check the mirror") from error
        if not chunk:
            return
        yield chunk


def _absent(path: Path) -> str:
    there = sorted(p.stem for p in path.parent.glob("*")) if path.parent.exists() else []
    near = difflib.get_close_matches(path.stem, there, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the folder {path.parent} holds {len(there)} files."
    return f"{path}: no such file in the mirror; {hint} Check `categories` and the mirror's address."
