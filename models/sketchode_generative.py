"""SketchODE, generative: a variational autoencoder whose decoder is a continuous normalizing flow.

Das, Yang, Hospedales, Xiang, Song: SketchODE, ICLR 2022, appendix A. The encoder gives a Gaussian q(z|s), the prior
is N(0, I), and new drawings are decoded from the prior. The hidden trajectory H(t) has a density: that of z, carried
through an invertible L_dec and along the ODE (`models.nn.ode.cnf`). Training minimises

    fit + w (KL[q(z|s) || p(z)] + f E[mean over t of log q(H(t)) - log p(H(t))] + KL[q(theta) || p(theta)] / n)

with w annealed from 0 between two moments of the run; the last term is for Bayesian dynamics only, where the
weights of the ODE are drawn anew for every batch.

How we differ from the paper. F reads H, the velocity of the state a = [s h], and nothing of its position: the
velocity is the flow, and s its integral. Were F to read all of z, the density of H(t) would need the derivative of
the flow with respect to z too, which the paper's formula leaves out; so z = (z_h, z_c), L_dec takes z_h to H(0), F
reads z_c, and log q(H(t), z_c) = log q(z) - log |det L_dec| - the integral of the trace, exactly. The paper's flat
p(H) leaves the objective without a lower bound, since hidden units may grow for ever: hence N(0, I) as a choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ink.table import Ink
from models.base import Batch, FullSequence, SketchModel, require, sequence_loss
from models.nn.invertible import InvertibleLinear
from models.nn.ode import cnf
from models.nn.ode.dynamics import solve
from models.nn.ode.grid import TimeGrid
from models.nn.ode.model import ODEModelConfig, weight_matrices
from models.nn.ode.network import Network

_HIDDEN_LAYERS = 2  # of the dynamics: section 5.1
_LOG_STD = -3.0  # where the posterior's log standard deviation starts
_LOG_WEIGHT_STD = -5.0  # where that of the weights starts


@dataclass(frozen=True)
class SketchODEGenerativeConfig(ODEModelConfig):
    """Settings of generative SketchODE, beside those of `ODEModelConfig`; hidden_size d is also the size of z_h.

    Args:
        context_size: c, size of z_c, the part of z that the dynamics read; z has d + c numbers.
        points: samples per drawing.
        pen_weight: weight of the pen's loss against the position's.
        prior_weight: w at the end of the annealing, against the fit, which is a mean over points.
        anneal_from, anneal_to: fractions of the run at which w leaves 0 and is all there.
        flow_weight: f (paper: 1).
        trace: of the flow, "exact" or "hutchinson" (one product with random signs, drawn anew for every batch).
        trajectory_prior: p(H(t)), "normal" N(0, I) or "flat" (paper).
        bayesian: give the weights of the decoder's dynamics a Gaussian q(theta) of one learned width.
        weight_std: of the prior p(theta), around 0.
        weight_share: 1 / n, the share of KL[q(theta) || p(theta)] that one drawing bears: 1 / training drawings.
    """

    context_size: int
    points: int
    pen_weight: float
    prior_weight: float
    anneal_from: float
    anneal_to: float
    flow_weight: float
    trace: str
    trajectory_prior: str
    bayesian: bool
    weight_std: float
    weight_share: float

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.context_size >= 0, f"context_size must not be negative, got {self.context_size}")
        require(self.points >= 2, f"points must be at least 2, got {self.points}")
        require(self.prior_weight >= 0 and self.flow_weight >= 0, "prior_weight and flow_weight must not be negative")
        require(
            0 <= self.anneal_from < self.anneal_to <= 1,
            f"0 <= anneal_from < anneal_to <= 1 must hold, got {self.anneal_from} and {self.anneal_to}",
        )
        require(self.trace in ("exact", "hutchinson"), f"trace must be 'exact' or 'hutchinson', got {self.trace!r}")
        require(self.trajectory_prior in ("normal", "flat"), "trajectory_prior must be 'normal' or 'flat'")
        require(self.weight_std > 0 and self.weight_share > 0, "weight_std and weight_share must be positive")


class SketchODEGenerative(SketchModel):
    """CDE encoder to q(z|s), flow of the hidden velocity from z. Shapes: see `models.base`; Z = d + c."""

    Config = SketchODEGenerativeConfig

    def __init__(self, config: SketchODEGenerativeConfig) -> None:
        super().__init__()
        self.config = config
        size, latent = config.hidden_size, config.hidden_size + config.context_size
        self.cde = config.dynamics(size * 4, 0, _HIDDEN_LAYERS)  # path: x, y, pen, time
        self.to_mean = nn.Linear(size, latent)
        self.to_log_std = nn.Linear(size, latent)
        with torch.no_grad():
            self.to_log_std.weight.mul_(0.1)
            self.to_log_std.bias.fill_(_LOG_STD)
        self.from_latent = InvertibleLinear(size)  # L_dec
        self.ode = config.dynamics(size, config.context_size, _HIDDEN_LAYERS)
        self.log_weight_std = nn.Parameter(torch.tensor(_LOG_WEIGHT_STD), requires_grad=config.bayesian)
        self.pen_offset = nn.Parameter(torch.full((), -1.0))
        self.grid = TimeGrid(config.duration, config.solver_steps)

    @property
    def representation(self) -> FullSequence:
        """Uniform samples of the whole drawing, pen-up joins included."""
        return FullSequence(self.config.points)

    def posterior(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, 3) -> mean and log standard deviation of q(z|s), (B, Z) each."""
        start = points.new_zeros(len(points), self.config.hidden_size)
        summary = self._solve(start, self.cde.network(len(points)), self.grid.path(points))[0][-1]
        return self.to_mean(summary), self.to_log_std(summary)

    def encode(self, points: Tensor) -> Tensor:
        """(B, T, 3) -> (B, Z): the mean of q(z|s)."""
        return self.posterior(points)[0]

    def decode(self, z: Tensor, points: int | None = None, omega: float | None = None) -> Tensor:
        """(B, Z) -> (B, T, 3) of x, y, probability of pen_up, at any number of points, by the mean weights.

        Args:
            z: latent codes.
            points: T; the config's if None.
            omega: lower than the trained frequency removes detail (section 5.5).
        """
        return self._decode(z, self._network(z, omega), points)

    def sample(self, count: int, generator: torch.Generator, temperature: float | None = None) -> Tensor:
        """Decode `count` draws of the prior, its variance times `temperature`, (count, T, 3).

        With Bayesian dynamics by weights drawn once.
        """
        like = self.pen_offset
        shape = (count, self.config.hidden_size + self.config.context_size)
        spread = (1.0 if temperature is None else temperature) ** 0.5
        z = spread * torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)
        network = self._network(z, None)
        return self._decode(z, self._drawn(network, generator) if self.config.bayesian else network, None)

    def to_ink(self, decoded: Tensor) -> Ink:
        """(B, T, 3) -> drawings, each centred on its box."""
        return self.representation.to_ink(decoded)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The objective of the module's docstring, at one z a drawing.

        Returns:
            `loss`; `xy` and `pen` of the fit; `kl`, KL[q(z|s) || p(z)] in nats per drawing; `flow`, the flow's term in
            nats per drawing; `weights`, KL[q(theta) || p(theta)] in nats, of Bayesian dynamics; `weight`, w.
        """
        target = batch["points"]
        mean, log_std = self.posterior(target)
        z = mean + torch.exp(log_std) * torch.randn_like(mean)
        network = self._network(z, None)
        if self.config.bayesian:
            network = self._drawn(network, None)
        states, xy, logit = self._trajectory(z, network, target.shape[1])
        fit = sequence_loss(xy, logit, target, self.config.pen_weight)
        weight = self._weight(batch)
        kl = 0.5 * (mean**2 + torch.exp(2 * log_std) - 1 - 2 * log_std).sum(-1).mean()
        flow = self._flow_term(network, states, z, mean, log_std)
        loss = fit["loss"] + weight * (kl + self.config.flow_weight * flow)
        terms = {"xy": fit["xy"], "pen": fit["pen"], "kl": kl, "flow": flow, "weight": weight}
        if self.config.bayesian:
            terms["weights"] = self._weights_kl()
            loss = loss + weight * self.config.weight_share * terms["weights"]
        return {"loss": loss, **terms}

    def validation_loss(self, batch: Batch) -> Tensor:
        """The fit at the mean of q(z|s) and of q(theta): no noise, comparable with SketchODE's."""
        target = batch["points"]
        z = self.encode(target)
        _, xy, logit = self._trajectory(z, self._network(z, None), target.shape[1])
        return sequence_loss(xy, logit, target, self.config.pen_weight)["loss"]

    def log_density(self, points: Tensor, z: Tensor) -> Tensor:
        """Return (S + 1, B): log q(H(t), z_c | s) in nats at the solver's steps, of codes z of the drawings.

        Args:
            points: (B, T, 3) the drawings s.
            z: (B, Z).
        """
        network = self._network(z, None)
        states = self._trajectory(z, network, self.config.points)[0]
        return self._log_density(network, states, cnf.gaussian_log_density(z, *self.posterior(points)), None)

    def decayed_parameters(self) -> Iterator[nn.Parameter]:
        """The dynamics' weight matrices only (section 5.1)."""
        return weight_matrices(self.cde, self.ode)

    def _decode(self, z: Tensor, network: Network, points: int | None) -> Tensor:
        _, xy, logit = self._trajectory(z, network, points or self.config.points)
        return torch.cat([xy, torch.sigmoid(logit).unsqueeze(-1)], -1)

    def _trajectory(self, z: Tensor, network: Network, points: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return H at the solver's steps (S + 1, B, d), s as (B, T, 2) and pen logits (B, T)."""
        start = self.from_latent(z[:, : self.config.hidden_size])
        states, means = self._solve(start, network, None)
        velocities = states[..., :3]
        observed = self.grid.curve(self.grid.positions(velocities, means[..., :3]), velocities, points)
        return states, observed[..., :2], observed[..., 2] + self.pen_offset

    def _flow_term(self, network: Network, states: Tensor, z: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
        """Return the mean over time and drawings of log q(H(t)) - log p(H(t)), z_c's own density left out."""
        size = self.config.hidden_size
        log_q = cnf.gaussian_log_density(z[:, :size], mean[:, :size], log_std[:, :size])
        noise = cnf.rademacher(states[0]) if self.config.trace == "hutchinson" else None
        density = self._log_density(network, states, log_q, noise).mean()
        if self.config.trajectory_prior == "flat":
            return density
        zero = states.new_zeros(size)
        return density - cnf.gaussian_log_density(states, zero, zero).mean()

    def _log_density(self, network: Network, states: Tensor, log_q: Tensor, noise: Tensor | None) -> Tensor:
        """Carry the log-density of z, (B,), through L_dec and along the flow: (S + 1, B)."""
        at_start = log_q - self.from_latent.log_determinant()
        return cnf.log_density_along(network, self.grid.times(states), states, at_start, noise)

    def _weight(self, batch: Batch) -> Tensor:
        """Return w at this step of the run: linear between the annealing's two ends."""
        config = self.config
        progress = (batch["step"] / batch["steps"] - config.anneal_from) / (config.anneal_to - config.anneal_from)
        return (config.prior_weight * progress.clamp(0, 1)).to(self.pen_offset)

    def _network(self, z: Tensor, omega: float | None) -> Network:
        context = z[:, self.config.hidden_size :] if self.config.context_size else None
        return self.ode.network(len(z), context, omega)

    def _drawn(self, network: Network, generator: torch.Generator | None) -> Network:
        """Return the network with weights and biases drawn from q(theta)."""
        std = torch.exp(self.log_weight_std)

        def drawn(mean: Tensor) -> Tensor:
            noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
            return mean + std * noise

        return replace(
            network,
            weights=tuple(drawn(weight) for weight in network.weights),
            biases=tuple(drawn(bias) for bias in network.biases),
        )

    def _weights_kl(self) -> Tensor:
        """Return KL[q(theta) || p(theta)] in nats, over what `_drawn` draws."""
        network = self.ode.network(1, self.pen_offset.new_zeros(1, self.config.context_size))
        tensors = [*network.weights, *network.biases]
        count = sum(tensor.numel() for tensor in tensors)
        prior = self.config.weight_std
        squares = torch.stack([tensor.square().sum() for tensor in tensors]).sum()
        spread = count * (torch.exp(2 * self.log_weight_std) / (2 * prior**2) - 0.5)
        return squares / (2 * prior**2) + spread + count * (math.log(prior) - self.log_weight_std)

    def _solve(self, start: Tensor, network: Network, path: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the states (S + 1, B, d) and the mean state of each step (S, B, d)."""
        return solve(start, network, self.grid.times(start), path, self.config.method, self.config.gradient)
