"""The flow of a study: its cells side by side in processes, then its table, pictures and page.

    inkmill study ablation --budget small

Leaves `metrics/studies/<study>.json`, `plots/studies/<study>/`, `reports/studies/<study>/index.html`, and in MLflow a
run with a child a cell. A cell that is finished is not run again, as long as its parameters, data and code are what
they were; a killed one goes on from its checkpoint. How long: what the block's budget says; `inkmill study --list`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, as_completed
from prefect.task_runners import ThreadPoolTaskRunner

from ink.errors import InkmillError
from ink.params import read_params
from ink.progress import shares
from pipeline.settings import run_params
from pipeline.studies import records
from pipeline.studies.cell import ROOT, Cell, known_fingerprint, read_finished, write_task
from pipeline.studies.declare import Budget, cells, place_of
from pipeline.studies.identity import fingerprint_of
from pipeline.studies.worker import PROGRESS

Report = Callable[[str, float], None]


@flow(name="study", flow_run_name="study-{name}-{budget}")
def run_study(name: str, budget: Budget = "small", dataset: str | None = None, processes: int = 0) -> dict[str, Any]:
    """Run what is left of a study, write its results; return the numbers that were written.

    Args:
        name: of a block of `studies`.
        budget: small or paper.
        dataset: in place of the block's.
        processes: cells side by side; 0: as many as `run.threads` leaves cores for, one on a GPU.

    Raises:
        InkmillError: the block is wrong, something that it needs is missing, or a cell failed.
    """
    params = read_params()
    plan, place = cells(params, name, budget, dataset), place_of(params, name, budget, dataset)
    prints = {cell.name: fingerprint_of(cell) for cell in plan}
    left = [cell for cell in plan if known_fingerprint(cell.folder) != prints[cell.name]]
    _say(f"study {place}: {len(plan)} cells, {len(plan) - len(left)} of them finished")
    book = records.open_book(place, name, budget, plan[0].dataset, prints)
    for cell in plan:
        if cell not in left:
            book.write(read_finished(cell))
    if left:
        _run_cells(place, left, book, min(len(left), processes or _side_by_side(plan)))
    changed = [cell.name for cell in plan if known_fingerprint(cell.folder) != prints[cell.name]]
    if changed:
        raise InkmillError(f"study {place}: code or data changed while {', '.join(changed)} ran; run the study again")
    return records.finish(params, place, name, [read_finished(cell) for cell in plan], book)


@task(cache_policy=NO_CACHE, task_run_name="{name}")
def run_cell(place: str, name: str, report: Report) -> float:
    """Run one cell in a process of its own; return the seconds that it took.

    Raises:
        InkmillError: the cell failed; the text is what its process said last.
    """
    started = time.perf_counter()
    folder = ROOT / place / name
    command = [sys.executable, "-m", "pipeline.studies.worker", str(folder)]
    log = folder / "log.txt"
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(PROGRESS):
                report(name, float(line.removeprefix(PROGRESS)))
    if process.returncode:
        said = log.read_text(encoding="utf-8").splitlines()
        last = said[-1].removeprefix("error: ") if said else f"its process died (exit code {process.returncode})"
        raise InkmillError(f"{last} (all that it said: {log})")
    report(name, 1.0)
    return time.perf_counter() - started


def _run_cells(place: str, left: list[Cell], book: records.Book, side_by_side: int) -> None:
    """Run cells as tasks, so many at once; each is written to the book as soon as it is done.

    Raises:
        InkmillError: cells failed; the others were finished first.
    """
    failed = []
    for cell in left:
        write_task(cell)
    with shares(f"study {place}", len(left)) as report, _runner(side_by_side) as runner:
        tasks: dict[PrefectFuture[Any], Cell] = {
            runner.submit(run_cell, {"place": place, "name": cell.name, "report": report}): cell for cell in left
        }
        for number, future in enumerate(as_completed(list(tasks)), start=1):
            cell = tasks[future]
            outcome = future.result(raise_on_failure=False)
            if isinstance(outcome, BaseException):
                failed.append(f"{cell.name}: {outcome}")
                _say(f"[{number}/{len(left)}] {cell.name}: failed")
            else:
                book.write(read_finished(cell))
                _say(f"[{number}/{len(left)}] {cell.name}: {outcome:.0f} s")
    if failed:
        raise InkmillError(f"study {place}: {len(failed)} of {len(left)} cells failed. " + " | ".join(failed))


def _runner(side_by_side: int) -> ThreadPoolTaskRunner[Any]:
    return ThreadPoolTaskRunner(max_workers=side_by_side)


def _side_by_side(plan: list[Cell]) -> int:
    """Return how many cells this machine takes at once."""
    run = run_params(plan[0].params)
    return 1 if run.device == "cuda" else max(1, (os.cpu_count() or 1) // run.threads)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
