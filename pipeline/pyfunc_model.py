"""The registered model as MLflow loads it: drawings in, drawings (or class names) out.

Logged as code beside safetensors weights and a JSON config; nothing is pickled. Input is a table with
either the columns x, y, t, offsets of the drawing table, or one column `drawing` of Quick, Draw! JSON
strokes ([[xs], [ys]] or [[xs], [ys], [ts in ms]] each); output has the same form, in the input's coordinates.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from safetensors.torch import load_file

from ink import geometry
from ink.errors import DataError
from ink.table import Ink
from models import model_class
from models.base import Autoencoder, Classifier, Completer, build_config


class SketchPyfunc(PythonModel):
    """A model of the registry behind MLflow's `predict`."""

    def load_context(self, context: Any) -> None:
        """Build the model from `config` and fill it from `weights`."""
        with open(context.artifacts["config"], encoding="utf-8") as file:
            self.card = json.load(file)
        cls = model_class(self.card["model"])
        self.model = cls(build_config(cls.Config, self.card["config"], {}, self.card["model"])).eval()
        self.model.load_state_dict(load_file(context.artifacts["weights"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Reconstruct drawings, name their classes, or finish them where the model can do neither.

        Args:
            context: MLflow's.
            model_input: N rows, see the module's docstring.
            params: `points`: samples per decoded drawing (of a multi-stroke model: per stroke), 0: the trained number.
                Of a model that finishes drawings: `extent`, the share of the finished drawing's longest side that a
                given one has; `temperature`, below 0 the model's own; `seed`.

        Raises:
            DataError: a row is not a drawing; says which and why.
        """
        as_json = "drawing" in model_input and model_input["drawing"].notna().all()
        ink = _from_json(model_input["drawing"]) if as_json else _from_table(model_input)
        unit, *frame = geometry.unit_circle(ink)
        if self.card["clock"] == "arc_length":
            unit = geometry.with_arc_length_clock(unit)
        with torch.no_grad():
            points = self.model.representation.collate(unit)
            if isinstance(self.model, Classifier):
                probability = torch.softmax(self.model.classify(points), 1)
                best = probability.max(1)
                names = [self.card["classes"][i] for i in best.indices.tolist()]
                return pd.DataFrame({"label": names, "probability": best.values.double().numpy()})
            if isinstance(self.model, Autoencoder):
                count = int((params or {}).get("points") or 0) or None
                made = geometry.restore(self.model.to_ink(self.model.decode(self.model.encode(points), count)), *frame)
            elif isinstance(self.model, Completer):
                made = _finished(self.model, ink, params or {})
            else:
                raise DataError(f"{self.card['model']} can neither decode nor classify nor finish a drawing")
        return _to_json(made) if as_json else _to_table(made)


def _finished(model: Completer, begun: Ink, asked: dict[str, Any]) -> Ink:
    """Return drawings that begin with the given ones, placed so that the beginning lies where it was given.

    A beginning without extent, a dot, says nothing of the size: its drawing has radius 1.
    """
    extent, temperature = float(asked.get("extent", 1.0)), float(asked.get("temperature", -1.0))
    if not 0 < extent <= 1:
        raise DataError(f"extent must be above 0 and at most 1, got {extent}")
    prefix = model.prefix(begun, extent)
    generator = torch.Generator().manual_seed(int(asked.get("seed", 0)))
    made = model.to_ink(model.complete(prefix, generator, None if temperature < 0 else temperature))
    given = np.minimum(np.diff(model.to_ink(prefix).point_offsets), np.diff(made.point_offsets))
    place = np.arange(made.n_points) - np.repeat(made.point_offsets[:-1], np.diff(made.point_offsets))
    first = place < np.repeat(given, np.diff(made.point_offsets))  # the points of the beginning
    edges = np.concatenate([[0], np.cumsum(given)])
    start = geometry.bounding_boxes(Ink(made.x[first], made.y[first], made.t[first], edges, np.arange(len(edges))))
    whole = geometry.bounding_boxes(begun)
    wide, long = (np.maximum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]) for box in (whole, start))
    scale = np.where((wide > 0) & (long > 0), wide / np.where(long > 0, long, 1.0), 1.0)
    x, y = (
        (whole[:, axis] + whole[:, axis + 2]) / 2 - scale * (start[:, axis] + start[:, axis + 2]) / 2 for axis in (0, 1)
    )
    return geometry.restore(made, x, y, scale)


def _from_json(column: pd.Series) -> Ink:
    drawings = []
    for row, text in enumerate(column):
        try:
            strokes = json.loads(text) if isinstance(text, str) else text
            drawing = [np.array([s[0], s[1], s[2] if len(s) > 2 else np.arange(len(s[0]))], float).T for s in strokes]
        except (ValueError, TypeError, IndexError, KeyError) as error:
            raise DataError(
                f"row {row}: expected Quick, Draw! strokes [[[xs], [ys]], ...], got {text!r:.80}"
            ) from error
        if not drawing or not all(len(s) and np.isfinite(s).all() for s in drawing):
            raise DataError(f"row {row}: an empty drawing or stroke, or a coordinate that is not finite")
        drawings.append([np.column_stack([s[:, :2], s[:, 2] / 1000]) for s in drawing])
    return Ink.from_strokes(drawings)


def _from_table(frame: pd.DataFrame) -> Ink:
    missing = [name for name in ("x", "y", "t", "offsets") if name not in frame]
    if missing:
        raise DataError(f"expected a column 'drawing', or x, y, t and offsets; missing: {', '.join(missing)}")
    drawings = []
    for row, (x, y, t, offsets) in enumerate(zip(frame.x, frame.y, frame.t, frame.offsets, strict=True)):
        points = np.array([x, y, t], dtype=np.float32).T
        if len(points) == 0 or not np.isfinite(points).all():
            raise DataError(f"row {row}: an empty drawing, or a coordinate that is not finite")
        drawings.append(np.split(points, np.asarray(offsets, dtype=int)[1:]))
    return Ink.from_strokes(drawings)


def _to_json(ink: Ink) -> pd.DataFrame:
    def text(n: int) -> str:
        strokes = [[s[:, 0].round(3), s[:, 1].round(3), (s[:, 2] * 1000).round(3)] for s in ink.strokes(n)]
        return json.dumps([[axis.astype(float).round(3).tolist() for axis in stroke] for stroke in strokes])

    return pd.DataFrame({"drawing": [text(n) for n in range(len(ink))]})


def _to_table(ink: Ink) -> pd.DataFrame:
    rows = []
    for n in range(len(ink)):
        strokes = ink.strokes(n)
        points = np.concatenate(strokes)
        starts = np.cumsum([0, *(len(stroke) for stroke in strokes[:-1])]).astype(np.int32)
        rows.append({"x": points[:, 0], "y": points[:, 1], "t": points[:, 2], "offsets": starts})
    return pd.DataFrame(rows, columns=["x", "y", "t", "offsets"])


set_model(SketchPyfunc())
