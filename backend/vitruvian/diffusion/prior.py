"""The image prior: a latent diffusion model of Stable Diffusion's kind with its ControlNets (loading.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch

from vitruvian.core.errors import UserError
from vitruvian.diffusion.weights import ControlWeight

if TYPE_CHECKING:
    from vitruvian.diffusion.style import StyleAdapter

Prediction = Literal["epsilon", "v_prediction", "flow", "sample"]
"""What a network says: the noise, Salimans and Ho's v, flow matching's velocity, or x0 itself."""


@dataclass(frozen=True)
class Prior:
    """A latent diffusion model in Stable Diffusion's shape, ready to be evaluated."""

    name: str
    vae: Any
    """AutoencoderKL."""
    unet: Any
    """UNet2DConditionModel."""
    text_encoder: Any
    """CLIPTextModel."""
    tokenizer: Any
    scheduler: Mapping[str, Any]
    """The scheduler's config: the noise schedule that the UNet was trained on."""
    controlnets: Mapping[str, Any]
    """ControlNetModel by condition: "depth", "normal", "pose". A ControlNetUnionModel stands under each of
    its conditions."""
    prediction: Prediction
    image_size: int
    """Width and height in pixels that it was trained on."""
    hash: str
    """SHA-256 over its files."""
    device: torch.device
    dtype: torch.dtype
    """Of UNet, ControlNets and text encoders. The autoencoder is kept in float32: it makes the pictures."""
    card: Mapping[str, Any] = field(default_factory=dict)
    """`prior.json` of a prior that this project trained."""
    text_encoder_2: Any | None = None
    """CLIPTextModelWithProjection: SDXL's family has it, others have not."""
    tokenizer_2: Any | None = None
    zero_empty_prompt: bool = False
    """Whether the empty negative prompt is zeros (SDXL's base was trained so) instead of an encoded text."""
    clip_skip: int = 0
    """Last layers of the text encoders that are left out."""
    union_types: Mapping[str, int] = field(default_factory=dict)
    """The conditions whose ControlNet is a union, and their places in its list of types."""
    control: Mapping[str, ControlWeight] = field(default_factory=dict)
    """Strengths that its recipe asks for, by condition."""
    tiny_vae: Any = None
    """AutoencoderTiny of the same latents: quick and rough. None where there is none."""
    style: StyleAdapter | None = None
    """Its IP-Adapter; without one no picture can say what the person looks like."""
    made_of: Mapping[str, Any] = field(default_factory=dict)
    """What its recipe names, for the report; empty without a recipe."""

    @property
    def factor(self) -> int:
        """Pixels per latent cell along each axis."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)


def quick_dtype(device: torch.device) -> torch.dtype:
    """The shortest floats that `device` computes faster than float32 ones.

    With bfloat16 instructions processors take about 0.6 of the time; without them bfloat16 is slower.
    """
    if device.type != "cpu":
        return torch.float16
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def prediction_of(config: Mapping[str, Any]) -> Prediction:
    """What a network predicts, by its scheduler's config; flow schedulers name no type but have a class.

    Raises:
        UserError: a prediction type that nothing here can turn into x0.
    """
    kind = config.get("prediction_type")
    if (
        kind in ("flow", "flow_prediction")
        or "FlowMatch" in str(config.get("_class_name", ""))
        or "shift" in config
    ):
        return "flow"
    match kind:
        case None:
            return "epsilon"
        case "epsilon" | "v_prediction" | "sample":
            return kind
        case _:
            raise UserError(
                "prior.prediction_type", kind, "is unknown", "Use an eps-, v- or flow-prediction model"
            )
