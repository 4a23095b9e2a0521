"""The judge: the recogniser that is trained once per dataset and names what every model draws.

A dataset of one class has none: whatever is drawn would be named rightly.
"""

from __future__ import annotations

from typing import Any

from models.base import SketchModel
from pipeline import registry, results
from pipeline.dataset import Dataset
from pipeline.settings import JUDGE

NO_JUDGE = "The data has one class, so that recognition would mean nothing: no recogniser was trained."


def has_judge(data: Dataset) -> bool:
    """Tell whether a recogniser has anything to tell apart."""
    return len(data.classes) > 1


def go_without(data: Dataset) -> dict[str, Any]:
    """Write what a recogniser's training leaves, of one that there is no reason to train; return its metrics."""
    summary = {"model": JUDGE, "dataset": data.name, "n_test": len(data.test), "note": NO_JUDGE}
    results.write_history(data.name, JUDGE, [])
    results.write_metrics(data.name, JUDGE, summary)
    return summary


def judge_of(dataset: str) -> SketchModel | None:
    """Return the recogniser that the dataset's metrics name; None where the dataset has one class.

    Raises:
        InkmillError: there is none yet; says which command makes it.
    """
    sha = results.read_metrics(dataset, JUDGE).get("weights_sha256")
    if sha is None:
        return None
    registry.open_store(dataset)
    return registry.load_registered(registry.find_version(f"{JUDGE}-{dataset}", sha256=sha))[0]
