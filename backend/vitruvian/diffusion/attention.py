"""The attention bank: tokens of reference views, read by the others as extra keys and values.

MVHuman's reference attention: in every self-attention layer of the UNet, K = [K_self, K_ref] and
V = [V_self, V_ref] along the tokens, the query from the view itself; each half of guidance has its own
reference (research notes, section 1.6).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.diffusion.denoiser import NoiseLevel, TextDenoiser
from vitruvian.diffusion.text_states import TextStates


@dataclass
class AttentionBank:
    """What the self-attention layers of one UNet do at the moment, and the tokens they keep."""

    mode: Literal["off", "write", "read"] = "off"
    variants: int = 1
    """Texts a view in the batch (2 under guidance), text-major."""
    tokens: dict[str, Float[Tensor, "K R D"]] = field(default_factory=dict)
    """By layer: the tokens of all reference views, for each text."""


@contextmanager
def attention_bank(unet: Any) -> Iterator[AttentionBank]:
    """Give `unet` a bank for the duration of the block; afterwards it is as it was.

    The UNet is changed in place: two threads must not share it inside the block.
    """
    before = dict(unet.attn_processors)
    bank = AttentionBank()
    inside = {
        name: _BankProcessor(processor, name, bank) if name.endswith("attn1.processor") else processor
        for name, processor in before.items()
    }
    unet.set_attn_processor(inside)
    try:
        yield bank
    finally:
        unet.set_attn_processor(before)


def with_reference(
    denoise: TextDenoiser, bank: AttentionBank, references: Sequence[int], end: float = 1.0
) -> TextDenoiser:
    """Let every view attend to the views `references`, live: at the same step, on their current latents.

    Batches must hold either reference views or others, references first (`view_chunks`).

    Args:
        end: progress of sampling after which views attend to themselves only. Late steps refine detail, and
            detail copied from another view does not lie where this view's geometry wants it.
    """
    own = set(references)

    def referenced(x_t: Tensor, level: NoiseLevel, text: TextStates, views: Sequence[int]) -> Tensor:
        if level.progress <= end:
            bank.mode = "write" if own.issuperset(views) else "read"
        bank.variants = len(text)
        try:
            return denoise(x_t, level, text, views)
        finally:
            bank.mode = "off"

    return referenced


class _BankProcessor:
    """A diffusers attention processor around another: it only chooses what the keys and values come from."""

    def __init__(self, inner: Any, layer: str, bank: AttentionBank) -> None:
        self.inner = inner
        self.layer = layer
        self.bank = bank

    def __call__(
        self,
        attn: Any,
        hidden_states: Float[Tensor, "B L D"],
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        if self.bank.mode == "write":
            per_text = hidden_states.unflatten(0, (self.bank.variants, -1))
            self.bank.tokens[self.layer] = per_text.flatten(1, 2)
        elif self.bank.mode == "read" and self.layer in self.bank.tokens:
            views = len(hidden_states) // self.bank.variants
            extra = self.bank.tokens[self.layer].repeat_interleave(views, dim=0)
            encoder_hidden_states = torch.cat([hidden_states, extra], dim=1)
        return self.inner(attn, hidden_states, encoder_hidden_states, attention_mask, *args, **kwargs)
