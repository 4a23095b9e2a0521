"""The process of one cell (`python -m pipeline.studies.worker FOLDER`): reads `cell.json`, writes `result.json`.

Says on its standard output how far it is, and leaves when its standard input closes: a killed study leaves no cell
behind. Started again, it goes on from the checkpoint of its training.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from ink.errors import report_errors
from pipeline.environment import load_environment
from pipeline.studies.cell import read_task, write_result
from pipeline.studies.identity import fingerprint_of
from pipeline.studies.lifeline import end_with_parent
from pipeline.studies.works import find_work

PROGRESS = "progress "


def run_cell(folder: Path) -> None:
    """Run the cell whose task lies in a folder."""
    started = time.perf_counter()
    cell = read_task(folder)
    fingerprint = fingerprint_of(cell)
    result = find_work(cell.work).run(cell, fingerprint, _report)
    write_result(folder, cell, fingerprint, result, time.perf_counter() - started)


def _report(share: float) -> None:
    print(f"{PROGRESS}{share:.4f}", flush=True)


def main() -> None:
    """`python -m pipeline.studies.worker FOLDER`."""
    end_with_parent()
    with report_errors():
        load_environment()
        run_cell(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
