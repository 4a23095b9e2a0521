"""Members of a tar archive that may be hostile, streamed: nothing is extracted, headers and sizes are bounded.

Python's tarfile reads a header of any size into memory, and takes a damaged header after the first, a block of zeros
among the members, or the end of the file, for the end of the archive. All are refused here: what follows would be lost
without a word. A whole archive ends with a block of zeros and nothing else.
"""

from __future__ import annotations

import lzma
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from ink.errors import DataError, one_line
from ink.formats.archive import MAX_RATIO, SLACK, BadMember, leads_out

SUFFIXES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
_MAX_HEADER = 1 << 20  # bytes of a long name or of further facts
_CHUNK = 1 << 16
_DAMAGED = (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError, tarfile.EmptyHeaderError)  # type: ignore[attr-defined]


class _Header(tarfile.TarInfo):
    """A member's header, refused where it is damaged or boundless."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        try:
            header = super().frombuf(buf, encoding, errors)
        except _DAMAGED as error:
            raise tarfile.ReadError(f"a damaged header: {error}") from error
        if not header.isreg() and header.size > _MAX_HEADER:
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        return header


def read_tar(path: Path, wanted: Callable[[str], bool], limit: int) -> Iterator[tuple[str, bytes | BadMember]]:
    """Yield name and content of each wanted file, in the archive's order; or why it must not be read.

    Args:
        path: a tar archive, packed by gzip, bzip2 or xz, or not.
        wanted: of a member's name.
        limit: bytes of one member.

    Raises:
        DataError: it is none, is damaged, or unpacks to more than 250 times its size.
    """
    most = MAX_RATIO * path.stat().st_size + SLACK
    try:
        with tarfile.open(path, mode="r|*", tarinfo=_Header, encoding="utf-8", errors="replace") as tar:
            for member in tar:
                if member.offset_data + member.size > most:
                    raise DataError(
                        f"{path}: unpacks to more than {MAX_RATIO} times its size: a bomb, or not ink; "
                        f"fetch it again from its publisher"
                    )
                if member.isreg() and wanted(member.name):
                    yield member.name, _content(tar, member, limit)
            _check_end(tar, most)
    except (tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError, RuntimeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: the archive is damaged or cut short ({one_line(error)}); fetch it again") from error


def _check_end(tar: tarfile.TarFile, most: int) -> None:
    """Refuse an archive that goes on after its end, which is a block of zeros: what follows would not be read."""
    stream = tar.fileobj
    if stream is None:
        return
    while chunk := stream.read(_CHUNK):
        if chunk.strip(b"\0") or stream.tell() > most:
            raise tarfile.ReadError("more than zeros after its end")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo, limit: int) -> bytes | BadMember:
    if leads_out(member.name):
        return BadMember("a name that leads out of the archive")
    if member.size > limit:
        return BadMember(f"a member larger than {limit >> 20} MiB")
    stream = tar.extractfile(member)
    return BadMember("a damaged member of the archive") if stream is None else stream.read()
