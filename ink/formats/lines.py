"""Files of lines in bounded memory: chunks of whole lines, from anywhere in the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ink.errors import DataError
from ink.quarantine import EXCERPT_LENGTH, Rejected

CHUNK_BYTES = 4 << 20
MAX_LINE_BYTES = 64 << 20


@dataclass(frozen=True, eq=False)
class Lines:
    """Some whole lines of a file.

    Args:
        buffer: (bytes,) uint8; starts, ends: (lines,) int64, each line without its newline.
        first: number of the first line, from 1 where reading began.
        rejected: lines before these that are too long to be read.
    """

    buffer: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    first: int
    rejected: list[Rejected] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Number of lines of the file that were used up."""
        return len(self.starts) + len(self.rejected)

    def line(self, row: int) -> bytes:
        """Return a line's bytes."""
        return self.buffer[self.starts[row] : self.ends[row]].tobytes()

    def excerpt(self, row: int) -> str:
        """Return the start of a line as text, for the quarantine."""
        start = self.starts[row]
        text = self.buffer[start : min(start + EXCERPT_LENGTH, self.ends[row])].tobytes()
        return text.decode("utf-8", "replace").rstrip()


def read_chunks(path: Path, span: tuple[int, int] | None = None) -> Iterator[Lines]:
    """Yield the lines that begin in the bytes [start, end) of a file, some megabytes at a time.

    A line longer than `MAX_LINE_BYTES` is refused without being held in memory.

    Raises:
        DataError: the file cannot be read.
    """
    number, rest, too_long, rejected = 1, b"", b"", list[Rejected]()
    try:
        opened = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); download it again") from error
    with opened as file:
        start, end = (_line_start(file, place) for place in span or (0, path.stat().st_size))
        file.seek(start)
        left = end - start
        while left > 0 and (block := file.read(min(CHUNK_BYTES, left))):
            left -= len(block)
            if left == 0 and not block.endswith(b"\n"):
                block += b"\n"
            if too_long:
                _, newline, block = block.partition(b"\n")
                if not newline:
                    continue
                rejected.append(_refused(path, number, too_long))
                too_long, number = b"", number + 1
            whole, newline, rest = (rest + block).rpartition(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                too_long, rest = rest[:EXCERPT_LENGTH], b""
            if newline:
                lines = _lines(whole + newline, number, rejected)
                number, rejected = number + len(lines.starts), []
                yield lines
    if rejected:
        yield _lines(b"", number, rejected)


def _line_start(file: BinaryIO, place: int) -> int:
    """Return where the first line begins that begins at `place` or after it."""
    if place == 0:
        return 0
    file.seek(place - 1)
    while block := file.read(CHUNK_BYTES):
        found = block.find(b"\n")
        if found >= 0:
            return file.tell() - len(block) + found + 1
    return file.tell()


def _lines(text: bytes, first: int, rejected: list[Rejected]) -> Lines:
    buffer = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(buffer == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    return Lines(buffer, starts, ends, first, rejected)


def _refused(path: Path, number: int, start: bytes) -> Rejected:
    reason = f"a line longer than {MAX_LINE_BYTES >> 20} MiB"
    return Rejected(path.name, number, "", reason, start.decode("utf-8", "replace"))
