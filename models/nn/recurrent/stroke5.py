"""Stroke-5, SketchRNN's picture of a drawing: rows of dx, dy and a one-hot pen (down, up after this point, end).

A drawing begins at its first point, which is no row of its own: row k leads from point k to point k + 1. After the
last point come rows (0, 0, 0, 0, 1) up to N_max. The shards hold drawings in the unit circle; sketch-rnn's recipe
is taken from there: longest side 255 pixels, Ramer-Douglas-Peucker within 2 pixels, whole numbers. On shards that
`simplify` made with the same tolerance the second simplification keeps every point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ink import geometry, rdp
from ink.table import Ink

CHANNELS = 5
DOWN, UP, END = 0, 1, 2


@dataclass(frozen=True)
class Stroke5:
    """Offsets in pixels and the pen.

    Args:
        max_points: N_max, rows per drawing. Of a longer drawing the first N_max offsets are kept, and it does not
            end: the model learns how such a drawing begins.
        side: longest side of a drawing, pixels.
        epsilon: tolerance of the simplification, pixels; 0: none.
        keep_dots: keep strokes of one point (sketch-rnn's recipe drops them).
    """

    max_points: int
    side: float
    epsilon: float
    keep_dots: bool

    @property
    def points(self) -> int:
        """Rows per drawing."""
        return self.max_points

    def collate(self, ink: Ink) -> Tensor:
        """Return (N, N_max, 5) float32; drawings of any frame, the longest side becomes `side`."""
        box = geometry.bounding_boxes(ink)
        extent = np.maximum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1])
        ink = geometry.restore(ink, 0 * extent, 0 * extent, self.side / np.where(extent > 0, extent, 1.0))
        return self._rows(ink)

    def beginning(self, ink: Ink, extent: float, points: int | None) -> Tensor:
        """Return the first `points` rows (N, P, 5), all if None, of ink whose longest side is `extent` * `side`."""
        rows = self.collate(ink)[:, : self.max_points if points is None else points]
        return torch.cat([rows[..., :2] * extent, rows[..., 2:]], -1)

    def _rows(self, ink: Ink) -> Tensor:
        """Return the rows of drawings that are in pixels."""
        ink = rdp.simplify(_from_top_left(ink), self.epsilon) if self.epsilon > 0 else _from_top_left(ink)
        x, y = np.rint(ink.x), np.rint(ink.y)
        count = np.diff(ink.stroke_offsets)
        kept = np.repeat(self.keep_dots | (count > 1), count)
        owner = np.repeat(np.arange(len(ink)), np.diff(ink.point_offsets))[kept]
        lifted = np.zeros(ink.n_points, bool)
        lifted[ink.stroke_offsets[1:] - 1] = True
        x, y, lifted = x[kept], y[kept], lifted[kept]
        first = np.ones(len(x), bool)
        first[1:] = owner[1:] != owner[:-1]
        dx, dy = (np.where(first, 0.0, np.diff(values, prepend=0.0)) for values in (x, y))
        row = ~first | lifted  # a dot at the start is a row (0, 0, up): the pen is lifted before the first move
        dx, dy, lifted, owner = dx[row], dy[row], lifted[row], owner[row]
        index = np.arange(len(owner)) - np.searchsorted(owner, owner)  # of a row in its drawing
        fits = index < self.max_points
        out = np.zeros((len(ink), self.max_points, CHANNELS), np.float32)
        out[..., 2 + END] = 1
        place = owner[fits], index[fits]
        pen = np.where(lifted[fits], UP, DOWN)
        out[(*place, 0)], out[(*place, 1)] = dx[fits], dy[fits]
        out[(*place, 2 + END)] = 0
        out[(*place, 2 + pen)] = 1
        return torch.from_numpy(out)

    def to_ink(self, rows: Tensor) -> Ink:
        """Return drawings in the unit circle, as the shards hold them; t is arc length.

        Args:
            rows: (N, T, 5); a row belongs to the drawing until the first one that ends it.
        """
        unit = geometry.unit_circle(self.to_pixels(rows))[0]
        return geometry.with_arc_length_clock(unit)

    def to_pixels(self, rows: Tensor) -> Ink:
        """Return drawings in pixels, the first point of each at the origin; a drawing without rows is a dot there."""
        values = rows.detach().cpu().double().numpy()
        pen = values[..., 2:].argmax(-1)
        counts = lengths(torch.from_numpy(pen)).numpy()
        drawings = []
        for drawing, states, count in zip(values, pen, counts, strict=True):
            points = np.zeros((count + 1, 3))
            points[1:, :2] = np.cumsum(drawing[:count, :2], 0)
            lone = count > 0 and states[0] == UP and not drawing[0, :2].any()  # the row of a dot at the start
            ends = np.flatnonzero(states[:count] == UP) + 2 - int(lone)
            strokes = np.split(points[int(lone) :], ends)
            drawings.append([stroke for stroke in strokes if len(stroke)])
        return Ink.from_strokes(drawings)


def lengths(pen: Tensor) -> Tensor:
    """Return (N,) int64: rows before the first END of pen states (N, T); T where there is none."""
    ended = pen == END
    if pen.shape[1] == 0:
        return pen.new_zeros(len(pen))
    first = ended.to(torch.uint8).argmax(1)
    return torch.where(ended.any(1), first, pen.shape[1])


def states(rows: Tensor) -> Tensor:
    """Return the pen's state (N, T) int64 of stroke-5 rows."""
    return rows[..., 2:].argmax(-1)


def from_parts(offset: Tensor, pen: Tensor) -> Tensor:
    """Return stroke-5 rows (..., 5) of offsets (..., 2) and pen states (...); an END has no offset."""
    one_hot = torch.nn.functional.one_hot(pen, 3).to(offset.dtype)
    return torch.cat([offset * (pen != END).unsqueeze(-1), one_hot], -1)


def vary(rows: Tensor, stretch: float, drop: float) -> Tensor:
    """Return training drawings varied anew: each axis scaled by its own factor, points left out.

    This happens on offsets, in training: `Stroke5.collate` would undo a scaling of the ink.

    Args:
        rows: (N, T, 5).
        stretch: factors are uniform within 1 - stretch and 1 + stretch.
        drop: probability that a point inside a stroke is left out; its offset goes to the next point.
    """
    count, steps, _ = rows.shape
    pen = states(rows)
    factor = 1 + stretch * (2 * torch.rand(count, 1, 2, dtype=rows.dtype, device=rows.device) - 1)
    after = torch.nn.functional.pad(pen[:, 1:], (0, 1), value=END)
    inside = (pen == DOWN) & (after != END)  # the next row continues the stroke
    gone = inside & (torch.rand(count, steps, device=rows.device) < drop)
    total = torch.nn.functional.pad((rows[..., :2] * factor).cumsum(1), (0, 0, 1, 0))  # (N, T + 1, 2) positions
    order = torch.argsort(gone.to(torch.uint8), dim=1, stable=True)  # kept rows first, in their order
    kept = torch.arange(steps, device=rows.device) < (steps - gone.sum(1, keepdim=True))
    position = total.gather(1, (order + 1).unsqueeze(-1).expand(-1, -1, 2))
    offset = torch.diff(position, dim=1, prepend=torch.zeros_like(position[:, :1]))
    return from_parts(offset, torch.where(kept, pen.gather(1, order), END))


def order_by_length(counts: np.ndarray, batch_size: int, together: int, generator: np.random.Generator) -> np.ndarray:
    """Return (N,) a random order whose batches hold drawings of similar length, so that little is padded.

    A permutation is cut into windows of `together` batches; each is sorted by length, and all batches are shuffled:
    which drawings meet, and when, is drawn anew each epoch. The drawings left over make the last batch.

    Args:
        counts: (N,) lengths; together: batches that are sorted together, 1: none.
    """
    order = generator.permutation(len(counts))
    whole = len(order) // batch_size * batch_size
    windows = np.split(order[:whole], np.arange(batch_size * together, whole, batch_size * together))
    batches = np.concatenate([window[np.argsort(counts[window], kind="stable")] for window in windows])
    batches = generator.permutation(batches.reshape(-1, batch_size))
    return np.concatenate([batches.ravel(), order[whole:]])


def offset_deviation(rows: Tensor) -> Tensor:
    """Return the standard deviation, mean untouched, of all offsets of real rows, x and y together: a scalar."""
    real = states(rows) != END
    return rows[..., :2][real].double().std(correction=0).to(rows.dtype) if bool(real.any()) else rows.new_ones(())


def _from_top_left(ink: Ink) -> Ink:
    """Move each drawing's box to (0, 0)."""
    box = geometry.bounding_boxes(ink)
    count = np.diff(ink.point_offsets)
    x, y = ink.x - np.repeat(box[:, 0], count), ink.y - np.repeat(box[:, 1], count)
    return ink.with_xy(x, y)
