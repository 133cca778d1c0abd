"""The known priors: what is said of their size is counted from the networks themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from vitruvian.core.errors import UserError
from vitruvian.diffusion.catalogue import CATALOGUE, VRAM_MODES, KnownPrior, known_prior
from vitruvian.diffusion.counting import cost_of

# As the published configs give them, where they differ from the classes' own defaults.
SD15: dict[str, Any] = {"cross_attention_dim": 768, "attention_head_dim": 8}
SDXL: dict[str, Any] = {
    "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20),
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "use_linear_projection": True,
}
SDXL_UP: dict[str, Any] = {"up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")}
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}
CLIP_G: dict[str, Any] = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
}


def clip_l() -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            projection_dim=768,
        )
    )


def vit_h() -> CLIPVisionModelWithProjection:
    sizes = {**CLIP_G, "num_attention_heads": 16, "projection_dim": 1024}
    return CLIPVisionModelWithProjection(CLIPVisionConfig(patch_size=14, image_size=224, **sizes))


NETWORKS: dict[tuple[str, str], Callable[[], torch.nn.Module]] = {
    ("sd15", "unet"): lambda: UNet2DConditionModel(**SD15),
    ("sd15", "text_encoder"): clip_l,
    ("sd15", "vae"): lambda: AutoencoderKL(**VAE),
    ("sd15", "controlnet"): lambda: ControlNetModel(**SD15),
    ("sd15", "vae_tiny"): AutoencoderTiny,
    ("sd15", "image_encoder"): vit_h,
    ("sdxl", "unet"): lambda: UNet2DConditionModel(**SDXL, **SDXL_UP),
    ("sdxl", "text_encoder_2"): lambda: CLIPTextModelWithProjection(CLIPTextConfig(**CLIP_G)),
    ("sdxl", "union"): lambda: ControlNetUnionModel(
        conditioning_embedding_out_channels=(16, 32, 96, 256), num_control_type=6, **SDXL
    ),
}


@pytest.mark.parametrize(("prior", "network"), NETWORKS, ids="/".join)
def test_sizes_are_those_of_the_networks(prior: str, network: str) -> None:
    with torch.device("meta"):
        parameters = sum(p.numel() for p in NETWORKS[prior, network]().parameters())
    parts = CATALOGUE[prior].parts(with_ip_adapter=True)
    assert {part.parameters[network] for part in parts if network in part.parameters} == {parameters}


@pytest.mark.parametrize("prior", ["sd15", "sdxl"])
def test_an_ip_adapter_has_two_matrices_an_attention_and_a_projection(prior: str) -> None:
    with torch.device("meta"):
        unet = NETWORKS[prior, "unet"]()
    keys = [p.shape for name, p in unet.named_parameters() if name.endswith("attn2.to_k.weight")]
    picture, text, tokens = 1024, keys[0][1], 4
    projection = picture * tokens * text + tokens * text + 2 * text
    expected = projection + 2 * sum(shape.numel() for shape in keys)
    assert CATALOGUE[prior].ip_adapter.parameters["ip_adapter"] == expected


@pytest.mark.parametrize(
    "prior", [CATALOGUE["sd15"], pytest.param(CATALOGUE["sdxl"], marks=pytest.mark.slow)]
)
def test_working_memory_is_what_the_networks_keep_alive(prior: KnownPrior) -> None:
    side = prior.image_size // 8
    with torch.device("meta"), torch.no_grad():
        unet = NETWORKS[prior.name, "unet"]().half().eval()
        control = NETWORKS[prior.name, "union" if prior.union else "controlnet"]().half().eval()
        vae: Any = AutoencoderKL(**VAE).eval()
        latents = torch.empty(1, 4, side, side, dtype=torch.half)
        call = partial(_evaluate, unet, control, latents, torch.empty(1, 3, 8 * side, 8 * side).half())
        assert cost_of(call).bytes == pytest.approx(prior.activation_bytes, rel=0.02)
        decoded = cost_of(lambda: vae.decode(torch.empty(1, 4, side, side)))
        assert decoded.bytes == pytest.approx(prior.decode_bytes, rel=0.02)


def _evaluate(unet: Any, control: Any, latents: torch.Tensor, picture: torch.Tensor) -> None:
    """One image through three conditions' ControlNets, or the union, and the UNet."""
    time = torch.empty(1, dtype=torch.long)
    text = torch.empty(1, 77, unet.config.cross_attention_dim, dtype=torch.half)
    sizes = {"text_embeds": torch.empty(1, 1280).half(), "time_ids": torch.empty(1, 6).half()}
    given: dict[str, Any] = {"return_dict": False}
    if unet.config.addition_embed_type:
        given["added_cond_kwargs"] = sizes
    if isinstance(control, ControlNetUnionModel):
        types = {"control_type": torch.zeros(1, 6).half(), "control_type_idx": [0, 1, 4]}
        down, mid = control(latents, time, text, controlnet_cond=[picture] * 3, **types, **given)
    else:
        down, mid = control(latents, time, text, controlnet_cond=picture, **given)
        for _ in range(2):
            more, middle = control(latents, time, text, controlnet_cond=picture, **given)
            down, mid = [a + b for a, b in zip(down, more, strict=True)], mid + middle
            del more, middle
    residuals = {"down_block_additional_residuals": list(down), "mid_block_additional_residual": mid}
    unet(latents, time, text, **residuals, **given)


@pytest.mark.parametrize("prior", CATALOGUE.values(), ids=lambda prior: prior.name)
def test_each_prior_is_told_whole(prior: KnownPrior) -> None:
    assert prior.controlnets or prior.union
    conditions = set(prior.controlnets) | set(prior.union_types)
    assert conditions == {"depth", "normal", "pose"}
    parts = list(prior.parts(with_ip_adapter=True))
    assert len({part.folder for part in parts}) == len(parts)
    assert all(part.licence.url.startswith("https://") and part.disk_gb > 0 for part in parts)
    assert prior.ip_adapter_weights in prior.ip_adapter.files
    assert prior.ip_adapter not in prior.parts()


@pytest.mark.parametrize("prior", CATALOGUE.values(), ids=lambda prior: prior.name)
def test_memory_shrinks_from_mode_to_mode(prior: KnownPrior) -> None:
    needs = [prior.vram_gb(mode) for mode in VRAM_MODES]
    assert needs == sorted(needs, reverse=True)
    networks = [n for part in prior.parts() for n in part.parameters.values()]
    assert needs[0] * 1e9 > 2 * sum(networks)
    assert needs[-1] * 1e9 > 2 * max(networks)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UserError, match="not in the catalogue") as caught:
        known_prior("sd3")
    assert "sd15, sdxl" in caught.value.remedy
