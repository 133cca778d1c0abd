"""Overlap in UV maps: found where it is, and never much of it in one slice."""

from __future__ import annotations

import numpy as np
import pytest
from vitruvian_addon import uv_overlap  # pyright: ignore[reportMissingImports]


def drained(uvs: np.ndarray, totals: np.ndarray) -> tuple[float, list[int]]:
    """The share, and the work of every slice."""
    totals = totals.astype(np.int32)
    steps = uv_overlap.overlap_steps(
        uvs.astype(np.float32), np.cumsum(totals, dtype=np.int32) - totals, totals
    )
    work: list[int] = []
    while True:
        try:
            work.append(next(steps))
        except StopIteration as end:
            return end.value, work


def grid(side: int) -> np.ndarray:
    """Corner UVs of side x side quads that fill the square."""
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    low = np.stack([x, y], axis=-1).reshape(-1, 1, 2)
    return ((low + np.array([[0, 0], [1, 0], [1, 1], [0, 1]])) / side).reshape(-1, 2)


def test_a_large_map_is_looked_at_in_small_slices() -> None:
    """448 x 448 quads have 201,601 vertices; a slice is bounded whatever the mesh's size."""
    share, work = drained(grid(448), np.full(448**2, 4))
    assert share == 0.0
    assert max(work) <= uv_overlap.SLICE
    assert len(work) > 10


@pytest.mark.parametrize("turned", [False, True])
def test_stacked_and_mirrored_islands_overlap(turned: bool) -> None:
    uvs = grid(40) * [0.5, 1.0]
    other = uvs[::-1] * [-1, 1] + [0.75, 0] if turned else uvs
    share, _ = drained(np.concatenate([uvs, other]), np.full(2 * 40**2, 4))
    assert share == pytest.approx(0.5 if turned else 1.0, abs=0.05)


def test_every_face_on_the_whole_square_is_found_soon() -> None:
    """What resetting the UVs of a large mesh leaves: comparing all with all would take minutes."""
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    share, work = drained(np.tile(square, (100_000, 1)), np.full(100_000, 4))
    assert share > 0.9
    assert sum(work) < 1_000_000
    assert max(work) <= uv_overlap.SLICE + 5000


def test_concave_faces_do_not_overlap_with_what_lies_in_their_notch() -> None:
    """An L of six corners, from a corner at which its fan leaves it, and the square that fills it."""
    shape = np.array([[0, 0], [0.9, 0], [0.9, 0.1], [0.1, 0.1], [0.1, 0.9], [0, 0.9]])
    notch = np.array([[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]])
    for turn in range(6):
        share, _ = drained(np.concatenate([np.roll(shape, turn, axis=0), notch]), np.array([6, 4]))
        assert share == 0.0, turn


def test_a_map_without_area_carries_nothing() -> None:
    assert drained(np.zeros((8, 2)), np.array([4, 4]))[0] == 1.0
    assert drained(np.zeros((0, 2)), np.zeros(0, int))[0] == 1.0
