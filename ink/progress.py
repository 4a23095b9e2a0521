"""Progress bars for people, silence for log files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` behind a progress bar with the time left; nothing is drawn when not on a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(items, description, total=total, console=Console(stderr=True), transient=True)


class Transfers:
    """Bytes of several files that arrive at once, behind one bar. Safe to call from several threads."""

    def __init__(self, bar: Any = None, task: Any = None) -> None:
        self._bar, self._task, self._lock = bar, task, Lock()
        self._files: dict[str, tuple[int, int]] = {}
        self._here, self._total, self._done = 0, 0, 0

    def report(self, name: str, here: int, total: int | None) -> None:
        """Say that `here` bytes of a file lie on the disk, of `total` where that is known."""
        if self._bar is None:
            return
        with self._lock:
            before = self._files.get(name, (0, 0))
            self._files[name] = now = (here, max(here, total or 0))
            self._here += now[0] - before[0]
            self._total += now[1] - before[1]
            self._bar.update(self._task, completed=self._here, total=self._total)

    def finish(self) -> None:
        """Count one more file as done."""
        if self._bar is None:
            return
        with self._lock:
            self._done += 1
            self._bar.update(self._task, done=self._done)


@contextmanager
def transfers(description: str, files: int) -> Iterator[Transfers]:
    """Give the display of a transfer of so many files; nothing is drawn when not on a terminal."""
    if not sys.stderr.isatty():
        yield Transfers()
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description} {task.fields[done]}/{task.fields[files]} files"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield Transfers(bar, bar.add_task(description, total=None, done=0, files=files))


@contextmanager
def shares(description: str, total: int) -> Iterator[Callable[[str, float], None]]:
    """Give a function (name, share done from 0 to 1) of tasks that run side by side, behind one bar.

    Safe to call from several threads; nothing is drawn when not on a terminal.
    """
    if not sys.stderr.isatty():
        yield lambda name, share: None
        return
    from rich import progress
    from rich.console import Console

    done: dict[str, float] = {}
    lock = Lock()
    columns = (
        progress.TextColumn("{task.description} {task.fields[finished]}/{task.fields[tasks]}"),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        place = bar.add_task(description, total=total, finished=0, tasks=total)

        def report(name: str, share: float) -> None:
            with lock:
                done[name] = share
                finished = sum(value >= 1 for value in done.values())
                bar.update(place, completed=sum(done.values()), finished=finished)

        yield report
