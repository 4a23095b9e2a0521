"""Stage 1: fetch a dataset's source files (`python -m stages.download DATASET OUT_DIR`).

Reads the upstream address or a mirror (file://, http(s)://, s3://, gs://, or a plain folder); writes the files
under the reader's names and `manifest.json` with address, licence, size, sha256 and validator of each. A file
appears under its name only when it is whole and is what the server says it is; `ink.fetch` says how.

What an earlier run fetched from the same address is kept by its sha256; a killed run's finished files are known
from `.tmp-journal`. `sample: n` keeps the first n lines of a line format; another n fetches or cuts the difference.
Files of other formats come whole, and simplify reads the first n drawings of each of their splits.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

from ink.errors import DownloadError, ParamsError, report_errors
from ink.fetch import Fetched, Partial, Patience, Wanted, count_lines, end_of_lines, fetch, writing
from ink.files import TEMPORARY_PREFIX, atomic_path, exclusive, sha256_file, write_json
from ink.params import dataset_block, read_params, section
from ink.progress import Transfers, transfers
from ink.sources import Origin, Source, check_name, source_of
from stages.upstream import DownloadParams, file_names, source_root

MANIFEST = "manifest.json"
LINE_FORMATS = (".ndjson", ".jsonl")
_JOURNAL = f"{TEMPORARY_PREFIX}journal"
_NOTHING_SAID = {"validator": None, "lines": None, "whole_bytes": None}  # entries of before these were recorded


def run(out_dir: Path, dataset: str, settings: DownloadParams, licence: str = "") -> dict[str, Any]:
    """Fetch what is missing or changed; return the manifest.

    Raises:
        DownloadError: a file cannot be had, or is not what was published; files that came whole stay.
        InkmillError: this folder cannot be written to, or the disk is full; what came stays.
    """
    with writing(out_dir):
        out_dir.mkdir(parents=True, exist_ok=True)
        with exclusive(out_dir):
            earlier = list(_earlier(out_dir))
            same = (settings.url, settings.reader)
            known = {entry["path"]: entry for *source, entry in earlier if tuple(source) == same}
            if settings.reader == "digits":
                from ink.formats import digits  # its vectoriser takes a second to import

                with atomic_path(out_dir / digits.FILE) as temporary:
                    digits.export(temporary)
                files = [_whole_entry(out_dir, digits.FILE, f"package:{settings.reader}")]
            else:
                files = _fetch_all(out_dir, dataset, settings, known)
            manifest = {
                "dataset": dataset,
                "stage": "download",
                "url": settings.url or f"package:{settings.reader}",
                "licence": licence,
                "reader": settings.reader,
                "sample": settings.sample,
                "files": files,
            }
            write_json(out_dir / MANIFEST, manifest)
            _sweep(out_dir, {entry["path"] for *_, entry in earlier} - {entry["path"] for entry in files})
    return manifest


def _fetch_all(
    out_dir: Path, dataset: str, settings: DownloadParams, known: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Fetch the files, several at once; return their entries. The first failure stops the others."""
    root = source_root(settings)
    stopped = Event()
    with closing(source_of(root, settings.timeout_s)) as source:
        names = file_names(settings, source)
        entries: dict[str, dict[str, Any]] = {}
        with (
            transfers(f"download {dataset}", len(names)) as bar,
            ThreadPoolExecutor(settings.workers) as pool,
        ):
            work = {
                pool.submit(_bring, source, root, name, out_dir, settings, known.get(name), bar, stopped): name
                for name in names
            }
            try:
                for done in as_completed(work):
                    entries[work[done]] = entry = done.result()
                    with (out_dir / _JOURNAL).open("a", encoding="utf-8") as journal:
                        line = json.dumps({"url": settings.url, "reader": settings.reader, **entry})
                        journal.write(f"\n{line}")  # the newline first: the line before may be torn
                    bar.finish()
            finally:
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
    return [entries[name] for name in names]


def _bring(
    source: Source, root: str, name: str, out_dir: Path, settings: DownloadParams,
    known: dict[str, Any] | None, bar: Transfers, stopped: Event,
) -> dict[str, Any]:  # fmt: skip
    """Keep, cut, lengthen or fetch one file; return its entry."""
    path, address = out_dir / name, source.join(root, name)
    published = f"{settings.url.rstrip('/')}/{urllib.parse.quote(name)}"
    lines = settings.sample if path.suffix in LINE_FORMATS else 0
    wanted = settings.sha256.get(name) or settings.sha256.get(path.stem)
    here = _here(path, known, wanted)
    if here and here.lines is not None and not 0 < lines <= here.lines:  # a sample that is too short
        if here.validator:
            Partial(path).continue_from(path, Origin(address, here.validator, here.whole_bytes))
        here = None
    if here:
        if lines and here.lines != lines:
            here = _cut(path, here, lines)
        bar.report(name, here.bytes, here.bytes)
    else:
        patience = Patience(settings.attempts, settings.delay_s, settings.longest_delay_s)
        target = Wanted(address, path, lines, wanted)
        here = fetch(source, target, patience, lambda have, size: bar.report(name, have, size), stopped)
    return _entry(name, published, here)


def _here(path: Path, known: dict[str, Any] | None, wanted: str | None) -> Fetched | None:
    """Return what is here, if it is still what was fetched, or what is wanted."""
    if not path.exists() or not (known or wanted):
        return None
    size, sha256 = path.stat().st_size, sha256_file(path)
    if known and known["sha256"] == sha256 and (wanted in (None, sha256) or known["lines"] is not None):
        return Fetched(size, sha256, known["validator"], known["lines"], known["whole_bytes"])
    return Fetched(size, sha256, None, None, size) if wanted == sha256 else None


def _cut(path: Path, here: Fetched, lines: int) -> Fetched:
    """Shorten a file that is here to its first lines, if it has more."""
    end = end_of_lines(path, lines)
    if count_lines(path) < lines or (end == here.bytes and here.lines is None):
        return here
    with atomic_path(path) as temporary:
        shutil.copyfile(path, temporary)
        os.truncate(temporary, end)
    return Fetched(end, sha256_file(path), here.validator, lines, here.whole_bytes or here.bytes)


def _entry(name: str, address: str, fetched: Fetched) -> dict[str, Any]:
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


def _whole_entry(out_dir: Path, name: str, address: str) -> dict[str, Any]:
    size = (out_dir / name).stat().st_size
    return _entry(name, address, Fetched(size, sha256_file(out_dir / name), None, None, size))


def _earlier(out_dir: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
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


def _sweep(out_dir: Path, no_longer_wanted: set[str]) -> None:
    """Remove what earlier runs fetched and the settings no longer name, and unfinished files."""
    for stray in [*(out_dir / name for name in no_longer_wanted), *out_dir.rglob(f"{TEMPORARY_PREFIX}*")]:
        stray.unlink(missing_ok=True)


def main() -> None:
    """`python -m stages.download DATASET OUT_DIR`."""
    with report_errors():
        if len(sys.argv) != 3:
            raise ParamsError("usage: python -m stages.download DATASET OUT_DIR")
        dataset, out_dir = sys.argv[1:]
        params = read_params()
        settings = section(params, "download", DownloadParams, dataset)
        run(Path(out_dir), dataset, settings, licence=dataset_block(params, dataset).get("licence", ""))


if __name__ == "__main__":
    main()
