"""SketchODE, multi-stroke: one neural CDE and one second-order neural ODE, run stroke by stroke.

Das, Yang, Hospedales, Xiang, Song: SketchODE, ICLR 2022, section 4.4 and appendix C. Every stroke is a
curve of its own over [0, T], begun at the origin; between strokes the state is handed on by small
networks, U in the encoder and V in the decoder. Where a stroke starts on the page is regressed, and
after each stroke a flag says whether it was the last.

How we differ from the paper: a CDE sees changes only, so where a stroke starts would be lost to the
encoder; U gets it beside the state. A stroke's first velocity, which the paper holds at zero, comes from V
too, as `models.sketchode` reads it from z. U and V serve the first stroke as well: before it the encoder's
state is 0, and the decoder's A_0 is read from z. The dynamics never read a position: A(t1) holds the
velocities and the way of each hidden unit over the stroke.

Work is batched over the drawings that still have a stroke; the only loop is over strokes. Drawings with
more than `max_strokes` strokes lose their last ones (`models.base.MultiStroke`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ink.table import Ink
from models.base import Batch, MultiStroke, SketchModel, require
from models.nn.ode.dynamics import solve
from models.nn.ode.grid import TimeGrid
from models.nn.ode.model import ODEModelConfig, weight_matrices
from models.nn.ode.network import Network

_HIDDEN_LAYERS = 1  # of the dynamics: section 5.1


@dataclass(frozen=True)
class SketchODEStrokesConfig(ODEModelConfig):
    """Settings of multi-stroke SketchODE, beside those of `ODEModelConfig`; duration and steps are of every stroke.

    Args:
        latent_size: l.
        points_per_stroke: G_stroke, samples per stroke.
        max_strokes: K, strokes per drawing at most, read or written.
        start_weight: weight of the loss of the start positions against that of the points.
        end_weight: weight of the loss of the end flag.
    """

    latent_size: int
    points_per_stroke: int
    max_strokes: int
    start_weight: float
    end_weight: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.points_per_stroke >= 2, f"points_per_stroke must be at least 2, got {self.points_per_stroke}")
        for name in ("latent_size", "max_strokes"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, got {getattr(self, name)}")
        require(self.start_weight >= 0 and self.end_weight >= 0, "start_weight and end_weight must not be negative")


class SketchODEStrokes(SketchModel):
    """CDE over strokes to z, second-order ODE over strokes from z. K strokes, G points each; see `models.base`."""

    Config = SketchODEStrokesConfig

    def __init__(self, config: SketchODEStrokesConfig) -> None:
        super().__init__()
        self.config = config
        size, latent = config.hidden_size, config.latent_size
        self.cde = config.dynamics(size * 3, 0, _HIDDEN_LAYERS)  # path: x, y, time
        self.read_on = _mlp(size + 2, size)  # U: g_k(t0) from g_{k-1}(t1) and where stroke k starts
        self.to_latent = nn.Linear(size, latent)
        self.from_latent = nn.Linear(latent, 2 * size)  # A_0
        self.ode = config.dynamics(size, latent, _HIDDEN_LAYERS)
        self.write_on = _mlp(2 * size, size)  # V: first velocity of stroke k from A_{k-1}(t1)
        self.start = _mlp(2 * size, 2)  # v_k, where stroke k starts, from the same
        self.end = _mlp(2 * size, 1)  # logit of r_k, from A_k(t1)
        self.grid = TimeGrid(config.duration, config.solver_steps)

    @property
    def representation(self) -> MultiStroke:
        """Every stroke by itself."""
        return MultiStroke(self.config.points_per_stroke, self.config.max_strokes)

    def encode(self, points: Tensor) -> Tensor:
        """(B, K, G, 3) -> (B, Z): equation 4 over each stroke in turn; z = L(g of the last stroke's end).

        G may differ from the config's: the samples are taken as uniform in time.
        """
        there, starts, curves = _split(points)
        path = self.grid.path(curves)  # (2 S + 1, B, K, 3)
        state = points.new_zeros(len(points), self.config.hidden_size)
        for k in range(int(there.sum(1).max())):
            rows = there[:, k].nonzero()[:, 0]
            begun = self.read_on(torch.cat([state[rows], starts[rows, k]], -1))
            states = self._solve(begun, self.cde.network(len(rows)), path[:, rows, k].contiguous())[0]
            state = state.index_copy(0, rows, states[-1])
        return self.to_latent(state)

    def decode(self, z: Tensor, points: int | None = None, omega: float | None = None) -> Tensor:
        """(B, Z) -> (B, K, G, 3) of x, y, pen_up, free-running: stroke upon stroke until the flag says that it ends.

        Args:
            z: latent codes.
            points: G; the config's if None.
            omega: lower than the trained frequency removes detail (section 5.5).

        Returns:
            Strokes on the page; pen_up is 0 along a stroke and 1 along the padding behind the last.
        """
        count = points or self.config.points_per_stroke
        out = z.new_zeros(len(z), self.config.max_strokes, count, 3)
        out[..., 2] = 1.0
        rows, state = torch.arange(len(z), device=z.device), self.from_latent(z)
        for k in range(self.config.max_strokes):
            curve, written = self._write(state, z[rows], count, omega)
            placed = curve + self.start(state).unsqueeze(1)
            out[rows, k] = torch.cat([placed, torch.zeros_like(curve[..., :1])], -1)
            going = (self.end(written)[:, 0] <= 0).nonzero()[:, 0]
            if len(going) == 0:
                break
            rows, state = rows[going], written[going]
        return out

    def to_ink(self, decoded: Tensor) -> Ink:
        """(B, K, G, 3) -> drawings, each centred on its box."""
        return self.representation.to_ink(decoded)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Smooth-L1 on points and start positions, Bernoulli likelihood of the end flag; means over strokes.

        The decoder runs free but for the number of strokes, which is the drawing's.

        Returns:
            `loss`; `xy`, of points from their stroke's start, summed over x and y, mean over points; `start`, of
            start positions, the same; `end`, in nats.
        """
        target = batch["points"]
        there, starts, curves = _split(target)
        strokes = there.sum(1)
        z = self.encode(target)
        rows, state = torch.arange(len(z), device=z.device), self.from_latent(z)
        xy = start = end = z.new_zeros(())
        for k in range(int(strokes.max())):
            going = (strokes[rows] > k).nonzero()[:, 0]
            rows, state = rows[going], state[going]
            start = start + _smooth_l1(self.start(state), starts[rows, k])
            curve, state = self._write(state, z[rows], target.shape[2], None)
            xy = xy + _smooth_l1(curve, curves[rows, k]) / target.shape[2]
            is_last = (strokes[rows] == k + 1).to(z.dtype)
            end = end + _cross_entropy(self.end(state)[:, 0], is_last)
        xy, start, end = (term / strokes.sum() for term in (xy, start, end))
        loss = xy + self.config.start_weight * start + self.config.end_weight * end
        return {"loss": loss, "xy": xy, "start": start, "end": end}

    def decayed_parameters(self) -> Iterator[nn.Parameter]:
        """The dynamics' weight matrices only (section 5.1)."""
        return weight_matrices(self.cde, self.ode)

    def _write(self, before: Tensor, z: Tensor, points: int, omega: float | None) -> tuple[Tensor, Tensor]:
        """Integrate one stroke from A of the one before, (B, 2 d); return it from its start, (B, G, 2), and its A."""
        states, means = self._solve(self.write_on(before), self.ode.network(len(z), z, omega), None)
        positions = self.grid.positions(states, means)
        curve = self.grid.curve(positions[..., :2], states[..., :2], points)
        return curve, torch.cat([positions[-1], states[-1]], -1)

    def _solve(self, start: Tensor, network: Network, path: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the states (S + 1, B, d) and the mean state of each step (S, B, d)."""
        return solve(start, network, self.grid.times(start), path, self.config.method, self.config.gradient)


def _mlp(inputs: int, outputs: int) -> nn.Sequential:
    """One hidden layer, as wide as the wider end."""
    hidden = max(inputs, outputs)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, outputs))


def _split(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return which strokes there are (B, K), where they start (B, K, 2), and each from its start (B, K, G, 2)."""
    starts = points[:, :, 0, :2]
    return points[:, :, 0, 2] < 0.5, starts, points[..., :2] - starts.unsqueeze(2)


def _smooth_l1(predicted: Tensor, target: Tensor) -> Tensor:
    return nn.functional.smooth_l1_loss(predicted, target, reduction="sum")


def _cross_entropy(logit: Tensor, target: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logit, target, reduction="sum")
