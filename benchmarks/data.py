"""How fast and how large the data stages run on real raw drawings, beside what people use today.

    python benchmarks/data.py --mirror ../shared/data --drawings 200000 --out data.json

Replicates the mirror's Quick, Draw! raw files (every copy under its own key_id), runs the five stages, each in a
process of its own, and the rival recipes on a sample, all in one run; writes JSON and prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("download", "simplify", "normalize", "augment", "shard")
FOLDERS = ("raw", "simplified", "normalized", "augmented", "shards")


def replicate(mirror: Path, target: Path, drawings: int, categories: Sequence[str] = ()) -> int:
    """Write at least `drawings` raw drawings, of all or some categories, laid out like upstream; return how many."""
    sources = sorted((mirror / "quickdraw" / "full" / "raw").glob("*.ndjson"))
    sources = [path for path in sources if not categories or path.stem in categories]
    lines = {path.name: [line for line in path.read_bytes().splitlines() if line.strip()] for path in sources}
    copies = -(-drawings // sum(map(len, lines.values())))
    folder = target / "quickdraw" / "full" / "raw"
    folder.mkdir(parents=True)
    for name, rows in lines.items():
        with (folder / name).open("wb") as file:
            for copy in range(copies):
                mark = b'"key_id":"%d-' % copy
                file.writelines(row.replace(b'"key_id":"', mark) + b"\n" for row in rows)
    return copies * sum(map(len, lines.values()))


def project(folder: Path, mirror: Path, workers: int) -> None:
    """Write the parameters of a project whose one dataset is the replicated one, unaugmented as sketch-rnn's is."""
    from ink.params import read_params

    params = read_params(ROOT / "params.yaml")
    block = params["datasets"]["quickdraw"]
    block["download"]["categories"] = sorted(path.stem for path in (mirror / "quickdraw/full/raw").glob("*.ndjson"))
    block["augment"] = {"copies": 0}
    params["download"]["mirror"] = mirror.as_uri()
    params["workers"]["count"] = workers
    (folder / "params.yaml").write_text(json.dumps(params))


def run_stage(folder: Path, stage: str, before: str, after: str) -> dict[str, float]:
    """Run one stage in a process of its own; return its seconds, those of processors, and the tree's peak in MiB."""
    places = [f"data/{after}"] if stage == "download" else [f"data/{before}", f"data/{after}"]
    environment = {name: value for name, value in os.environ.items() if name != "INKMILL_MIRROR"}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}", "quickdraw", *places],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
    )
    peak, done = [0.0], threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, peak, done))
    watcher.start()
    _, status, used = os.wait4(process.pid, 0)  # of its workers too
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    if status:
        raise SystemExit(f"the stage {stage} failed")
    processor = used.ru_utime + used.ru_stime
    return {"seconds": round(seconds, 2), "processor_s": round(processor, 2), "peak_mib": round(peak[0], 1)}


def _watch(pid: int, peak: list[float], done: threading.Event) -> None:
    while not done.wait(0.1):
        try:
            top = psutil.Process(pid)
            tree = [top, *top.children(recursive=True)]
            total = 0
            for process in tree:
                try:
                    total += process.memory_full_info().pss  # what processes share counts once
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    continue
            peak[0] = max(peak[0], total / 2**20)
        except psutil.NoSuchProcess:
            return


def one_pixel(stroke: np.ndarray) -> np.ndarray:
    """Resample a stroke at 1 px along its path, as the sketch-rnn recipe does before RDP."""
    length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(stroke, axis=0).T))])
    places = np.linspace(0.0, length[-1], max(2, int(np.ceil(length[-1])) + 1))
    return np.column_stack([np.interp(places, length, stroke[:, axis]) for axis in (0, 1)])


def rivals() -> dict[str, Callable[[bytes], Any]]:
    """Return the recipes in use, each from a line of NDJSON to simplified strokes."""
    import orjson
    from rdp import rdp
    from simplification.cutil import simplify_coords

    def strokes(record: dict[str, Any]) -> Iterator[np.ndarray]:
        xy = [np.array(stroke[:2], np.float64).T for stroke in record["drawing"]]
        low = np.min([stroke.min(0) for stroke in xy], axis=0)
        side = max(np.max([stroke.max(0) for stroke in xy], axis=0) - low) or 1.0
        return ((stroke - low) * (255.0 / side) for stroke in xy)

    return {
        "json + 1 px resample + rdp": lambda line: [rdp(one_pixel(s), epsilon=2.0) for s in strokes(json.loads(line))],
        "json + simplification": lambda line: [simplify_coords(s, 2.0) for s in strokes(json.loads(line))],
        "orjson + simplification": lambda line: [simplify_coords(s, 2.0) for s in strokes(orjson.loads(line))],
    }


def rate(function: Callable[[bytes], Any], lines: list[bytes], seconds: float) -> float:
    """Return drawings a second, on one core, over at least `seconds`."""
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        function(lines[done % len(lines)])
        done += 1
    return done / (time.perf_counter() - started)


def main() -> None:
    """Measure, write JSON, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mirror", type=Path, required=True)
    parser.add_argument("--drawings", type=int, nargs="+", default=[200_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/data.json"))
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    result: dict[str, Any] = {"workers": arguments.workers, "runs": []}
    for wanted in arguments.drawings:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            count = replicate(arguments.mirror.resolve(), folder / "mirror", wanted)
            project(folder, folder / "mirror", arguments.workers)
            stages = {}
            for number, stage in enumerate(STAGES):
                stages[stage] = run_stage(folder, stage, FOLDERS[number - 1], FOLDERS[number])
                stages[stage]["per_second"] = round(count / stages[stage]["seconds"])
                print(f"{count:9,} drawings  {stage:10}", stages[stage], flush=True)
            seconds = sum(stage["seconds"] for stage in stages.values())
            whole = {"seconds": round(seconds, 2), "per_second": round(count / seconds)}
            whole["processor_s"] = round(sum(stage["processor_s"] for stage in stages.values()), 2)
            whole["peak_mib"] = max(stage["peak_mib"] for stage in stages.values())
            print(f"{count:9,} drawings  all five  ", whole, flush=True)
            result["runs"].append({"drawings": count, "stages": stages, "all": whole})
    sample = [line for path in sorted((arguments.mirror / "quickdraw/full/raw").glob("*.ndjson"))[::12]
              for line in path.read_bytes().splitlines()[:20]]  # fmt: skip
    ours = result["runs"][0]["stages"]["simplify"]["per_second"]
    result["rivals"] = {}
    for name, function in rivals().items():
        rival = rate(function, sample, 8.0)
        result["rivals"][name] = {
            "per_second": round(rival, 1),  # on one core; ours has `workers` of them, and also writes
            "ours_times_faster": round(ours / rival, 1),
            "ours_a_core_times_faster": round(ours / arguments.workers / rival, 1),
        }
        print(f"{name:28}", result["rivals"][name], flush=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
