"""Which pixels to read, with which weights, for a position between them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def bilinear_taps(
    pixel: Float[Tensor, "P 2"], height: int, width: int
) -> tuple[Int[Tensor, "P 4"], Int[Tensor, "P 4"], Float[Tensor, "P 4"]]:
    """Rows, columns and weights of the four pixels around a position (centres at +0.5)."""
    x, y, fx, fy = _corner(pixel)
    rows = torch.stack([y, y, y + 1, y + 1], dim=-1).clamp(0, height - 1)
    columns = torch.stack([x, x + 1, x, x + 1], dim=-1).clamp(0, width - 1)
    weights = torch.stack([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy], dim=-1)
    return rows, columns, weights


def cubic_taps(
    pixel: Float[Tensor, "P 2"], height: int, width: int
) -> tuple[Int[Tensor, "P 16"], Int[Tensor, "P 16"], Float[Tensor, "P 16"]]:
    """The same for the sixteen pixels of Catmull-Rom interpolation: less blur, some weights < 0."""
    x, y, fx, fy = _corner(pixel)
    around = torch.arange(-1, 3, device=pixel.device)
    rows = (y[:, None] + around).clamp(0, height - 1)
    columns = (x[:, None] + around).clamp(0, width - 1)
    weights = _catmull_rom(fy)[:, :, None] * _catmull_rom(fx)[:, None, :]
    shape = (len(pixel), 4, 4)
    flat = rows[:, :, None].expand(shape).reshape(-1, 16), columns[:, None, :].expand(shape).reshape(-1, 16)
    return *flat, weights.reshape(-1, 16)


def _corner(
    pixel: Float[Tensor, "P 2"],
) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"], Float[Tensor, "P"], Float[Tensor, "P"]]:
    """Column and row of the pixel whose centre lies above and left of a position, and the rest of the way."""
    corner = (pixel - 0.5).floor()
    # A pixel's own centre comes back with a rounding error; it must not read its neighbours.
    rest = ((pixel - 0.5 - corner - 1e-3) / (1.0 - 2e-3)).clamp(0.0, 1.0)
    x, y = corner.long().unbind(-1)
    return x, y, rest[:, 0], rest[:, 1]


def _catmull_rom(t: Float[Tensor, "P"]) -> Float[Tensor, "P 4"]:
    """Weights of the four samples around a position `t` in [0, 1] between the middle two; sum 1."""
    square, cube = t * t, t * t * t
    weights = (
        -0.5 * t + square - 0.5 * cube,
        1.0 - 2.5 * square + 1.5 * cube,
        0.5 * t + 2.0 * square - 1.5 * cube,
        -0.5 * square + 0.5 * cube,
    )
    return torch.stack(weights, dim=-1)
