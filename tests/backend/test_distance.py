"""Distances and nearest pixels, against SciPy's exact transform."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from vitruvian.texture.distance import beyond, bounded_squares, distance_inside, nearest_keys, offsets


def blobs(height: int, width: int, seed: int = 0) -> Tensor:
    """A mask of a few smooth patches."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 1, 6, 7, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")[0, 0] > 0.3


def exact(mask: Tensor) -> Tensor:
    return torch.from_numpy(np.asarray(distance_transform_edt(mask.numpy()), dtype=np.float32))


@pytest.mark.parametrize("limit", [3, 16, 40])
def test_squared_distances_are_exact_within_the_limit(limit: int) -> None:
    marked = blobs(70, 93)
    squares, expected = bounded_squares(marked, limit), exact(~marked).square().round().int()
    near = expected <= limit**2
    assert torch.equal(squares[near], expected[near])
    assert (squares[~near] > limit**2).all()


def test_keys_lead_to_a_nearest_marked_pixel() -> None:
    marked = blobs(64, 50, seed=1)
    limit = 12
    keys = nearest_keys(marked, limit)
    found = keys < beyond(limit)
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(50), indexing="ij")
    down, right = offsets(keys)
    assert marked[(rows + down)[found], (columns + right)[found]].all()
    expected = exact(~marked)
    length = torch.stack([down, right]).float().norm(dim=0)
    within = expected <= limit
    assert found[within].all()
    assert torch.allclose(length[within], expected[within])


def test_nothing_marked_is_beyond_every_limit() -> None:
    assert (nearest_keys(torch.zeros(9, 9, dtype=torch.bool), 63) >= beyond(63)).all()
    with pytest.raises(ValueError, match="64"):
        nearest_keys(torch.zeros(9, 9, dtype=torch.bool), 64)


@pytest.mark.parametrize("seed", [0, 1])
def test_distances_inside_are_the_same_on_every_path(seed: int) -> None:
    mask = blobs(80, 61, seed)
    found = distance_inside(mask, 20)
    assert torch.allclose(found, exact(mask).clamp_max(20.0), atol=1e-4)
    elsewhere = bounded_squares(~mask, 20).clamp_max(400).float().sqrt()
    assert torch.allclose(found, elsewhere, atol=1e-4)


def test_a_full_mask_is_far_from_any_edge() -> None:
    assert (distance_inside(torch.ones(5, 4, dtype=torch.bool), 7) == 7.0).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_distances_are_the_same_on_a_gpu() -> None:
    mask = blobs(200, 150)
    assert torch.allclose(distance_inside(mask.cuda(), 20).cpu(), distance_inside(mask, 20), atol=1e-4)
