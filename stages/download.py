"""Stage 1: fetch a dataset's source files (`python -m stages.download DATASET OUT_DIR`).

Reads the upstream address or a mirror (file://, http(s)://, s3://, gs://, or a plain folder); writes the files
under the reader's names and `manifest.json` with address, licence, size, sha256 and validator of each. A file
appears under its name only when it is whole and is what the server says it is; `ink.fetch` says how.

What an earlier run fetched from the same address is kept by its sha256; a killed run's finished files are known
from `.tmp-journal`. `sample: n` keeps the first n lines of a line format; another n fetches or cuts the difference.
Files of other formats come whole, and simplify reads the first n drawings of each of their splits.
"""

from __future__ import annotations

import os
import shutil
import sys
import urllib.parse
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

from ink.errors import ParamsError, report_errors
from ink.fetch import Fetched, Partial, Patience, Wanted, count_lines, end_of_lines, fetch, writing
from ink.files import atomic_path, exclusive, sha256_file, write_json
from ink.params import dataset_block, read_params, section
from ink.progress import Transfers, transfers
from ink.sources import Origin, Source, source_of
from stages.fetched import MANIFEST, brought_earlier, entry_of, note, still_here, sweep, whole_entry
from stages.upstream import DownloadParams, file_names, source_root

LINE_FORMATS = (".ndjson", ".jsonl")


def run(out_dir: Path, dataset: str, settings: DownloadParams, licence: str = "") -> dict[str, Any]:
    """Fetch what is missing or changed; return the manifest.

    Raises:
        DownloadError: a file cannot be had, or is not what was published; files that came whole stay.
        InkmillError: this folder cannot be written to, or the disk is full; what came stays.
    """
    with writing(out_dir):
        out_dir.mkdir(parents=True, exist_ok=True)
        with exclusive(out_dir):
            earlier = list(brought_earlier(out_dir))
            same = (settings.url, settings.reader)
            known = {entry["path"]: entry for *source, entry in earlier if tuple(source) == same}
            if settings.reader == "digits":
                from ink.formats import digits  # its vectoriser takes a second to import

                with atomic_path(out_dir / digits.FILE) as temporary:
                    digits.export(temporary)
                files = [whole_entry(out_dir, digits.FILE, f"package:{settings.reader}")]
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
            sweep(out_dir, {entry["path"] for *_, entry in earlier} - {entry["path"] for entry in files})
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
                    note(out_dir, settings.url, settings.reader, entry)
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
    here = still_here(path, known, wanted)
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
    return entry_of(name, published, here)


def _cut(path: Path, here: Fetched, lines: int) -> Fetched:
    """Shorten a file that is here to its first lines, if it has more."""
    end = end_of_lines(path, lines)
    if count_lines(path) < lines or (end == here.bytes and here.lines is None):
        return here
    with atomic_path(path) as temporary:
        shutil.copyfile(path, temporary)
        os.truncate(temporary, end)
    return Fetched(end, sha256_file(path), here.validator, lines, here.whole_bytes or here.bytes)


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
