"""Pictures to latents and back, in chunks that bound the memory."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.diffusion.prior import Prior


@torch.no_grad()
def encode(
    prior: Prior, images: Float[Tensor, "N 3 H W"], chunk: int = 8, quick: bool = False
) -> Float[Tensor, "N C h w"]:
    """Scaled latents of RGB images in [0, 1]: the encoder's mean, not a sample, so encoding adds no noise.

    Args:
        chunk: images encoded together; bounds the memory.
        quick: compute with `prior.dtype` inside; good enough between two steps, not for final pictures.
    """
    mean, scale = _normalisation(prior)
    with _precision(prior, quick):
        rows = [prior.vae.encode(part * 2 - 1).latent_dist.mean for part in images.split(chunk)]
    return (torch.cat(rows).to(images.dtype) - mean) * scale


@torch.no_grad()
def decode(
    prior: Prior, latents: Float[Tensor, "N C h w"], chunk: int = 8, quick: bool = False
) -> Float[Tensor, "N 3 H W"]:
    """RGB images in [0, 1] of scaled latents; `chunk` and `quick` as for `encode`."""
    mean, scale = _normalisation(prior)
    raw = latents / scale + mean
    with _precision(prior, quick):
        rows = [prior.vae.decode(part).sample for part in raw.split(chunk)]
    return (torch.cat(rows).to(latents.dtype) / 2 + 0.5).clamp(0.0, 1.0)


def latent_shape(prior: Prior, height: int, width: int) -> tuple[int, int, int]:
    """Channels, rows and columns of the latents of one image."""
    return int(prior.vae.config.latent_channels), height // prior.factor, width // prior.factor


def _precision(prior: Prior, quick: bool) -> torch.autocast:
    shorter = quick and prior.dtype != torch.float32
    return torch.autocast(prior.device.type, prior.dtype if shorter else None, enabled=shorter)


def _normalisation(prior: Prior) -> tuple[Tensor | float, Tensor | float]:
    """What brings raw latents to about unit variance: diffusers' config fields, per channel where given."""
    config = prior.vae.config
    scale = float(config.scaling_factor)
    mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    if mean is None or std is None:
        return float(getattr(config, "shift_factor", None) or 0.0), scale
    shape = (1, -1, 1, 1)
    column = torch.tensor(mean, device=prior.device).view(shape)
    return column, scale / torch.tensor(std, device=prior.device).view(shape)
