"""Checkpoints: everything that training needs to go on, bit for bit, in one safetensors file.

Weights, optimiser state, epoch, history and the random state of torch; no pickle. A fingerprint of
data, parameters and code decides whether a checkpoint belongs to the run that finds it.
"""

from __future__ import annotations

import hashlib
import json
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from ink.errors import InkmillError
from ink.files import atomic_path


def save_checkpoint(path: Path | str, model: nn.Module, optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Write weights, optimiser, torch's random state and `state` (JSON), atomically."""
    tensors = {f"model/{name}": tensor.contiguous() for name, tensor in model.state_dict().items()}
    optimizer_state = optimizer.state_dict()["state"]
    for index, entries in optimizer_state.items():
        for name, value in entries.items():
            tensors[f"optimizer/{index}/{name}"] = torch.as_tensor(value).contiguous()
    tensors["random/torch"] = torch.get_rng_state()
    if next(model.parameters()).is_cuda:  # noise and dropout are drawn where the weights are
        tensors["random/cuda"] = torch.cuda.get_rng_state()
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"state": json.dumps(state)})


def load_checkpoint(path: Path | str, model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Put a checkpoint's weights, optimiser and random state in place; return its `state`.

    Raises:
        InkmillError: the file is damaged or does not fit the model. Training never goes on from a guess.
    """
    tensors, state = _read(path)
    groups: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "random": {}}
    for name, tensor in tensors.items():
        group, _, rest = name.partition("/")
        groups[group][rest] = tensor
    entries: dict[int, dict[str, Tensor]] = {}
    for name, tensor in groups["optimizer"].items():
        index, _, field = name.partition("/")
        entries.setdefault(int(index), {})[field] = tensor
    try:
        model.load_state_dict(groups["model"])
        optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})
    except (RuntimeError, ValueError, KeyError) as error:
        why = textwrap.shorten(str(error), 300)  # torch lists every weight, over many lines
        raise InkmillError(
            f"{path}: this checkpoint does not fit the model ({why}); delete it to start anew"
        ) from error
    torch.set_rng_state(groups["random"]["torch"].cpu())
    if "cuda" in groups["random"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(groups["random"]["cuda"].cpu())
    return state


def load_weights(path: Path | str, model: nn.Module) -> dict[str, Any]:
    """Put a checkpoint's weights into `model`, nothing else; return its `state`."""
    tensors, state = _read(path)
    model.load_state_dict({name.removeprefix("model/"): t for name, t in tensors.items() if name.startswith("model/")})
    return state


def read_state(path: Path | str) -> dict[str, Any] | None:
    """Return a checkpoint's `state` without its tensors; None where there is no file."""
    if not Path(path).exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads(file.metadata()["state"])
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise InkmillError(f"{path}: not a readable checkpoint ({error}); delete it to start anew") from error


def weights_sha256(model: nn.Module) -> str:
    """Return the sha256 of the model's weights in safetensors format: its identity in the registry."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    return hashlib.sha256(save(weights)).hexdigest()


def fingerprint(values: dict[str, Any], sources: Iterable[Path]) -> str:
    """Return a hash of JSON values and of source files: equal means that training would go the same way."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for source in sorted(sources):
        digest.update(source.name.encode() + source.read_bytes())
    return digest.hexdigest()


def _read(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    state = read_state(path)
    if state is None:
        raise InkmillError(f"{path}: no checkpoint here")
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, state  # noqa: SIM118 (not a mapping)
