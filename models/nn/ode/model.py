"""What SketchODE's models share: settings, the networks made from them, and what weight decay applies to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from models.base import require
from models.nn.ode.activations import ACTIVATIONS
from models.nn.ode.dynamics import GRADIENTS, Dynamics
from models.nn.ode.runge_kutta import METHODS

_WIDTH_FACTOR = 1.2  # hidden width of the dynamics, floor(1.2 d): section 5.1


@dataclass(frozen=True)
class ODEModelConfig:
    """Settings of an encoder and a decoder that are differential equations (SketchODE, section 5.1 unless noted).

    Args:
        hidden_size: d, size of the CDE's and the ODE's state.
        duration: T, upper limit of the time range.
        activation: of the dynamics' hidden layers, a key of `ACTIVATIONS`.
        omega: frequency of a periodic activation (authors' code: 3).
        learn_omega: learn it per layer, as sigmoid(f) * 2 omega, starting at omega.
        time_dependent: give the time to the dynamics.
        gradient: "direct", "adjoint" (equal, in constant memory) or "continuous", see `dynamics.GRADIENTS`.
        method: solver, a key of `METHODS`.
        solver_steps: S, equal steps over [0, T], of the encoder and of the decoder (paper: points - 1).
        output_gain: factor on the initial weights of the dynamics' last layer. At omega 3 the gradient's norm grew
            past 10^2 and the digits mostly stayed at the mean drawing; omega and this factor were lowered together.
    """

    hidden_size: int
    duration: float
    activation: str
    omega: float
    learn_omega: bool
    time_dependent: bool
    gradient: str
    method: str
    solver_steps: int
    output_gain: float

    def __post_init__(self) -> None:
        require(self.hidden_size >= 4, f"hidden_size must be at least 4, got {self.hidden_size}")
        require(self.duration > 0 and self.omega > 0, "duration and omega must be positive")
        require(self.activation in ACTIVATIONS, f"activation must be one of {sorted(ACTIVATIONS)}")
        require(self.gradient in GRADIENTS, f"gradient must be one of {sorted(GRADIENTS)}, got {self.gradient!r}")
        require(self.method in METHODS, f"method must be one of {sorted(METHODS)}, got {self.method!r}")
        whole = isinstance(self.solver_steps, int) and self.solver_steps >= 1
        require(whole, f"solver_steps must be a whole number of at least 1, got {self.solver_steps!r}")
        require(self.output_gain > 0, f"output_gain must be positive, got {self.output_gain}")

    def dynamics(self, outputs: int, context: int, layers: int) -> Dynamics:
        """Return F of the ODE or G of the CDE; arguments as of `Dynamics`."""
        return Dynamics(
            size=self.hidden_size,
            outputs=outputs,
            context=context,
            hidden=int(_WIDTH_FACTOR * self.hidden_size),
            layers=layers,
            activation=self.activation,
            omega=self.omega,
            learn_omega=self.learn_omega,
            time_dependent=self.time_dependent,
            output_gain=self.output_gain,
        )


def weight_matrices(*networks: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the matrices among the networks' parameters: what the paper's weight decay applies to (section 5.1)."""
    return (parameter for network in networks for parameter in network.parameters() if parameter.dim() == 2)
