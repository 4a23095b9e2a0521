"""Promise: the process of a study's cell ends by itself, and with the process that started it."""

import subprocess
import sys
from pathlib import Path


def test_a_cells_process_ends_by_itself_and_with_its_parent():
    script = """
import sys, time
from pipeline.studies.lifeline import end_with_parent
end_with_parent()
print("up", flush=True)
time.sleep(float(sys.argv[1]))
"""
    commands = {seconds: [sys.executable, "-c", script, seconds] for seconds in ("0", "600")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": Path(__file__).parents[2]}
    processes = {seconds: subprocess.Popen(command, **pipes) for seconds, command in commands.items()}
    assert processes["0"].wait() == 0, "an open standard input must not keep Python from ending"
    assert processes["600"].stdout.readline() == b"up\n"
    processes["600"].stdin.close()
    assert processes["600"].wait() == 1
    for process in processes.values():
        process.stdin.close()
        process.stdout.close()
