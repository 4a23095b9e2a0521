"""Promise: the pinned set of versions gives servers that start and answer."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

_PATIENCE_S = 120


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize(
    ("module", "arguments", "path"),
    [
        ("prefect", ["server", "start", "--no-services", "--host", "127.0.0.1"], "/api/version"),
        ("mlflow", ["server", "--host", "127.0.0.1", "--workers", "1"], "/version"),
    ],
)
def test_server_comes_up(module: str, arguments: list[str], path: str, tmp_path: Path) -> None:
    port = free_port()
    environment = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    environment.pop("PREFECT_API_URL", None)
    environment.pop("MLFLOW_TRACKING_URI", None)
    log = tmp_path / "server.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", module, *arguments, "--port", str(port)],
            cwd=tmp_path,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            assert answers(f"http://127.0.0.1:{port}{path}", server), log.read_text()[-2000:]
        finally:
            os.killpg(server.pid, 9)
            server.wait()


def answers(address: str, server: subprocess.Popen) -> bool:
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end and server.poll() is None:
        try:
            if httpx.get(address, timeout=5).status_code == 200:
                return True
        except httpx.TransportError:
            time.sleep(0.5)
    return False
