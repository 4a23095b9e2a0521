"""The systems of the papers, one file each; `REGISTRY` is the only list of them.

A new model is one file here, one line in `REGISTRY` and one block under `models:` in `params.yaml`.
Modules are imported when a model is asked for, so that listing names costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ink.errors import ParamsError
from ink.params import suggest

if TYPE_CHECKING:
    from models.base import SketchModel

REGISTRY = {
    "recognizer": "models.recognizer:Recognizer",
    "rnn_seq2seq": "models.rnn_seq2seq:RNNSeq2Seq",
    "sketchode": "models.sketchode:SketchODE",
    "sketchode_generative": "models.sketchode_generative:SketchODEGenerative",
    "sketchode_strokes": "models.sketchode_strokes:SketchODEStrokes",
    "sketchrnn": "models.sketchrnn:SketchRNN",
    "sketchrnn_decoder": "models.sketchrnn_decoder:SketchRNNDecoder",
}


def model_class(name: str) -> type[SketchModel]:
    """Return the class of a registered model.

    Raises:
        ParamsError: there is no model of that name.
    """
    if name not in REGISTRY:
        raise ParamsError(f"model {name!r} does not exist; {suggest(name, REGISTRY)}")
    module, _, attribute = REGISTRY[name].partition(":")
    return getattr(import_module(module), attribute)
