"""Whether any damaged file can take a reader down: crash, hang, traceback or memory without bound.

    python benchmarks/fuzz.py --files 10000 --out fuzz.json --keep fuzz-offenders

Damages the samples of every reader (`tests.ink.formats`) and sends each file through the stage simplify, as it
runs in earnest, and what is left of it through normalize. A child process, with a limit of memory, works on one
reader's files and is started anew where it dies; a file over its time is the end of it. Each file must end in rows,
quarantine rows or an InkmillError. Every other one is kept under `--keep`; `--seed`, reader and number make it again.
Prints a table, writes JSON, and leaves with 1 if there are offenders. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
FINE = ("rows", "rows and quarantine", "quarantine", "refused", "empty file")


def content_of(name: str, seed: int, number: int) -> bytes:
    """Return the damaged file of that number."""
    from tests.ink.formats.mutations import damaged
    from tests.ink.formats.samples import SAMPLES

    rng = np.random.default_rng([seed, number, *name.encode()])
    return damaged(SAMPLES[name][1](), rng)


def outcome_of(name: str, path: Path, folder: Path, settings: Any) -> str:
    """Send one file through simplify and normalize; return how it ended.

    Raises:
        Exception: an offence.
    """
    from ink.errors import InkmillError
    from ink.parquet import read_drawings
    from ink.quarantine import write_quarantine
    from ink.table import validate
    from stages.normalize import NormalizeParams, normalize
    from stages.pieces import Piece
    from stages.simplify import Task, simplify_part

    part = folder / "part-00000.parquet"
    try:
        done = simplify_part(Task((Piece(path, None),), name, part, {"stage": "fuzz"}, settings))
    except InkmillError as error:
        assert str(path.parent) in str(error) and "\n" not in str(error).strip(), f"not one paragraph: {error}"
        return "refused"
    rejected = done.rejected[0]
    write_quarantine(folder, rejected)
    drawings = read_drawings(part)
    unit = normalize(drawings, NormalizeParams(frame="unit_circle", clock="arc_length"))
    validate(unit)
    if len(drawings):
        return "rows and quarantine" if rejected else "rows"
    if rejected:
        return "quarantine"
    return "empty file" if not path.read_bytes().strip() or done.total else "nothing"


def work(name: str, seed: int, numbers: range, memory_mib: int) -> None:
    """The child: say on standard output which file begins, and how it ended."""
    from ink.params import read_params, section
    from stages.simplify import SimplifyParams
    from tests.ink.formats.samples import write

    warnings.simplefilter("ignore")
    settings = section(read_params(ROOT / "params.yaml"), "simplify", SimplifyParams)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        outcome_of(name, write(folder, name), folder, settings)  # imports, compiles
        limit = (_status("VmData") << 10) + (memory_mib << 20)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        for number in numbers:
            path = write(folder, name, content_of(name, seed, number))
            Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
            before, started = _status("VmRSS"), time.perf_counter()
            print(json.dumps({"begin": number}), flush=True)
            said = {"why": ""}
            try:
                said["outcome"] = outcome_of(name, path, folder, settings)
            except MemoryError:
                said |= {"outcome": "memory", "why": traceback.format_exc()}
            except Exception:
                said |= {"outcome": "exception", "why": traceback.format_exc()}
            seconds, grown = time.perf_counter() - started, max(0, _status("VmHWM") - before) / 1024
            print(json.dumps({"end": number, "seconds": seconds, "mib": grown, **said}), flush=True)
            for stray in folder.glob(".tmp-*"):
                print(json.dumps({"end": number, "outcome": "stray", "why": stray.name}), flush=True)
                stray.unlink()


def _status(field: str) -> int:
    """Return a field of this process's status, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


class Watch:
    """Runs the children of one reader, and remembers how each file ended."""

    def __init__(self, name: str, arguments: argparse.Namespace) -> None:
        self.name, self.arguments = name, arguments
        self.outcomes: Counter[str] = Counter()
        self.slowest, self.largest = 0.0, 0.0
        self.offenders: list[dict[str, Any]] = []

    def run(self, count: int) -> dict[str, Any]:
        """Work on so many files, however many children it takes."""
        first, started = 0, time.perf_counter()
        while first < count:
            first = self._child(range(first, min(count, first + self.arguments.batch)))
        seconds = time.perf_counter() - started
        return {
            "files": count,
            "outcomes": dict(sorted(self.outcomes.items())),
            "slowest_s": round(self.slowest, 3),
            "largest_mib": round(self.largest, 1),
            "seconds": round(seconds, 1),
            "offenders": self.offenders,
        }

    def _child(self, numbers: range) -> int:
        """Return the number of the file to go on with."""
        told = [self.name, str(self.arguments.seed), str(numbers.start), str(numbers.stop), str(self.arguments.mib)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        child = subprocess.Popen([sys.executable, __file__, "--child", *told], stdout=subprocess.PIPE, env=environment)
        assert child.stdout is not None
        os.set_blocking(child.stdout.fileno(), False)
        under_way: int | None = None
        done, pending, limit = numbers.start, b"", 120.0  # the first wait is for imports
        while True:
            if not select.select([child.stdout], [], [], limit)[0]:
                child.kill()
                child.wait()
                if under_way is None:
                    raise SystemExit(f"{self.name}: the child does not start")
                self._offence(under_way, "hang", f"over {limit} s")
                return under_way + 1
            chunk = child.stdout.read()
            if not chunk:
                break
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                said = json.loads(line)
                if "begin" in said:
                    under_way, limit = said["begin"], self.arguments.seconds
                else:
                    self._ended(said)
                    done, under_way = said["end"] + 1, None
        if child.wait() and under_way is None and done == numbers.start:
            raise SystemExit(f"{self.name}: the child failed before its first file")
        if under_way is not None:
            self._offence(under_way, "crash", f"exit status {child.returncode}")
            return under_way + 1
        return done

    def _ended(self, said: dict[str, Any]) -> None:
        if said["outcome"] in FINE and said["mib"] > self.arguments.mib / 2:
            said |= {"outcome": "memory", "why": f"{said['mib']:.0f} MiB"}
        if said["outcome"] in FINE:
            self.outcomes[said["outcome"]] += 1
            self.slowest, self.largest = max(self.slowest, said["seconds"]), max(self.largest, said["mib"])
        else:
            self._offence(said["end"], said["outcome"], said["why"])

    def _offence(self, number: int, kind: str, why: str) -> None:
        from tests.ink.formats.samples import SAMPLES

        self.outcomes[kind] += 1
        place = self.arguments.keep / self.name / f"{number}-{SAMPLES[self.name][0]}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content_of(self.name, self.arguments.seed, number))
        place.with_name(f"{place.name}.why.txt").write_text(why)
        last = why.strip().splitlines()[-1] if why.strip() else ""
        self.offenders.append({"number": number, "kind": kind, "why": last, "file": str(place)})
        print(f"  {self.name} {number}: {kind}: {last}", flush=True)


def main() -> None:
    """Fuzz, write JSON, print."""
    if sys.argv[1:2] == ["--child"]:
        name, seed, first, last, memory = sys.argv[2:]
        work(name, int(seed), range(int(first), int(last)), int(memory))
        return
    from ink.formats import READERS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000, help="of all readers together")
    parser.add_argument("--readers", nargs="+", default=sorted(READERS), choices=sorted(READERS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10.0, help="of one file")
    parser.add_argument("--mib", type=int, default=1024, help="that a child may grow; half of it by one file")
    parser.add_argument("--batch", type=int, default=1000, help="files of one child")
    parser.add_argument("--out", type=Path, default=Path("fuzz.json"))
    parser.add_argument("--keep", type=Path, default=Path("fuzz-offenders"))
    arguments = parser.parse_args()
    share = -(-arguments.files // len(arguments.readers))
    readers: dict[str, Any] = {}
    for name in arguments.readers:
        readers[name] = found = Watch(name, arguments).run(share)
        counts = ", ".join(f"{kind} {count}" for kind, count in found["outcomes"].items())
        print(
            f"{name:21} {share:6} files {found['seconds']:6.1f} s  slowest {found['slowest_s']:6.3f} s  "
            f"largest {found['largest_mib']:6.1f} MiB  {counts}",
            flush=True,
        )
    offenders = sum(len(found["offenders"]) for found in readers.values())
    total = sum((Counter(found["outcomes"]) for found in readers.values()), Counter[str]())
    print(f"{share * len(readers)} files, {offenders} offenders: {dict(total)}")
    result = {"seed": arguments.seed, "files": share * len(readers), "offenders": offenders, "readers": readers}
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    sys.exit(offenders > 0)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
