"""Small models as `params.yaml` describes them, drawings for them, and a training step that looks at its gradients."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from ink import geometry
from ink.params import read_params
from ink.table import Ink
from models import model_class
from models.base import SketchModel
from pipeline.settings import build_model

PARAMS = Path(__file__).parents[2] / "params.yaml"
CLASSES = 3
TINY = {
    "hidden_size": 8,
    "solver_steps": 7,
    "latent_size": 5,
    "points": 12,
    "points_per_stroke": 9,
    "size": 32,
    "channels": [4, 4, 8, 8],
    "encoder_size": 6,
    "decoder_size": 8,
    "hyper_size": 4,
    "hyper_embedding": 3,
    "mixtures": 3,
    "max_points": 45,
}


def tiny(name: str, seed: int = 0, **changes) -> SketchModel:
    """The model as `params.yaml` describes it for digits, made small."""
    params = read_params(PARAMS)
    of_model = {field.name for field in fields(model_class(name).Config)}
    params["models"][name]["config"] |= {key: value for key, value in TINY.items() if key in of_model} | changes
    torch.manual_seed(seed)
    return build_model(params, "digits", name, CLASSES)


def drawings(count: int, seed: int = 0) -> Ink:
    """Random walks of one to three strokes, as `normalize` leaves them."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        lengths = rng.integers(2, 12, rng.integers(1, 4))
        xy = np.cumsum(rng.normal(size=(lengths.sum(), 2)), 0)
        points = np.column_stack([xy, np.arange(len(xy))])
        made.append(np.split(points, np.cumsum(lengths)[:-1]))
    return normalized(Ink.from_strokes(made))


def normalized(ink: Ink) -> Ink:
    unit = geometry.unit_circle(ink)[0]
    return geometry.with_arc_length_clock(unit)


def batch_of(model: SketchModel, ink: Ink) -> dict[str, torch.Tensor]:
    points = model.representation.collate(ink).to(next(model.parameters()).dtype)
    steps = {"step": torch.tensor(30), "steps": torch.tensor(40)}  # late: every weight that is annealed counts
    return {"points": points, "label": torch.arange(len(ink)) % CLASSES, **steps}


def optimizer_of(model: SketchModel) -> torch.optim.AdamW:
    return torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)


def take_step(model: SketchModel, optimizer: torch.optim.Optimizer, batch: dict[str, torch.Tensor]) -> float:
    terms = model.train().loss(batch)
    optimizer.zero_grad()
    terms["loss"].backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and bool(parameter.grad.isfinite().all()), name
    optimizer.step()
    assert all(bool(value.isfinite()) and value.dim() == 0 for value in terms.values()), terms
    return terms["loss"].item()
