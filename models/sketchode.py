"""SketchODE, full-sequence: a neural CDE reads the drawing, a second-order neural ODE writes it.

Das, Yang, Hospedales, Xiang, Song: SketchODE, ICLR 2022. Notable: the pen's trajectory is continuous in
the latent code, so interpolation is smooth, and a drawing decodes at any resolution.

How we differ from the authors' code: the solver's steps do not depend on the number of samples, and
between its steps the pen follows the cubic Hermite curve through positions and velocities; both
equations are solved in the first layer's input, where z and the bias are no more than where it starts
(`models.nn.ode.fused`); the position of the hidden state, which the dynamics never read, is not integrated;
the pen's logit has a learned offset, since s(0) = 0 would otherwise pin its probability at 1/2. Both
solves go through `models.nn.ode.dynamics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ink.table import Ink
from models.base import Batch, FullSequence, OwnTimes, SketchModel, require, sequence_loss
from models.nn.ode.dynamics import solve, solve_curve
from models.nn.ode.fused import stage_times
from models.nn.ode.grid import TimeGrid
from models.nn.ode.model import ODEModelConfig, weight_matrices
from models.nn.ode.ragged import Samples, at_own_times

_HIDDEN_LAYERS = 2  # of the dynamics


@dataclass(frozen=True)
class SketchODEConfig(ODEModelConfig):
    """Settings of SketchODE (section 5.1 unless noted), beside those of `ODEModelConfig`.

    Args:
        latent_size: l, size of z.
        points: G_seq, samples per drawing.
        sampling: "uniform": every drawing at the same `points` moments; "union": each at the moments of its own points,
            a batch's trajectory evaluated at the union of them all (appendix D). The solver's steps are the same.
        summary: what of the encoder's trajectory is read: "last" g(t1) (paper) or "max" over time (authors' code).
        order: of the decoder's equation: 2, a'' = F(a', t, z) (paper), or 1, a' = F(a, t, z).
        observation: how a holds the drawing: "augmented", as its first three components (paper), or read from all of
            it by a "linear" layer (an option of the authors' code).
        start_velocity: of the pen: "constant", the same for all drawings (paper), or read from z ("latent"): an 8 and
            a 1 do not set out in the same direction. Of order 2 with observation "augmented" only.
        pen_weight: weight of the pen's loss against the position's.
    """

    latent_size: int
    points: int
    sampling: str
    summary: str
    order: int
    observation: str
    start_velocity: str
    pen_weight: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.latent_size >= 1, f"latent_size must be at least 1, got {self.latent_size}")
        require(self.points >= 2, f"points must be at least 2, got {self.points}")
        require(self.sampling in ("uniform", "union"), f"sampling must be uniform or union, got {self.sampling!r}")
        require(self.start_velocity in ("constant", "latent"), "start_velocity must be 'constant' or 'latent'")
        require(self.summary in ("last", "max"), f"summary must be 'last' or 'max', got {self.summary!r}")
        require(self.order in (1, 2), f"order must be 1 or 2, got {self.order!r}")
        require(self.observation in ("augmented", "linear"), "observation must be 'augmented' or 'linear'")


class SketchODE(SketchModel):
    """CDE encoder, linear latent, second-order augmented ODE decoder. Shapes: see `models.base`."""

    Config = SketchODEConfig

    def __init__(self, config: SketchODEConfig) -> None:
        super().__init__()
        self.config = config
        size = config.hidden_size
        self.cde = config.dynamics(size * 4, 0, _HIDDEN_LAYERS)  # path: x, y, pen, time
        self.to_latent = nn.Linear(size, config.latent_size)
        linear, latent = config.observation == "linear", config.start_velocity == "latent"
        free = size if linear or (latent and config.order == 2) else size - 3  # without x, y, pen
        self.from_latent = nn.Linear(config.latent_size, free)  # a' at first, or a
        self.ode = config.dynamics(size, config.latent_size, _HIDDEN_LAYERS)
        self.start_velocity = nn.Parameter(
            torch.zeros(size - free), requires_grad=config.order == 2
        )  # order 1: s(0) = 0
        self.observe = nn.Linear(size, 3, bias=False) if linear else None
        self.pen_offset = nn.Parameter(torch.full((), -1.0))
        self.grid = TimeGrid(config.duration, config.solver_steps)

    @property
    def representation(self) -> FullSequence | OwnTimes:
        """Samples of the whole drawing, pen-up joins included, uniform or at its own moments."""
        return OwnTimes(self.config.points) if self.config.sampling == "union" else FullSequence(self.config.points)

    def encode(self, points: Tensor) -> Tensor:
        """(B, T, 3) -> (B, Z): dg/dt = G(t, g) dX/dt, g(t0) = 0, z = L(g(t1)) (equation 4).

        T may differ from the config's: the samples are taken as uniform in time. Of sampling "union" the samples
        are (B, P, 5), as `OwnTimes` makes them.
        """
        batch = len(points)
        start = points.new_zeros(batch, self.config.hidden_size)
        config, last = self.config, self.config.summary == "last"
        network, path = self.cde.network(batch), self._path(points)
        states = solve(start, network, self.grid.times(), path, config.method, config.gradient, last=last)[0]
        summary = states[-1] if last else states.max(0).values
        return self.to_latent(summary)

    def decode(self, z: Tensor, points: int | None = None, omega: float | None = None) -> Tensor:
        """(B, Z) -> (B, T, 3) of x, y, probability of pen_up, at any number of points.

        Args:
            z: latent codes.
            points: T; the config's if None.
            omega: lower than the trained frequency removes detail (section 5.5).
        """
        xy, logit = self._trajectory(z, self.grid.samples(points or self.config.points).tolist(), omega)
        return torch.cat([xy, torch.sigmoid(logit).unsqueeze(-1)], -1)

    @property
    def can_abstract(self) -> bool:
        """Only periodic dynamics have a frequency to lower."""
        return self.config.activation in ("sin", "cos")

    def abstract(self, z: Tensor, share: float, points: int | None = None) -> Tensor:
        """(B, Z) -> (B, T, 3), decoded with this share of the trained frequency (section 5.5)."""
        return self.decode(z, points, share * self.config.omega)

    def to_ink(self, decoded: Tensor) -> Ink:
        """(B, T, 3) -> drawings, each centred on its box."""
        return self.representation.to_ink(decoded)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Smooth-L1 on positions, Bernoulli likelihood of the pen (equation 5), at each drawing's sample times."""
        target, weight = batch["points"], self.config.pen_weight
        z = self.encode(target)
        if self.config.sampling == "uniform":
            return sequence_loss(*self._trajectory(z, self.grid.samples(target.shape[1]).tolist()), target, weight)
        samples = Samples.of(target, self.config.duration)
        moments, where = samples.union()
        xy, logit = self._trajectory(z, moments.tolist())
        xy, logit = (at_own_times(of.transpose(0, 1), where) for of in (xy, logit))
        return sequence_loss(xy, logit, samples.values, weight, samples.valid)

    def decayed_parameters(self) -> Iterator[nn.Parameter]:
        """The dynamics' weight matrices only (section 5.1)."""
        return weight_matrices(self.cde, self.ode)

    def _path(self, points: Tensor) -> Callable[[int, int], Tensor]:
        """Return what gives dX/dt, X = (x, y, pen_up, time), (2 (end - first) + 1, B, 4), at steps and halfway."""
        if self.config.sampling == "union":
            samples, steps = Samples.of(points, self.config.duration), stage_times(self.grid.times())
            return lambda first, end: samples.derivative(steps[2 * first : 2 * end + 1].to(points)).contiguous()
        times = self.grid.samples(points.shape[1])
        path = torch.cat([points, times.to(points).expand(len(points), -1).unsqueeze(-1)], -1)  # (B, T, 4)
        matrix = self.grid.slopes(len(times), points)
        return lambda first, end: torch.einsum("qt,btc->qbc", matrix[2 * first : 2 * end + 1], path).contiguous()

    def _trajectory(self, z: Tensor, moments: Sequence[float], omega: float | None = None) -> tuple[Tensor, Tensor]:
        """Integrate a'' = F(a', t, z), or a' = F(a, t, z), a = [s h] (equation 2).

        Args:
            z: (B, Z).
            moments: T times in [0, duration], ascending, at which the drawing is wanted.
            omega: see `decode`.

        Returns:
            s as (B, T, 2), and pen logits (B, T).
        """
        config, free = self.config, self.from_latent(z)
        curve = solve_curve(
            torch.cat([self.start_velocity.expand(len(z), -1), free], -1),
            self.ode.network(len(z), z, omega),
            self.grid.times(),
            moments,
            config.method,
            config.gradient,
            order=config.order,
            keep=3 if self.observe is None else config.hidden_size,
        )
        observed = (curve if self.observe is None else self.observe(curve)).transpose(0, 1)  # (B, T, 3)
        return observed[..., :2], observed[..., 2] + self.pen_offset
