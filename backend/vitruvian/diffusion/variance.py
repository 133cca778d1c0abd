"""Give a mean of several views the spread that each of them had."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

NOISE_FLOOR = (1.5 / 255.0) ** 2
"""Variance below which a region counts as plain and is left alone (colours in [0, 1])."""


def align_variance(
    fused: Float[Tensor, "N 3 H W"],
    images: Float[Tensor, "N 3 H W"],
    mask: Bool[Tensor, "N H W"],
    window: int = 17,
    limit: float = 1.5,
) -> Float[Tensor, "N 3 H W"]:
    """Scale the detail of `fused` around its local mean to the local variance of `images`.

    A convex combination of views has less variance than the views, which shows as blur (VCD-Texture; research
    notes, section 4.3-5). One gain for the three channels, so that hues stay.

    Args:
        images: what went into the mean, view by view.
        mask: pixels that were fused; the windows read nothing else.
        window: width of the local mean in pixels, odd.
        limit: largest gain; noise is not worth more.
    """
    share = _box(mask[:, None].float(), window).clamp_min(1e-6)
    mean, target = _local_moments(images, mask, share, window)
    fused_mean, actual = _local_moments(fused, mask, share, window)
    del mean
    gain = ((target + NOISE_FLOOR) / (actual + NOISE_FLOOR)).sqrt().clamp(1.0, limit)
    # Written as an addition so that equal variances leave every bit as it is.
    aligned = fused + (gain - 1.0) * (fused - fused_mean)
    return torch.where(mask[:, None], aligned, fused).clamp(0.0, 1.0)


def _local_moments(
    images: Float[Tensor, "N 3 H W"],
    mask: Bool[Tensor, "N H W"],
    share: Float[Tensor, "N 1 H W"],
    window: int,
) -> tuple[Float[Tensor, "N 3 H W"], Float[Tensor, "N 1 H W"]]:
    """Mean and variance (over the channels together) in the window, of the pixels in `mask`."""
    kept = images * mask[:, None]
    mean = _box(kept, window) / share
    square = _box(kept.square().sum(1, keepdim=True), window) / share
    return mean, (square - mean.square().sum(1, keepdim=True)).clamp_min(0.0)


def _box(images: Float[Tensor, "N C H W"], window: int) -> Float[Tensor, "N C H W"]:
    half = window // 2
    return (
        avg_pool2d(images, (window, 1), 1, (half, 0))
        if window == 1
        else avg_pool2d(avg_pool2d(images, (window, 1), 1, (half, 0)), (1, window), 1, (0, half))
    )
