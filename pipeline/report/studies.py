"""The studies that have been run on a dataset, for its report: what each found, and where its page lies.

They are no DVC stages: `inkmill study` writes the report anew when it is done.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ink.errors import DataError


class StudyFound(BaseModel):
    """`metrics/studies/<study>.json`, as far as the report shows it."""

    model_config = ConfigDict(frozen=True)
    study: str
    about: str
    dataset: str
    budget: str
    command: str
    page: str  # of the project's folder
    verdicts: list[str]


def read_studies(project: Path, dataset: str) -> list[StudyFound]:
    """Return the studies of a dataset in the order of their names; none where none has been run.

    Raises:
        DataError: a file is there but is not what it must be.
    """
    found = []
    for path in sorted((project / "metrics" / "studies").glob("*.json")):
        try:
            study = StudyFound.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise DataError(f"{path}: {where}: {first['msg'].lower()}; run `inkmill study` on it again") from error
        if study.dataset == dataset:
            found.append(study)
    return found
