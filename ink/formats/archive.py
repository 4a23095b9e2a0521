"""Members of a zip archive that may be hostile: nothing is extracted, and every size is bounded before it is read.

A zip bomb is refused by its declared sizes (zipfile never gives more than a member declares, and checks its
CRC), overlapping members by the sum of them, names that leave the archive one by one. Of several members of one
name, none is read: programs differ in which they would give.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from ink.errors import DataError, one_line

MAX_MEMBER = 1 << 30  # bytes of one member, unpacked
MAX_RATIO = 250  # unpacked to packed; text and ink pack 2 to 10 times, deflate allows 1032
SLACK = 1 << 20  # bytes that any member may have, whatever its ratio
_MAX_DIRECTORY = 1 << 26  # bytes of the archive's list of members
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_LITTER = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")  # what desktops leave in archives


class BadMember(ValueError):
    """One member cannot be read; the text is the reason."""


class Archive:
    """An open zip file.

    Args:
        path: its place, for messages.
        names: its files in the archive's order, litter of desktops and folders left out.
    """

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path = path
        self._file = file
        infos = [info for info in file.infolist() if not info.filename.endswith("/") and not _is_litter(info.filename)]
        self._infos = {info.filename: info for info in infos}
        self._count = Counter(info.filename for info in infos)
        self.names = list(self._infos)
        declared = sum(info.file_size for info in infos)
        if declared > MAX_RATIO * path.stat().st_size + SLACK:
            raise DataError(
                f"{path}: the members declare {declared} bytes in a file of {path.stat().st_size}, more than "
                f"{MAX_RATIO} times its size: a zip bomb, or not ink; nothing was read. Download it again."
            )

    def read(self, name: str, limit: int = MAX_MEMBER) -> bytes:
        """Return a member's bytes.

        Raises:
            BadMember: it is not safe to read, is larger than `limit`, or damaged.
        """
        info = self._infos[name]
        if self._count[name] > 1:
            raise BadMember(f"{self._count[name]} members of one name")
        if fault := _fault(info, limit):
            raise BadMember(fault)
        try:
            with self._file.open(info) as member:
                content = member.read(limit + 1)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            ValueError,
            NotImplementedError,
            RuntimeError,
        ) as error:
            raise BadMember("a damaged member of the archive") from error
        if len(content) != info.file_size:
            raise BadMember("a member of the archive has another size than it declares")
        return content


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a zip file.

    Raises:
        DataError: it is not one, or what it declares is out of all proportion.
    """
    try:
        if _directory_size(path) > _MAX_DIRECTORY:
            raise DataError(
                f"{path}: the archive's list of members is larger than {_MAX_DIRECTORY >> 20} MiB; expected an "
                f"archive of ink. Download it again."
            )
        file = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error, UnicodeError) as error:
        raise DataError(
            f"{path}: expected a zip archive, got a file that is none ({one_line(error)}); download it again"
        ) from error
    with file:
        yield Archive(path, file)


def _fault(info: zipfile.ZipInfo, limit: int) -> str:
    """Return why a member must not be read, or ""."""
    name = info.filename
    if not name:
        return "a member without a name"
    if leads_out(name):
        return "a name that leads out of the archive"
    if info.flag_bits & 1:
        return "an encrypted member"
    if info.compress_type not in _PACKINGS:
        return "a packing other than deflate"
    if info.file_size > limit:
        return f"a member larger than {limit >> 20} MiB"
    if info.file_size > MAX_RATIO * info.compress_size + SLACK:
        return f"a member that unpacks to more than {MAX_RATIO} times its size"
    return ""


def leads_out(name: str) -> bool:
    """Tell whether a member's name, taken for a path, is none below the folder that it would be unpacked to."""
    return name.startswith("/") or "\\" in name or ":" in name or ".." in PurePosixPath(name).parts


def _is_litter(name: str) -> bool:
    return name.startswith(_LITTER[0]) or name.rsplit("/", 1)[-1] in _LITTER


def _directory_size(path: Path) -> int:
    """Return the largest size of a list of members that the end of the file declares; zipfile would read it whole."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - (1 << 16) - 200))
        tail = file.read()
    sizes = [0]
    for mark, layout, start in ((b"PK\5\6", "<I", 12), (b"PK\6\6", "<Q", 40)):
        place = tail.rfind(mark)
        if place >= 0 and place + start + struct.calcsize(layout) <= len(tail):
            sizes.append(struct.unpack_from(layout, tail, place + start)[0])
    if sizes[1:2] == [0xFFFFFFFF]:  # the 64-bit record holds it
        sizes[1] = 0
    return min(max(sizes), size)
