"""A tiny prior's folder written as one file in the original layout of Stable Diffusion and SDXL.

The names are those of CompVis' and Stability's releases: the inverse of what loading converts, for the shapes
of tiny_prior.py (two blocks, one layer each).
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

WEIGHTS = "diffusion_pytorch_model.safetensors"
_RESNET = (
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("time_emb_proj", "emb_layers.1"),
    ("conv_shortcut", "skip_connection"),
)
_UNET_TOP = (
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
    ("add_embedding.linear_1", "label_emb.0.0"),
    ("add_embedding.linear_2", "label_emb.0.2"),
    ("conv_in", "input_blocks.0.0"),
    ("conv_norm_out", "out.0"),
    ("conv_out", "out.2"),
)
# Blocks of the tiny UNet: level 0 is input block 1, its downsampler 2, level 1 is 3.
_UNET_BLOCKS = (
    ("down_blocks.0.resnets.0", "input_blocks.1.0"),
    ("down_blocks.0.downsamplers.0.conv", "input_blocks.2.0.op"),
    ("down_blocks.1.resnets.0", "input_blocks.3.0"),
    ("down_blocks.1.attentions.0", "input_blocks.3.1"),
    ("mid_block.resnets.0", "middle_block.0"),
    ("mid_block.attentions.0", "middle_block.1"),
    ("mid_block.resnets.1", "middle_block.2"),
    ("up_blocks.0.resnets.0", "output_blocks.0.0"),
    ("up_blocks.0.attentions.0", "output_blocks.0.1"),
    ("up_blocks.0.resnets.1", "output_blocks.1.0"),
    ("up_blocks.0.attentions.1", "output_blocks.1.1"),
    ("up_blocks.0.upsamplers.0.conv", "output_blocks.1.2.conv"),
    ("up_blocks.1.resnets.0", "output_blocks.2.0"),
    ("up_blocks.1.resnets.1", "output_blocks.3.0"),
)
_OPEN_CLIP = (
    ("text_model.encoder.layers.", "transformer.resblocks."),
    ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"),
    (".fc1.", ".c_fc."),
    (".fc2.", ".c_proj."),
    (".self_attn.", ".attn."),
    ("text_model.final_layer_norm.", "ln_final."),
    ("text_model.embeddings.token_embedding.weight", "token_embedding.weight"),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
)


def write_original(folder: Path, path: Path) -> Path:
    """One .safetensors file with the weights of the prior in `folder`."""
    unet = {
        f"model.diffusion_model.{_unet_name(k)}": v for k, v in load_file(folder / "unet" / WEIGHTS).items()
    }
    vae = {f"first_stage_model.{_vae_name(k)}": v for k, v in load_file(folder / "vae" / WEIGHTS).items()}
    second = (folder / "text_encoder_2").is_dir()
    place = "conditioner.embedders.0.transformer." if second else "cond_stage_model.transformer."
    encoder = load_file(folder / "text_encoder" / "model.safetensors")
    # Newer releases of transformers leave the prefix out.
    words = {f"{place}text_model.{k.removeprefix('text_model.')}": v for k, v in encoder.items()}
    tensors = unet | vae | words
    if second:
        tensors |= _open_clip(load_file(folder / "text_encoder_2" / "model.safetensors"))
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    return path


def _replace(name: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for ours, theirs in pairs:
        name = name.replace(ours, theirs)
    return name


def _unet_name(name: str) -> str:
    for ours, theirs in (*_UNET_TOP, *_UNET_BLOCKS):
        if name.startswith(f"{ours}."):
            rest = name.removeprefix(ours)
            return theirs + (_replace(rest, _RESNET) if "resnets" in ours else rest)
    raise AssertionError(name)


def _vae_name(name: str) -> str:
    name = re.sub(r"up_blocks\.(\d)", lambda m: f"up.{2 - int(m[1])}", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    pairs = (
        ("down_blocks", "down"),
        ("resnets", "block"),
        ("downsamplers.0", "downsample"),
        ("upsamplers.0", "upsample"),
        ("conv_shortcut", "nin_shortcut"),
        ("conv_norm_out", "norm_out"),
    )
    return _replace(name, pairs)


def _open_clip(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """OpenCLIP joins queries, keys and values, and keeps its projection the other way round."""
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if ".k_proj." in name or ".v_proj." in name:
            continue
        if name == "text_projection.weight":
            found["text_projection"] = value.T
        elif ".q_proj." in name:
            joined = torch.cat([tensors[name.replace("q_proj", f"{part}_proj")] for part in "qkv"])
            key = _replace(name, _OPEN_CLIP).replace("q_proj.", "in_proj_")
            found[key] = joined
        else:
            found[_replace(name, _OPEN_CLIP)] = value
    return {f"conditioner.embedders.1.model.{name}": value for name, value in found.items()}
