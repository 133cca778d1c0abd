"""Priors in diffusers' layout with random weights and next to no width, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

WORDS = ("a", "person", "in", "red", "blue", "shirt", "jeans", "full", "upper", "body", "from", "behind", ",")
TEXT_WIDTH = 16
SECOND_WIDTH, POOLED = 24, 20
IMAGE_SIZE = 32


def build_tiny_prior(
    folder: Path, prediction: str = "v_prediction", zero_snr: bool = True, seed: int = 0
) -> Path:
    """Write the folder of a model like SD 1.5; latents are 4 channels at a quarter of the image's size."""
    torch.manual_seed(seed)
    _vae().save_pretrained(folder / "vae")
    unet = _unet(TEXT_WIDTH)
    unet.save_pretrained(folder / "unet")
    _controlnets(folder, unet)
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder / "tokenizer")
    _text_encoder(CLIPTextModel, tokenizer, TEXT_WIDTH, 1).save_pretrained(folder / "text_encoder")
    tiny_scheduler(prediction, zero_snr).save_pretrained(folder / "scheduler")
    _write_index(folder, "StableDiffusionPipeline", safety_checker=[None, None])
    return folder


def build_tiny_sdxl(folder: Path, union: bool = False, force_zeros: bool = True, seed: int = 0) -> Path:
    """Write the folder of a model like SDXL: two text encoders of different width, sizes beside the time.

    Args:
        union: one union ControlNet instead of one each for depth and normals.
    """
    torch.manual_seed(seed)
    _vae(scaling_factor=0.13025).save_pretrained(folder / "vae")
    unet = _unet(
        TEXT_WIDTH + SECOND_WIDTH,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=POOLED + 6 * 8,
        transformer_layers_per_block=[1, 2],
        use_linear_projection=True,
    )
    unet.save_pretrained(folder / "unet")
    _union(folder, unet) if union else _controlnets(folder, unet)
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder / "tokenizer")
    _tokenizer(pad="a</w>").save_pretrained(folder / "tokenizer_2")
    _text_encoder(CLIPTextModel, tokenizer, TEXT_WIDTH, 2).save_pretrained(folder / "text_encoder")
    second = _text_encoder(CLIPTextModelWithProjection, tokenizer, SECOND_WIDTH, 3)
    second.save_pretrained(folder / "text_encoder_2")
    DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        set_alpha_to_one=False,
        clip_sample=False,
    ).save_pretrained(folder / "scheduler")
    _write_index(folder, "StableDiffusionXLPipeline", force_zeros_for_empty_prompt=force_zeros)
    return folder


def add_tiny_vae(folder: Path) -> None:
    """An AutoencoderTiny for the same latents beside the prior's other parts."""
    torch.manual_seed(5)
    tiny = AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8),
        decoder_block_out_channels=(8, 8, 8),
        num_encoder_blocks=(1, 1, 1),
        num_decoder_blocks=(1, 1, 1),
        latent_channels=4,
    )
    tiny.save_pretrained(folder / "vae_tiny")


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


def _controlnets(folder: Path, unet: UNet2DConditionModel) -> None:
    for condition in ("depth", "normal"):
        controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8, 8))
        for layer in controlnet.controlnet_down_blocks:
            torch.nn.init.normal_(next(layer.parameters()), std=0.1)
        controlnet.save_pretrained(folder / f"controlnet_{condition}")


def _union(folder: Path, unet: UNet2DConditionModel) -> None:
    same = (
        "in_channels",
        "down_block_types",
        "block_out_channels",
        "layers_per_block",
        "cross_attention_dim",
        "transformer_layers_per_block",
        "attention_head_dim",
        "norm_num_groups",
        "addition_embed_type",
        "addition_time_embed_dim",
        "projection_class_embeddings_input_dim",
        "use_linear_projection",
    )
    width = unet.config["block_out_channels"][0]
    controlnet = ControlNetUnionModel(
        **{key: unet.config[key] for key in same},
        conditioning_embedding_out_channels=(4, 8, 8),
        num_trans_channel=width,
        num_trans_head=2,
        num_proj_channel=width,
    )
    for parameter in controlnet.parameters():  # those that start at zero would say nothing
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    controlnet.save_pretrained(folder / "controlnet_union")


def _vae(scaling_factor: float = 0.18215) -> AutoencoderKL:
    config: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
        "block_out_channels": (8, 8, 8),
        "layers_per_block": 1,
        "latent_channels": 4,
        "norm_num_groups": 2,
        "sample_size": IMAGE_SIZE,
        "mid_block_add_attention": False,
        "scaling_factor": scaling_factor,
    }
    return AutoencoderKL(**config)


def _unet(text_width: int, **more: Any) -> UNet2DConditionModel:
    config: dict[str, Any] = {
        "sample_size": IMAGE_SIZE // 4,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": text_width,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
        **more,
    }
    return UNet2DConditionModel(**config)


def _tokenizer(pad: str = "<|endoftext|>") -> CLIPTokenizer:
    pieces = sorted({letter for word in WORDS for letter in word})
    vocabulary = [*pieces, *(f"{piece}</w>" for piece in pieces), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={piece: i for i, piece in enumerate(vocabulary)}, merges=[], model_max_length=77, pad_token=pad
    )


def _text_encoder(kind: Any, tokenizer: CLIPTokenizer, width: int, layers: int) -> Any:
    ends = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    return kind(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=32,
            projection_dim=POOLED if kind is CLIPTextModelWithProjection else width,
            num_hidden_layers=layers,
            num_attention_heads=2,
            max_position_embeddings=77,
            **ends,
        )
    )


def _write_index(folder: Path, pipeline: str, **more: Any) -> None:
    """model_index.json as diffusers writes it: which class of which library stands in which folder."""
    kinds = {
        "vae": ["diffusers", "AutoencoderKL"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    }
    inside = {name: kind for name, kind in kinds.items() if (folder / name).is_dir()}
    nothing = {name: [None, None] for name in ("feature_extractor", "image_encoder")}
    index = {"_class_name": pipeline, **inside, **nothing, **more}
    (folder / "model_index.json").write_text(json.dumps(index))
