"""What the datasets of `params.yaml` are, where they come from, how large they are, what of them is here."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

from ink.errors import DownloadError, InkmillError
from ink.params import section
from ink.sources import source_of
from stages.fetched import MANIFEST
from stages.upstream import DownloadParams, file_names, source_root

RAW = Path("data", "raw")
_PATIENCE_S = 5.0  # for all servers together
_CONNECTION_S = 3.0
_AT_ONCE = 8  # requests to one server


def rows(params: dict[str, Any]) -> list[dict[str, str]]:
    """Return one row a dataset: name, title, licence, address, size, here.

    A size is what an earlier download recorded, else what the server says within a few seconds, else "?".

    Raises:
        ParamsError: a dataset's `download` block is wrong.
    """
    settings = {name: section(params, "download", DownloadParams, name) for name in params.get("datasets") or {}}
    manifests = {name: _manifest(RAW / name) for name in settings}
    sizes = {name: _recorded_size(manifests[name]) for name in settings}
    sizes |= _asked_sizes({name: settings[name] for name, size in sizes.items() if size is None})
    table = []
    for name, chosen in settings.items():
        block = params["datasets"][name]
        size = sizes[name]
        table.append(
            {
                "name": name,
                "title": str(block.get("title", "")),
                "licence": str(block.get("licence", "")),
                "address": _root(chosen) or _without_address(chosen),
                "size": "?" if size is None else _readable(size),
                "here": _here(manifests[name]),
            }
        )
    return table


def _root(settings: DownloadParams) -> str | None:
    """Return where the files lie; None of data without an address, where no mirror is set."""
    try:
        return source_root(settings)
    except DownloadError:
        return None


def _without_address(settings: DownloadParams) -> str:
    """Say where data without an address comes from: a package, or somebody's hand."""
    folder = settings.mirror_folder
    return f"by hand, into {folder}/ of a mirror" if folder else f"package:{settings.reader}"


def _manifest(folder: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return manifest if isinstance(manifest["files"], list) else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _recorded_size(manifest: dict[str, Any] | None) -> int | None:
    """Return the size of the whole files, of which a sample may be here."""
    if manifest is None:
        return None
    sizes = [entry.get("whole_bytes", entry["bytes"]) for entry in manifest["files"]]
    return None if None in sizes else sum(sizes)


def _here(manifest: dict[str, Any] | None) -> str:
    if manifest is None:
        return "nothing"
    entries = manifest["files"]
    said = f"{len(entries)} file{'' if len(entries) == 1 else 's'}, {_readable(sum(e['bytes'] for e in entries))}"
    cut = [entry["lines"] for entry in entries if entry.get("lines")]
    return f"{said} (first {max(cut):,} drawings of each)" if cut else said


def _asked_sizes(settings: dict[str, DownloadParams]) -> dict[str, int | None]:
    """Ask all servers at once; who does not answer in time is not waited for, not even at exit."""
    sizes: dict[str, int | None] = dict.fromkeys(settings)

    deadline = time.monotonic() + _PATIENCE_S

    def ask(name: str) -> None:
        sizes[name] = _asked_size(settings[name], deadline)

    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in settings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(sizes)


def _asked_size(settings: DownloadParams, deadline: float) -> int | None:
    """Return the sum of the files' sizes; asks for none after the deadline (monotonic seconds)."""
    root = _root(settings)
    if root is None:
        return None
    try:
        with closing(source_of(root, _CONNECTION_S)) as source:

            def ask(name: str) -> int | None:
                return source.size(source.join(root, name)) if time.monotonic() < deadline else None

            first, *others = file_names(settings, source)
            sizes = [ask(first)]
            if sizes[0] is not None:
                with ThreadPoolExecutor(_AT_ONCE) as pool:
                    sizes += pool.map(ask, others)
    except (InkmillError, ValueError):
        return None
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _readable(size: int) -> str:
    """Return a size in decimal units."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"
