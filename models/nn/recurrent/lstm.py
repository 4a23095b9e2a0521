"""SketchRNN's recurrent cells: LSTM, LSTM with layer normalisation, HyperLSTM, each a whole recurrence over time.

Gates stand in torch's order i, f, g, o. Recurrent dropout falls on the candidate g only, so that it never erases
memory (Semeniuta et al. 2016). The plain LSTM runs on torch's own kernel (cuDNN, oneDNN) where nothing is dropped;
the others are loops of one `step`, which `torch.compile` can take. Legend: B, T, I inputs, H units.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence

State = tuple[Tensor, ...]
_FORGET_BIAS = 1.0  # added to the forget gate's bias at the start (Jozefowicz et al. 2015)
_HYPER_GAIN = 0.1  # of the weights' scales at the start: Ha et al., HyperNetworks, ICLR 2017


class Recurrence(nn.Module, ABC):
    """A cell and its loop over time.

    Args of every cell:
        inputs: I; units: H.
        dropout: probability that a candidate's entry is dropped at a step, in training.
    """

    sizes: tuple[int, ...]  # of the tensors of its state, (B, size) each; the first is the output

    def __init__(self, units: int, dropout: float) -> None:
        super().__init__()
        self.units = units
        self.dropout = dropout
        self._compiles = False
        self._compiled: Callable[..., State] | None = None

    def compile_step(self) -> None:
        """Let training run a compiled step (`torch.compile`; it needs a C++ compiler on the CPU).

        One step, not several in one piece: ten of HyperLSTM were not compiled after six minutes of a busy core.
        """
        self._compiles = True  # when training begins: it takes a while

    @abstractmethod
    def project(self, inputs: Tensor) -> Tensor:
        """Map (B, T, I) to what `step` reads of the inputs, for all times in one product."""

    @abstractmethod
    def step(self, projected: Tensor, inputs: Tensor, state: State, keep: Tensor | None) -> State:
        """Take one step: (B, ...) of `project`, (B, I), the state, and (B, H) factors of the candidate or None."""

    def forward(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state."""
        projected, keep = self.project(inputs), self._keep(inputs)
        step: Callable[..., State] = self.step
        if self._compiles and self.training:
            step = self._compiled = self._compiled or torch.compile(self.step)
        outputs = []
        for t in range(inputs.shape[1]):
            state = step(projected[:, t], inputs[:, t], state, None if keep is None else keep[:, t])
            outputs.append(state[0])
        return torch.stack(outputs, 1), state

    def zero_state(self, like: Tensor) -> State:
        """Return zeros for B drawings of the type and device of `like` (B, ...)."""
        return tuple(like.new_zeros(len(like), size) for size in self.sizes)

    def _keep(self, inputs: Tensor) -> Tensor | None:
        if not (self.training and self.dropout > 0):
            return None
        ones = inputs.new_ones(*inputs.shape[:2], self.units)
        return functional.dropout(ones, self.dropout)  # 0, or 1 over the chance to stay


class LSTM(Recurrence):
    """The plain LSTM; its weights are those of `torch.nn.LSTM`."""

    def __init__(self, inputs: int, units: int, dropout: float) -> None:
        super().__init__(units, dropout)
        self.sizes = (units, units)
        self.cell = nn.LSTM(inputs, units, batch_first=True)
        with torch.no_grad():
            self.cell.get_parameter("bias_hh_l0").zero_()
            self.cell.get_parameter("bias_ih_l0").zero_()[units : 2 * units] = _FORGET_BIAS

    def forward(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """As `Recurrence`, by torch's kernel unless something is dropped."""
        if self.training and self.dropout > 0:
            return super().forward(inputs, state)
        hidden, cell = (part.unsqueeze(0).contiguous() for part in state)
        outputs, (hidden, cell) = self.cell(inputs, (hidden, cell))
        return outputs, (hidden[0], cell[0])

    def project(self, inputs: Tensor) -> Tensor:
        """(B, T, I) -> (B, T, 4 H)."""
        bias = self.cell.get_parameter("bias_ih_l0") + self.cell.get_parameter("bias_hh_l0")
        return functional.linear(inputs, self.cell.get_parameter("weight_ih_l0"), bias)

    def step(self, projected: Tensor, inputs: Tensor, state: State, keep: Tensor | None) -> State:
        """c' = f c + i g, h' = o tanh(c')."""
        hidden, cell = state
        i, f, g, o = (projected + functional.linear(hidden, self.cell.get_parameter("weight_hh_l0"))).chunk(4, -1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * _kept(torch.tanh(g), keep)
        return torch.sigmoid(o) * torch.tanh(cell), cell


class LayerNormLSTM(Recurrence):
    """LSTM whose four gates and whose cell are normalised, each by its own mean and variance (Ba et al. 2016)."""

    def __init__(self, inputs: int, units: int, dropout: float) -> None:
        super().__init__(units, dropout)
        self.sizes = (units, units)
        self.of_input = nn.Linear(inputs, 4 * units, bias=False)
        self.of_hidden = nn.Linear(units, 4 * units, bias=False)
        self.norms = GateNorms(units)
        _start(self.of_input, self.of_hidden)

    def project(self, inputs: Tensor) -> Tensor:
        """(B, T, I) -> (B, T, 4 H)."""
        return self.of_input(inputs)

    def step(self, projected: Tensor, inputs: Tensor, state: State, keep: Tensor | None) -> State:
        """The LSTM's step on normalised gates; the output reads the normalised cell."""
        hidden, cell = state
        return self.norms(projected + self.of_hidden(hidden), cell, keep)


class GateNorms(nn.Module):
    """The gates' and the cell's normalisations, and the LSTM's step on them."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units
        self.gain = nn.Parameter(torch.ones(4, units))
        self.bias = nn.Parameter(torch.zeros(4, units))  # f's holds the forget bias
        self.cell = nn.LayerNorm(units)
        with torch.no_grad():
            self.bias[1] = _FORGET_BIAS

    def forward(self, gates: Tensor, cell: Tensor, keep: Tensor | None) -> State:
        """(B, 4 H) before normalisation, (B, H) -> the new output and cell."""
        whitened = functional.layer_norm(gates.unflatten(-1, (4, self.units)), (self.units,))
        i, f, g, o = (whitened * self.gain + self.bias).unbind(-2)  # (B, H) each
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * _kept(torch.tanh(g), keep)
        return torch.sigmoid(o) * torch.tanh(self.cell(cell)), cell


class HyperLSTM(Recurrence):
    """An LSTM whose weights a smaller LSTM scales at every step (Ha, Dai, Le: HyperNetworks, ICLR 2017, appendix A).

    With s the small LSTM's output (it reads x and h), each gate y of i, f, g, o is
    norm(d_h(s) * W_h h + d_x(s) * W_x x + b(s)): d_h, d_x are linear in embeddings of s with a bias, b in one without.

    Args:
        inputs, units, dropout: as of every cell.
        hyper_units: of the small LSTM (with layer normalisation); embedding: size of z, one per gate and factor.
    """

    def __init__(self, inputs: int, units: int, dropout: float, hyper_units: int, embedding: int) -> None:
        super().__init__(units, dropout)
        self.sizes = (units, units, hyper_units, hyper_units)
        self.embedding = embedding
        self.small = LayerNormLSTM(inputs + units, hyper_units, dropout)
        self.of_input = nn.Linear(inputs, 4 * units, bias=False)
        self.of_hidden = nn.Linear(units, 4 * units, bias=False)
        self.to_scales = nn.Linear(hyper_units, 8 * embedding)  # z of W_x and of W_h, a gate each
        self.to_biases = nn.Linear(hyper_units, 4 * embedding, bias=False)
        self.scales = nn.Parameter(torch.full((8, embedding, units), _HYPER_GAIN / embedding))
        self.biases = nn.Parameter(torch.zeros(4, embedding, units))
        self.norms = GateNorms(units)
        _start(self.of_input, self.of_hidden)
        with torch.no_grad():
            self.to_scales.weight.zero_()
            self.to_scales.bias.fill_(1.0)
            self.to_biases.weight.normal_(0, 0.01)

    def project(self, inputs: Tensor) -> Tensor:
        """(B, T, I) -> (B, T, 4 H)."""
        return self.of_input(inputs)

    def step(self, projected: Tensor, inputs: Tensor, state: State, keep: Tensor | None) -> State:
        """One step of the small LSTM, then of the large one with the weights that it scaled."""
        hidden, cell, small_hidden, small_cell = state
        seen = self.small.project(torch.cat([inputs, hidden], -1))
        small_hidden, small_cell = self.small.step(seen, inputs, (small_hidden, small_cell), None)
        z = self.to_scales(small_hidden).unflatten(-1, (8, self.embedding))
        scale_x, scale_h = torch.einsum("bke,keh->bkh", z, self.scales).flatten(1).chunk(2, -1)  # (B, 4 H) each
        z = self.to_biases(small_hidden).unflatten(-1, (4, self.embedding))
        bias = torch.einsum("bke,keh->bkh", z, self.biases).flatten(1)
        gates = scale_x * projected + scale_h * self.of_hidden(hidden) + bias
        return (*self.norms(gates, cell, keep), small_hidden, small_cell)


def final_outputs(lstm: nn.LSTM, inputs: Tensor, counts: Tensor) -> Tensor:
    """Return the last outputs both ways, (B, 2 H), of a bidirectional LSTM on sequences of their own lengths.

    On the CPU each way is one call of torch's kernel on the padded batch, the backward way on sequences turned round:
    torch packs into a loop of steps that takes three times as long, and ten times with 256 units.

    Args:
        lstm: of one layer, batch first; inputs: (B, T, I); counts: (B,) lengths, 1 to T.
    """
    if inputs.is_cuda:  # cuDNN has a kernel for packed sequences
        packed = pack_padded_sequence(inputs, counts.cpu(), batch_first=True, enforce_sorted=False)
        return torch.cat(lstm(packed)[1][0].unbind(0), -1)
    place = counts.unsqueeze(1) - 1 - torch.arange(inputs.shape[1])
    turned = inputs.gather(1, place.clamp(min=0).unsqueeze(-1).expand_as(inputs))
    zero = inputs.new_zeros(1, len(inputs), lstm.hidden_size)
    last = (counts - 1).view(-1, 1, 1).expand(-1, 1, lstm.hidden_size)
    ends = list[Tensor]()
    for way, seen in (("", inputs), ("_reverse", turned)):
        weights: list[Tensor] = [
            lstm.get_parameter(f"{name}_l0{way}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        outputs = torch.lstm(seen, (zero, zero), weights, True, 1, 0.0, lstm.training, False, True)[0]
        ends.append(outputs.gather(1, last).squeeze(1))
    return torch.cat(ends, -1)


def _kept(candidate: Tensor, keep: Tensor | None) -> Tensor:
    return candidate if keep is None else candidate * keep


def _start(of_input: nn.Linear, of_hidden: nn.Linear) -> None:
    """Set initial weights: Glorot for inputs, orthogonal per gate for the recurrence."""
    nn.init.xavier_uniform_(of_input.weight)
    with torch.no_grad():
        for gate in of_hidden.weight.chunk(4, 0):
            nn.init.orthogonal_(gate)
