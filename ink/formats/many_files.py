"""What the formats of one small text file per drawing share: walking folders and archives, batches, writing.

A source is one file, a folder, or a zip or tar archive of files; archives are read member by member and never
unpacked to disk. Memory holds one file and one batch.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from ink.errors import DataError, InkmillError
from ink.files import atomic_folder, atomic_path
from ink.formats import Batch, tar
from ink.formats.archive import BadMember, open_archive
from ink.geometry import arc_length_clock
from ink.quarantine import EXCERPT_LENGTH, Rejected
from ink.table import Drawings, Ink

MAX_BYTES = 64 << 20  # of one file; more is refused
SPLIT_NAMES = {
    "train": "train", "training": "train", "synthetic": "train", "symbols": "train",
    "valid": "valid", "validation": "valid", "val": "valid", "test": "test",
}  # fmt: skip
ARCHIVES = (".zip", *tar.SUFFIXES)
_BATCH_DRAWINGS, _BATCH_POINTS = 2000, 1_000_000


@dataclass(frozen=True)
class Parsed:
    """One drawing of a file.

    Args:
        strokes: each (points, 3) float64 of x, y (downwards) and t in seconds; t is ignored unless timed.
        key: "" for the default, the format's name and the file's path without suffix.
    """

    strokes: list[np.ndarray]
    label: str = ""
    split: str = ""
    key: str = ""
    timed: bool = False


class Unreadable(ValueError):
    """A file, or a part of it, that is not what its format says; the text is the reason."""

    def __init__(self, reason: str, line: int = 0, key: str = "") -> None:
        super().__init__(reason)
        self.line, self.key = line, key


Parse = Callable[[bytes, PurePosixPath], Iterable[Parsed | Unreadable]]
"""A file's bytes and its path below the source in; its drawings and faulty parts out. May raise `Unreadable`."""


def read_files(path: Path, suffixes: tuple[str, ...], format_name: str, parse: Parse) -> Iterator[Batch]:
    """Yield the drawings of a file, or of all files of these suffixes below a folder or in an archive.

    Raises:
        DataError: the source does not exist, is a broken archive, or holds no file of these suffixes.
    """
    pending = _Pending()
    count = 0
    for name, data in _files(path, suffixes):
        excerpt = f"{name}: " if count or name.name != path.name else ""
        if isinstance(data, BadMember):
            pending.rejected.append(Rejected(str(name), 0, "", str(data)))
        else:
            excerpt += data[:EXCERPT_LENGTH].decode("utf-8", "replace")
            try:
                for item in parse(data, name):
                    if isinstance(item, Unreadable):
                        pending.rejected.append(Rejected(str(name), item.line, item.key, str(item), excerpt))
                        continue
                    key = item.key or f"{format_name}/{name.with_suffix('')}"
                    if fault := _fault(item.strokes):
                        pending.rejected.append(Rejected(str(name), count, key, fault, excerpt))
                    else:
                        pending.add(item, key, count, excerpt)
                    if pending.full:
                        yield pending.batch()
                        pending = _Pending()
            except Unreadable as error:
                pending.rejected.append(Rejected(str(name), error.line, error.key, str(error), excerpt))
        count += 1
        if pending.full:
            yield pending.batch()
            pending = _Pending()
    if not count:
        raise DataError(f"{path}: expected files named *{', *'.join(suffixes)} below it, found none")
    yield pending.batch()


def split_of_folder(name: PurePosixPath) -> str:
    """Return the split that the nearest folder with a split's name says; "" if there is none."""
    for folder in reversed(name.parent.parts):
        if folder.lower() in SPLIT_NAMES:
            return SPLIT_NAMES[folder.lower()]
    return ""


def write_files(path: Path, drawings: Iterable[Drawings], suffix: str, render: Callable[[Drawings, int], str]) -> None:
    """Write one file per drawing into the folder `path`; or the file `path`, if it has the suffix, for one drawing.

    Keys become paths: `quickdraw/cat/1` lies at `path/quickdraw/cat/1<suffix>`.

    Args:
        path: a folder that does not exist or holds files of this suffix alone (it is replaced), or a file.
        drawings: batches.
        render: a batch and a row of it to the file's text.

    Raises:
        DataError: a file for another number of drawings than one.
        InkmillError: `path` is a folder with other files in it, or cannot be written.
    """
    if path.suffix.lower() == suffix and not path.is_dir():
        with atomic_path(path) as temporary:
            texts = _rendered(drawings, render)
            _, text = next(texts, ("", ""))
            if not text or next(texts, None):
                raise DataError(
                    f"{path}: a {suffix} file holds exactly one drawing, there are {'more' if text else 'none'}; "
                    f"name a folder and the format instead, for one file a drawing"
                )
            temporary.write_text(text, encoding="utf-8", newline="\n")
        return
    refuse_other_files(path, suffix)
    with atomic_folder(path) as folder:
        for key, text in _rendered(drawings, render):
            place = folder / (file_name(key) + suffix)
            place.parent.mkdir(parents=True, exist_ok=True)
            copy = 1
            while place.exists():
                copy += 1
                place = folder / f"{file_name(key)}-{copy}{suffix}"
            place.write_text(text, encoding="utf-8", newline="\n")


def refuse_other_files(path: Path, suffix: str) -> None:
    """Refuse to replace a folder that holds other files than those of a suffix.

    Raises:
        InkmillError: it does.
    """
    if path.is_dir() and (other := _other_file(path, suffix)):
        raise InkmillError(f"{path}: holds {other}, which is no {suffix} file; it is not replaced, name another folder")


def file_name(key: str) -> str:
    """Return a relative path for a key that is safe on every system; altered parts get a hash, so none collide."""
    *folders, name = key.split("/")
    parts = []
    for part, allowed in [*((folder, r"\w#=+-") for folder in folders), (name, r"\w.#=+-")]:
        clean = re.sub(f"[^{allowed}]", "_", part, flags=re.ASCII).strip(".")[:80]
        if clean != part or not part:
            clean = f"{clean}~{hashlib.blake2b(part.encode(), digest_size=6).hexdigest()}"
        parts.append(clean)
    return "/".join(parts)


def xml_safe(text: str) -> str:
    """Return text with the characters that XML cannot hold replaced by U+FFFD."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


@dataclass
class _Pending:
    parsed: list[Parsed] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    excerpts: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    points: int = 0

    def add(self, item: Parsed, key: str, line: int, excerpt: str) -> None:
        self.parsed.append(item)
        self.keys.append(key)
        self.lines.append(line)
        self.excerpts.append(excerpt[:EXCERPT_LENGTH])
        self.points += sum(len(stroke) for stroke in item.strokes)

    @property
    def full(self) -> bool:
        return self.points >= _BATCH_POINTS or len(self.parsed) + len(self.rejected) >= _BATCH_DRAWINGS

    def batch(self) -> Batch:
        ink = Ink.from_strokes(_from_pen_down(item.strokes) for item in self.parsed)
        timed = np.array([item.timed for item in self.parsed], dtype=bool)
        unclocked = ~np.repeat(timed, np.diff(ink.point_offsets))
        if unclocked.any():
            ink = ink.with_t(np.where(unclocked, arc_length_clock(ink), ink.t))
        labels, splits = [item.label for item in self.parsed], [item.split for item in self.parsed]
        drawings = Drawings.build(ink, self.keys, labels, split=splits)
        return Batch(drawings.with_ink(ink, timed=timed), self.lines, self.excerpts.__getitem__, self.rejected)


def _from_pen_down(strokes: list[np.ndarray]) -> list[np.ndarray]:
    start = strokes[0][0, 2]
    return [stroke - (0, 0, start) for stroke in strokes] if start else strokes


def _fault(strokes: list[np.ndarray]) -> str:
    if not strokes:
        return "no strokes"
    if any(len(stroke) == 0 for stroke in strokes):
        return "a stroke without points"
    if not np.abs(np.concatenate(strokes)).max() <= np.finfo(np.float32).max:  # nor is NaN
        return "a coordinate or time that is not finite"
    return ""


def _rendered(drawings: Iterable[Drawings], render: Callable[[Drawings, int], str]) -> Iterator[tuple[str, str]]:
    for batch in drawings:
        for row, key in enumerate(batch.column("key")):
            yield key, render(batch, row)


def _other_file(folder: Path, suffix: str) -> str:
    """Return a file below `folder` of another suffix; "" if there is none."""
    for place, _, names in os.walk(folder):
        for name in names:
            if not name.lower().endswith(suffix):
                return str(Path(place, name).relative_to(folder))
    return ""


def _files(path: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[PurePosixPath, bytes | BadMember]]:
    """Yield (path below the source, content) in order; content None if it is over MAX_BYTES."""
    try:
        if path.is_dir():
            for name in _walk(path, suffixes):
                with (path / name).open("rb") as file:
                    yield _unicode(name), _content(file)
        elif path.name.lower().endswith(ARCHIVES):
            yield from _members(path, suffixes)
        else:
            with path.open("rb") as file:
                yield _unicode(PurePosixPath(path.name)), _content(file)
    except OSError as error:
        raise DataError(f"{error.filename or path}: cannot be read ({error.strerror or error})") from error


def _unicode(name: PurePosixPath) -> PurePosixPath:
    """Return a name whose bytes that are no UTF-8 are replaced: it becomes a key."""
    return PurePosixPath(os.fsencode(name).decode("utf-8", "replace"))


def _walk(root: Path, suffixes: tuple[str, ...]) -> Iterator[PurePosixPath]:
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if _wanted(name, suffixes):
                yield PurePosixPath(Path(place, name).relative_to(root).as_posix())


def _members(path: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[PurePosixPath, bytes | BadMember]]:
    def wanted(name: str) -> bool:
        return _wanted(PurePosixPath(name).name, suffixes)

    if not path.name.lower().endswith(".zip"):
        for name, content in tar.read_tar(path, wanted, MAX_BYTES):
            yield PurePosixPath(name), content
        return
    with open_archive(path) as archive:
        for name in filter(wanted, archive.names):
            try:
                yield PurePosixPath(name), archive.read(name, MAX_BYTES)
            except BadMember as error:
                yield PurePosixPath(name), error


def _wanted(name: str, suffixes: tuple[str, ...]) -> bool:
    return name.lower().endswith(suffixes) and not name.startswith(".")


def _content(file: IO[bytes]) -> bytes | BadMember:
    data = file.read(MAX_BYTES + 1)
    return data if len(data) <= MAX_BYTES else BadMember(f"larger than {MAX_BYTES >> 20} MiB")
