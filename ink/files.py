"""Files that are whole or absent: atomic writes, content hashes.

A killed writer leaves nothing under the final name. Temporary files lie beside their target, are named
`.tmp-<process>-<target>`, locked while their writer lives, and swept by the next writer of the same target.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ink.errors import InkmillError

try:
    import fcntl
except ImportError:  # not on every system
    fcntl = None  # type: ignore[assignment]

TEMPORARY_PREFIX = ".tmp-"


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is fsynced and renamed over `path`.

    Args:
        path: final place of the file; its folder is made if it is missing.

    Yields:
        The temporary path to write to. Its suffix is that of `path`.

    Raises:
        InkmillError: the folder cannot be made or written to.
    """
    path = Path(path)
    temporary = path.parent / f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for stray in _left_by_the_dead(path):
            stray.unlink(missing_ok=True)
        temporary.touch()
    except OSError as error:
        raise InkmillError(
            f"{path}: cannot write here ({error.strerror or error}); expected a folder that this user "
            f"may write to. Change its permissions or choose another output folder."
        ) from error
    try:
        with _held(temporary):
            yield temporary
            publish(temporary, path)
    except InkmillError:
        raise  # a DownloadError is an OSError too, but it is about the source, not about this file
    except OSError as error:
        raise InkmillError(f"{path}: writing failed ({error.strerror or error}); nothing was left there.") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Give an empty temporary folder beside `path`; on success it is synced and takes the place of `path`.

    Raises:
        InkmillError: the folder cannot be made or written to; `path` is as it was.
    """
    path = Path(path)
    temporary = path.parent / f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}"
    old = temporary.with_name(f"{temporary.name}.old")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for stray in _left_by_the_dead(path):
            shutil.rmtree(stray, ignore_errors=True)
        temporary.mkdir()
        with _held(temporary):
            yield temporary
        if hasattr(os, "sync"):
            os.sync()  # one call for many small files
        if path.exists():
            path.replace(old)
        temporary.replace(path)
        _fsync_folder(path.parent)
    except InkmillError:
        raise
    except OSError as error:
        raise InkmillError(
            f"{path}: writing failed ({error.strerror or error}); nothing was left there. Expected a folder that "
            f"this user may write to, on a disk with room."
        ) from error
    finally:
        if old.exists() and not path.exists():
            old.replace(path)
        for rest in (temporary, old):
            if rest.is_dir():
                shutil.rmtree(rest, ignore_errors=True)
            else:
                rest.unlink(missing_ok=True)


@contextmanager
def working_folder(parent: Path | str) -> Iterator[Path]:
    """Give an empty temporary folder inside `parent`, gone when the block ends; sweeps those of killed writers.

    Raises:
        InkmillError: the folder cannot be made or written to.
    """
    parent = Path(parent)
    folder = parent / f"{TEMPORARY_PREFIX}{os.getpid()}-work"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for stray in _left_by_the_dead(parent / "work"):
            shutil.rmtree(stray, ignore_errors=True)
        folder.mkdir()
        with _held(folder):
            yield folder
    except InkmillError:
        raise
    except OSError as error:
        raise InkmillError(
            f"{parent}: cannot write here ({error.strerror or error}); expected a folder that this user may write to, "
            f"with room for a second copy of the data. Nothing was left there."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(temporary: Path, path: Path) -> None:
    """Make a finished file durable and give it its final name.

    Raises:
        OSError: the system refuses.
    """
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.replace(path)
    _fsync_folder(path.parent)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; a process that ends, however it ends, lets go of it.

    Raises:
        InkmillError: another process holds it.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InkmillError(
                f"{folder}: another process is writing here; wait until it is done, or stop it"
            ) from error
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(descriptor)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` to `path` in UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, keys in the order given, atomically.

    Raises:
        ValueError: a number is NaN or infinite, which JSON cannot hold.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def sha256_file(path: Path | str) -> str:
    """Return the hex sha256 of a file's bytes, read in pieces."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _left_by_the_dead(path: Path) -> Iterator[Path]:
    """Yield the temporary files or folders of `path` whose writers are gone."""
    for stray in path.parent.glob(f"{TEMPORARY_PREFIX}*"):
        _, writer, *name = stray.name.split("-", 2)
        if name == [path.name] and not (writer.isdigit() and _is_alive(int(writer), stray)):
            yield stray


@contextmanager
def _held(temporary: Path) -> Iterator[None]:
    """Lock a temporary file or folder: its writer's number alone may belong to another process, or a zombie, later."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _is_alive(writer: int, temporary: Path) -> bool:
    """Tell whether the process that made a temporary file still runs."""
    try:
        os.kill(writer, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    if fcntl is None:
        return writer != os.getpid()
    try:
        descriptor = os.open(temporary, os.O_RDONLY)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _fsync_folder(folder: Path) -> None:
    """Make the rename itself durable; folders cannot be synced on every system."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
