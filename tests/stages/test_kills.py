"""Promise: a stage that was killed loses nothing and leaves nothing once it has run again."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.faults import Trial, attempt, project, undisturbed
from tests.stages.helpers import record, write_category

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
STAGES = ("download", "simplify")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    words = ("cat", "pig", "owl")
    for number, word in enumerate(words):
        rows = [record(1000 * number + key, word=word) for key in range(80)]
        write_category(folder / "source" / "quickdraw", rows, word)
    small = {"simplify": {"megabytes_per_part": 0.003}}
    project(folder / "project", (folder / "source").as_uri(), words, **small)
    found = undisturbed(folder / "project", STAGES, 1)
    found.seconds["simplify", 2] = found.seconds["simplify", 1]
    return found


@pytest.mark.parametrize(
    "trial",
    [
        Trial("download", 1, "group", moment=0.2, work=True, over=False),
        Trial("simplify", 1, "top", moment=0.5, work=True, over=False),
        Trial("simplify", 2, "group", moment=0.5, work=True, over=False),
    ],
    ids=lambda trial: f"{trial.stage}-{trial.workers}-{trial.victim}",
)
def test_a_killed_stage_runs_again_as_if_nothing_had_been(whole, tmp_path, trial):
    assert not attempt(trial, whole, tmp_path / "trial").faults


def test_a_worker_whose_stage_dies_while_it_starts_ends_too():
    """The worker's set-up begins after its parent's end: the parent kills itself as soon as it has started one."""
    script = (
        "import multiprocessing, os\nfrom tests.stages.test_kills import late\n"
        "if __name__ == '__main__':\n"
        "    process = multiprocessing.get_context('spawn').Process(target=late)\n"
        "    process.start()\n    print(process.pid, flush=True)\n    os.kill(os.getpid(), 9)\n"
    )
    said = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=False)
    worker = Path("/proc") / said.stdout.strip()
    deadline = time.monotonic() + 30
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert said.returncode == -9 and not alive(worker)


def late():
    from stages import workers

    time.sleep(0.5)
    workers._start_worker()
    time.sleep(60)


def alive(process):
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
