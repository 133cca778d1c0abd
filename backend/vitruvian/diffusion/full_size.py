"""Networks of a known family's size with random weights: for measuring, where weights cannot be had.

They cost what the real ones cost, and paint noise. Shapes as published with Stable Diffusion 1.5, its
ControlNets (Zhang et al. 2023) and TAESD.
"""

from __future__ import annotations

from typing import Any

import torch

from vitruvian.core.errors import UserError
from vitruvian.diffusion.catalogue import BUNDLED
from vitruvian.diffusion.mini_model import load_tokenizer
from vitruvian.diffusion.prior import Prior, quick_dtype

FAMILIES = ("sd15",)
NEEDED_GB = 8.0
"""Free memory of the card that the smallest whole run was planned for."""
_SD15_SCHEDULE = {
    "_class_name": "PNDMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "steps_offset": 1,
}
_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
    "scaling_factor": 0.18215,
}
_TEXT: dict[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "projection_dim": 768,
}


@torch.no_grad()
def random_prior(family: str, device: torch.device, controls: tuple[str, ...] = ("depth", "normal")) -> Prior:
    """A prior of `family` with random weights, made on `device`; on "meta" it has shapes only.

    Raises:
        UserError: a family that nothing is known of.
    """
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
    from diffusers.models.controlnets.controlnet import ControlNetModel
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    if family not in FAMILIES:
        raise UserError("size_of", family, "is unknown", f"Use one of {', '.join(FAMILIES)}")
    dtype = torch.float16 if device.type == "meta" else quick_dtype(device)

    def make(kind: Any, precision: torch.dtype, **config: Any) -> Any:
        # Straight onto the device and in the final precision: no second copy in anybody's memory.
        before = torch.get_default_dtype()
        torch.set_default_dtype(precision)
        try:
            with torch.device(device):
                module = kind(**config)
        finally:
            torch.set_default_dtype(before)
        return module.to(memory_format=torch.channels_last).eval().requires_grad_(False)

    shape = {"cross_attention_dim": 768, "attention_head_dim": 8}
    config = CLIPTextConfig(**_TEXT)
    return Prior(
        name=f"random weights of {family}'s size",
        vae=make(AutoencoderKL, torch.float32, **_VAE),
        unet=make(UNet2DConditionModel, dtype, sample_size=64, **shape),
        text_encoder=make(CLIPTextModel, dtype, config=config),
        tokenizer=load_tokenizer(BUNDLED / "tokenizer"),
        scheduler=_SD15_SCHEDULE,
        controlnets={name: make(ControlNetModel, dtype, **shape) for name in controls},
        prediction="epsilon",
        image_size=512,
        hash=f"random {family}",
        device=device,
        dtype=dtype,
        tiny_vae=make(AutoencoderTiny, torch.float32),
    )


def check_room(device: torch.device) -> None:
    """Refuse a machine on which full-size networks cannot be measured.

    Raises:
        UserError: no graphics card, or not enough free on it.
    """
    if device.type != "cuda":
        raise UserError(
            "size_of",
            device.type,
            "would take hours without a graphics card",
            f"Use a CUDA card with {NEEDED_GB:g} GB free; what it costs is counted above",
        )
    free = torch.cuda.mem_get_info(device)[0] / 1e9
    if free < NEEDED_GB:
        raise UserError(
            "size_of",
            f"{free:.1f} GB free on {device}",
            "is too little for networks of that size",
            f"Close what else uses the card, until {NEEDED_GB:g} GB are free",
        )
