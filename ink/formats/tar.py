"""Members of a tar archive that may be hostile, streamed: nothing is extracted, headers and sizes are bounded.

Python's tarfile reads a header of any size into memory, and takes a damaged header after the first for the end of the
archive; here the first is refused, and so is the second: what follows it would be lost without a word.
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


class _Header(tarfile.TarInfo):
    """A member's header, refused where it is damaged or boundless."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        try:
            header = super().frombuf(buf, encoding, errors)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
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
        with tarfile.open(path, mode="r|*", tarinfo=_Header) as tar:
            for member in tar:
                if member.offset_data + member.size > most:
                    raise DataError(
                        f"{path}: unpacks to more than {MAX_RATIO} times its size: a bomb, or not ink; "
                        f"fetch it again from its publisher"
                    )
                if member.isreg() and wanted(member.name):
                    yield member.name, _content(tar, member, limit)
    except (tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError, RuntimeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: the archive is damaged or cut short ({one_line(error)}); fetch it again") from error


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo, limit: int) -> bytes | BadMember:
    if leads_out(member.name):
        return BadMember("a name that leads out of the archive")
    if member.size > limit:
        return BadMember(f"a member larger than {limit >> 20} MiB")
    stream = tar.extractfile(member)
    return BadMember("a damaged member of the archive") if stream is None else stream.read()
