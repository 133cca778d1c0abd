"""Figures that pictures are judged by. Every function takes sRGB-encoded RGB in [0, 1]."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitruvian.core.colour import lab_to_srgb, srgb_to_lab


def psnr(
    a: Float[Tensor, "N 3 H W"], b: Float[Tensor, "N 3 H W"], mask: Bool[Tensor, "N H W"] | None = None
) -> float:
    """Peak signal-to-noise ratio in dB over the pixels of `mask` (all pixels without one)."""
    squared = (a - b).square().mean(dim=1)
    error = squared[mask].mean() if mask is not None else squared.mean()
    return float(-10.0 * torch.log10(error.clamp_min(1e-10)))


def dominant_colour(rgb: Float[Tensor, "P 3"], radius: float = 9.0, samples: int = 600) -> Float[Tensor, "3"]:
    """The sRGB colour that most pixels are near to: the mean around the densest point of CIELAB.

    A mean or a median of a striped garment is a colour that appears nowhere on it; the mode is its ground.

    Args:
        radius: Euclidean distance in CIELAB within which two pixels count as the same colour.
        samples: evenly spaced pixels looked at (density is quadratic in them).

    Raises:
        ValueError: no pixel was given.
    """
    if len(rgb) == 0:
        raise ValueError("dominant_colour needs at least one pixel")
    chosen = rgb[torch.linspace(0, len(rgb) - 1, min(samples, len(rgb))).long()]
    lab = srgb_to_lab(chosen)
    near = torch.cdist(lab, lab) < radius
    return lab_to_srgb(lab[near[near.sum(dim=1).argmax()]].mean(dim=0))


def laplacian_energy(images: Float[Tensor, "N 3 H W"], mask: Bool[Tensor, "N H W"]) -> float:
    """Mean squared response of the 4-neighbour Laplacian on the pixels whose neighbours all lie in `mask`.

    The silhouette is left out: it is the proxy's, however blurred the inside.
    """
    kernel = images.new_tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]).expand(3, 1, 3, 3)
    response = torch.nn.functional.conv2d(images, kernel, padding=1, groups=3).square().mean(dim=1)
    return float(response[erode(mask, 2)].mean())


def erode(mask: Bool[Tensor, "N H W"], pixels: int) -> Bool[Tensor, "N H W"]:
    """`mask` without what is nearer than `pixels` (chessboard) to its outside or the image border."""
    outside = torch.nn.functional.pad((~mask)[:, None].float(), (pixels,) * 4, value=1.0)
    grown = torch.nn.functional.max_pool2d(outside, 2 * pixels + 1, stride=1)
    return (grown == 0)[:, 0]


def patches(
    images: Float[Tensor, "N 3 H W"],
    mask: Bool[Tensor, "N H W"],
    size: int = 7,
    count: int = 8192,
    seed: int = 0,
) -> Float[Tensor, "K D"]:
    """At most `count` random `size` x `size` patches whose centre lies well inside `mask`, flattened."""
    centres = erode(mask, size // 2).nonzero()
    if len(centres) == 0:
        raise ValueError("no patch fits inside the mask")
    generator = torch.Generator().manual_seed(seed)
    centres = centres[torch.randint(len(centres), (count,), generator=generator)]
    offsets = torch.arange(size) - size // 2
    view = centres[:, 0, None, None]
    row = centres[:, 1, None, None] + offsets[None, :, None]
    column = centres[:, 2, None, None] + offsets[None, None, :]
    return images.permute(0, 2, 3, 1)[view, row, column].flatten(1)


def sliced_wasserstein(
    a: Float[Tensor, "K D"], b: Float[Tensor, "K D"], projections: int = 256, seed: int = 0
) -> float:
    """Mean 1-Wasserstein distance of two equally large point sets over random directions (Rabin et al. 2011).

    Raises:
        ValueError: the sets differ in size.
    """
    if a.shape != b.shape:
        raise ValueError(f"point sets differ: {tuple(a.shape)} and {tuple(b.shape)}")
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(
        torch.randn(a.shape[1], projections, generator=generator), dim=0
    )
    return float(((a @ directions).sort(dim=0).values - (b @ directions).sort(dim=0).values).abs().mean())
