"""Distances inside masks, and the nearest known pixel: exact, on any device."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_FAR = 1e6
"""Stands for the distance where no unset pixel is."""


def distance_inside(mask: Bool[Tensor, "H W"], limit: int) -> Float[Tensor, "H W"]:
    """Distance of each set pixel to the nearest unset one, pixels; at most `limit`, 0 on unset ones.

    OpenCV's exact transform on a CPU (Felzenszwalb and Huttenlocher); elsewhere `bounded_squares`, so that
    nothing leaves the device.
    """
    if mask.device.type != "cpu":
        return bounded_squares(~mask, limit).clamp_max(limit**2).float().sqrt()
    pixels = mask.numpy().view(np.uint8)
    if pixels.all():
        return torch.full(mask.shape, float(limit))
    found = cv2.distanceTransform(pixels, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return torch.from_numpy(found).clamp_max_(float(limit))


def bounded_squares(marked: Bool[Tensor, "H W"], limit: int) -> Int[Tensor, "H W"]:
    """Squared distance to the nearest marked pixel, exact up to `limit` pixels and larger than limit^2
    beyond."""
    return nearest_keys(marked, limit) // _SCALE


_SCALE = 1 << 14
"""A key is squared distance * _SCALE + (row offset + 64) * 128 + (column offset + 64)."""
_LARGEST_LIMIT = 63


def nearest_keys(marked: Bool[Tensor, "H W"], limit: int) -> Int[Tensor, "H W"]:
    """For each pixel, the nearest marked one within `limit` rows and columns, as a key (int32).

    Down the columns first, then along the rows (Rosenfeld and Pfaltz 1966): the smallest key over all
    offsets. Where distances tie, the smaller row offset and then the smaller column offset win.

    Raises:
        ValueError: for a limit that keys have no room for.
    """
    if not 0 < limit <= _LARGEST_LIMIT:
        raise ValueError(f"limit {limit} is not in 1..{_LARGEST_LIMIT}")
    nothing = (limit + 1) ** 2 * 4 * _SCALE
    zero = torch.where(marked, 64 * 128 + 64, nothing).int()
    down = zero.clone()
    for step in range(1, limit + 1):
        for offset in (-step, step):
            _lower(down, zero, 0, offset, step**2 * _SCALE + offset * 128)
    along = down.clone()
    for step in range(1, limit + 1):
        for offset in (-step, step):
            _lower(along, down, 1, offset, step**2 * _SCALE + offset)
    return along


def beyond(limit: int) -> int:
    """The smallest key of pixels with nothing marked within `limit` rows and columns."""
    return (2 * limit**2 + 1) * _SCALE


def _lower(best: Int[Tensor, "H W"], other: Int[Tensor, "H W"], axis: int, offset: int, cost: int) -> None:
    """Let each pixel of `best` take the key `offset` pixels further along `axis`, plus `cost`, if smaller."""
    count = best.shape[axis] - abs(offset)
    if count <= 0:
        return
    here, there = best.narrow(axis, max(0, -offset), count), other.narrow(axis, max(0, offset), count)
    torch.minimum(here, there + cost, out=here)


def offsets(keys: Int[Tensor, "*S"]) -> tuple[Int[Tensor, "*S"], Int[Tensor, "*S"]]:
    """Rows and columns from each pixel to its nearest marked one."""
    return ((keys >> 7) & 127) - 64, (keys & 127) - 64
