"""Whether a killed run loses or leaves anything: SIGKILL at random moments of every data stage, then the run again.

    python benchmarks/faults.py --mirror ../shared/data --kills 20 --out faults.json

Each stage runs as its own process in a project folder of its own, on the mirror's Quick, Draw! raw files, several
times over; download takes them from an HTTP server that is slow on purpose. Killed are the process group, the top
process alone, or a worker, with one worker process and with two, on an empty output folder or over a whole one. Then
the stage runs again, at once. Afterwards every file must have the bytes of an undisturbed run, no other file may lie
anywhere in the project or its folder for temporary files, and no process may be left. Prints a table, writes JSON,
leaves with 1 if anything failed. Linux only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STAGES = {"download": "raw", "simplify": "simplified", "normalize": "normalized", "augment": "augmented",
          "shard": "shards"}  # fmt: skip
VICTIMS = ("group", "top", "worker")
_GRACE = 5.0  # seconds in which what was killed must be gone


@dataclass(frozen=True)
class Trial:
    """One kill: of whom, in which stage, when.

    Args:
        moment: from 0 to 1, between the start of the process and its end; work: between its first write and its end.
        over: the output folder is whole already when the stage begins.
    """

    stage: str
    workers: int
    victim: str
    moment: float
    work: bool
    over: bool


@dataclass
class Outcome:
    """What a kill did, and what the run after it made of that; `faults` is empty if nothing was lost or left."""

    trial: Trial
    seconds: float = 0.0  # after the start
    temporary: int = 0  # unfinished files at the kill
    finished: int = 0  # files of the stage at the kill
    manifest: bool = False  # there at the kill
    left_alive: int = 0  # processes that were still ending when the next run began
    faults: list[str] = field(default_factory=list)


@dataclass
class Undisturbed:
    """A whole run: the project, and for (stage, workers) its seconds and when it first wrote."""

    folder: Path
    seconds: dict[tuple[str, int], tuple[float, float]] = field(default_factory=dict)


def project(folder: Path, source: str, categories: Sequence[str], **changes: dict[str, Any]) -> None:
    """Write the parameters of a project whose one dataset comes from `source`; changes by section."""
    from ink.params import read_params

    params = read_params(ROOT / "params.yaml")
    block = params["datasets"]["quickdraw"]
    block["download"]["categories"] = list(categories)
    block["augment"] = {}
    params["download"]["mirror"] = source
    for name, values in changes.items():
        params[name] |= values
    (folder / "tmp").mkdir(parents=True)
    (folder / "params.yaml").write_text(json.dumps(params))


def start(folder: Path, stage: str, workers: int) -> subprocess.Popen[str]:
    """Start a stage as the leader of a session of its own."""
    before = list(STAGES)[list(STAGES).index(stage) - 1]
    places = [f"data/{STAGES[name]}" for name in ([before] if stage != "download" else []) + [stage]]
    command = ["-m", f"stages.{stage}"]
    if workers > 1:  # however little there is to do
        program = f"from stages import {stage}, workers; workers._WORTH_PROCESSES = 0; {stage}.main()"
        command = ["-c", program]
        params = json.loads((folder / "params.yaml").read_text())
        params["workers"]["count"] = workers
        (folder / "params.yaml").write_text(json.dumps(params))
    environment = {name: value for name, value in os.environ.items() if name != "INKMILL_MIRROR"}
    environment |= {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *command, "quickdraw", *places],
        cwd=folder,
        env=environment | ({"NUMBA_NUM_THREADS": "1"} if workers == 1 else {}),
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a stage; return what it says if it fails, else ""."""
    _, said = process.communicate()
    return f"exit status {process.returncode}: {said.strip()[-500:]}" if process.returncode else ""


def undisturbed(folder: Path, stages: Sequence[str], workers: int) -> Undisturbed:
    """Run the stages one after the other in a project; return their times.

    Raises:
        SystemExit: a stage fails.
    """
    whole = Undisturbed(folder)
    for stage in stages:
        out, started, wrote = folder / "data" / STAGES[stage], time.perf_counter(), None
        process = start(folder, stage, workers)
        while process.poll() is None:
            if wrote is None and out.exists() and any(out.iterdir()):
                wrote = time.perf_counter() - started
            time.sleep(0.005)
        if said := finish(process):
            raise SystemExit(f"the undisturbed {stage} failed: {said}")
        seconds = time.perf_counter() - started
        whole.seconds[stage, workers] = (seconds, wrote or seconds)
    return whole


def contents(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below a folder, hidden ones too, by path; of a folder "folder"."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def attempt(trial: Trial, whole: Undisturbed, folder: Path) -> Outcome:
    """Kill a stage in a copy of the project, run it again, and compare with the undisturbed run."""
    outcome = Outcome(trial)
    seconds, wrote = whole.seconds[trial.stage, trial.workers]
    wait = trial.moment * (seconds - wrote if trial.work else seconds)
    semaphores = _semaphores()
    for _ in range(6):
        shutil.rmtree(folder, ignore_errors=True)
        _copy(whole.folder, folder, trial)
        process = start(folder, trial.stage, trial.workers)
        if _kill(process, trial, wait, folder / "data" / STAGES[trial.stage], outcome, 60 + 10 * seconds):
            break
        finish(process)
        wait /= 2  # it was faster than the undisturbed one
    else:
        outcome.faults.append("was over before every kill")
        return outcome
    out = folder / "data" / STAGES[trial.stage]
    names = [path.name for path in out.rglob("*")] if out.exists() else []
    outcome.temporary = sum(name.startswith(".tmp-") for name in names)
    outcome.finished, outcome.manifest = len(names) - outcome.temporary, "manifest.json" in names
    outcome.left_alive = len(_session(process.pid))
    if said := finish(start(folder, trial.stage, trial.workers)):
        outcome.faults.append(f"the run after the kill: {said}")
    _compare(whole.folder, folder, trial.stage, outcome)
    deadline = time.monotonic() + _GRACE
    while (orphans := _session(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    outcome.faults += [f"a process is left: {name}" for name in orphans]
    for process_id in orphans:
        os.kill(int(process_id.split()[0]), signal.SIGKILL)
    outcome.faults += [f"a semaphore is left: {name}" for name in sorted(_semaphores() - semaphores)]
    return outcome


def _copy(whole: Path, folder: Path, trial: Trial) -> None:
    """Make the project as it stands before the stage: what stages write is replaced, never changed, so links do."""
    (folder / "tmp").mkdir(parents=True)
    shutil.copyfile(whole / "params.yaml", folder / "params.yaml")
    stages = list(STAGES)
    number = stages.index(trial.stage)
    for stage in stages[max(0, number - 1) : number + trial.over]:
        place = Path("data") / STAGES[stage]
        shutil.copytree(whole / place, folder / place, copy_function=os.link)


def _kill(
    process: subprocess.Popen[str], trial: Trial, wait: float, out: Path, outcome: Outcome, patience: float
) -> bool:
    """Kill so many seconds after the start, or after the first write, and reap; False if it was over before.

    A stage whose worker was killed must end by itself within `patience` seconds.
    """
    started, before, wrote = time.perf_counter(), _changed(out), None if trial.work else time.perf_counter()
    while wrote is None or time.perf_counter() - wrote < wait:
        if process.poll() is not None:
            return False
        if wrote is None and _changed(out) != before:
            wrote = time.perf_counter()
        time.sleep(0.001)
    victim = trial.victim
    names = [name for name in _session(process.pid) if "resource_tracker" not in name]
    workers = [pid for name in names if (pid := int(name.split()[0])) != process.pid]
    if process.poll() is not None:
        return False
    outcome.seconds = round(time.perf_counter() - started, 3)
    if victim == "worker" and workers:
        os.kill(workers[0], signal.SIGKILL)
        _, said = process.communicate(timeout=patience)
        if process.returncode == 0:  # it had done its share
            return False
        if process.returncode != 1 or "Traceback" in said or not said.startswith("error: "):
            outcome.faults.append(f"a worker's death ends in exit status {process.returncode}: {said[-500:]}")
        return True
    if victim == "group":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
    if process.returncode != -signal.SIGKILL:
        return False  # it ended just before; what it said is still to be read
    assert process.stderr is not None
    process.stderr.close()
    return True


def _changed(folder: Path) -> int | None:
    """Return when something last appeared in a folder or left it."""
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _compare(whole: Path, folder: Path, stage: str, outcome: Outcome) -> None:
    wanted, got = (contents(place / "data" / STAGES[stage]) for place in (whole, folder))
    outcome.faults += [f"lost: {name}" for name in sorted(wanted.keys() - got.keys())]
    outcome.faults += [f"left: {name}" for name in sorted(got.keys() - wanted.keys())]
    outcome.faults += [
        f"other bytes: {name}" for name in sorted(wanted.keys() & got.keys()) if wanted[name] != got[name]
    ]
    elsewhere = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    elsewhere -= {name for name in elsewhere if name.startswith("data") and ".tmp-" not in name} | {
        "params.yaml",
        "tmp",
    }
    outcome.faults += [f"left: {name}" for name in sorted(elsewhere) if f"left: {name}" not in outcome.faults]


def _session(leader: int) -> list[str]:
    """Return `pid command` of the living processes of a session."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            state, _, _, session = (place / "stat").read_text().rpartition(")")[2].split()[:4]
            if session == str(leader) and state not in "ZX":
                command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                found.append(f"{place.name} {command[:200]}")
        except (OSError, ValueError):
            continue
    return found


def _semaphores() -> set[str]:
    """Return the named semaphores that no living process holds."""
    there = {path.name for path in Path("/dev/shm").glob("sem.mp-*")}
    for maps in Path("/proc").glob("[0-9]*/maps") if there else []:
        try:
            there -= {line.rpartition("/dev/shm/")[2] for line in maps.read_text().splitlines() if "/dev/shm/" in line}
        except OSError:
            continue
    return there


def trials(kills: int, seed: int) -> list[Trial]:
    """Return the kills: every stage with both numbers of workers, victims and starts dealt out in turn."""
    rng = random.Random(seed)
    chosen = []
    for number in range(kills):
        stage = list(STAGES)[number % len(STAGES)]
        workers = 1 + number // len(STAGES) % 2
        victim = ("group", "top")[number // (2 * len(STAGES)) % 2]
        if workers == 2 and stage != "download" and rng.random() < 0.25:
            victim = "worker"
        over = stage != "download" and rng.random() < 0.3
        chosen.append(Trial(stage, workers, victim, rng.random(), rng.random() < 0.8, over))
    return chosen


@contextmanager
def slow_server(mirror: Path, pause: float):
    """Serve a mirror's files with ranges, `pause` seconds for each 16 KiB."""
    from tests.faulty_server import serve

    files = {f"/{path.relative_to(mirror)}": path.read_bytes() for path in mirror.rglob("*") if path.is_file()}
    with serve(files=files, before_chunk=lambda _sent: time.sleep(pause)) as server:
        yield server.root


def main() -> None:
    """Run, kill, compare; write JSON, print."""
    sys.path.insert(0, str(ROOT))
    from benchmarks.data import replicate

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mirror", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--categories", type=int, default=12)
    parser.add_argument("--drawings", type=int, default=12_000)
    parser.add_argument("--out", type=Path, default=Path("faults.json"))
    arguments = parser.parse_args()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        names = sorted(path.stem for path in (arguments.mirror / "quickdraw/full/raw").glob("*.ndjson"))
        names = names[:: max(1, len(names) // arguments.categories)][: arguments.categories]
        count = replicate(arguments.mirror.resolve(), folder / "mirror", arguments.drawings, names)
        with slow_server(folder / "mirror", 0.001) as address:
            sizes = {
                "simplify": {"megabytes_per_part": 1.0},
                "augment": {"copies": 2},
                "shard": {"megabytes_per_shard": 1.0, "drawings_per_group": 500},
            }
            for name in ("one", "two"):
                project(folder / name, address, names, **sizes)
            whole = undisturbed(folder / "one", list(STAGES), 1)
            two = undisturbed(folder / "two", list(STAGES), 2)
            whole.seconds |= two.seconds
            if contents(folder / "one/data") != contents(folder / "two/data"):
                raise SystemExit("one worker and two do not write the same bytes")
            for (stage, workers), (seconds, wrote) in whole.seconds.items():
                print(f"undisturbed {stage:10} workers {workers}: {seconds:5.2f} s, writes from {wrote:5.2f} s on")
            shutil.rmtree(folder / "two")
            for trial in trials(arguments.kills, arguments.seed):
                outcomes.append(found := attempt(trial, whole, folder / "trial"))
                print(
                    f"{trial.stage:10} workers {trial.workers}  kill {trial.victim:6} at {found.seconds:5.2f} s"
                    f"{' over' if trial.over else '     '}  {found.finished:3} files, {found.temporary} unfinished"
                    f"{', manifest' if found.manifest else '          '}  {'; '.join(found.faults) or 'nothing lost'}",
                    flush=True,
                )
    failed = sum(bool(found.faults) for found in outcomes)
    print(f"{len(outcomes)} kills over {count} drawings: {len(outcomes) - failed} lost and left nothing, {failed} did")
    result = {
        "seed": arguments.seed,
        "drawings": count,
        "undisturbed_s": {f"{stage}, workers {n}": times for (stage, n), times in whole.seconds.items()},
        "kills": [asdict(found) for found in outcomes],
        "failed": failed,
    }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
