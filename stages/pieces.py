"""How source files are dealt out into parts: large ones of lines in pieces, small ones several to a part.

Parts of one size share the work evenly and cost little besides it, whether the source is a few large files or
hundreds of small ones. The parts depend on the files' sizes alone, never on who works on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple


class Piece(NamedTuple):
    """A source file, or the lines of it that begin in the bytes `span` = [start, end)."""

    source: Path
    span: tuple[int, int] | None


def deal(sources: Sequence[Path], of_lines: bool, part_bytes: int) -> list[tuple[Piece, ...]]:
    """Return the pieces of each part, in the order of the sources.

    Args:
        sources: the files; of_lines: whether they can be read from the middle, and are cheap to read by the byte.
            Others are one part each.
        part_bytes: a part of lines holds at most so many.
    """
    if not of_lines:
        return [(Piece(source, None),) for source in sources]
    parts: list[tuple[Piece, ...]] = []
    waiting: list[Piece] = []
    room = part_bytes
    for source in sources:
        size = source.stat().st_size
        if waiting and size > room:
            parts.append(tuple(waiting))
            waiting, room = [], part_bytes
        if size <= part_bytes:
            waiting.append(Piece(source, None))
            room -= size
        else:
            parts += ((piece,) for piece in _cut(source, size, -(-size // part_bytes)))
    return [*parts, tuple(waiting)] if waiting else parts


def lines_before(pieces: Iterable[Piece], n_lines: Iterable[int]) -> list[int]:
    """Return, for pieces in the order of the sources, how many lines of its file come before each."""
    before: list[int] = []
    passed, current = 0, None
    for piece, count in zip(pieces, n_lines, strict=True):
        passed = passed if piece.source == current else 0
        before.append(passed)
        passed, current = passed + count, piece.source
    return before


def _cut(source: Path, size: int, pieces: int) -> Iterable[Piece]:
    for number in range(pieces):
        yield Piece(source, (number * size // pieces, (number + 1) * size // pieces))
