"""Works on trained champions: what their latent space and their decoder can do.

`near` decodes around a code, `walk` along a closed path between codes, `abstract` with less and less detail,
`resolve` at more and more points. Each asks what the model can do, never which model it is.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ink import metrics, resample
from ink.errors import InkmillError
from ink.params import Params
from ink.table import Ink
from models.base import Abstractor, Autoencoder, FullSequence, OwnTimes, SketchModel
from pipeline import evaluate
from pipeline.dataset import Dataset
from pipeline.judge import NO_JUDGE, judge_of
from pipeline.studies.cell import Cell
from pipeline.studies.common import Report, champion_of, examples, prepare
from pipeline.studies.works import Result, Work

_POINTS = 75  # at which two drawings are compared: `ink.metrics.huber`'s own number
_BATCH = 256
_SOURCES = ("pipeline/studies/latent.py", "pipeline/studies/common.py")


class NearOptions(Params):
    """Options of `near`."""

    drawings: int = Field(ge=1)  # shown
    samples: int = Field(ge=1)  # shown of each
    sigmas: list[float] = Field(min_length=1)  # standard deviations around the code
    relative_sigmas: list[float]  # the same in units of the codes' own spread over the test drawings


def near(cell: Cell, fingerprint: str, report: Report) -> Result:
    """Decode N(z, sigma^2 I) around the codes of test drawings (section 5.2, figure 5 left)."""
    options = NearOptions.model_validate(cell.options)
    data, model = prepare(cell), _autoencoder(cell)
    judge, labels = judge_of(cell.dataset), data.labels(data.test)
    generator = torch.Generator().manual_seed(cell.seed)
    codes = encoded(model, data.test.ink)
    spread = float(codes.std(0).square().mean().sqrt())
    plain = drawn(model, codes)
    shown = examples(data, options.drawings)
    numbers: dict[str, float | int | str] = {
        "latent_spread": spread,
    }
    if judge is not None:
        numbers["accuracy_original"] = evaluate.accuracy(judge, data.test.ink, labels)
        numbers["accuracy_0"] = evaluate.accuracy(judge, plain, labels)
    rows = {"original": data.test.ink.take(shown), "at the code": plain.take(shown)}
    levels = [(f"{sigma:g}", sigma) for sigma in options.sigmas]
    levels += [(f"{share:g}s", share * spread) for share in options.relative_sigmas]
    for done, (name, sigma) in enumerate(levels, start=1):
        moved = drawn(model, codes + sigma * torch.randn(codes.shape, generator=generator))
        if judge is not None:
            numbers[f"accuracy_{name}"] = evaluate.accuracy(judge, moved, labels)
        numbers[f"moved_{name}"] = float(metrics.huber(plain, moved, _POINTS).mean())
        around = codes[shown].repeat(options.samples, 1)
        samples = drawn(model, around + sigma * torch.randn(around.shape, generator=generator))
        title = f"sigma {name.removesuffix('s')}" + (" of the codes' spread" if name.endswith("s") else "")
        for number in range(options.samples):
            rows[f"{title}, sample {number + 1}"] = samples.take(np.arange(len(shown)) + number * len(shown))
        report(done / len(levels))
    return Result(numbers, rows, notes=[] if judge is not None else [NO_JUDGE])


class WalkOptions(Params):
    """Options of `walk`."""

    drawings: int = Field(ge=2)  # that a loop passes through
    frames: int = Field(ge=2)  # between one and the next
    loops: int = Field(ge=1)  # measured; the first is shown
    strip: int = Field(ge=2)  # frames of the printed strip, of all


def walk(cell: Cell, fingerprint: str, report: Report) -> Result:
    """Decode closed paths from code to code, and measure how evenly the drawing moves (section 5.4)."""
    options = WalkOptions.model_validate(cell.options)
    data, model = prepare(cell), _autoencoder(cell)
    chosen = loops(data, options.drawings, options.loops, cell.seed)
    found: list[dict[str, float]] = []
    rows: dict[str, Ink] = {}
    for number, places in enumerate(chosen):
        codes = encoded(model, data.test.ink.take(places))
        found.append(smoothness(model, codes, options.frames, closed=True))
        if number == 0:
            ink = drawn(model, along(model, codes, options.frames, closed=True))
            names = data.test.column("label")[places]
            some = np.linspace(0, len(ink), options.strip, endpoint=False).astype(int)
            rows = {" → ".join([*names, names[0]]): ink.take(some), "loop": ink}
        report((number + 1) / len(chosen))
    numbers: dict[str, float | int | str] = {}
    for name in found[0]:
        values = np.array([one[name] for one in found])
        numbers[name] = float(values.mean())
        numbers[f"{name}_se"] = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return Result({**numbers, "loops": len(chosen)}, rows)


class AbstractOptions(Params):
    """Options of `abstract`."""

    drawings: int = Field(ge=1)
    shares: list[float] = Field(min_length=1)  # of the trained frequency, 1 first


def abstract(cell: Cell, fingerprint: str, report: Report) -> Result:
    """Decode with the dynamics' frequency lowered step by step (section 5.5)."""
    options = AbstractOptions.model_validate(cell.options)
    data, model = prepare(cell), _autoencoder(cell)
    if not isinstance(model, Abstractor) or not model.can_abstract:
        return Result({}, notes=[f"{cell.model} has no frequency to lower: it cannot abstract."])
    judge, labels = judge_of(cell.dataset), data.labels(data.test)
    codes, shown = encoded(model, data.test.ink), examples(data, options.drawings)
    rows = {"original": data.test.ink.take(shown)}
    numbers: dict[str, float | int | str] = {"turning_original": turning(data.test.ink)}
    for done, share in enumerate(options.shares, start=1):
        ink = _ink_of(model, [model.abstract(part, share) for part in codes.split(_BATCH)])
        rows[f"omega x {share:g}"] = ink.take(shown)
        numbers[f"turning_{share:g}"] = turning(ink)
        if judge is not None:
            numbers[f"accuracy_{share:g}"] = evaluate.accuracy(judge, ink, labels)
        report(done / len(options.shares))
    return Result(numbers, rows, notes=[] if judge is not None else [NO_JUDGE])


class ResolveOptions(Params):
    """Options of `resolve`."""

    drawings: int = Field(ge=1)
    points: list[int] = Field(min_length=2)  # ascending; the last is the curve that the others are held against


def resolve(cell: Cell, fingerprint: str, report: Report) -> Result:
    """Decode the same codes at several numbers of points, and measure how far the curves lie apart."""
    options = ResolveOptions.model_validate(cell.options)
    data, model = prepare(cell), _autoencoder(cell)
    shown = examples(data, options.drawings)
    codes = encoded(model, data.test.ink.take(shown))
    rows = {"original": data.test.ink.take(shown)}
    numbers: dict[str, float | int | str] = {}
    curves: dict[int, np.ndarray] = {}
    for done, points in enumerate(options.points, start=1):
        with torch.no_grad():
            decoded = model.decode(codes, points)
        rows[f"{points:,} points"] = model.to_ink(decoded)
        curves[points] = trajectory(model, decoded).double().numpy()
        report(done / len(options.points))
    finest = curves[options.points[-1]]
    for points, curve in curves.items():
        numbers[f"samples_{points}"] = float(np.abs(at_times(finest, points) - curve).max())
        numbers[f"line_{points}"] = float(np.abs(at_times(curve, len(finest[0])) - finest).max())
    return Result(numbers, rows)


def along(model: Any, codes: Tensor, frames: int, closed: bool) -> Tensor:
    """Return (K * frames, Z) codes on the model's own paths through K codes and back, or to the last, included."""
    ends = torch.cat([codes, codes[:1]]) if closed else codes
    share = (torch.arange(frames, dtype=codes.dtype) / frames)[:, None]
    path = torch.cat([model.between(a, b, share) for a, b in itertools.pairwise(ends)])
    return path if closed else torch.cat([path, codes[-1:]])


def smoothness(model: Autoencoder, codes: Tensor, frames: int, closed: bool) -> dict[str, float]:
    """Measure the steps between neighbouring frames of a path, and of the same path at half the latent step.

    A step is the root mean square distance between two frames' positions at equal moments: of the decoder's whole
    trajectory, and (`ink_…`) of what is inked, sampled as the Huber metric samples it.

    Returns:
        `jump`: the largest step over the mean step, 1 in an even walk. `halved`, `halved_largest`: the mean and the
        largest step after halving the latent step, over that before: 1/2 where the drawing follows the code
        continuously, 1 for a jump.
    """
    found: dict[str, float] = {}
    steps = {n: _steps_between(model, along(model, codes, n, closed), closed) for n in (frames, 2 * frames)}
    for name in ("", "ink_"):
        coarse, fine = steps[frames][name], steps[2 * frames][name]
        found[f"{name}jump"] = float(coarse.max() / coarse.mean())
        found[f"{name}halved"] = float(fine.mean() / coarse.mean())
        found[f"{name}halved_largest"] = float(fine.max() / coarse.max())
    return found


def turning(ink: Ink) -> float:
    """Return how much the pen turns within strokes, radians a drawing, in steps of 0.05."""
    even = resample.resample_strokes(ink, 0.05)
    dx, dy = np.diff(even.x.astype(np.float64)), np.diff(even.y.astype(np.float64))
    inside = np.ones(len(dx), bool)
    inside[even.stroke_offsets[1:-1] - 1] = False  # from one stroke to the next
    inside &= np.hypot(dx, dy) > 0
    angle = np.arctan2(dy, dx)
    change = np.abs((np.diff(angle) + np.pi) % (2 * np.pi) - np.pi)
    return float(change[inside[1:] & inside[:-1]].sum() / len(ink))


def loops(data: Dataset, drawings: int, count: int, seed: int) -> list[np.ndarray]:
    """Return the test drawings of each loop, of classes that differ where there are enough."""
    labels = data.test.column("label")
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        classes = np.resize(generator.permutation(np.unique(labels)), drawings)
        made.append(np.array([generator.choice(np.flatnonzero(labels == name)) for name in classes]))
    return made


def trajectory(model: SketchModel, decoded: Tensor) -> Tensor:
    """Return (B, T, 2) positions: as decoded, or, of a model without one sequence, of the inked drawing."""
    if isinstance(model.representation, FullSequence | OwnTimes):
        return decoded[..., :2]
    assert isinstance(model, Autoencoder)
    return torch.from_numpy(resample.full_sequence(model.to_ink(decoded), _POINTS)[..., :2].copy())


def at_times(curves: np.ndarray, count: int) -> np.ndarray:
    """Return (B, T, 2) -> (B, count, 2): each polyline at so many uniform times, both ends included."""
    place = np.linspace(0, curves.shape[1] - 1, count)
    before = np.minimum(place.astype(int), curves.shape[1] - 2)
    share = (place - before)[:, None]
    return (1 - share) * curves[:, before] + share * curves[:, before + 1]


@torch.no_grad()
def encoded(model: Any, ink: Ink) -> Tensor:
    """Return (N, Z) codes."""
    return torch.cat([model.encode(part) for part in model.representation.collate(ink).split(_BATCH)])


@torch.no_grad()
def drawn(model: Any, codes: Tensor) -> Ink:
    """Return what codes decode to."""
    return _ink_of(model, [model.decode(part) for part in codes.split(_BATCH)])


def _ink_of(model: Any, decoded: list[Tensor]) -> Ink:
    return Ink.concat([model.to_ink(part) for part in decoded])


@torch.no_grad()
def _steps_between(model: Any, path: Tensor, closed: bool) -> dict[str, np.ndarray]:
    decoded = [model.decode(part) for part in path.split(_BATCH)]
    whole = torch.cat([trajectory(model, part) for part in decoded]).double().numpy()
    inked = resample.full_sequence(_ink_of(model, decoded), _POINTS)[..., :2].astype(np.float64)
    found = {}
    for name, frames in (("", whole), ("ink_", inked)):
        ends = np.concatenate([frames, frames[:1]]) if closed else frames
        found[name] = np.sqrt((np.diff(ends, axis=0) ** 2).sum(-1).mean(1))
    return found


def _autoencoder(cell: Cell) -> Any:
    model = champion_of(cell)
    if not isinstance(model, Autoencoder):
        raise InkmillError(f"{cell.model} has no encode and decode: the study {cell.study} asks for both")
    return model


NEAR = Work(near, NearOptions, trains=False, champion=True, judge=True, sources=_SOURCES)
WALK = Work(walk, WalkOptions, trains=False, champion=True, judge=False, sources=_SOURCES)
ABSTRACT = Work(abstract, AbstractOptions, trains=False, champion=True, judge=True, sources=_SOURCES)
RESOLVE = Work(resolve, ResolveOptions, trains=False, champion=True, judge=False, sources=_SOURCES)
