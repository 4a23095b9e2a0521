"""DiDi, digital ink diagrams: one JSON a line, `drawing` as [[xs], [ys], [ts]] a stroke, t in ms; y downwards.

The label is `label_id`, the diagram that was to be drawn; the publisher's `split` is kept. Format: the notebook
`didi_dataset.ipynb` of google-research; Gervais et al. 2020. Upstream root: the bucket `digital_ink_diagram_data`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ink.formats import Batch
from ink.formats.collect import BadDrawing
from ink.formats.json_lines import Facts, read_lines, require, text
from ink.table import SPLITS

SPLITTABLE = True


def source_files(categories: list[str]) -> list[str]:
    """Return one file a category: diagrams_wo_text_20200131, diagrams_20200131."""
    return [f"{category}.ndjson" for category in categories]


def read(path: Path, *, only_recognized: bool, span: tuple[int, int] | None = None) -> Iterator[Batch]:
    """Yield the diagrams of one file, or of the bytes [start, end) of it; keys are `didi/<key>`."""
    return read_lines(path, _facts, timed=True, span=span)


def _facts(record: dict[str, Any]) -> Facts:
    require(record, "key", "label_id", "split")
    key = f"didi/{text(record['key'], 'key')}"
    if record["split"] not in SPLITS:
        raise BadDrawing(f"a split other than {', '.join(SPLITS)}", key)
    return Facts(key, text(record["label_id"], "label_id"), record["split"])
