"""The solver's two sweeps on the CPU: compiled loops over blocks of drawings, for `models.nn.ode.fused`.

One call does a whole solve. A block of `_ROWS` drawings stays in the first cache through all steps,
while the weights stream from the second; blocks are independent, so threads share them out and the
result depends neither on their number nor on the other drawings of a batch. Matrix products are tiles
of 4 drawings by two vectors of hidden units, from weights packed in the order of reading, written in
LLVM's own vector instructions (numba's loops reach a third of the speed); sine and cosine come together
from one reduction and two polynomials, with an absolute error of 1e-7 in float32 (torch's two calls take
six times as long); float64 uses libm. All of it stands in one file, for numba's cache on disk looks for changes in the
file of the function that is called and in no other.

Layouts, flat and C-contiguous: E evaluations in order of time, B drawings (a multiple of 4), H hidden
units (a multiple of 8), C channels of the path. Legend of the equations: `models.nn.ode.fused`.
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

from models.nn.ode.buffers import aligned

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


def packed(matrix: np.ndarray) -> np.ndarray:
    """Return a matrix (..., depth, width) flat, as `_add_product` reads it: panels of two vectors, one after the other.

    A panel is walked from its first row to its last, so what comes next lies beside it in memory.
    """
    panel = 2 * 32 // matrix.itemsize
    depth, width = matrix.shape[-2:]
    whole = width // panel * panel
    flat = aligned((matrix.size // (depth * width), depth * width), matrix.dtype.type)
    for out, of in zip(flat, matrix.reshape(-1, depth, width), strict=True):
        out[: depth * whole].reshape(-1, depth, panel)[:] = of[:, :whole].reshape(depth, -1, panel).swapaxes(0, 1)
        out[depth * whole :] = of[:, whole:].reshape(-1)
    return flat.reshape(-1)


@_compile
def _add_product(x, x_row, w, out, rows, depth, width):  # type: ignore[no-untyped-def]
    """out (rows, width) += x (rows, depth; `x_row` apart) @ w (depth, width; see `packed`)."""
    lanes = 32 // w.itemsize
    pairs = width // (2 * lanes) * (2 * lanes)
    for column in range(0, pairs, 2 * lanes):
        for row in range(0, rows, ROW_MULTIPLE):
            at, to = row * x_row, row * width + column
            _tile(x, at, x_row, w, column * depth, 2 * lanes, out, to, width, depth, 2)  # type: ignore[call-arg]
    if pairs < width:
        for row in range(0, rows, ROW_MULTIPLE):
            at, to = row * x_row, row * width + pairs
            _tile(x, at, x_row, w, pairs * depth, lanes, out, to, width, depth, 1)  # type: ignore[call-arg]


@_compile
def _multiply(out, x, y):  # type: ignore[no-untyped-def]
    """out = x * y."""
    for i in range(len(out)):
        out[i] = x[i] * y[i]


@_compile
def _repeat(out, x, rows, width):  # type: ignore[no-untyped-def]
    """out = x in every row."""
    for row in range(rows):
        each = out[row * width : (row + 1) * width]
        for i in range(width):
            each[i] = x[i]


@_compile
def _scale(out, factor, x):  # type: ignore[no-untyped-def]
    """out = factor * x. Slices, not offsets, go in: only then does the loop become vector instructions."""
    for i in range(len(out)):
        out[i] = factor * x[i]


@_compile
def _add_scaled(out, factor, x):  # type: ignore[no-untyped-def]
    """out += factor * x."""
    for i in range(len(out)):
        out[i] += factor * x[i]


def _sine(x, value, slope):  # type: ignore[no-untyped-def]
    """value = sin x and slope = cos x; compiled below, by the type of x."""
    raise NotImplementedError


@overload(_sine)
def _sine_of(x, value, slope):  # type: ignore[no-untyped-def]
    single = np.float32

    def of_float32(x, value, slope):  # type: ignore[no-untyped-def]
        for i in range(len(x)):
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
            value[i] = -a if (n & 2) != 0 else a
            slope[i] = -b if ((n + 1) & 2) != 0 else b

    def of_float64(x, value, slope):  # type: ignore[no-untyped-def]
        for i in range(len(x)):
            value[i] = math.sin(x[i])
            slope[i] = math.cos(x[i])

    return of_float32 if x.dtype == types.float32 else of_float64


def _fit(powers: tuple[int, ...], target: Callable[[np.ndarray], np.ndarray]) -> tuple[float, ...]:
    """Return the least-squares coefficients of these powers of r to `target`, at Chebyshev's nodes of (0, pi / 4]."""
    r = math.pi / 8 * (1 + np.cos(math.pi * (np.arange(200) + 0.5) / 200))
    columns = np.stack([r**power for power in powers], 1)
    return tuple(float(c) for c in np.linalg.lstsq(columns, target(r), rcond=None)[0])


_S = _fit((3, 5, 7), lambda r: np.sin(r) - r)
_C = _fit((4, 6, 8), lambda r: np.cos(r) - 1 + r**2 / 2)


@_compile
def _activate(code, x, value, slope):  # type: ignore[no-untyped-def]
    """value = f(x), slope = f'(x), of all of x; `code` is one of `CODES`."""
    if code == 0:
        _sine(x, value, slope)
    elif code == 1:
        _sine(x, slope, value)
        for i in range(len(x)):
            slope[i] = -slope[i]
    elif code == 2:
        for i in range(len(x)):
            y = math.tanh(x[i])
            value[i] = y
            slope[i] = 1 - y * y
    elif code == 3:
        for i in range(len(x)):
            value[i] = max(x[i], x[i] * 0)  # 0 * NaN stays NaN
            slope[i] = 1 if x[i] > 0 else 0
    else:
        for i in range(len(x)):
            y = 1 / (1 + math.exp(-x[i]))
            value[i] = y
            slope[i] = y * (1 - y)


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
    readout,
    values,
    slopes,
    read,
    total,
    keep,
):
    """Solve for the drawings `first` to `end` and read what is wanted; see `models.nn.ode.fused` for the equations.

    Args:
        first, end: drawings, multiples of 4.
        steps: (S,) lengths; matrix (J, J), weights (J,): the method's tableau.
        code: of the activation.
        sizes: (E, B, H, C, K, R): evaluations, drawings, hidden units, channels (0: an ODE), hidden layers, numbers
            read of the last layer's values (a multiple of 8, or none).
        start: (B, H) w at the first time.
        rate: (H,); lift: (C, H); path: (E, B, C).
        inner: (K - 1, H, H) in, out; last: (C, H, H) in, out; readout: (H, R), all `packed`; biases: (K - 1, H).
        values: (K, E, B, H) made here: f of every layer; slopes: (E, K, B, H) made here: f' of every layer; both
            (K, B, H) of scratch where `keep` is false.
        read: (E, B, R) made here: the last layer's values times `readout`.
        total: (B, C, H) made here: the sum over evaluations of the values times the path and their part of a step.
        keep: keep what the backward sweep needs.
    """
    evaluations, batch, hidden, channels, layers, reads = sizes
    stages = len(weights)
    plane, square, depth = batch * hidden, hidden * hidden, max(channels, 1) * hidden
    block = np.empty((2 + stages, _ROWS * hidden), start.dtype)
    for corner in range(first, end, _ROWS):
        rows = min(_ROWS, end - corner)
        count, offset = rows * hidden, corner * hidden
        w, x, k = block[0, :count], block[1, :count], block[2:, :count]
        summed = total[corner * depth : (corner + rows) * depth]
        w[:] = start[offset : offset + count]
        summed[:] = 0
        for step in range(len(steps)):
            for stage in range(stages):
                e, share = step * stages + stage, weights[stage] * steps[step]
                x[:] = w
                for earlier in range(stage):
                    if matrix[stage, earlier] != 0:
                        _add_scaled(x, matrix[stage, earlier] * steps[step], k[earlier])
                for layer in range(layers):
                    at = (layer * evaluations + e if keep else layer) * plane + offset
                    slope_at = (e * layers + layer if keep else layer) * plane + offset
                    value = values[at : at + count]
                    _activate(code, x, value, slopes[slope_at : slope_at + count])
                    if layer < layers - 1:
                        _repeat(x, biases[layer * hidden : (layer + 1) * hidden], rows, hidden)
                        _add_product(value, hidden, inner[layer * square :], x, rows, hidden, hidden)
                if reads > 0:
                    given = read[(e * batch + corner) * reads : (e * batch + corner + rows) * reads]
                    given[:] = 0
                    _add_product(value, hidden, readout, given, rows, hidden, reads)
                slope = k[stage]
                _repeat(slope, rate, rows, hidden)
                if channels == 0:
                    _add_scaled(summed, share, value)
                    _add_product(value, hidden, last, slope, rows, hidden, hidden)
                for c in range(channels):
                    for row in range(rows):
                        speed = path[(e * batch + corner + row) * channels + c]
                        begin, stop = row * hidden, (row + 1) * hidden
                        _add_scaled(slope[begin:stop], speed, lift[c * hidden : (c + 1) * hidden])
                        _scale(x[begin:stop], speed, value[begin:stop])
                        there = row * depth + c * hidden
                        _add_scaled(summed[there : there + hidden], share, x[begin:stop])
                    _add_product(x, hidden, last[c * square :], slope, rows, hidden, hidden)
            for stage in range(stages):
                if weights[stage] != 0:
                    _add_scaled(w, weights[stage] * steps[step], k[stage])


@_compile
def _driven(wide, of_value, slope, of_total, path, share, rows, hidden, channels):  # type: ignore[no-untyped-def]
    """wide = path * slope and of_value += share * path * of_total, of every row and channel of a CDE."""
    for row in range(rows):
        at = row * hidden
        for c in range(channels):
            begin, speed = (row * channels + c) * hidden, path[row * channels + c]
            _scale(wide[begin : begin + hidden], speed, slope[at : at + hidden])
            _add_scaled(of_value[at : at + hidden], share * speed, of_total[begin : begin + hidden])


@_compile
def backward(  # type: ignore[no-untyped-def]
    first,
    end,
    steps,
    matrix,
    weights,
    sizes,
    of_read,
    readout,
    of_total,
    of_final,
    slopes,
    path,
    inner,
    last,
    deltas,
    wide,
    of_biases,
    of_rate,
    of_lift,
    of_start,
):
    """Walk the steps back for the drawings `first` to `end`: the exact gradient of `forward` and of what is read of it.

    Args:
        first, end, steps, matrix, weights, slopes, path: as in `forward`.
        sizes: (E, B, H, C, K, R), R of what is read of the last layer's values.
        of_read: (E, B, R) gradient of the values times `readout`; readout: (R, H), `packed`.
        of_total: (B, C, H) gradient of the sum over evaluations of the values times the path and their part of a step.
        of_final: (B, H) gradient of w after the last step.
        inner: (K - 1, H, H) out, in; last: (C, H, H) out, in, both `packed`.
        deltas: (K, E, B, H) made here: gradient of every layer's input.
        wide: (E, B, C, H) made here: gradient of the slopes, times the path.
        of_biases: (K - 1, B, H), of_rate: (B, H), of_lift: (B, C, H) of a CDE: made here, each drawing's part.
        of_start: (B, H) made here.
    """
    evaluations, batch, hidden, channels, layers, reads = sizes
    stages = len(weights)
    plane, square, depth = batch * hidden, hidden * hidden, max(channels, 1) * hidden
    block = np.empty((3, _ROWS * hidden), of_final.dtype)
    for corner in range(first, end, _ROWS):
        rows = min(_ROWS, end - corner)
        count, offset = rows * hidden, corner * hidden
        ahead, slope, value = block[0, :count], block[1, :count], block[2, :count]  # gradients of them
        ahead[:] = of_final[offset : offset + count]
        summed = of_rate[offset : offset + count]
        lifted = of_lift[corner * channels * hidden : (corner + rows) * channels * hidden]
        summed[:] = 0
        lifted[:] = 0
        for layer in range(layers - 1):
            of_biases[layer * plane + offset : layer * plane + offset + count] = 0
        for step in range(len(steps) - 1, -1, -1):
            for stage in range(stages - 1, -1, -1):
                e, share = step * stages + stage, weights[stage] * steps[step]
                at, broad_at, total_at = e * plane + offset, (e * batch + corner) * depth, corner * depth
                _scale(slope, share, ahead)
                for later in range(stage + 1, stages):
                    if matrix[later, stage] != 0:
                        there = (step * stages + later) * plane + offset
                        _add_scaled(slope, matrix[later, stage] * steps[step], deltas[there : there + count])
                _add_scaled(summed, 1, slope)
                broad, total = wide[broad_at : broad_at + rows * depth], of_total[total_at : total_at + rows * depth]
                value[:] = 0
                if channels == 0:
                    broad[:] = slope
                    _add_scaled(value, share, total)
                else:
                    moving = path[(e * batch + corner) * channels :]
                    _driven(broad, value, slope, total, moving, share, rows, hidden, channels)
                    _add_scaled(lifted, 1, broad)
                _add_product(of_read[(e * batch + corner) * reads :], reads, readout, value, rows, reads, hidden)
                for c in range(max(channels, 1)):
                    _add_product(broad[c * hidden :], depth, last[c * square :], value, rows, hidden, hidden)
                for layer in range(layers - 1, -1, -1):
                    here, slope_at = layer * evaluations * plane + at, (e * layers + layer) * plane + offset
                    delta = deltas[here : here + count]
                    _multiply(delta, value, slopes[slope_at : slope_at + count])
                    if layer > 0:
                        bias_at = (layer - 1) * plane + offset
                        _add_scaled(of_biases[bias_at : bias_at + count], 1, delta)
                        value[:] = 0
                        _add_product(delta, hidden, inner[(layer - 1) * square :], value, rows, hidden, hidden)
            for stage in range(stages):
                at = (step * stages + stage) * plane + offset
                _add_scaled(ahead, 1, deltas[at : at + count])
        of_start[offset : offset + count] = ahead


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
