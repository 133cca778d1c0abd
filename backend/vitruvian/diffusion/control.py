"""A ControlNet whose condition pictures are embedded once a job, not at every step.

The embedding of a picture (its convolutions run at the picture's full size) depends on nothing else, so it is
the same at every noise level, for every text and in both halves of guidance.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitruvian.diffusion.rows import pick

Residuals = tuple[list[Tensor], Tensor]
"""What a ControlNet adds to the UNet: at every resolution on the way down, and in the middle."""


class EmbeddedControl:
    """One ControlNet on the condition pictures of all views.

    Args:
        images: RGB in [0, 1], on the ControlNet's device and in its precision.
        chunk: pictures embedded together; bounds the memory.
    """

    def __init__(self, controlnet: Any, images: Float[Tensor, "N 3 H W"], chunk: int = 8) -> None:
        self._controlnet = without_embedding(controlnet)
        self._hints = embed(controlnet, images, chunk)
        self._text_free = reads_no_text(controlnet)

    @torch.no_grad()
    def __call__(
        self,
        sample: Float[Tensor, "B C h w"],
        time: Float[Tensor, "B"],
        tokens: Float[Tensor, "B L D"],
        views: Sequence[int],
        weights: Sequence[float],
        **conditions: Any,
    ) -> Residuals:
        """Residuals for a batch that holds the same `views` once for each text, text-major.

        Args:
            weights: how strongly it steers: one number.
            conditions: what else the ControlNet is to be told (SDXL's `added_cond_kwargs`).
        """
        variants = len(sample) // len(views)
        hints = pick(self._hints, views)
        (weight,) = weights
        if self._text_free and not conditions:
            one = slice(len(views))
            down, mid = self._evaluate(sample[one], time[one], tokens[one], hints, weight, {})
            return [repeated(d, variants) for d in down], repeated(mid, variants)
        return self._evaluate(sample, time, tokens, repeated(hints, variants), weight, conditions)

    def _evaluate(
        self, sample: Tensor, time: Tensor, tokens: Tensor, hints: Tensor, weight: float, more: dict[str, Any]
    ) -> Residuals:
        return self._controlnet(
            sample, time, tokens, hints, conditioning_scale=weight, return_dict=False, **more
        )


class EmbeddedUnion:
    """One union ControlNet (Xinsir's ControlNet++ and its kin) on several conditions of all views at once.

    Args:
        images: of each condition; RGB in [0, 1], on the ControlNet's device and in its precision.
        types: the condition's place in the list of types that the ControlNet was trained on.
        chunk: pictures embedded together; bounds the memory.
    """

    def __init__(
        self,
        controlnet: Any,
        images: Sequence[Float[Tensor, "N 3 H W"]],
        types: Sequence[int],
        chunk: int = 8,
    ) -> None:
        self._controlnet = without_embedding(controlnet)
        self._hints = [embed(controlnet, image, chunk) for image in images]
        self._types = list(types)
        self._flags = torch.eye(controlnet.config.num_control_type, device=images[0].device)

    @torch.no_grad()
    def __call__(
        self,
        sample: Float[Tensor, "B C h w"],
        time: Float[Tensor, "B"],
        tokens: Float[Tensor, "B L D"],
        views: Sequence[int],
        weights: Sequence[float],
        **conditions: Any,
    ) -> Residuals:
        """As `EmbeddedControl`; one weight a condition, and one of no weight is as if it were not there."""
        variants = len(sample) // len(views)
        used = [i for i, weight in enumerate(weights) if weight != 0.0]
        types = [self._types[i] for i in used]
        flags = torch.stack([self._flags[kind] for kind in types]).sum(0)
        return self._controlnet(
            sample,
            time,
            tokens,
            [repeated(pick(self._hints[i], views), variants) for i in used],
            flags.to(sample.dtype).expand(len(sample), -1),
            types,
            conditioning_scale=[weights[i] for i in used],
            return_dict=False,
            **conditions,
        )


def embed_controls(
    controlnets: Mapping[str, Any],
    images: Mapping[str, Float[Tensor, "N 3 H W"]],
    union_types: Mapping[str, int],
) -> list[tuple[tuple[str, ...], EmbeddedControl | EmbeddedUnion]]:
    """Each ControlNet with the conditions that it takes; `images` without a ControlNet are left out.

    Args:
        controlnets: by condition; a union ControlNet stands under each of its conditions.
        union_types: the conditions that are a union's, and their places in its list.
    """
    found: list[tuple[tuple[str, ...], EmbeddedControl | EmbeddedUnion]] = []
    known = [name for name in images if name in controlnets]
    for name in known:
        if name not in union_types:
            found.append(((name,), EmbeddedControl(controlnets[name], images[name])))
    for union in {id(controlnets[name]): controlnets[name] for name in known if name in union_types}.values():
        names = tuple(name for name in known if name in union_types and controlnets[name] is union)
        types = [union_types[name] for name in names]
        found.append((names, EmbeddedUnion(union, [images[name] for name in names], types)))
    return found


@torch.no_grad()
def embed(controlnet: Any, images: Float[Tensor, "N 3 H W"], chunk: int = 8) -> Float[Tensor, "N D h w"]:
    """What `without_embedding(controlnet)` takes in place of `images`."""
    reversed_channels = controlnet.config.controlnet_conditioning_channel_order == "bgr"
    rows = []
    for part in images.split(chunk):
        hint = controlnet.controlnet_cond_embedding(part.flip(1) if reversed_channels else part)
        rows.append(hint.flip(1) if reversed_channels else hint)  # its forward flips what it is given
    return torch.cat(rows)


def without_embedding(controlnet: Any) -> Any:
    """The same ControlNet, sharing every weight and leaving `controlnet` as it is, that takes embeddings."""
    twin = copy.copy(controlnet)
    twin._modules = {**controlnet._modules, "controlnet_cond_embedding": nn.Identity()}
    return twin


def reads_no_text(controlnet: Any) -> bool:
    """Whether its residuals are the same for every text, as with the bundled ones: they see geometry only."""
    blocks = [*controlnet.down_blocks, controlnet.mid_block]
    attends = any(getattr(block, "has_cross_attention", False) for block in blocks)
    return not attends and controlnet.config.addition_embed_type is None


def repeated(rows: Float[Tensor, "N C h w"], times: int) -> Float[Tensor, "K*N C h w"]:
    """`rows`, `times` times over, in the memory format that they have (`Tensor.repeat` forgets it)."""
    return rows if times == 1 else torch.cat([rows] * times)
