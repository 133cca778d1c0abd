"""Pictures to latents and back, in chunks that bound the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.diffusion.chunks import ChunkSize, in_chunks
from vitruvian.diffusion.prior import Prior


@torch.no_grad()
def encode(
    prior: Prior,
    images: Float[Tensor, "N 3 H W"],
    chunk: int | ChunkSize = 8,
    quick: bool = False,
    tiny: bool = False,
) -> Float[Tensor, "N C h w"]:
    """Scaled latents of RGB images in [0, 1]: the encoder's mean, not a sample, so encoding adds no noise.

    Args:
        chunk: images encoded together; bounds the memory. A `ChunkSize` shrinks where memory runs out.
        quick: compute with `prior.dtype` inside; good enough between two steps, not for final pictures.
        tiny: with the prior's tiny autoencoder, which is rough and many times quicker.

    Raises:
        UserError: memory ran out, and there is nothing left to shrink.
    """
    if tiny:
        return _through(
            images, chunk, _precision(prior, quick), lambda x: prior.tiny_vae.encode(x * 2 - 1).latents
        )
    mean, scale = _normalisation(prior)
    size = _chunk_size(chunk)

    def encoded(part: Tensor) -> Tensor:
        with _tiled(prior, size.tile):
            return prior.vae.encode(part * 2 - 1).latent_dist.mean

    return (_through(images, size, _precision(prior, quick), encoded) - mean) * scale


@torch.no_grad()
def decode(
    prior: Prior,
    latents: Float[Tensor, "N C h w"],
    chunk: int | ChunkSize = 8,
    quick: bool = False,
    tiny: bool = False,
) -> Float[Tensor, "N 3 H W"]:
    """RGB images in [0, 1] of scaled latents; everything else as for `encode`."""
    if tiny:
        rough: Any = prior.tiny_vae
        made = _through(latents, chunk, _precision(prior, quick), lambda x: rough.decode(x).sample)
        return (made / 2 + 0.5).clamp(0.0, 1.0)
    mean, scale = _normalisation(prior)
    size = _chunk_size(chunk)

    def decoded(part: Tensor) -> Tensor:
        with _tiled(prior, size.tile):
            return prior.vae.decode(part).sample

    made = _through(latents / scale + mean, size, _precision(prior, quick), decoded)
    return (made / 2 + 0.5).clamp(0.0, 1.0)


def _through(
    rows: Float[Tensor, "N *S"],
    chunk: int | ChunkSize,
    precision: AbstractContextManager[object],
    network: Callable[[Tensor], Tensor],
) -> Float[Tensor, "N *T"]:
    """`rows` through a network, chunk by chunk."""
    done: list[Tensor] = []

    def work(part: Sequence[int]) -> None:
        with precision:
            done.append(network(rows[part[0] : part[-1] + 1]))

    in_chunks(range(len(rows)), _chunk_size(chunk), work)
    return torch.cat(done).to(rows.dtype)


def _chunk_size(chunk: int | ChunkSize) -> ChunkSize:
    return ChunkSize("pictures decoded or encoded together", chunk) if isinstance(chunk, int) else chunk


@contextmanager
def _tiled(prior: Prior, side: int | None) -> Iterator[None]:
    """Within, the autoencoder cuts pictures into overlapping tiles of `side` pixels, diffusers' own way."""
    if side is None:
        yield
        return
    vae = prior.vae
    before = vae.tile_sample_min_size, vae.tile_latent_min_size
    vae.tile_sample_min_size, vae.tile_latent_min_size = side, side // prior.factor
    vae.enable_tiling()
    try:
        yield
    finally:
        vae.disable_tiling()
        vae.tile_sample_min_size, vae.tile_latent_min_size = before


def latent_shape(prior: Prior, height: int, width: int) -> tuple[int, int, int]:
    """Channels, rows and columns of the latents of one image."""
    return int(prior.vae.config.latent_channels), height // prior.factor, width // prior.factor


def _precision(prior: Prior, quick: bool) -> AbstractContextManager[object]:
    if not quick or prior.dtype == torch.float32:
        return nullcontext()
    # Activations of SDXL's autoencoder are too large for float16, which would make black pictures.
    overflows = prior.dtype == torch.float16 and prior.text_encoder_2 is not None
    return torch.autocast(prior.device.type, torch.bfloat16 if overflows else prior.dtype)


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
