"""The judge: the recogniser that is trained once per dataset and names what every model draws."""

from __future__ import annotations

from models.base import SketchModel
from pipeline import registry, results
from pipeline.settings import JUDGE


def judge_of(dataset: str) -> SketchModel:
    """Return the recogniser that the dataset's metrics name.

    Raises:
        InkmillError: there is none yet; says which command makes it.
    """
    sha = results.read_metrics(dataset, JUDGE)["weights_sha256"]
    registry.open_store(dataset)
    return registry.load_registered(registry.find_version(f"{JUDGE}-{dataset}", sha256=sha))[0]
