"""MLflow, the one owner of runs and weights: open the store, register content once, move aliases.

Names are `<model>-<dataset>`. A version carries the sha256 of its weights, config, data and test
shards; `champion` moves only to a version that scores better on the same test shards.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import torch
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types.schema import Array, ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from safetensors.torch import load_file, save_file

from ink.errors import ParamsError, RegistryError, one_line
from ink.params import suggest
from models import model_class
from models.base import Autoencoder, Completer, SketchModel, build_config
from pipeline.checkpoint import weights_sha256

ROOT = Path("mlruns")
_PYFUNC = Path(__file__).parent / "pyfunc_model.py"
_REQUIREMENTS = ("torch", "numpy", "numba", "pyarrow", "safetensors", "pandas", "pydantic", "pyyaml")


@dataclass(frozen=True)
class Score:
    """What decides between two versions: lower is better.

    Args:
        name: of the metric; value: its mean over the test drawings; test_sha256: which drawings.
    """

    name: str
    value: float
    test_sha256: str


def open_store(experiment: str) -> str:
    """Make the local store on first use, choose the experiment and return its id; artifacts in `mlruns/artifacts`."""
    artifacts = (ROOT / "artifacts").resolve()
    artifacts.mkdir(parents=True, exist_ok=True)
    if mlflow.get_experiment_by_name(experiment) is None:
        mlflow.create_experiment(experiment, artifact_location=(artifacts / experiment).as_uri())
    return mlflow.set_experiment(experiment).experiment_id


def register(
    model: SketchModel,
    name: str,
    card: dict[str, Any],
    score: Score,
    rescore: Callable[[SketchModel], float],
) -> ModelVersion:
    """Register the model of the active run unless the registry has its content, and settle the aliases.

    Args:
        model: trained.
        name: `<model>-<dataset>`.
        card: model, dataset, classes, clock and data_sha256, as JSON; the config is added.
        score: of this model on the test shards.
        rescore: scores an older version on the same test shards, where its own score is of others.

    Returns:
        The version that holds this content.
    """
    client = mlflow.MlflowClient()
    config = json.dumps(asdict(model.config), sort_keys=True)
    tags = {"weights_sha256": weights_sha256(model), "config_sha256": hashlib.sha256(config.encode()).hexdigest()}
    content = {**tags, "score_test_sha256": score.test_sha256}
    for known in _versions(client, name):
        if content.items() <= known.tags.items():
            return known
    tags |= {"data_sha256": card["data_sha256"]}
    tags |= {"score_name": score.name, "score": repr(score.value), "score_test_sha256": score.test_sha256}
    with tempfile.TemporaryDirectory() as folder:
        weights, described = Path(folder) / "weights.safetensors", Path(folder) / "config.json"
        save_file({key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}, weights)
        described.write_text(json.dumps({**card, "config": asdict(model.config)}, indent=2))
        warnings.filterwarnings("ignore", message=".*input example.*")  # the signature is written out in full
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(_PYFUNC),
            artifacts={"weights": str(weights), "config": str(described)},
            signature=_signature(model),
            code_paths=[str(_PYFUNC.parents[1] / package) for package in ("ink", "models")],
            pip_requirements=[f"{package}=={version(package)}" for package in _REQUIREMENTS],
        )
    client_version = mlflow.register_model(logged.model_uri, name, tags=tags)
    new = client.get_model_version(name, client_version.version)
    _settle_aliases(client, new, score, rescore)
    return new


def find_version(name: str, alias: str | None = None, sha256: str | None = None) -> ModelVersion:
    """Return a version by alias or by the sha256 of its weights.

    Raises:
        RegistryError: no such model, alias or content; says what there is.
    """
    client = mlflow.MlflowClient()
    versions = _versions(client, name)
    if not versions:
        names = [model.name for model in client.search_registered_models()]
        raise RegistryError(f"the registry has no model {name!r}; {suggest(name, names)}. Train it: `inkmill run`")
    if sha256 is not None:
        for known in versions:
            if known.tags.get("weights_sha256") == sha256:
                return known
        raise RegistryError(
            f"the registry has no version of {name} with weights {sha256[:12]}…, which the metrics name; "
            f"make it again with `dvc repro --force --single-item` and the stage of that model"
        )
    aliases = client.get_registered_model(name).aliases
    if alias not in aliases:
        raise RegistryError(f"{name} has no alias {alias!r}; {suggest(str(alias), aliases)}")
    return client.get_model_version(name, aliases[alias])


def load_registered(found: ModelVersion) -> tuple[SketchModel, dict[str, Any]]:
    """Return a version's model, in evaluation mode, and its card.

    Raises:
        RegistryError: the version is of other code: its config or its weights are not those of the model of today.
    """
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{found.name}/{found.version}")) / "artifacts"
    card = json.loads((folder / "config.json").read_text())
    try:
        cls = model_class(card["model"])
        model = cls(build_config(cls.Config, card["config"], {}, card["model"]))
        model.load_state_dict(load_file(folder / "weights.safetensors"))
    except (ParamsError, RuntimeError) as error:
        raise RegistryError(
            f"{found.name} version {found.version} was registered by other code than this and does not fit it "
            f"({one_line(error)}). Train it anew with `inkmill train {card['model']} --dataset {card['dataset']}`, or "
            f"use it through mlflow.pyfunc, which brings the version's own code"
        ) from error
    return model.eval(), card


def aliases_of(found: ModelVersion) -> list[str]:
    """Return the aliases that point at a version now."""
    aliases = mlflow.MlflowClient().get_registered_model(found.name).aliases
    return sorted(alias for alias, number in aliases.items() if str(number) == str(found.version))


def _settle_aliases(
    client: mlflow.MlflowClient, new: ModelVersion, score: Score, rescore: Callable[[SketchModel], float]
) -> None:
    champion = client.get_registered_model(new.name).aliases.get("champion")
    if champion is None:
        client.set_registered_model_alias(new.name, "champion", new.version)
        return
    old = client.get_model_version(new.name, champion)
    if old.tags.get("score_test_sha256") == score.test_sha256 and old.tags.get("score_name") == score.name:
        old_score = float(old.tags["score"])
    else:
        old_score = _rescored(old, rescore)
    if score.value < old_score:
        client.set_registered_model_alias(new.name, "champion", new.version)
        client.set_registered_model_alias(new.name, "challenger", old.version)
    else:
        client.set_registered_model_alias(new.name, "challenger", new.version)


def _rescored(old: ModelVersion, rescore: Callable[[SketchModel], float]) -> float:
    """Return an older version's score on today's test shards; infinity where today's code cannot run it."""
    try:
        model = load_registered(old)[0]
    except RegistryError as error:
        print(f"{old.name}: the champion cannot be compared and steps down. {error}")
        return math.inf
    with torch.no_grad():
        return rescore(model)


def _versions(client: mlflow.MlflowClient, name: str) -> list[ModelVersion]:
    try:
        return sorted(client.search_model_versions(f"name='{name}'"), key=lambda found: int(found.version))
    except MlflowException as error:
        raise RegistryError(f"the registry cannot be read: {error}") from error


def _signature(model: SketchModel) -> ModelSignature:
    reals = Array(DataType.double)
    columns: list[ColSpec | TensorSpec] = [ColSpec(DataType.string, "drawing", required=False)]
    columns += [ColSpec(reals, axis, required=False) for axis in "xyt"]
    columns += [ColSpec(Array(DataType.long), "offsets", required=False)]
    asked = [ParamSpec("points", DataType.integer, 0)]
    if isinstance(model, Completer) and not isinstance(model, Autoencoder):
        asked = [ParamSpec("extent", DataType.double, 1.0), ParamSpec("temperature", DataType.double, -1.0)]
        asked.append(ParamSpec("seed", DataType.integer, 0))
    return ModelSignature(inputs=Schema(columns), params=ParamSchema(asked))
