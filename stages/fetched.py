"""What a download folder says of its files: the manifest's entries, and the journal of a run that may be killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ink.errors import DownloadError
from ink.fetch import Fetched
from ink.files import TEMPORARY_PREFIX, sha256_file
from ink.sources import check_name

MANIFEST = "manifest.json"
_JOURNAL = f"{TEMPORARY_PREFIX}journal"
_NOTHING_SAID = {"validator": None, "lines": None, "whole_bytes": None}  # entries of before these were recorded


def note(out_dir: Path, url: str, reader: str, entry: dict[str, Any]) -> None:
    """Add a finished file to the journal, so that a killed run's files are known."""
    with (out_dir / _JOURNAL).open("a", encoding="utf-8") as journal:
        line = json.dumps({"url": url, "reader": reader, **entry})
        journal.write(f"\n{line}")  # the newline first: the line before may be torn


def brought_earlier(out_dir: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield url, reader and entry of each file that earlier runs brought here: by the manifest, then the journal."""
    for name in (MANIFEST, _JOURNAL):
        try:
            text = (out_dir / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        for record in [text] if name == MANIFEST else text.splitlines():
            try:
                said = json.loads(record)
                for entry in said.get("files", [said]):
                    check_name(entry["path"])
                    yield said["url"], said["reader"], {**_NOTHING_SAID, **entry}
            except (ValueError, LookupError, TypeError, AttributeError, DownloadError):
                continue  # a killed run's last line, or no manifest at all


def entry_of(name: str, address: str, fetched: Fetched) -> dict[str, Any]:
    """Return a file's entry: `lines` counts a sample's, None is the whole file, which has `whole_bytes`."""
    return {
        "path": name,
        "address": address,
        "bytes": fetched.bytes,
        "sha256": fetched.sha256,
        "validator": fetched.validator,
        "lines": fetched.lines,
        "whole_bytes": fetched.whole_bytes,
    }


def whole_entry(out_dir: Path, name: str, address: str) -> dict[str, Any]:
    """Return the entry of a file that no server was asked for."""
    size = (out_dir / name).stat().st_size
    return entry_of(name, address, Fetched(size, sha256_file(out_dir / name), None, None, size))


def still_here(path: Path, known: dict[str, Any] | None, wanted: str | None) -> Fetched | None:
    """Return what is here, if it is still what was fetched, or what is wanted."""
    if not path.exists() or not (known or wanted):
        return None
    size, sha256 = path.stat().st_size, sha256_file(path)
    if known and known["sha256"] == sha256 and (wanted in (None, sha256) or known["lines"] is not None):
        return Fetched(size, sha256, known["validator"], known["lines"], known["whole_bytes"])
    return Fetched(size, sha256, None, None, size) if wanted == sha256 else None


def sweep(out_dir: Path, no_longer_wanted: set[str]) -> None:
    """Remove what earlier runs fetched and the settings no longer name, and unfinished files."""
    for stray in [*(out_dir / name for name in no_longer_wanted), *out_dir.rglob(f"{TEMPORARY_PREFIX}*")]:
        stray.unlink(missing_ok=True)
