"""The weights of sketch-rnn-js: read a published `.gen.json` or VAE file into a model, write a model as such a file.

A file is a JSON list of three: what it is (mode, version, max_seq_len, name, scale_factor), the arrays' shapes, and
the arrays: base64 of little-endian int16, value = number / 32767 * 10. Mode 2 is a decoder alone, 0 and 1 have an
encoder. Kernels stand as inputs x outputs, gates in the order i, candidate, f, o; 1 is added to the forget gate's
bias at run time; the state that a code gives is cell, then output. The first input is all zeros.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ink.errors import DataError, InkmillError, one_line
from ink.files import write_text
from models import model_class
from models.base import SketchModel, build_config
from models.nn.recurrent.lstm import LSTM
from models.nn.recurrent.mixture import PEN_STATES, outputs
from models.nn.recurrent.stroke5 import CHANNELS
from models.sketchrnn import SketchRNN
from models.sketchrnn_decoder import SketchRNNDecoder

_LARGEST = 10.0  # what int16's largest stands for
_STEP = _LARGEST / 32767
_DECODER_ONLY = 2
_VERSION = 6  # older files with an encoder squash their codes
_FORGET_BIAS = 1.0
_SIDE = 900.0  # pixels: the longest side of the drawings that the released models draw
_DECODER = ("output kernel", "output bias", "decoder input kernel", "decoder recurrent kernel", "decoder bias")
_LSTM = ("input kernel", "recurrent kernel", "bias")
_ENCODER = (
    *(f"{way} encoder {part}" for way in ("forward", "backward") for part in _LSTM),
    *("mean kernel", "mean bias", "log variance kernel", "log variance bias", "state kernel", "state bias"),
)  # fmt: skip


def load(path: Path, settings: dict[str, dict[str, Any]]) -> tuple[SketchModel, str]:
    """Read a file into a model, in evaluation mode; return it and the file's name for it.

    Args:
        path: the file.
        settings: config of `sketchrnn_decoder` and of `sketchrnn`: what a file of weights does not say.

    Raises:
        DataError: the file is damaged, of another layout or mode, or holds a number that is not finite.
    """
    info, arrays = _read(path)
    decoder_only = info["mode"] in (_DECODER_ONLY, "gen")
    names = _DECODER if decoder_only else (*_ENCODER, *_DECODER)
    if len(arrays) != len(names):
        raise DataError(f"{path}: mode {info['mode']!r} has {len(names)} arrays, the file has {len(arrays)}")
    named = dict(zip(names, arrays, strict=True))
    if not decoder_only and int(info["version"]) < _VERSION:
        raise DataError(f"{path}: version {info['version']} with an encoder; expected {_VERSION} or newer")
    _check_shapes(path, named)
    name = "sketchrnn_decoder" if decoder_only else "sketchrnn"
    cls = model_class(name)
    found = {
        "cell": "lstm",
        "decoder_size": len(named["decoder recurrent kernel"]),
        "mixtures": (len(named["output bias"]) - PEN_STATES) // 6,
        "recurrent_dropout": 0.0,
        "compiled": False,
        "max_points": int(info["max_seq_len"]),
        "side": _SIDE,
        "start": "zeros",
    }
    if not decoder_only:
        found |= {
            "encoder_size": len(named["forward encoder recurrent kernel"]),
            "latent_size": named["mean bias"].size,
        }
    of_model = {field.name for field in fields(cls.Config)}
    values = {key: value for key, value in settings[name].items() if key in of_model} | found
    model: Any = cls(build_config(cls.Config, values, {}, name))
    with torch.no_grad():
        for key, target, flip in _places(model):
            target.copy_(_from_kernel(named[key], key, flip).to(target.dtype))
        model.decoder.offset_std.fill_(float(info["scale_factor"]))
    return model.eval(), str(info.get("name") or path.name.split(".")[0])


def kind(model: SketchModel) -> str:
    """Return the name that a model's class has in the registry of models."""
    return "sketchrnn_decoder" if isinstance(model, SketchRNNDecoder) else "sketchrnn"


def save(model: SketchModel, path: Path, name: str) -> None:
    """Write a model as a file that sketch-rnn-js loads; weights are rounded to steps of 0.0003.

    Raises:
        InkmillError: the model is of another kind, its decoder is not the plain LSTM, or a weight is too large.
    """
    if not isinstance(model, SketchRNN | SketchRNNDecoder) or not isinstance(model.decoder.cell, LSTM):
        raise InkmillError(
            f"{name}: sketch-rnn-js holds SketchRNN models with cell: lstm; this one is not of that kind"
        )
    names = _DECODER if isinstance(model, SketchRNNDecoder) else (*_ENCODER, *_DECODER)
    tensors = {key: _to_kernel(source, key, flip) for key, source, flip in _places(model)}
    arrays = []
    for key in names:
        largest = float(np.abs(tensors[key]).max())
        if not largest < _LARGEST + _STEP / 2:
            raise InkmillError(
                f"{name}: its {key} reaches {largest:.2f}, the format holds up to {_LARGEST:.0f}; train with a smaller "
                f"learning_rate or clip_norm"
            )
        arrays.append(np.rint(tensors[key] / _STEP).astype("<i2"))
    info = {
        "mode": _DECODER_ONLY if isinstance(model, SketchRNNDecoder) else 1,
        "version": _VERSION,
        "max_seq_len": model.config.max_points,
        "name": name,
        "scale_factor": float(f"{float(model.decoder.offset_std):.7g}"),
    }
    texts = [base64.b64encode(array.tobytes()).decode() for array in arrays]
    write_text(path, json.dumps([info, [list(array.shape) for array in arrays], texts]))


def _read(path: Path) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Return the description and the arrays, in float64."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a whole JSON file ({one_line(error)}); download it again") from error
    if not (isinstance(content, list) and len(content) == 3 and isinstance(content[0], dict)):
        raise DataError(f"{path}: expected sketch-rnn-js weights, a list of description, shapes and arrays")
    info, shapes, texts = content
    for key in ("mode", "version", "max_seq_len", "scale_factor"):
        if key not in info:
            raise DataError(f"{path}: its description lacks {key}; it has {', '.join(map(str, info)) or 'nothing'}")
    if info["mode"] not in (0, 1, _DECODER_ONLY, "vae", "gen") or isinstance(info["mode"], bool):
        raise DataError(f"{path}: mode {info['mode']!r}; expected 2 (decoder only) or 0 or 1 (with an encoder)")
    for key, low in (("scale_factor", 0), ("max_seq_len", 0), ("version", -1)):
        value = info[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or not low < value < np.inf:
            raise DataError(f"{path}: {key} is {value!r}; expected a finite number above {low}")
    if not (isinstance(shapes, list) and isinstance(texts, list) and len(shapes) == len(texts)):
        raise DataError(f"{path}: expected as many shapes as arrays")
    return info, [_array(path, number, *pair) for number, pair in enumerate(zip(shapes, texts, strict=True))]


def _array(path: Path, number: int, shape: Any, text: Any) -> np.ndarray:
    """Decode one array. Its numbers are int16, hence finite, unless a file writes them as a list."""
    where = f"{path}: array {number}"
    if not (isinstance(shape, list) and shape and all(type(size) is int and size > 0 for size in shape)):
        raise DataError(f"{where} has the shape {shape!r}; expected a list of sizes")
    if isinstance(text, str):
        try:
            raw = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise DataError(f"{where} is not base64 ({one_line(error)}); download the file again") from error
        values = np.frombuffer(raw[: len(raw) // 2 * 2], "<i2").astype(np.float64) * _STEP
        size = len(raw) / 2
    else:
        try:
            values = np.asarray(text, np.float64).ravel()
        except (TypeError, ValueError) as error:
            raise DataError(f"{where} is neither base64 nor numbers") from error
        size = len(values)
    if size != np.prod(shape):
        raise DataError(f"{where} has {size:g} numbers, its shape {shape} needs {np.prod(shape)}: truncated?")
    if not np.isfinite(values).all():
        raise DataError(f"{where} holds a number that is not finite")
    return values.reshape(shape)


def _check_shapes(path: Path, named: dict[str, np.ndarray]) -> None:
    """Check every array's shape against the sizes that the recurrent kernels and the biases say."""
    units = named["decoder recurrent kernel"].shape[0]
    code = named["mean bias"].size if "mean bias" in named else 0
    mixtures = max(1, (named["output bias"].size - PEN_STATES) // 6)
    expected = {
        "output kernel": (units, outputs(mixtures)),
        "output bias": (outputs(mixtures),),
        "decoder input kernel": (CHANNELS + code, 4 * units),
        "decoder recurrent kernel": (units, 4 * units),
        "decoder bias": (4 * units,),
    }
    if code:
        size = named["forward encoder recurrent kernel"].shape[0]
        for way in ("forward", "backward"):
            expected[f"{way} encoder input kernel"] = (CHANNELS, 4 * size)
            expected[f"{way} encoder recurrent kernel"] = (size, 4 * size)
            expected[f"{way} encoder bias"] = (4 * size,)
        for part in ("mean", "log variance"):
            expected |= {f"{part} kernel": (2 * size, code), f"{part} bias": (code,)}
        expected |= {"state kernel": (code, 2 * units), "state bias": (2 * units,)}
    for key, shape in expected.items():
        if named[key].shape != shape:
            raise DataError(f"{path}: the {key} has the shape {named[key].shape}, expected {shape}")


def _places(model: Any) -> Iterator[tuple[str, Any, str]]:
    """Yield each array's name, where it lives in the model, and how it is turned: gates, halves or plain."""
    if isinstance(model, SketchRNN):
        for way, suffix in (("forward", ""), ("backward", "_reverse")):
            yield f"{way} encoder input kernel", getattr(model.encoder, f"weight_ih_l0{suffix}"), "gates"
            yield f"{way} encoder recurrent kernel", getattr(model.encoder, f"weight_hh_l0{suffix}"), "gates"
            yield f"{way} encoder bias", _Bias(model.encoder, suffix), "gates"
        for part, layer in (("mean", model.to_mean), ("log variance", model.to_log_variance)):
            yield f"{part} kernel", layer.weight, "plain"
            yield f"{part} bias", layer.bias, "plain"
        yield "state kernel", model.from_latent.weight, "halves"
        yield "state bias", model.from_latent.bias, "halves"
    yield "output kernel", model.decoder.output.weight, "plain"
    yield "output bias", model.decoder.output.bias, "plain"
    yield "decoder input kernel", model.decoder.cell.cell.weight_ih_l0, "gates"
    yield "decoder recurrent kernel", model.decoder.cell.cell.weight_hh_l0, "gates"
    yield "decoder bias", _Bias(model.decoder.cell.cell, ""), "gates"


class _Bias:
    """The two biases of torch's LSTM as the one that they add up to."""

    dtype = torch.float32

    def __init__(self, cell: nn.LSTM, suffix: str) -> None:
        self.inputs, self.hidden = getattr(cell, f"bias_ih_l0{suffix}"), getattr(cell, f"bias_hh_l0{suffix}")

    def copy_(self, values: Tensor) -> None:
        """Put all of it into the inputs' bias."""
        self.inputs.copy_(values)
        self.hidden.zero_()

    def detach(self) -> Tensor:
        """Return the sum."""
        return (self.inputs.double() + self.hidden.double()).detach()


def _from_kernel(array: np.ndarray, key: str, flip: str) -> Tensor:
    """Turn an array of the file into torch's layout."""
    rows = torch.from_numpy(array.T.copy())  # outputs first
    if flip == "gates":
        i, g, f, o = rows.chunk(4)
        rows = torch.cat([i, f + _FORGET_BIAS if key.endswith("bias") else f, g, o])
    return torch.cat(rows.chunk(2)[::-1]) if flip == "halves" else rows


def _to_kernel(source: Any, key: str, flip: str) -> np.ndarray:
    """Undo `_from_kernel`."""
    rows = source.detach().cpu().double()
    if flip == "gates":
        i, f, g, o = rows.chunk(4)
        rows = torch.cat([i, g, f - _FORGET_BIAS if key.endswith("bias") else f, o])
    rows = torch.cat(rows.chunk(2)[::-1]) if flip == "halves" else rows
    return rows.numpy().T.copy()
