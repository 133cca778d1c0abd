"""The architecture of the bundled prior: Stable Diffusion's parts, made small, in diffusers' own classes.

What differs from Stable Diffusion 1.5 besides width: 8 latent channels instead of 4, v-prediction with zero
terminal SNR, a text encoder that is trained along, and ControlNets without cross-attention (geometry does
not depend on the prompt; they see the body, the UNet reads the text).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from vitruvian.core.errors import UserError

IMAGE_SIZE = 256
MAX_TOKENS = 64


@dataclass(frozen=True)
class MiniShape:
    """Widths of every part; the defaults are the bundled prior's, tests use smaller ones."""

    vae_channels: tuple[int, ...] = (16, 32, 64, 128)
    latent_channels: int = 8
    vae_groups: int = 4
    """Few groups: GroupNorm over groups of one channel would take away the image's mean, and so its hue."""
    text_width: int = 192
    text_layers: int = 4
    text_heads: int = 6
    unet_channels: tuple[int, int, int] = (64, 128, 160)
    unet_heads: tuple[int, int, int] = (2, 4, 5)
    unet_groups: int = 16
    hint_channels: tuple[int, ...] = (8, 16, 32, 64)
    tiny_channels: int = 24
    """Of the tiny autoencoder, which has one width throughout."""
    image_size: int = IMAGE_SIZE

    @property
    def latent_size(self) -> int:
        return self.image_size // 2 ** (len(self.vae_channels) - 1)


def build_vae(shape: MiniShape) -> AutoencoderKL:
    """An autoencoder that halves the image once per level but the last (8x for four levels)."""
    levels = len(shape.vae_channels)
    kind: Any = AutoencoderKL  # its annotations allow one level only
    return kind(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=shape.vae_channels,
        layers_per_block=1,
        latent_channels=shape.latent_channels,
        norm_num_groups=shape.vae_groups,
        sample_size=shape.image_size,
        mid_block_add_attention=False,
        scaling_factor=1.0,  # the weights hold it: `fold_normalisation`
    )


def build_tiny_vae(shape: MiniShape) -> AutoencoderTiny:
    """TAESD's shape: one width, one block a level, no normalisation; for the latents of `build_vae`'s."""
    levels = len(shape.vae_channels)
    widths = (shape.tiny_channels,) * levels
    return AutoencoderTiny(
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        latent_channels=shape.latent_channels,
        num_encoder_blocks=(1,) * levels,
        num_decoder_blocks=(1,) * levels,
    )


def build_text_encoder(shape: MiniShape, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A CLIP text transformer; `pad` is `<|endoftext|>` as in Stable Diffusion."""
    settings: Any = CLIPTextConfig
    config = settings(
        vocab_size=len(tokenizer),
        hidden_size=shape.text_width,
        intermediate_size=4 * shape.text_width,
        projection_dim=shape.text_width,
        num_hidden_layers=shape.text_layers,
        num_attention_heads=shape.text_heads,
        max_position_embeddings=MAX_TOKENS,
        hidden_act="quick_gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def build_unet(shape: MiniShape) -> UNet2DConditionModel:
    """Cross-attention at the two coarser resolutions only."""
    kind: Any = UNet2DConditionModel
    return kind(
        sample_size=shape.latent_size,
        in_channels=shape.latent_channels,
        out_channels=shape.latent_channels,
        block_out_channels=shape.unet_channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=shape.text_width,
        attention_head_dim=shape.unet_heads,  # the number of heads, whatever diffusers' name says
        norm_num_groups=shape.unet_groups,
    )


def build_controlnet(shape: MiniShape, unet: UNet2DConditionModel) -> ControlNetModel:
    """A ControlNet without cross-attention; starts from the UNet's weights where it can."""
    controlnet = ControlNetModel(
        in_channels=shape.latent_channels,
        conditioning_channels=3,
        down_block_types=("DownBlock2D",) * 3,
        mid_block_type="UNetMidBlock2D",
        block_out_channels=shape.unet_channels,
        layers_per_block=1,
        norm_num_groups=shape.unet_groups,
        cross_attention_dim=shape.text_width,
        attention_head_dim=shape.unet_heads,
        conditioning_embedding_out_channels=shape.hint_channels,
    )
    shared = {name: value for name, value in unet.state_dict().items() if _fits(name, value, controlnet)}
    controlnet.load_state_dict(shared, strict=False)
    return controlnet


def build_scheduler() -> DDIMScheduler:
    """Cosine schedule with zero terminal SNR: sampling starts from pure noise, as training ended in it."""
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )


def use_plain_attention(unet: Any) -> None:
    """Attention as two matrix products: on a CPU their backward pass is faster than the fused kernel's."""
    unet.set_attn_processor(AttnProcessor())


def _fits(name: str, value: torch.Tensor, module: nn.Module) -> bool:
    own = module.state_dict().get(name)
    return own is not None and own.shape == value.shape


def save_part(module: Any, folder: Path, state: dict[str, torch.Tensor] | None = None) -> None:
    """Write one part in diffusers' layout, half precision, replacing `folder` in one move.

    Args:
        module: a diffusers or transformers model, a tokenizer or a scheduler.
        folder: e.g. `OUT/unet`; its parent is made.
        state: weights to save in place of the module's own (its moving average).
    """
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    if isinstance(module, nn.Module):
        source = module.state_dict() if state is None else state
        half = {name: value.detach().to("cpu", torch.float16).contiguous() for name, value in source.items()}
        kind: Any = type(module)
        # diffusers' models are made from their config by a class method, transformers' by calling the class.
        clone = kind.from_config(module.config) if hasattr(kind, "from_config") else kind(module.config)
        clone.half().load_state_dict(half)
        if hasattr(clone, "register_to_config"):
            clone.register_to_config(
                _name_or_path=""
            )  # else where it was loaded from, a folder of this machine
        clone.save_pretrained(fresh, safe_serialization=True)
    else:
        module.save_pretrained(fresh)
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)


def fold_normalisation(
    state: dict[str, torch.Tensor], mean: torch.Tensor, std: torch.Tensor
) -> dict[str, torch.Tensor]:
    """An autoencoder's weights such that its latents come out with zero mean and unit spread per channel.

    The 1x1 convolutions on both sides of the latents take up the normalisation, so `scaling_factor` is 1
    and any Stable Diffusion code can use the autoencoder as it is.

    Args:
        state: weights of an `AutoencoderKL`.
        mean: [C] of the latents' means now.
        std: [C], likewise.
    """
    channels = len(mean)
    folded = dict(state)
    into, bias = state["quant_conv.weight"].clone(), state["quant_conv.bias"].clone()
    into[:channels] /= std.view(-1, 1, 1, 1).to(into)
    bias[:channels] = (bias[:channels] - mean.to(bias)) / std.to(bias)
    bias[channels:] -= 2 * std.to(bias).log()  # the other half of the rows are log-variances
    out = state["post_quant_conv.weight"]
    folded["quant_conv.weight"], folded["quant_conv.bias"] = into, bias
    folded["post_quant_conv.weight"] = out * std.view(1, -1, 1, 1).to(out)
    folded["post_quant_conv.bias"] = state["post_quant_conv.bias"] + out[:, :, 0, 0] @ mean.to(out)
    return folded


def save_index(folder: Path, card: dict[str, Any]) -> None:
    """Write `model_index.json` (Stable Diffusion's pipeline with ControlNets) and our card `prior.json`."""
    index = {
        "_class_name": "StableDiffusionControlNetPipeline",
        "_diffusers_version": "0.35.0",
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "controlnet_depth": ["diffusers", "ControlNetModel"],
        "controlnet_normal": ["diffusers", "ControlNetModel"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("model_index.json", index), ("prior.json", card)):
        fresh = folder / (name + ".new")
        fresh.write_text(json.dumps(content, indent=2) + "\n")
        os.replace(fresh, folder / name)


def load_weights(modules: Mapping[str, nn.Module], prior: Path) -> None:
    """Give modules the weights that a prior's folder holds under their names, such as `PRIOR/unet`.

    Raises:
        UserError: a file that is missing or broken, or networks of another shape.
    """
    for name, module in modules.items():
        path = prior / name / "diffusion_pytorch_model.safetensors"
        try:
            module.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError) as error:
            problem = f"cannot be started from ({type(error).__name__})"
            raise UserError("start from", str(path), problem, "Use a prior of the same shape") from error


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """The tokenizer of a prior's folder."""
    return CLIPTokenizer.from_pretrained(folder)


def load_vae(folder: Path) -> AutoencoderKL:
    """The autoencoder of a prior's folder, in single precision."""
    return AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32)


def load_text_encoder(folder: Path) -> CLIPTextModel:
    """The text encoder of a prior's folder, in single precision."""
    return CLIPTextModel.from_pretrained(folder, dtype=torch.float32)
