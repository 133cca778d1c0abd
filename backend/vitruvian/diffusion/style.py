"""A picture that says what the person looks like: IP-Adapter (Ye et al., arXiv 2308.06721)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from vitruvian.core.errors import UserError
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.text_states import TextStates


@dataclass(frozen=True)
class StyleAdapter:
    """An IP-Adapter in a UNet, and what turns a picture into what it reads. At rest its weight is 0."""

    image_encoder: Any
    """CLIPVisionModelWithProjection."""
    processor: Any
    """CLIPImageProcessor: size, crop and colours of what the image encoder was trained on."""
    tokens: bool
    """Whether it reads all tokens of the picture ("plus" adapters) instead of one vector."""
    scale: float
    """Weight of a picture where the job does not say it."""
    blank: Float[Tensor, "1 *E"]
    """No picture, encoded: what guidance leads away from."""


def encode_style(prior: Prior, picture: Float[Tensor, "3 H W"]) -> Float[Tensor, "1 *E"]:
    """A picture (RGB in [0, 1], any size; its middle square is looked at) for the prior's IP-Adapter.

    Raises:
        UserError: the prior has no IP-Adapter.
    """
    adapter = adapter_of(prior)
    colours = (picture.clamp(0.0, 1.0) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    pixels = adapter.processor(Image.fromarray(colours), return_tensors="pt").pixel_values
    return encode_pixels(adapter.image_encoder, pixels, adapter.tokens).to(prior.device)


def adapter_of(prior: Prior) -> StyleAdapter:
    """The prior's IP-Adapter.

    Raises:
        UserError: it has none.
    """
    if prior.style is None:
        raise UserError(
            "prior",
            prior.name,
            "has no IP-Adapter, so a style image has nobody to look at it",
            'Use a recipe with an "ip_adapter" (docs/priors.md), or leave the style image out',
        )
    return prior.style


@torch.no_grad()
def encode_pixels(
    image_encoder: Any, pixels: Float[Tensor, "1 3 S S"], tokens: bool
) -> Float[Tensor, "1 *E"]:
    """Of a picture that is prepared: its vector, or the tokens of the last layer but one."""
    pixels = pixels.to(image_encoder.device, image_encoder.dtype)
    if tokens:
        return image_encoder(pixels, output_hidden_states=True).hidden_states[-2]
    return image_encoder(pixels).image_embeds


def with_style(text: TextStates, style: Float[Tensor, "1 *E"]) -> TextStates:
    """`text` of N views, with the same picture for each of them."""
    return replace(text, picture=style.float().expand(len(text), *style.shape))


@contextmanager
def style_weight(unet: Any, weight: float) -> Iterator[None]:
    """Let the UNet's IP-Adapter count with `weight` for the duration of the block; afterwards not at all.

    The UNet is changed in place: two threads must not share it inside the block.
    """
    set_weight(unet, weight)
    try:
        yield
    finally:
        set_weight(unet, 0.0)


def set_weight(unet: Any, weight: float) -> None:
    """The IP-Adapter's layers are those whose attention processor has a scale for each adapter."""
    for processor in unet.attn_processors.values():
        if isinstance(getattr(processor, "scale", None), list):
            processor.scale = [weight] * len(processor.scale)
