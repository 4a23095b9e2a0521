"""Where the parts of a stage are worked on: here, in processes of this machine, or on a Dask cluster.

The function, its tasks and the order of the results are the same in all three, and so are the bytes written.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, TypeVar

from pydantic import Field

from ink.errors import InkmillError
from ink.params import Params
from ink.progress import track

T = TypeVar("T")
R = TypeVar("R")

_WORTH_PROCESSES = 16 << 20  # bytes of input; starting a process costs a second or two
_WORTH_COPIES = 2 << 20  # a copy of this one some hundredths
_PATIENCE = "20s"  # with a scheduler
_PARENT_DEATH = 1  # PR_SET_PDEATHSIG


class WorkerParams(Params):
    """Section `workers`: how fast the data stages run, never what they write."""

    count: int = Field(ge=0)
    cluster: str


def run_tasks(
    function: Callable[[T], R], tasks: Sequence[T], title: str, settings: WorkerParams, input_bytes: int
) -> Iterator[R]:
    """Yield `function(task)` for each task, in their order, behind a progress bar.

    Args:
        function: of a module, so that other processes find it.
        tasks: what it gets, one at a time; small (paths and settings, no drawings).
        title: of the progress bar.
        settings: how many processes, or which cluster.
        input_bytes: what the tasks read in all; little is not worth a process.

    Raises:
        InkmillError: a worker died, the cluster cannot be reached, or a task raised one.
    """
    count = min(settings.count or os.cpu_count() or 1, len(tasks))
    if settings.cluster:
        yield from track(_on_cluster(function, tasks, settings.cluster), title, total=len(tasks))
    elif count > 1 and input_bytes > min(_WORTH_PROCESSES, _WORTH_COPIES if _can_fork() else _WORTH_PROCESSES):
        with _processes(function, count) as workers:  # before the bar, whose thread would forbid to fork
            yield from track(_ask_all(workers, tasks), title, total=len(tasks))
    else:
        yield from track(map(function, tasks), title, total=len(tasks))


@contextmanager
def _processes(function: Callable[[Any], Any], count: int) -> Iterator[list[Connection]]:
    """Give workers behind pipes: the named semaphores of a process pool would outlive a killed group."""
    context: Any = multiprocessing.get_context("fork" if _can_fork() else "spawn")
    workers = []
    for _ in range(count):
        here, there = context.Pipe()
        worker = context.Process(target=_work, args=(there, function), daemon=True)
        worker.start()
        there.close()
        workers.append((worker, here))
    try:
        yield [connection for _, connection in workers]
    finally:
        for worker, connection in workers:
            with suppress(OSError):  # it died
                connection.send(())  # a forked worker holds pipes of its own and of others: closing ends nothing
            connection.close()
            worker.join()


def _ask_all(workers: Sequence[Connection], tasks: Sequence[T]) -> Iterator[Any]:
    """Yield what the workers answer to each task, in the order of the tasks."""
    free: SimpleQueue[Connection] = SimpleQueue()
    for worker in workers:
        free.put(worker)

    def ask(task: T) -> Any:
        connection = free.get()
        try:
            connection.send((task,))
            error, result = connection.recv()
        except (EOFError, OSError) as broken:
            raise InkmillError(
                "a worker process of this stage died, perhaps for want of memory; run the same command again, with a "
                "smaller workers.count in params.yaml if it repeats"
            ) from broken
        finally:
            free.put(connection)
        if error is not None:
            raise error
        return result

    pool = ThreadPoolExecutor(len(workers))
    try:
        yield from _in_order(lambda task: pool.submit(ask, task), tasks, 2 * len(workers))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _can_fork() -> bool:
    """Tell whether this process, a stage's own, can be copied: that spares each worker half a second of imports.

    A copy has none of the threads, so there must be no other one that may hold a lock, and no OpenMP pool.
    """
    import numba

    if sys.platform != "linux" or threading.active_count() > 1 or "torch" in sys.modules:
        return False
    try:
        numba.threading_layer()
    except ValueError:  # no parallel kernel has run
        return True
    return False


def _work(connection: Connection, function: Callable[[Any], Any]) -> None:
    """Answer each (task,) with (error, result), until () comes or the pipe is closed."""
    _start_worker()
    while True:
        try:
            asked = connection.recv()
        except EOFError:
            return
        if not asked:
            return
        (task,) = asked
        try:
            answer: tuple[Exception | None, Any] = (None, function(task))
        except Exception as error:
            error.add_note(f"In a worker:\n{traceback.format_exc()}")
            answer = (error, None)
        connection.send(answer)


def _on_cluster(function: Callable[[T], R], tasks: Sequence[T], address: str) -> Iterator[R]:
    try:
        from distributed import Client
    except ImportError as error:
        raise InkmillError(
            "workers.cluster is set, but Dask is not installed; install it with `pip install 'inkmill[cluster]'`"
        ) from error
    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except OSError as error:
        raise InkmillError(
            f"workers.cluster: no Dask scheduler answers at {address} ({error}); expected an address like "
            f"tcp://host:8786 of a cluster that sees this folder under the same path, or '' for this machine"
        ) from error
    with client:
        running = 4 * max(1, sum(client.nthreads().values()))
        yield from _in_order(lambda task: client.submit(function, task, pure=False, retries=2), tasks, running)


def _in_order(submit: Callable[[T], Any], tasks: Sequence[T], ahead: int) -> Iterator[Any]:
    """Yield results in the order of the tasks, with a bounded number of them under way."""
    under_way: deque[Future[Any]] = deque()
    for task in tasks:
        under_way.append(submit(task))
        if len(under_way) >= ahead:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()


def _start_worker() -> None:
    """One thread a process, and no process outlives its stage, even one that was killed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if sys.platform == "linux":  # at once, even inside a kernel that holds Python's lock
        ctypes.CDLL(None).prctl(_PARENT_DEATH, signal.SIGKILL)
    import numba

    numba.set_num_threads(1)


def _end_with_parent() -> None:
    """Leave when the parent is gone; it may be gone already, before this process could ask to be told."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
