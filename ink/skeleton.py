"""From a one-pixel skeleton to pen strokes: trace its graph, prune spurs, follow the straightest branch.

Adjacency is mixed: a diagonal neighbour counts only where no shared straight neighbour already joins the
two pixels. A corner of the staircase then has two neighbours, and only true branchings have three.

Coordinates are (row, column) of the mask, in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numba import njit

_TURN_LIMIT = math.radians(75)  # a pen that turns more than this at a crossing was lifted
_CUSP_LIMIT = math.radians(125)  # two ends left over at one crossing: a corner such as that of 4 or 7
_ROW_WEIGHT, _COLUMN_WEIGHT = 1.0, 0.6  # writers start at the top, then at the left


@dataclass(eq=False)
class Edge:
    """A run of skeleton pixels between two nodes; `start == end` is a loop.

    Args:
        path: (n, 2) float64, row and column, n of 1 or more.
        start, end: node numbers of the first and the last point.
    """

    path: np.ndarray
    start: int
    end: int

    @property
    def length(self) -> float:
        """Length of the path, pixels."""
        return _length(self.path)


@dataclass(eq=False)
class Graph:
    """Edges of one skeleton, and the inscribed radius of the ink around every pixel."""

    edges: list[Edge]
    radius: np.ndarray
    next_node: int = field(default=0)

    def ends(self) -> dict[int, list[tuple[int, int]]]:
        """Return, per node, the (edge index, side) that meet there; side 0 is the edge's start, 1 its end."""
        found: dict[int, list[tuple[int, int]]] = {}
        for index, edge in enumerate(self.edges):
            found.setdefault(edge.start, []).append((index, 0))
            found.setdefault(edge.end, []).append((index, 1))
        return found

    def radius_at(self, point: np.ndarray) -> float:
        """Return the inscribed radius at a (row, column), pixels."""
        return float(self.radius[int(point[0] + 0.5), int(point[1] + 0.5)])


def trace_strokes(skeleton: np.ndarray, radius: np.ndarray) -> list[np.ndarray]:
    """Trace a skeleton into as few natural pen strokes as it has.

    Args:
        skeleton: (H, W) bool, one pixel wide.
        radius: (H, W) distance of each ink pixel to the background, pixels: how far a spur must stand out, and
            how near two branchings must be to be one crossing.

    Returns:
        Strokes, each (n, 2) float64 of (row, column), n of 1 or more, in the order and direction of a writer:
        from the top, then from the left. A closed loop repeats its first point at its end.
    """
    paths, offsets, ends = _trace(np.pad(skeleton, 1).astype(np.bool_))
    edges = [
        Edge(paths[a:b].astype(np.float64) - 1.0, int(start), int(end))
        for a, b, (start, end) in zip(offsets[:-1], offsets[1:], ends, strict=True)
    ]
    graph = Graph(edges, radius, next_node=int(ends.max(initial=-1)) + 1)
    _merge_crossings(graph)
    _prune(graph)
    _merge_crossings(graph)
    strokes = [_oriented(stroke) for stroke in _join(graph)]
    return sorted(strokes, key=lambda stroke: _place(stroke[0]))


def _merge_crossings(graph: Graph) -> None:
    """Contract edges between two branchings that lie within one another's ink: they are one crossing."""
    while True:
        degree = {node: len(ends) for node, ends in graph.ends().items()}
        short = [
            edge
            for edge in graph.edges
            if edge.start != edge.end
            and degree[edge.start] >= 3
            and degree[edge.end] >= 3
            and edge.length <= 0.9 * max(graph.radius_at(edge.path[0]), graph.radius_at(edge.path[-1]))
        ]
        if not short:
            return
        victim = min(short, key=lambda edge: edge.length)
        middle = victim.path[len(victim.path) // 2]
        graph.edges.remove(victim)
        for edge in graph.edges:
            if edge.start in (victim.start, victim.end):
                edge.start, edge.path = victim.start, np.concatenate([middle[None], edge.path[1:]])
            if edge.end in (victim.start, victim.end):
                edge.end, edge.path = victim.start, np.concatenate([edge.path[:-1], middle[None]])
        graph.edges = [edge for edge in graph.edges if edge.start != edge.end or edge.length > 2.0]


def _prune(graph: Graph) -> None:
    """Drop spurs, shortest first: ends that hardly stand out of the ink around the branching they leave."""
    while True:
        _splice(graph)
        degree = {node: len(ends) for node, ends in graph.ends().items()}
        spurs = []
        for edge in graph.edges:
            for near, far, root in ((edge.start, edge.end, -1), (edge.end, edge.start, 0)):
                if degree[near] == 1 and degree[far] >= 3:
                    excess = edge.length - 1.3 * graph.radius_at(edge.path[root])
                    if excess < 0:
                        spurs.append((excess, edge))
        if not spurs:
            return
        graph.edges.remove(min(spurs, key=lambda spur: spur[0])[1])


def _splice(graph: Graph) -> None:
    """Join the two edges of every node that has only two."""
    while True:
        pair = next((e for e in graph.ends().values() if len(e) == 2 and e[0][0] != e[1][0]), None)
        if pair is None:
            return
        (first, first_side), (second, second_side) = pair
        a, b = graph.edges[first], graph.edges[second]
        left = a.path if first_side == 1 else a.path[::-1]
        right = b.path if second_side == 0 else b.path[::-1]
        start = a.start if first_side == 1 else a.end
        end = b.end if second_side == 0 else b.start
        graph.edges = [edge for index, edge in enumerate(graph.edges) if index not in (first, second)]
        graph.edges.append(Edge(np.concatenate([left, right[1:]]), start, end))


def _join(graph: Graph) -> list[np.ndarray]:
    """Pair the edge ends of every crossing, straightest first, and follow the pairs into strokes."""
    partner: dict[tuple[int, int], tuple[int, int]] = {}
    for ends in graph.ends().values():
        if len(ends) < 2:
            continue
        heading = {end: _heading(graph, *end) for end in ends}
        candidates = sorted(
            (math.pi - _angle(heading[a], heading[b]) + (0.0 if a[0] != b[0] else _TURN_LIMIT), a, b)
            for i, a in enumerate(ends)
            for b in ends[i + 1 :]
        )
        limit = _CUSP_LIMIT if len(ends) != 3 else _TURN_LIMIT
        for turn, a, b in candidates:
            closed = a[0] == b[0]
            if a not in partner and b not in partner and (turn <= limit or closed):
                partner[a], partner[b] = b, a
    return _follow(graph, partner)


def _follow(graph: Graph, partner: dict[tuple[int, int], tuple[int, int]]) -> list[np.ndarray]:
    strokes, used = [], set()
    free = [(i, side) for i in range(len(graph.edges)) for side in (0, 1) if (i, side) not in partner]
    closed = [(i, 0) for i in range(len(graph.edges))]
    for entry in [*free, *closed]:
        if entry[0] in used:
            continue
        pieces: list[np.ndarray] = []
        end: tuple[int, int] | None = entry
        while end is not None and end[0] not in used:
            index, side = end
            used.add(index)
            path = graph.edges[index].path
            path = path if side == 0 else path[::-1]
            pieces.append(path[1:] if pieces else path)
            end = partner.get((index, 1 - side))
        strokes.append(np.concatenate(pieces))
    return strokes


def _heading(graph: Graph, index: int, side: int) -> np.ndarray:
    """Return the unit direction in which an edge leaves its node, seen beyond the blob of ink around it."""
    path = graph.edges[index].path
    path = path if side == 0 else path[::-1]
    reach = 1.5 * graph.radius_at(path[0]) + 2.0
    path = path[: int(1.5 * reach) + 3]  # a pixel step is 1 long or more
    walked = np.concatenate([[0.0], np.cumsum(np.hypot(*(path[1:] - path[:-1]).T))])
    first = min(int(np.searchsorted(walked, 0.4 * reach)), max(len(path) - 2, 0))
    last = min(max(int(np.searchsorted(walked, reach)), first + 1), len(path) - 1)
    vector = path[last] - path[first]
    return vector / max(float(np.hypot(*vector)), 1e-12)


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    return math.acos(min(max(float(a @ b), -1.0), 1.0))


def _oriented(stroke: np.ndarray) -> np.ndarray:
    """Turn a stroke so that it starts where a writer would; a closed one starts at its topmost point."""
    closed = len(stroke) > 3 and np.hypot(*(stroke[0] - stroke[-1])) < 1.5
    if closed:
        ring = stroke if not np.array_equal(stroke[0], stroke[-1]) else stroke[:-1]
        top = np.flatnonzero(ring[:, 0] <= ring[:, 0].min() + 0.5)
        ring = np.roll(ring, -int(top[np.argmax(ring[top, 1])]), axis=0)
        ring = np.concatenate([ring, ring[:1]])
        quarter = ring[len(ring) // 4]
        return ring if quarter[1] <= ring[0, 1] else ring[::-1]  # leftwards first, as 0 is written
    return stroke if _place(stroke[0]) <= _place(stroke[-1]) else stroke[::-1]


def _place(point: np.ndarray) -> float:
    return _ROW_WEIGHT * float(point[0]) + _COLUMN_WEIGHT * float(point[1])


def _length(path: np.ndarray) -> float:
    steps = path[1:] - path[:-1]
    return float(np.sqrt((steps * steps).sum(axis=1)).sum())


@njit(cache=True, nogil=True)
def _neighbours(mask, row, column, out):
    """Write the mixed-adjacency neighbours of a pixel to `out` (8, 2); return how many there are."""
    count = 0
    for dr, dc in ((-1, 0), (0, 1), (1, 0), (0, -1)):
        if mask[row + dr, column + dc]:
            out[count, 0], out[count, 1] = row + dr, column + dc
            count += 1
    for dr, dc in ((-1, -1), (-1, 1), (1, 1), (1, -1)):
        if mask[row + dr, column + dc] and not mask[row + dr, column] and not mask[row, column + dc]:
            out[count, 0], out[count, 1] = row + dr, column + dc
            count += 1
    return count


@njit(cache=True, nogil=True)
def _trace(mask):
    """Walk every run of two-neighbour pixels of a mask with an empty border.

    Returns:
        paths (M, 2) int64, offsets (E + 1,) int64, nodes (E, 2) int64: the flat index of each end's pixel.
    """
    height, width = mask.shape
    pixels = np.argwhere(mask)
    capacity = 5 * len(pixels) + 8
    paths, offsets = np.zeros((capacity, 2), np.int64), np.zeros(capacity + 1, np.int64)
    nodes = np.zeros((capacity, 2), np.int64)
    near, step = np.zeros((8, 2), np.int64), np.zeros((8, 2), np.int64)
    degree = np.zeros((height, width), np.int64)
    seen = np.zeros((height, width), np.bool_)
    size, runs = 0, 0
    for row, column in pixels:
        degree[row, column] = _neighbours(mask, row, column, near)
    for rings in (False, True):  # runs between nodes first; what is left then are rings without a node
        for row, column in pixels:
            if seen[row, column] or (degree[row, column] == 2) != rings:
                continue
            seen[row, column] = True
            count = _neighbours(mask, row, column, near)
            if count == 0:
                paths[size, 0], paths[size, 1] = row, column
                size += 1
                nodes[runs, 0], nodes[runs, 1] = row * width + column, row * width + column
                runs += 1
                offsets[runs] = size
            for branch in range(1 if rings else count):
                before_r, before_c = row, column
                r, c = near[branch, 0], near[branch, 1]
                if (degree[r, c] == 2 and seen[r, c]) or (degree[r, c] != 2 and r * width + c < row * width + column):
                    continue  # walked already from its other end
                paths[size, 0], paths[size, 1] = row, column
                size += 1
                while degree[r, c] == 2 and not (r == row and c == column):
                    seen[r, c] = True
                    paths[size, 0], paths[size, 1] = r, c
                    size += 1
                    _neighbours(mask, r, c, step)
                    first = step[0, 0] == before_r and step[0, 1] == before_c
                    before_r, before_c = r, c
                    chosen = 1 if first else 0
                    r, c = step[chosen, 0], step[chosen, 1]
                paths[size, 0], paths[size, 1] = r, c
                size += 1
                nodes[runs, 0], nodes[runs, 1] = row * width + column, r * width + c
                runs += 1
                offsets[runs] = size
    return paths[:size], offsets[: runs + 1], nodes[:runs]
