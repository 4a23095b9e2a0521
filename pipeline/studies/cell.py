"""A cell of a study, and its folder: `cell.json` (its task), checkpoint, drawings, `result.json` (written last)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ink.files import write_json
from ink.parquet import read_drawings, write_drawings
from ink.table import Drawings, Ink
from pipeline.studies.works import Result

ROOT = Path("checkpoints") / "studies"
_TASK, _RESULT, _DRAWINGS = "cell.json", "result.json", "drawings.parquet"


@dataclass(frozen=True)
class Cell:
    """One cell of a study's grid.

    Args:
        study: its place among results, `<name>[-<dataset>][-paper]`.
        name: of the cell, unique in the study, fit for a folder.
        dataset, model: what it works on.
        levels: axis -> label of the value that this cell has.
        seed: of training, or of what the work draws.
        stop: when its training ends; None where nothing is trained.
        params: all of params.yaml with the cell's values in place.
        work: a key of `WORKS`; options: of the work.
    """

    study: str
    name: str
    dataset: str
    model: str
    levels: dict[str, str]
    seed: int
    stop: dict[str, Any] | None
    params: dict[str, Any]
    work: str
    options: dict[str, Any]

    @property
    def folder(self) -> Path:
        """Where its checkpoint, result and drawings lie."""
        return ROOT / self.study / self.name


@dataclass(frozen=True)
class Finished:
    """A cell and what it found, read back.

    Args:
        cell: as it was run.
        fingerprint: of what it was run with.
        numbers, notes, history: as in `works.Result`.
        drawings: rows of drawings by title.
        seconds: that its process took; of the last start, where it was killed in between.
    """

    cell: Cell
    fingerprint: str
    numbers: dict[str, Any]
    notes: list[str]
    history: list[dict[str, float]]
    drawings: dict[str, Ink]
    seconds: float


def read_task(folder: Path) -> Cell:
    """Read what the cell of a folder is to do."""
    return Cell(**json.loads((folder / _TASK).read_text(encoding="utf-8")))


def write_task(cell: Cell) -> None:
    """Write what the cell's process reads."""
    write_json(cell.folder / _TASK, asdict(cell))


def known_fingerprint(folder: Path) -> str | None:
    """Return the fingerprint of a folder's result; None where there is none."""
    path = folder / _RESULT
    return json.loads(path.read_text(encoding="utf-8"))["fingerprint"] if path.exists() else None


def read_finished(cell: Cell) -> Finished:
    """Read a finished cell."""
    found = json.loads((cell.folder / _RESULT).read_text(encoding="utf-8"))
    rows: dict[str, Ink] = {}
    if found["rows"]:
        drawings = read_drawings(cell.folder / _DRAWINGS)
        first = 0
        for title, count in found["rows"]:
            rows[title] = drawings.ink.take(range(first, first + count))
            first += count
    kept = {name: found[name] for name in ("fingerprint", "numbers", "notes", "history", "seconds")}
    return Finished(cell=cell, drawings=rows, **kept)


def write_result(folder: Path, cell: Cell, fingerprint: str, result: Result, seconds: float) -> None:
    """Write the drawings, then the result: where the result lies, all of it does."""
    if result.drawings:
        ink = Ink.concat(list(result.drawings.values()))
        rows = list(result.drawings.items())
        keys = [f"{row:03d}/{n:04d}" for row, (_, part) in enumerate(rows) for n in range(len(part))]
        labels = [title for title, part in rows for _ in range(len(part))]
        facts = {"study": cell.study, "cell": cell.name, "dataset": cell.dataset}
        write_drawings(folder / _DRAWINGS, Drawings.build(ink, keys, labels), facts)
    content = {
        "fingerprint": fingerprint,
        "rows": [[title, len(ink)] for title, ink in result.drawings.items()],
        "numbers": result.numbers,
        "notes": result.notes,
        "history": result.history,
        "seconds": round(seconds, 2),
    }
    write_json(folder / _RESULT, content)
