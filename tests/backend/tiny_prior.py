"""A prior in diffusers' layout with random weights and next to no width, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

WORDS = ("a", "person", "in", "red", "blue", "shirt", "jeans", "full", "upper", "body", "from", "behind", ",")
TEXT_WIDTH = 16
IMAGE_SIZE = 32


def build_tiny_prior(
    folder: Path, prediction: str = "v_prediction", zero_snr: bool = True, seed: int = 0
) -> Path:
    """Write the folder; latents are 4 channels at a quarter of the image's size."""
    torch.manual_seed(seed)
    _vae().save_pretrained(folder / "vae")
    unet = _unet()
    unet.save_pretrained(folder / "unet")
    for condition in ("depth", "normal"):
        controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8, 8))
        for layer in controlnet.controlnet_down_blocks:
            torch.nn.init.normal_(next(layer.parameters()), std=0.1)
        controlnet.save_pretrained(folder / f"controlnet_{condition}")
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder / "tokenizer")
    _text_encoder(tokenizer).save_pretrained(folder / "text_encoder")
    tiny_scheduler(prediction, zero_snr).save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionControlNetPipeline"}))
    return folder


def tiny_scheduler(prediction: str, zero_snr: bool) -> Any:
    """The mini prior's schedule, with another prediction type."""
    if prediction == "flow":
        return FlowMatchEulerDiscreteScheduler()
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type=cast(Any, prediction),  # also wrong ones, on purpose
        rescale_betas_zero_snr=zero_snr,
        timestep_spacing="trailing",
        clip_sample=False,
    )


def _vae() -> AutoencoderKL:
    config: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
        "block_out_channels": (8, 8, 8),
        "layers_per_block": 1,
        "latent_channels": 4,
        "norm_num_groups": 2,
        "sample_size": IMAGE_SIZE,
        "mid_block_add_attention": False,
    }
    return AutoencoderKL(**config)


def _unet() -> UNet2DConditionModel:
    config: dict[str, Any] = {
        "sample_size": IMAGE_SIZE // 4,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": TEXT_WIDTH,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**config)


def _tokenizer() -> CLIPTokenizer:
    pieces = sorted({letter for word in WORDS for letter in word})
    vocabulary = [*pieces, *(f"{piece}</w>" for piece in pieces), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={piece: i for i, piece in enumerate(vocabulary)}, merges=[], model_max_length=77
    )


def _text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    ends = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=32,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=77,
            **ends,
        )
    )
