"""What a training run needs to know, read from `params.yaml` and checked before any work."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ink.errors import ParamsError
from ink.params import Params, check, dataset_block, section, suggest
from models import REGISTRY, model_class
from models.base import SketchModel, build_config

JUDGE = "recognizer"  # the model that is trained once per dataset, before the others, and judges their drawings


class RunParams(Params):
    """Section `run`: what is worked on, and what makes two runs equal."""

    datasets: list[str] = Field(min_length=1)
    models: list[str] = Field(min_length=1)
    seed: int = Field(ge=0)
    threads: int = Field(ge=1)
    device: Literal["cpu", "cuda"]
    budget: float = Field(gt=0)


class FitParams(Params):
    """A model's `fit` block: the training recipe."""

    steps: int = Field(ge=1)  # optimiser steps at budget 1
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)  # of AdamW, at the start
    weight_decay: float = Field(ge=0)  # on the parameters that the model names
    clip_norm: float = Field(gt=0)  # largest norm of the gradient
    cosine_cycles: int = Field(ge=1)  # cosine periods over the run
    cycle_decay: float = Field(gt=0, le=1)  # each period's amplitude over the one before (paper: 1/4)


class ModelParams(Params):
    """A block of `models`: the config that builds it and the recipe that trains it."""

    config: dict[str, Any]
    fit: FitParams


def run_params(params: dict[str, Any]) -> RunParams:
    """Return the section `run`, with its datasets and models known to exist."""
    run = section(params, "run", RunParams)
    for dataset in run.datasets:
        dataset_block(params, dataset)
    for model in run.models:
        model_class(model)
    return run


def fit_params(params: dict[str, Any], dataset: str, model: str) -> FitParams:
    """Return the training recipe of a model on a dataset."""
    return _model_params(params, dataset, model).fit


def build_model(params: dict[str, Any], dataset: str, model: str, classes: int) -> SketchModel:
    """Build an untrained model for a dataset.

    The dataset's `model` block fills what the config leaves open; under a model's name it holds what that model
    does otherwise on this dataset (`config`, `fit`).

    Raises:
        ParamsError: unknown model, dataset or key, a missing or refused value.
    """
    cls = model_class(model)
    open_values = {name: value for name, value in _of_dataset(params, dataset).items() if name not in REGISTRY}
    values = _model_params(params, dataset, model).config
    config: Any = build_config(cls.Config, values, {**open_values, "classes": classes}, f"models.{model}.config")
    return cls(config)


def _model_params(params: dict[str, Any], dataset: str, model: str) -> ModelParams:
    model_class(model)
    block = dict((params.get("models") or {}).get(model) or {})
    for part, values in (_of_dataset(params, dataset).get(model) or {}).items():
        if part not in block:
            raise ParamsError(f"params.yaml, section datasets.{dataset}.model.{model}: {suggest(part, block)}")
        block[part] = {**block[part], **values}
    return check(block, ModelParams, f"models.{model} (dataset {dataset})")


def _of_dataset(params: dict[str, Any], dataset: str) -> dict[str, Any]:
    return dataset_block(params, dataset).get("model") or {}
