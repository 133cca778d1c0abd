"""IP-Adapters with random weights in their published layout, for the UNets of tiny_prior.py."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from diffusers.models.embeddings import ImageProjection, IPAdapterPlusImageProjection
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

PICTURE_WIDTH, PROJECTED, SIDE = 16, 12, 28
Kind = Literal["plain", "plus"]


def build_tiny_adapter(folder: Path, prior_folder: Path, kind: Kind = "plain") -> Path:
    """Write `ip_adapter.safetensors` and `image_encoder/` into `folder`.

    Args:
        kind: "plain" reads one vector of the picture, "plus" all its tokens through a resampler.
    """
    torch.manual_seed(4)
    folder.mkdir(parents=True, exist_ok=True)
    unet = UNet2DConditionModel.from_pretrained(prior_folder / "unet")
    width = int(unet.config["cross_attention_dim"])
    tensors = {f"image_proj.{k}": v for k, v in (_plain(width) if kind == "plain" else _plus(width)).items()}
    crossing = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    for i in range(len(crossing)):
        for part in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{2 * i + 1}.{part}.weight"] = torch.randn(16, width) * 0.3
    save_file(
        {name: value.contiguous() for name, value in tensors.items()}, folder / "ip_adapter.safetensors"
    )
    encoder = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=PICTURE_WIDTH,
            intermediate_size=32,
            projection_dim=PROJECTED,
            num_hidden_layers=3,
            num_attention_heads=2,
            image_size=SIDE,
            patch_size=7,
            initializer_factor=5.0,
        )
    )
    encoder.save_pretrained(folder / "image_encoder")
    return folder


def _plain(width: int) -> dict[str, Tensor]:
    layer = ImageProjection(image_embed_dim=PROJECTED, cross_attention_dim=width, num_image_text_embeds=4)
    return {k.replace("image_embeds", "proj"): v.detach() for k, v in layer.state_dict().items()}


def _plus(width: int) -> dict[str, Tensor]:
    layer = IPAdapterPlusImageProjection(
        embed_dims=PICTURE_WIDTH, output_dims=width, hidden_dims=64, heads=1, num_queries=5
    )
    names = (
        (".ln0.", ".0.norm1."),
        (".ln1.", ".0.norm2."),
        (".attn.to_out.0.", ".0.to_out."),
        (".attn.to_q.", ".0.to_q."),
        (".ff.0.", ".1.0."),
        (".ff.1.net.0.proj.", ".1.1."),
        (".ff.1.net.2.", ".1.3."),
    )
    found: dict[str, Tensor] = {}
    state = {key: value.detach() for key, value in layer.state_dict().items()}
    for key, value in state.items():
        if ".to_v." in key:
            continue
        if ".to_k." in key:
            found[key.replace(".attn.to_k.", ".0.to_kv.")] = torch.cat(
                [value, state[key.replace("to_k", "to_v")]]
            )
            continue
        for ours, theirs in names:
            key = key.replace(ours, theirs)
        found[key] = value
    return found
