"""The list of the studies that have been run: `reports/studies/index.html`, what each found, and where its page lies.

A dataset's report links it and holds nothing of it: the report is an output of a DVC stage, which no study may change.
The list is no stage's output; a report and a study write it, whichever comes, so that the link leads somewhere.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ink.errors import DataError
from ink.files import write_text
from pipeline.report.render import render_page

FOLDER = Path("reports") / "studies"
PAGE = FOLDER / "index.html"


class StudyFound(BaseModel):
    """`metrics/studies/<place>.json`, as far as the list shows it."""

    model_config = ConfigDict(frozen=True)
    study: str
    about: str
    dataset: str
    budget: str
    command: str
    page: str  # of the project's folder
    verdicts: list[str]

    @property
    def link(self) -> str:
        """Where the study's page lies, from the list."""
        return Path(self.page).relative_to(FOLDER).as_posix()


def write_index(project: Path) -> Path:
    """Write the list, also where it is empty; return its path.

    Raises:
        DataError: a file of a study is not what it must be.
        InkmillError: the page cannot be written.
    """
    studies = read_studies(project)
    datasets = sorted({study.dataset for study in studies})
    grouped = [(name, [study for study in studies if study.dataset == name]) for name in datasets]
    write_text(project / PAGE, render_page("studies.html.jinja", datasets=grouped))
    return project / PAGE


def read_studies(project: Path) -> list[StudyFound]:
    """Return the studies in the order of their files' names; none where none has been run.

    Raises:
        DataError: a file is there but is not what it must be.
    """
    found = []
    for path in sorted((project / "metrics" / "studies").glob("*.json")):
        try:
            found.append(StudyFound.model_validate_json(path.read_bytes()))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise DataError(f"{path}: {where}: {first['msg'].lower()}; run `inkmill study` on it again") from error
    return found
