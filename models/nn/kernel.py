"""The solver's two sweeps on the CPU: compiled loops over blocks of drawings, for `models.nn.fused`.

One call does a whole solve. A block of `_ROWS` drawings stays in the first cache through all steps,
while the weights stream from the second; blocks are independent, so threads share them out and the
result depends neither on their number nor on the other drawings of a batch. Matrix products are tiles
of 4 drawings by two vectors of hidden units, written in LLVM's own vector instructions (numba's loops
reach a third of the speed); sine and cosine come together from one reduction and two polynomials,
with an absolute error of 1e-7 in float32 (torch's two calls take six times as long); float64 uses libm.

Layouts, flat and C-contiguous: E evaluations in order of time, B drawings (a multiple of 4), H hidden
units (a multiple of 8), C channels of the path. Legend of the equations: `models.nn.fused`.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

ROW_MULTIPLE = 4  # drawings in a tile
UNIT_MULTIPLE = 8  # hidden units in two vectors of float64, or one of float32
CODES = {"sin": 0, "cos": 1, "tanh": 2, "relu": 3, "sigmoid": 4}
_ROWS = 16
_compile = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})


@intrinsic(prefer_literal=True)
def _tile(context, x, x_at, x_row, w, w_at, w_row, out, out_at, out_row, depth, vectors):  # type: ignore[no-untyped-def]
    """out[0:4, 0:vectors * lanes] += x[0:4, 0:depth] @ w[0:depth, 0:vectors * lanes], sums held in registers.

    Each of the three is a flat array, the index of its corner and the length of its row.
    """
    lanes = 32 // (w.dtype.bitwidth // 8)
    count = vectors.literal_value
    signature = types.void(x, x_at, x_row, w, w_at, w_row, out, out_at, out_row, depth, vectors)

    def generate(target, builder, _, arguments):  # type: ignore[no-untyped-def]
        scalar = target.get_value_type(w.dtype)
        vector = ir.VectorType(scalar, lanes)
        bases = [target.make_array(of)(target, builder, arguments[i]).data for of, i in ((x, 0), (w, 3), (out, 6))]
        x_base, w_base, out_base = (builder.gep(base, [arguments[i]]) for base, i in zip(bases, (1, 4, 7), strict=True))
        x_row, w_row, out_row, depth = (arguments[i] for i in (2, 5, 8, 9))
        index = depth.type

        def place(base, row, column):  # type: ignore[no-untyped-def]
            return builder.gep(base, [builder.add(row, ir.Constant(index, column))])

        def vector_at(base, row, v):  # type: ignore[no-untyped-def]
            return builder.bitcast(place(base, row, v * lanes), vector.as_pointer())

        def row_of(i, length):  # type: ignore[no-untyped-def]
            return builder.mul(ir.Constant(index, i), length)

        cells = [(i, v) for i in range(ROW_MULTIPLE) for v in range(count)]
        sums = {}
        for i, v in cells:
            start = builder.load(vector_at(out_base, row_of(i, out_row), v))
            start.align = w.dtype.bitwidth // 8
            sums[i, v] = cgutils.alloca_once_value(builder, start)
        with cgutils.for_range(builder, depth) as loop:
            ahead = builder.mul(loop.index, w_row)
            right = []
            for v in range(count):
                loaded = builder.load(vector_at(w_base, ahead, v))
                loaded.align = w.dtype.bitwidth // 8
                right.append(loaded)
            for i in range(ROW_MULTIPLE):
                single = builder.load(builder.gep(x_base, [builder.add(row_of(i, x_row), loop.index)]))
                undefined = ir.Constant(vector, ir.Undefined)
                left = builder.insert_element(undefined, single, ir.Constant(ir.IntType(32), 0))
                left = builder.shuffle_vector(left, undefined, ir.Constant(ir.VectorType(ir.IntType(32), lanes), None))
                for v in range(count):
                    product = builder.fmul(left, right[v], flags=("contract",))
                    added = builder.fadd(builder.load(sums[i, v]), product, flags=("contract",))
                    builder.store(added, sums[i, v])
        for i, v in cells:
            stored = builder.store(builder.load(sums[i, v]), vector_at(out_base, row_of(i, out_row), v))
            stored.align = w.dtype.bitwidth // 8
        return target.get_dummy_value()

    return signature, generate


@_compile
def _add_product(x, x_at, w, w_at, out, out_at, rows, depth, width):  # type: ignore[no-untyped-def]
    """out (rows, width) += x (rows, depth) @ w (depth, width)."""
    lanes = 32 // w.itemsize
    pairs = width // (2 * lanes) * (2 * lanes)
    for column in range(0, pairs, 2 * lanes):
        for row in range(0, rows, ROW_MULTIPLE):
            to = out_at + row * width + column
            _tile(x, x_at + row * depth, depth, w, w_at + column, width, out, to, width, depth, 2)  # type: ignore[call-arg]
    for column in range(pairs, width, lanes):
        for row in range(0, rows, ROW_MULTIPLE):
            to = out_at + row * width + column
            _tile(x, x_at + row * depth, depth, w, w_at + column, width, out, to, width, depth, 1)  # type: ignore[call-arg]


def _sine(x, value, value_at, slope, slope_at, count):  # type: ignore[no-untyped-def]
    """value = sin x and slope = cos x; compiled below, by the type of x."""
    raise NotImplementedError


@overload(_sine)
def _sine_of(x, value, value_at, slope, slope_at, count):  # type: ignore[no-untyped-def]
    single = np.float32

    def of_float32(x, value, value_at, slope, slope_at, count):  # type: ignore[no-untyped-def]
        for i in range(count):
            quarter = np.floor(x[i] * single(2 / math.pi) + single(0.5))
            # pi / 2 in three parts, the first two short enough for exact products (Cody and Waite)
            r = x[i] - quarter * single(1.5703125)
            r = r - quarter * single(4.837512969970703125e-4)
            r = r - quarter * single(7.54978995489188e-8)
            r2 = r * r
            # over |r| <= pi / 4: fits of sin r - r and of cos r - 1 + r^2 / 2, off by less than 1e-8
            sine = r + r * r2 * (single(_S[0]) + r2 * (single(_S[1]) + r2 * single(_S[2])))
            cosine = single(1) - single(0.5) * r2
            cosine = cosine + r2 * r2 * (single(_C[0]) + r2 * (single(_C[1]) + r2 * single(_C[2])))
            n = np.int32(quarter)
            odd = (n & 1) != 0
            a = cosine if odd else sine
            b = sine if odd else cosine
            value[value_at + i] = -a if (n & 2) != 0 else a
            slope[slope_at + i] = -b if ((n + 1) & 2) != 0 else b

    def of_float64(x, value, value_at, slope, slope_at, count):  # type: ignore[no-untyped-def]
        for i in range(count):
            value[value_at + i] = math.sin(x[i])
            slope[slope_at + i] = math.cos(x[i])

    return of_float32 if x.dtype == types.float32 else of_float64


def _fit(powers: tuple[int, ...], target: Callable[[np.ndarray], np.ndarray]) -> tuple[float, ...]:
    """Return the least-squares coefficients of these powers of r to `target`, at Chebyshev's nodes of (0, pi / 4]."""
    r = math.pi / 8 * (1 + np.cos(math.pi * (np.arange(200) + 0.5) / 200))
    columns = np.stack([r**power for power in powers], 1)
    return tuple(float(c) for c in np.linalg.lstsq(columns, target(r), rcond=None)[0])


_S = _fit((3, 5, 7), lambda r: np.sin(r) - r)
_C = _fit((4, 6, 8), lambda r: np.cos(r) - 1 + r**2 / 2)


@_compile
def _activate(code, x, value, value_at, slope, slope_at, count):  # type: ignore[no-untyped-def]
    """value = f(x), slope = f'(x), of `count` numbers; `code` is one of `CODES`."""
    if code == 0:
        _sine(x, value, value_at, slope, slope_at, count)
    elif code == 1:
        _sine(x, slope, slope_at, value, value_at, count)
        for i in range(count):
            slope[slope_at + i] = -slope[slope_at + i]
    elif code == 2:
        for i in range(count):
            y = math.tanh(x[i])
            value[value_at + i] = y
            slope[slope_at + i] = 1 - y * y
    elif code == 3:
        for i in range(count):
            value[value_at + i] = max(x[i], x[i] * 0)  # 0 * NaN stays NaN
            slope[slope_at + i] = 1 if x[i] > 0 else 0
    else:
        for i in range(count):
            y = 1 / (1 + math.exp(-x[i]))
            value[value_at + i] = y
            slope[slope_at + i] = y * (1 - y)


@_compile
def forward(  # type: ignore[no-untyped-def]
    first,
    end,
    steps,
    matrix,
    weights,
    code,
    sizes,
    start,
    rate,
    lift,
    path,
    inner,
    biases,
    last,
    values,
    slopes,
    final,
    keep,
):
    """Solve for the drawings `first` to `end`; see `models.nn.fused` for the equations.

    Args:
        first, end: drawings, multiples of 4.
        steps: (S,) lengths; matrix (J, J), weights (J,): the method's tableau.
        code: of the activation.
        sizes: (E, B, H, C, K): evaluations, drawings, hidden units, channels (0: an ODE), hidden layers.
        start: (B, H) w at the first time.
        rate: (H,); lift: (C, H); path: (E, B, C).
        inner: (K - 1, H, H) in, out; biases: (K - 1, H); last: (C * H, H) in, out.
        values: (K, E, B, H) made here: f of every layer; where `keep` is false (K - 1 + E, B, H), of which the first
            K - 1 are scratch.
        slopes: (E, K, B, H) made here: f' of every layer; where `keep` is false (K, B, H) of scratch.
        final: (B, H) made here: w at the last time.
        keep: keep what the backward sweep needs.
    """
    evaluations, batch, hidden, channels, layers = sizes
    stages = len(weights)
    plane = batch * hidden
    depth = max(channels, 1) * hidden
    w = np.empty(_ROWS * hidden, start.dtype)
    x = np.empty(_ROWS * hidden, start.dtype)
    k = np.empty((stages, _ROWS * hidden), start.dtype)
    wide = np.empty(_ROWS * depth, start.dtype)
    for corner in range(first, end, _ROWS):
        rows = min(_ROWS, end - corner)
        count, offset = rows * hidden, corner * hidden
        w[:count] = start[offset : offset + count]
        for step in range(len(steps)):
            for stage in range(stages):
                e = step * stages + stage
                x[:count] = w[:count]
                for earlier in range(stage):
                    factor = matrix[stage, earlier] * steps[step]
                    if factor != 0:
                        for i in range(count):
                            x[i] += factor * k[earlier, i]
                for layer in range(layers):
                    slope_at = ((e * layers if keep else 0) + layer) * plane + offset
                    at = layer * plane + offset
                    if keep:
                        at += (layer * (evaluations - 1) + e) * plane
                    elif layer == layers - 1:
                        at += e * plane
                    _activate(code, x, values, at, slopes, slope_at, count)
                    if layer < layers - 1:
                        for row in range(rows):
                            for i in range(hidden):
                                x[row * hidden + i] = biases[layer * hidden + i]
                        _add_product(values, at, inner, layer * hidden * hidden, x, 0, rows, hidden, hidden)
                slope = k[stage]
                for row in range(rows):
                    for i in range(hidden):
                        slope[row * hidden + i] = rate[i]
                    for c in range(channels):
                        speed = path[(e * batch + corner + row) * channels + c]
                        for i in range(hidden):
                            slope[row * hidden + i] += speed * lift[c * hidden + i]
                            wide[(row * channels + c) * hidden + i] = speed * values[at + row * hidden + i]
                if channels == 0:
                    _add_product(values, at, last, 0, slope, 0, rows, hidden, hidden)
                else:
                    _add_product(wide, 0, last, 0, slope, 0, rows, depth, hidden)
            for stage in range(stages):
                factor = weights[stage] * steps[step]
                if factor != 0:
                    for i in range(count):
                        w[i] += factor * k[stage, i]
        final[offset : offset + count] = w[:count]


@_compile
def backward(  # type: ignore[no-untyped-def]
    first,
    end,
    steps,
    matrix,
    weights,
    sizes,
    of_values,
    of_final,
    slopes,
    path,
    inner,
    last,
    deltas,
    wide,
    of_rate,
    of_start,
):
    """Walk the steps back for the drawings `first` to `end`: the exact gradient of `forward`.

    Args:
        first, end, steps, matrix, weights, sizes, slopes, path: as in `forward`.
        of_values: (E, B, H) gradient of the last layer's values; of_final: (B, H) of w after the last step.
        inner: (K - 1, H, H) out, in; last: (C * H, H) out, in.
        deltas: (K, E, B, H) made here: gradient of every layer's input.
        wide: (E, B, C * H) made here: gradient of the slopes, times the path.
        of_rate: (B, H) made here: gradient of the slopes, summed over the evaluations.
        of_start: (B, H) made here.
    """
    evaluations, batch, hidden, channels, layers = sizes
    stages = len(weights)
    plane = batch * hidden
    depth = max(channels, 1) * hidden
    ahead = np.empty(_ROWS * hidden, of_final.dtype)
    g = np.empty(_ROWS * hidden, of_final.dtype)
    for corner in range(first, end, _ROWS):
        rows = min(_ROWS, end - corner)
        count, offset = rows * hidden, corner * hidden
        ahead[:count] = of_final[offset : offset + count]
        of_rate[offset : offset + count] = 0
        for step in range(len(steps) - 1, -1, -1):
            for stage in range(stages - 1, -1, -1):
                e = step * stages + stage
                at = e * plane + offset
                factor = weights[stage] * steps[step]
                for i in range(count):
                    g[i] = factor * ahead[i]
                for later in range(stage + 1, stages):
                    factor = matrix[later, stage] * steps[step]
                    if factor != 0:
                        there = (step * stages + later) * plane + offset
                        for i in range(count):
                            g[i] += factor * deltas[there + i]
                broad = (e * batch + corner) * depth
                for row in range(rows):
                    if channels == 0:
                        for i in range(hidden):
                            wide[broad + row * depth + i] = g[row * hidden + i]
                    for c in range(channels):
                        speed = path[(e * batch + corner + row) * channels + c]
                        for i in range(hidden):
                            wide[broad + row * depth + c * hidden + i] = speed * g[row * hidden + i]
                for i in range(count):
                    of_rate[offset + i] += g[i]
                    g[i] = of_values[at + i]
                _add_product(wide, broad, last, 0, g, 0, rows, depth, hidden)
                for layer in range(layers - 1, -1, -1):
                    here = layer * evaluations * plane + at
                    slope_at = (e * layers + layer) * plane + offset
                    for i in range(count):
                        deltas[here + i] = g[i] * slopes[slope_at + i]
                        g[i] = 0
                    if layer > 0:
                        _add_product(deltas, here, inner, (layer - 1) * hidden * hidden, g, 0, rows, hidden, hidden)
            for stage in range(stages):
                at = (step * stages + stage) * plane + offset
                for i in range(count):
                    ahead[i] += deltas[at + i]
        of_start[offset : offset + count] = ahead[:count]


def in_threads(sweep: Callable[..., None], batch: int, threads: int, *arguments: object) -> None:
    """Call `sweep(first, end, *arguments)` for all drawings, split over threads (the sweeps hold no lock)."""
    blocks = -(-batch // _ROWS)
    threads = max(1, min(threads, blocks))
    bounds = [min(batch, blocks * i // threads * _ROWS) for i in range(threads + 1)]
    pieces = list(itertools.pairwise(bounds))
    others = [threading.Thread(target=sweep, args=(*piece, *arguments)) for piece in pieces[1:]]
    for other in others:
        other.start()
    sweep(*pieces[0], *arguments)
    for other in others:
        other.join()
