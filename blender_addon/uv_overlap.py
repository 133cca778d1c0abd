"""How much of a UV map is claimed twice, found in slices that a heartbeat can afford. No bpy."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np
from numpy.typing import NDArray

SAMPLES = 4000
"""Points of the UV map at which overlap is looked for."""
SLICE = 60_000
"""Work of one slice: triangles looked at, and pairs of a triangle and a point. About 10 ms."""
CELLS = 64
"""The points lie in a grid of this many cells a side."""
SURE = 0.01
"""Share of points that three faces claim from which on the rest need not be looked at."""

Steps = Generator[int, None, float]
"""Yields the work done since the last time; returns the share."""


def overlap_steps(uvs: NDArray[np.float32], starts: NDArray[np.int32], totals: NDArray[np.int32]) -> Steps:
    """Which share of the UV surface shows the same piece of texture as another face.

    Random points of the surface are counted against every polygon. A polygon is a fan of triangles whose
    signs cancel outside of it, so concave ones count right.

    Args:
        uvs: corner UVs [L, 2], finite
        starts: each polygon's first corner [P]
        totals: each polygon's number of corners [P]
    """
    count = int(np.maximum(totals - 2, 0).sum())
    fans = np.zeros((count, 3), np.int32)
    area = np.zeros(count)
    sign = np.zeros(count)
    done = 0
    for part in _parts(np.maximum(totals - 2, 0), SLICE // 2):
        corners, owner = _fan(starts[part], totals[part])
        a, b, c = (uvs[corners[:, i]].astype(np.float64) for i in range(3))
        signed = _cross(b - a, c - a)
        whole = np.bincount(owner, weights=signed, minlength=part.stop - part.start)
        here = slice(done, done + len(corners))
        fans[here], area[here] = corners, np.abs(signed)
        sign[here] = np.sign(signed) * np.sign(whole)[owner]
        done = here.stop
        yield len(corners)
    if not area.sum() > 0:
        return 1.0
    grid = _Grid(_points(uvs, fans, area))
    yield SAMPLES
    claims = np.zeros(SAMPLES)
    for begin in range(0, count, SLICE // 2):
        here = slice(begin, begin + SLICE // 2)
        solid = np.flatnonzero(area[here] > 0) + begin
        triangles = uvs[fans[solid]].astype(np.float64)
        boxes = grid.boxes(triangles)
        yield len(solid)
        for part in _parts(grid.pairs_of(boxes), SLICE):
            which, point = grid.pairs(boxes[part])
            inside = _inside(triangles[part][which], grid.points[point])
            weights = sign[solid[part]][which[inside]]
            claims += np.bincount(point[inside], weights=weights, minlength=SAMPLES)
            yield len(which)
            # Three, not two: the last polygon's fan may still be incomplete.
            if (claims > 2.5).mean() > SURE:
                return float((claims > 1.5).mean())
    return float((claims > 1.5).mean())


def _parts(work: NDArray[np.integer], most: int) -> Iterator[slice]:
    """Runs of items whose work together is at most `most`; a single item may exceed it."""
    until = np.cumsum(work, dtype=np.int64)
    begin = 0
    while begin < len(work):
        spent = int(until[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(until, spent + most, side="right")))
        yield slice(begin, end)
        begin = end


def _fan(starts: NDArray[np.int32], totals: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Corners [T, 3] of the polygons' fans, and which polygon each is of [T]."""
    each = np.maximum(totals - 2, 0)
    owner = np.repeat(np.arange(len(totals)), each)
    step = np.arange(len(owner)) - np.repeat(np.cumsum(each) - each, each)
    first = starts[owner]
    return np.column_stack([first, first + step + 1, first + step + 2]).astype(np.int32), owner


def _points(
    uvs: NDArray[np.float32], fans: NDArray[np.int32], area: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Random points [SAMPLES, 2] of the surface, the same ones every time."""
    rng = np.random.default_rng(0)
    until = np.cumsum(area)
    chosen = np.searchsorted(until, rng.random(SAMPLES) * until[-1], side="right")
    a, b, c = (uvs[fans[np.minimum(chosen, len(fans) - 1), i]].astype(np.float64) for i in range(3))
    u, v = rng.random((2, SAMPLES, 1))
    outside = (u + v) > 1
    u, v = np.where(outside, 1 - u, u), np.where(outside, 1 - v, v)
    return a + u * (b - a) + v * (c - a)


class _Grid:
    """The points sorted into cells, row by row, so that a box of cells is one run of points a row."""

    def __init__(self, points: NDArray[np.float64]) -> None:
        self.low = points.min(axis=0)
        self.size = np.maximum(np.ptp(points, axis=0), 1e-12) / CELLS
        cells = self._cell(points)
        key = cells[:, 1] * CELLS + cells[:, 0]
        order = np.argsort(key, kind="stable")
        self.points = points[order]
        self.first = np.searchsorted(key[order], np.arange(CELLS * CELLS + 1))
        """Where each cell's points begin."""
        held = np.zeros((CELLS + 1, CELLS + 1), np.int64)
        held[1:, 1:] = np.diff(self.first).reshape(CELLS, CELLS).cumsum(axis=0).cumsum(axis=1)
        self.below = held
        """How many points lie in rows and columns before each corner of the grid."""

    def _cell(self, points: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.clip((points - self.low) / self.size, 0, CELLS - 1).astype(np.int64)

    def boxes(self, triangles: NDArray[np.float64]) -> NDArray[np.int64]:
        """Cells [T, 4] that the triangles [T, 3, 2] may touch: column and row from, column and row to."""
        low, high = self._cell(triangles.min(axis=1)), self._cell(triangles.max(axis=1))
        return np.column_stack([low, high + 1])

    def pairs_of(self, boxes: NDArray[np.int64]) -> NDArray[np.int64]:
        """How much work the boxes are [T]: their points and rows."""
        x0, y0, x1, y1 = boxes.T
        held = self.below
        return held[y1, x1] - held[y0, x1] - held[y1, x0] + held[y0, x0] + (y1 - y0)

    def pairs(self, boxes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Every box with every point in it: indices of boxes and of points."""
        rows = boxes[:, 3] - boxes[:, 1]
        box, row = _runs(boxes[:, 1], rows)
        begin = self.first[row * CELLS + boxes[box, 0]]
        length = self.first[row * CELLS + boxes[box, 2]] - begin
        run, point = _runs(begin, length)
        return box[run], point


def _runs(begin: NDArray[np.int64], length: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All numbers of runs of consecutive numbers, each with the index of its run."""
    run = np.repeat(np.arange(len(begin)), length)
    return run, np.arange(len(run)) - np.repeat(np.cumsum(length) - length, length) + begin[run]


def _inside(triangles: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each point lies in its triangle, however that is turned."""
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    turns = np.stack([_cross(b - a, points - a), _cross(c - b, points - b), _cross(a - c, points - c)])
    return (turns.min(axis=0) > 0) | (turns.max(axis=0) < 0)


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
