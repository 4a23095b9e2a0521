"""Where a dataset's source files lie, at the publisher's or in a mirror, and what they are called."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Literal

from pydantic import Field

from ink.errors import DownloadError
from ink.formats import reader
from ink.params import Params
from ink.sources import MIRROR_VARIABLE, Source, check_name


class DownloadParams(Params):
    """Section `download` with a dataset's source."""

    mirror: str
    attempts: int = Field(ge=1)  # in a row that bring nothing new
    delay_s: float = Field(ge=0)  # before the second; doubles
    longest_delay_s: float = Field(ge=0)
    timeout_s: float = Field(gt=0)
    workers: int = Field(ge=1)
    sample: int = Field(ge=0)  # drawings per category; 0 is all
    reader: str
    url: str
    mirror_folder: str
    categories: list[str] | Literal["all"]
    categories_url: str = ""  # the publisher's list, one a line; "": what lies under url
    sha256: dict[str, str]


def source_root(settings: DownloadParams) -> str:
    """Return the address under which the reader's files lie: the mirror's, if one is set, else upstream's."""
    mirror = os.environ.get(MIRROR_VARIABLE) or settings.mirror
    if not mirror and not settings.url:
        raise DownloadError(
            f"{', '.join(settings.categories)}: this data has no public address; fetch it from its publisher, put it "
            f"into {settings.mirror_folder}/ of a folder, and set download.mirror or {MIRROR_VARIABLE} to that folder"
        )
    if not mirror:
        return settings.url.rstrip("/")
    if "://" not in mirror:
        mirror = Path(mirror).resolve().as_uri()
    return f"{mirror.rstrip('/')}/{settings.mirror_folder}".rstrip("/")


def file_names(settings: DownloadParams, source: Source) -> list[str]:
    """Return the paths of the dataset's files under its root; `categories: all` asks for the list of them.

    Raises:
        DownloadError: the list cannot be had, or a name leads out of the folder.
    """
    files = reader(settings.reader).source_files
    categories = settings.categories
    if categories == "all":
        categories = _all_categories(settings, source)
    return [check_name(name) for name in dict.fromkeys(files(categories))]


def _all_categories(settings: DownloadParams, source: Source) -> list[str]:
    """Return the publisher's list of categories; of a mirror, what is there."""
    mark = "{category}"
    pattern = next((name for name in reader(settings.reader).source_files([mark]) if mark in name), None)
    if pattern is None:
        return []  # the format has no categories
    before, _, after = pattern.partition(mark)
    root = source_root(settings)
    if settings.categories_url and root == settings.url.rstrip("/"):
        from ink.sources.http import HttpSource

        with closing(HttpSource(settings.timeout_s)) as http:
            found = [line.strip() for line in http.lines(settings.categories_url) if line.strip()]
        if any("<" in name or "/" in name for name in found):
            raise DownloadError(f"{settings.categories_url}: expected one category a line, got something else")
        place = settings.categories_url
    else:
        folder, _, start = before.rpartition("/")
        place = f"{(source.join(root, folder) if folder else root).rstrip('/')}/"
        names = source.names(place)
        found = [
            name[len(start) : len(name) - len(after)]
            for name in names
            if name.startswith(start) and name.endswith(after) and not name.startswith(".")
        ]
    if not found:
        raise DownloadError(f"{place}: no file here is named like {pattern}; check the address, or name the categories")
    return sorted(set(found))
