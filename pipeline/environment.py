"""Surroundings: the variables of `inkmill.env`, and the places of the local stores."""

from __future__ import annotations

import os
from pathlib import Path


def load_environment(folder: Path | str = ".") -> None:
    """Set what `inkmill.env` and the local stores ask for; a variable that is already set wins."""
    folder = Path(folder).resolve()
    preset = folder / "inkmill.env"
    for line in preset.read_text(encoding="utf-8").splitlines() if preset.exists() else []:
        name, equals, value = line.partition("=")
        if equals and not name.startswith("#"):
            os.environ.setdefault(name.strip(), value.strip())
    os.environ.setdefault("PREFECT_HOME", str(folder / ".prefect"))
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}")
