"""Promise: `inkmill.env` and the project's own stores rule whatever is run, however it is started."""

import json
import os
import subprocess
import sys
from pathlib import Path

from pipeline.environment import load_environment

ROOT = Path(__file__).parents[2]
# in place of the flow: what Prefect and MLflow understood when they were imported
TRAIN = """
import json, sys
import mlflow
from prefect.settings import get_current_settings
settings = get_current_settings()
def train_model(dataset, model):
    print(json.dumps({"home": str(settings.home), "analytics": settings.server.analytics_enabled,
        "startup": settings.server.ephemeral.startup_timeout_seconds, "runs": mlflow.get_tracking_uri()}))
    sys.exit()
"""
RUN = """
import sys
import pipeline
pipeline.__path__.insert(0, "stead")
sys.argv = ["pipeline", "digits", "sketchode"]
from pipeline.__main__ import main
main()
"""


def test_a_stage_that_dvc_starts_keeps_to_the_project(tmp_path):
    (tmp_path / "inkmill.env").write_text((ROOT / "inkmill.env").read_text())
    (tmp_path / "stead").mkdir()
    (tmp_path / "stead" / "train.py").write_text(TRAIN)
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    bare |= {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path / "home")}
    ran = subprocess.run([sys.executable, "-c", RUN], cwd=tmp_path, env=bare, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {
        "home": str(tmp_path / ".prefect"),
        "analytics": False,
        "startup": 180,
        "runs": f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}",
    }


def test_a_variable_that_is_set_wins(tmp_path, monkeypatch):
    (tmp_path / "inkmill.env").write_text("# a comment = 1\nINKMILL_TEST_A=1\nINKMILL_TEST_B = 2 \n")
    monkeypatch.setenv("INKMILL_TEST_A", "mine")
    for name in ("INKMILL_TEST_B", "PREFECT_HOME", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    load_environment(tmp_path)
    assert (os.environ["INKMILL_TEST_A"], os.environ["INKMILL_TEST_B"]) == ("mine", "2")
    assert os.environ["PREFECT_HOME"] == str(tmp_path / ".prefect")
