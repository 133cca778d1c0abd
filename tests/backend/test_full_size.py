"""The real sizes of SD 1.5 and SDXL go through the same code: shapes on torch's meta device."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_catalogue import NETWORKS, clip_l

from vitruvian.diffusion.catalogue import CATALOGUE
from vitruvian.diffusion.denoiser import NoiseLevel, make_denoiser, with_guidance
from vitruvian.diffusion.latents import latent_shape
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.sources import known_family
from vitruvian.diffusion.text_states import TextStates
from vitruvian.methods.inputs import cell_pixels

META = torch.device("meta")
LEVEL = NoiseLevel(600.0, 0.6, 0.8, 2, 10)
TEXT_WIDTHS = {"sd15": 768, "sdxl": 2048}
POOLED = {"sd15": None, "sdxl": 1280}


def on_meta(name: str) -> Prior:
    """A prior of full size that has shapes and no numbers."""
    known = CATALOGUE[name]
    with META:
        unet, vae = NETWORKS[name, "unet"](), NETWORKS["sd15", "vae"]()
        if known.union is None:
            controlnets = {condition: NETWORKS[name, "controlnet"]() for condition in known.controlnets}
        else:
            controlnets = dict.fromkeys(known.union_types, NETWORKS[name, "union"]())
        two: Any = NETWORKS[name, "text_encoder_2"]() if name == "sdxl" else None
        return Prior(
            name=name,
            vae=vae,
            unet=unet.eval(),
            text_encoder=clip_l(),
            tokenizer=None,
            scheduler={},
            controlnets={condition: net.eval() for condition, net in controlnets.items()},
            prediction="epsilon",
            image_size=known.image_size,
            hash="",
            device=META,
            dtype=torch.float16,
            text_encoder_2=two,
            union_types=known.union_types,
        )


def test_full_size_networks_are_recognised() -> None:
    with META:
        for name in ("sd15", "sdxl"):
            unet: Any = NETWORKS[name, "unet"]()
            assert known_family(unet.config) is CATALOGUE[name]


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_shapes_of_a_guided_step_at_full_size(name: str) -> None:
    """Two views, both halves of guidance, every ControlNet: parameters, latents and what comes out."""
    prior, known = on_meta(name), CATALOGUE[name]
    assert sum(p.numel() for p in prior.unet.parameters()) == known.base.parameters["unet"]
    assert prior.factor == 8
    side = prior.image_size
    assert side % cell_pixels(prior) == 0
    shape = latent_shape(prior, side, side)
    assert shape == (4, side // 8, side // 8)
    for model in (prior.unet, *prior.controlnets.values()):
        model.half()
    with META:
        images = {condition: torch.empty(2, 3, side, side) for condition in prior.controlnets}
        pooled = POOLED[name]
        words = TextStates(
            torch.empty(2, 77, TEXT_WIDTHS[name]), None if pooled is None else torch.empty(2, pooled)
        )
        guided = with_guidance(make_denoiser(prior, images, {}), words, words, 7.5, [[0, 1]])
        x0 = guided(torch.empty(2, *shape), LEVEL)
    assert x0.shape == (2, *shape)
    assert x0.dtype == torch.float32
