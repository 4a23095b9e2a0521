"""The report's pictures: which drawings are shown, and their frames.

Examples are chosen by the hash of their keys, never by how well they came out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from pipeline.report.drawings import Strokes, by_key, half_extent, ink_svg
from pipeline.report.inputs import ModelFiles, PerDrawing, ReportInputs, keys_and_labels, natural, read_rows
from pipeline.report.tables import THOUSANDTHS

_EXAMPLES = 24  # about so many in all, but at least two a class and at most a dozen
_MOST_CLASSES = 24
_ROWS = 3  # examples in one block; a class with more is set in several
_MOST_STRIPS = 6
_MOST_FRAMES = 12
_WORST = 6
_MOST_SAMPLES = 48  # of one model
_STRIP_KEY = re.compile(r"strip(\d+)/(\d+)")


def examples(inputs: ReportInputs) -> dict[str, Any]:
    """Return blocks of rows, each row an original and what every model made of it.

    Returns:
        `blocks`: (label, rows), a row being pictures in the order original, models; None where a model has no
        reconstructions. `classes`, `shown`: how many classes there are, and how many of them are shown.
    """
    keys, labels = keys_and_labels(inputs.test_shards)
    classes = sorted(set(labels.tolist()), key=natural)
    shown = sorted(sorted(classes, key=_hash)[:_MOST_CLASSES], key=natural)
    count = int(np.clip(_EXAMPLES // max(1, len(shown)), 2, 12))
    chosen = {label: sorted(keys[labels == label].tolist(), key=_hash)[:count] for label in shown}
    wanted = [key for some in chosen.values() for key in some]
    originals = by_key(read_rows(inputs.test_shards, wanted))
    made = [_drawn(model, wanted) for model in inputs.models]
    blocks = []
    for label, some in chosen.items():
        rows = [_row(key, label, originals.get(key), inputs.models, made) for key in some]
        blocks += [(label, rows[first : first + _ROWS]) for first in range(0, len(rows), _ROWS)]
    return {"blocks": blocks, "classes": len(classes), "shown": len(shown)}


def strips(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Return the interpolations: one entry a strip, with the frames of each model that has it."""
    found: dict[int, dict[str, Any]] = {}
    for model in inputs.models:
        if model.interpolations is None:
            continue
        keys, labels = keys_and_labels([model.interpolations])
        frames: dict[int, list[tuple[int, str]]] = {}
        for key, label in zip(keys.tolist(), labels.tolist(), strict=True):
            if match := _STRIP_KEY.fullmatch(key):
                frames.setdefault(int(match[1]), []).append((int(match[2]), key))
                found.setdefault(int(match[1]), {"label": label, "models": []})
        kept = {strip: _spread([key for _, key in sorted(frames[strip])]) for strip in sorted(frames)[:_MOST_STRIPS]}
        drawn = by_key(read_rows([model.interpolations], [key for some in kept.values() for key in some]))
        for strip, some in kept.items():
            half = half_extent([drawn.get(key) for key in some])
            pictures = [
                ink_svg(drawn.get(key), half, f"{model.name}, {found[strip]['label']}, frame {place} of {len(some)}")
                for place, key in enumerate(some, start=1)
            ]
            found[strip]["models"].append((model.name, pictures))
    return [found[strip] for strip in sorted(found)[:_MOST_STRIPS]]


def samples(inputs: ReportInputs) -> list[tuple[str, list[str]]]:
    """Return (model, pictures) of new drawings, the first ones made, of each model that makes any."""
    found = []
    for model in inputs.models:
        if model.samples is not None:
            keys = keys_and_labels([model.samples])[0][:_MOST_SAMPLES].tolist()
            drawn = by_key(read_rows([model.samples], keys))
            half = half_extent([drawn.get(key) for key in keys])
            found.append((model.name, [ink_svg(drawn.get(key), half, f"{model.name}, {key}") for key in keys]))
    return found


def worst(inputs: ReportInputs) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return, for each model that has them, the drawings of largest Huber: the pictures and what was seen in them."""
    chosen = {
        model.name: _largest(model.per_drawing)
        for model in inputs.models
        if model.per_drawing is not None and model.reconstructions is not None
    }
    originals = by_key(read_rows(inputs.test_shards, [key for cases in chosen.values() for key in cases]))
    found = []
    for model in inputs.models:
        if model.name in chosen and model.per_drawing is not None:
            made = _drawn(model, chosen[model.name]) or {}
            rows = chosen[model.name].items()
            cases = [_case(model.name, model.per_drawing, row, originals.get(key), made.get(key)) for key, row in rows]
            found.append((model.name, cases))
    return found


def _case(
    name: str, per_drawing: PerDrawing, row: int, original: Strokes | None, made: Strokes | None
) -> dict[str, Any]:
    key, label = per_drawing.key[row], per_drawing.label[row]
    half = half_extent([original, made])
    return {
        "label": label,
        **_seen(per_drawing, row),
        "huber": f"{1e3 * per_drawing.huber[row]:.3g}",
        "original": ink_svg(original, half, f"original {key}, {label}"),
        "made": ink_svg(made, half, f"{name}, {key}", original),
    }


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _drawn(model: ModelFiles, keys: Iterable[str]) -> dict[str, Strokes] | None:
    return None if model.reconstructions is None else by_key(read_rows([model.reconstructions], keys))


def _row(
    key: str,
    label: str,
    original: Strokes | None,
    models: list[ModelFiles],
    made: list[dict[str, Strokes] | None],
) -> list[dict[str, str] | None]:
    """Return the pictures of one example; a reconstruction that the recogniser misread says for what it took it."""
    drawn = [None if some is None else some.get(key) for some in made]
    half = half_extent([original, *drawn])
    cells: list[dict[str, str] | None] = [{"svg": ink_svg(original, half, f"original {key}, {label}"), "seen": ""}]
    for model, some, strokes in zip(models, made, drawn, strict=True):
        if some is None:
            cells.append(None)
            continue
        facts, seen = _facts(model.per_drawing, key)
        cells.append({"svg": ink_svg(strokes, half, f"{model.name}, {key}{facts}", original), "seen": seen})
    return cells


def _facts(per_drawing: PerDrawing | None, key: str) -> tuple[str, str]:
    """Return a tooltip's text on one drawing, and what it was taken for if that is wrong."""
    if per_drawing is None or key not in per_drawing.key:
        return "", ""
    row = int(np.flatnonzero(per_drawing.key == key)[0])
    text = f": Huber {1e3 * per_drawing.huber[row]:.3g} {THOUSANDTHS}"
    if per_drawing.recognized_as is None:
        return text, ""
    found = _seen(per_drawing, row)
    return f"{text}, recognised as {found['seen'] or 'nothing'}", "" if found["correct"] else found["seen"]


def _seen(per_drawing: PerDrawing, row: int) -> dict[str, Any]:
    """Return what a drawing was taken for, and whether rightly; nothing where there was no judge."""
    if per_drawing.recognized_as is None or per_drawing.correct is None:
        return {"seen": "", "correct": False}
    return {"seen": str(per_drawing.recognized_as[row]), "correct": bool(per_drawing.correct[row])}


def _spread(keys: list[str]) -> list[str]:
    """Return at most a dozen of the frames, first and last included, evenly spaced."""
    if len(keys) <= _MOST_FRAMES:
        return keys
    return [keys[place] for place in np.linspace(0, len(keys) - 1, _MOST_FRAMES).round().astype(int)]


def _largest(per_drawing: PerDrawing) -> dict[str, int]:
    """Return key -> row of the drawings of largest Huber, worst first; ties in order of key. NaN counts as worst."""
    huber = np.where(np.isfinite(per_drawing.huber), per_drawing.huber, np.inf)
    order = sorted(range(len(huber)), key=lambda row: (-huber[row], per_drawing.key[row]))
    return {per_drawing.key[row]: row for row in order[:_WORST]}
