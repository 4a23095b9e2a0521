"""Ink from any format to any other: streamed, atomic, every refusal kept, every loss said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from ink.errors import DataError, InkmillError, ParamsError
from ink.formats import READERS, Batch, reader, writer, writers
from ink.formats.archive import open_archive
from ink.formats.many_files import ARCHIVES
from ink.formats.tar import read_tar
from ink.params import read_params, section
from ink.progress import track
from ink.quarantine import QuarantineWriter, Rejected
from ink.table import Drawings, validate
from stages.preparation import SimplifyParams, splits_of

_BY_SUFFIX = {
    ".inkml": ("inkml",),
    ".svg": ("svg",),
    ".parquet": ("parquet",),
    ".unp": ("unipen",), ".unipen": ("unipen",), ".upn": ("unipen",), ".dat": ("unipen",),
    ".ndjson": ("quickdraw_raw", "quickdraw_simplified", "didi"),
    ".jsonl": ("quickdraw_raw", "quickdraw_simplified", "didi"),
    ".bin": ("quickdraw_binary",),
    ".npz": ("sketchrnn_npz",),
    ".csv": ("digits",),
    ".pkl": ("vectormnist",), ".pickle": ("vectormnist",), ".p": ("vectormnist",),
    ".txt": ("omniglot",),
}  # fmt: skip
_HEAD = 1 << 16  # bytes that are looked at to tell formats apart
_LOOK = 1000  # files of a folder or archive that are looked at


@dataclass
class Conversion:
    """What a conversion did.

    Args:
        source_format, target_format: names of formats.
        drawings, points: written.
        reasons: how many were refused, by reason; each is in `quarantine`.
        lost: what the source has and the target format cannot hold.
        dealt: how many drawings got a split here, because the source has none and the target needs one.
    """

    source_format: str
    target_format: str
    out: Path
    quarantine: Path
    drawings: int = 0
    points: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    dealt: int = 0

    def summary(self) -> str:
        """Return one line for people."""
        parts = [
            f"{self.out}: {self.drawings:,} drawings, {self.points:,} points, "
            f"{self.source_format} to {self.target_format}"
        ]
        if self.lost:
            parts.append(f"{self.target_format} cannot hold {', '.join(self.lost)}")
        if self.dealt:
            parts.append(f"{self.dealt:,} dealt into splits as the stage simplify does")
        parts.append(f"refused {_refused(self.reasons, self.quarantine)}" if self.reasons else "none refused")
        return "; ".join(parts)


def convert(
    source: Path, out: Path, source_format: str | None = None, target_format: str | None = None, *, force: bool = False
) -> Conversion:
    """Convert `source` into `out`; what cannot be read goes to `<out>.quarantine.parquet`.

    Args:
        source: a file, a folder or an archive.
        out: a file or a folder, as the target format has it.
        source_format, target_format: names of formats; guessed from name and content where None.
        force: replace `out`.

    Raises:
        ParamsError: a format is unknown, cannot be guessed, or cannot be written; or the target needs splits, the
            source has none, and there is no params.yaml here to say how they are dealt.
        DataError: the source is missing or damaged, or holds nothing that could be read.
        InkmillError: `out` exists and `force` is not set, or it cannot be written.
    """
    if not source.exists():
        raise DataError(f"{source}: no such file or folder; expected ink in one of the formats {', '.join(READERS)}")
    target_format = target_format or guess_target(out)
    target = writer(target_format)
    source_format = source_format or guess_source(source)
    reader(source_format)
    _check_places(source, out, force)
    result = Conversion(source_format, target_format, out, Path(f"{out}.quarantine.parquet"))
    found: set[str] = set()
    with QuarantineWriter(result.quarantine) as refused:
        good = _good(track(_batches(source, source_format), "convert"), result, refused, found)
        try:
            target.write(out, _with_splits(good, result) if getattr(target, "NEEDS_SPLITS", False) else good)
        except _Nothing:
            if result.reasons:
                refused.keep()
            what = _refused(result.reasons, result.quarantine) if result.reasons else "there are none"
            raise DataError(f"{source}: no drawing could be read as {source_format}; {what}. Check --from.") from None
        if result.reasons:
            refused.keep()
    if not result.reasons:
        result.quarantine.unlink(missing_ok=True)  # of an earlier conversion
    result.lost = sorted(found - getattr(target, "HOLDS", frozenset()))
    return result


def guess_target(out: Path) -> str:
    """Return the format that a name to be written stands for.

    Raises:
        ParamsError: the suffix says nothing, or stands for formats that cannot be written.
    """
    able = [name for name in _BY_SUFFIX.get(out.suffix.lower(), ()) if name in writers()]
    if len(able) != 1:
        raise ParamsError(
            f"{out}: the name does not say which format to write; add --to, one of {', '.join(writers())}"
        )
    return able[0]


def guess_source(source: Path) -> str:
    """Return the format of a file, folder or archive, by names first and content where names are not enough.

    Raises:
        ParamsError: names and content fit no format, or several.
    """
    if source.is_dir():
        files = (path for path in sorted(source.rglob("*")) if path.is_file() and not path.name.startswith("."))
        found = {_guess_file(path) for path in islice(files, _LOOK)} - {""}
    elif source.name.lower().endswith(ARCHIVES):
        found = {name for member in _member_names(source) for name in _BY_SUFFIX.get(Path(member).suffix.lower(), ())}
    else:
        found = {_guess_file(source)} - {""}
    known = sorted(found & set(READERS))
    if len(known) != 1:
        what = f"could be {' or '.join(known)}" if known else "looks like no format that Inkmill reads"
        raise ParamsError(f"{source}: {what}; add --from, one of {', '.join(sorted(READERS))}")
    return known[0]


class _Nothing(Exception):
    """The source holds no good drawing: nothing is to be written."""


def _batches(source: Path, name: str) -> Iterator[tuple[str, Batch]]:
    """Yield (file, batch); a folder goes file by file to a reader that knows single files only."""
    module = reader(name)
    paths = [source]
    if source.is_dir() and not getattr(module, "SUFFIXES", ()):
        paths = [path for path in sorted(source.rglob("*")) if path.is_file() and _guess_file(path) == name]
        if not paths:
            raise DataError(f"{source}: expected files of {name} below it, found none")
    for path in paths:
        try:
            for batch in module.read(path, only_recognized=False):
                yield path.name, batch
        except OSError as error:
            if isinstance(error, InkmillError):
                raise
            raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _good(
    batches: Iterator[tuple[str, Batch]], result: Conversion, refused: QuarantineWriter, found: set[str]
) -> Iterator[Drawings]:
    """Yield what keeps the table's contract; the rest to quarantine. Counts, and notes what the source has."""
    for file, batch in batches:
        why = validate(batch.drawings)
        bad = np.flatnonzero(why != "").tolist()
        keys = batch.drawings.column("key")
        rejected = [Rejected(file, batch.lines[row], keys[row], why[row], batch.excerpt(row)) for row in bad]
        refused.write([*batch.rejected, *rejected])
        for row in (*batch.rejected, *rejected):
            result.reasons[row.reason] = result.reasons.get(row.reason, 0) + 1
        good = batch.drawings.take(np.flatnonzero(why == "")) if len(bad) else batch.drawings
        if len(good):
            found |= _facts(good)
            result.drawings += len(good)
            result.points += good.ink.n_points
            yield good
    if not result.drawings:
        raise _Nothing


def _with_splits(drawings: Iterator[Drawings], result: Conversion) -> Iterator[Drawings]:
    """Give drawings without a split the one that the stage simplify would give them: a hash of (salt, key).

    Raises:
        ParamsError: there is no params.yaml here to say how large the splits are.
    """
    for batch in drawings:
        split = batch.column("split")
        if missing := int((split == "").sum()):
            settings = section(read_params(), "simplify", SimplifyParams)
            split = np.where(split == "", splits_of(batch.column("key"), settings), split)
            result.dealt += missing
        yield batch.with_ink(batch.ink, split=split)


def _facts(drawings: Drawings) -> set[str]:
    """Return what drawings carry beside coordinates and keys, in the words of a writer's HOLDS."""
    scale, center_x, center_y = (drawings.column(name) for name in ("scale", "center_x", "center_y"))
    carried = {
        "times": drawings.column("timed").any(),
        "labels": (drawings.column("label") != "").any(),
        "splits": (drawings.column("split") != "").any(),
        "frames": (scale != 1).any() or center_x.any() or center_y.any(),
        "copies": (drawings.column("copy") != 0).any(),
    }
    return {name for name, there in carried.items() if there}


def _check_places(source: Path, out: Path, force: bool) -> None:
    here, there = source.resolve(), out.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise InkmillError(f"{out}: input and output lie in each other; nothing was read, name another output")
    if out.exists() and not force:
        raise InkmillError(
            f"{out}: already exists; nothing was read. Name another output, or add --force to replace it"
        )


def _refused(reasons: dict[str, int], quarantine: Path) -> str:
    common = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    more = f" and {len(common) - 3} more reasons" if len(common) > 3 else ""
    return f"{sum(reasons.values()):,} ({', '.join(f'{n} x {why}' for why, n in common[:3])}{more}): see {quarantine}"


def _guess_file(path: Path) -> str:
    """Return a file's format, "" if there is none or it stays open."""
    if path.name.endswith(("-images-idx3-ubyte", "-images-idx3-ubyte.gz")):
        return "mnist_idx"
    if path.name.endswith("quarantine.parquet"):
        return ""
    names = _BY_SUFFIX.get(path.suffix.lower(), ())
    if len(names) == 1:
        return names[0]
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return ""
    return _json_lines(path) if names else _content(head)


def _json_lines(path: Path) -> str:
    """Tell Quick, Draw! raw, simplified and DiDi apart by the first line that is a drawing."""
    with path.open("rb") as file:
        for line in islice(iter(lambda: file.readline(1 << 24), b""), _LOOK):
            try:
                record = json.loads(line)
                axes = {len(stroke) for stroke in record["drawing"]}
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
            if "label_id" in record:
                return "didi"
            if axes == {3}:
                return "quickdraw_raw"
            if axes == {2}:
                return "quickdraw_simplified"
    return ""


def _content(head: bytes) -> str:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"PAR1"):
        return "parquet"
    if text.startswith(b"<"):
        return "svg" if b"<svg" in text else "inkml" if b"<ink" in text else ""
    if text.startswith(b".") and (b".PEN_DOWN" in text or b".COORD" in text or text.startswith(b".VERSION")):
        return "unipen"
    return ""


def _member_names(source: Path) -> list[str]:
    if source.name.lower().endswith(".zip"):
        with open_archive(source) as archive:
            return archive.names[:_LOOK]
    return [name for name, _ in islice(read_tar(source, lambda name: True, 0), _LOOK)]
