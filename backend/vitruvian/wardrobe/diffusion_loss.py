"""What the diffusion model is taught by: which times, which cells, and how much each counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from vitruvian.wardrobe.latent_pool import Batch
from vitruvian.wardrobe.records import BACKGROUND, SLOT_NAMES
from vitruvian.wardrobe.training import autocast

SNR_CLAMP = 5.0
BACKGROUND_SHARE = 0.15
"""Of a picture's weight."""
COLOURS_FIRST, DETAIL_NEXT = 2.0, 1.0
"""How strongly noise is preferred (`training_times`): from the start, and once colours are learnt."""


@dataclass(frozen=True)
class Networks:
    unet: Any
    controlnets: dict[str, Any]
    text_encoder: Any

    def modules(self) -> dict[str, nn.Module]:
        named = {f"controlnet_{name}": net for name, net in self.controlnets.items()}
        return {"unet": self.unet, **named, "text_encoder": self.text_encoder}


def diffusion_loss(
    networks: Networks,
    kept: Float[Tensor, "T"],
    batch: Batch,
    mode: tuple[str, ...],
    drop: Bool[Tensor, "N"],
    no_text: Int[Tensor, "L"],
    generator: torch.Generator,
    noisy: float = COLOURS_FIRST,
) -> Tensor:
    """Weighted squared error of v.

    Args:
        kept: cumulative alphas of the schedule (alpha_t^2).
        mode: which ControlNets take part.
        drop: pictures whose caption is taken away.
        noisy: as for `training_times`.
    """
    x0, place, count = batch.latents, batch.latents.device, len(batch.latents)
    times = training_times(count, len(kept), generator, noisy).to(place)
    noise = torch.randn(x0.shape, generator=generator).to(place)
    alpha, sigma = kept[times].sqrt().view(-1, 1, 1, 1), (1 - kept[times]).sqrt().view(-1, 1, 1, 1)
    tokens = torch.where(drop[:, None], no_text, batch.tokens)
    with autocast(place):
        v = predict(networks, alpha * x0 + sigma * noise, times, tokens, {m: getattr(batch, m) for m in mode})
    error = (v.float() - (alpha * noise - sigma * x0)).square().mean(1)
    return ((error * cell_weights(batch.slots)).sum((1, 2)) * time_weight(kept[times])).mean()


def cell_weights(slots: UInt8[Tensor, "N s s"]) -> Float[Tensor, "N s s"]:
    """How much each cell counts; one in all per picture.

    A slot counts by the root of its area: by area itself, shoes are two cells in a hundred and their colour
    is never learnt. The ground, which no texture is made of, gets `BACKGROUND_SHARE`.
    """
    counts = torch.stack([(slots == slot).sum((1, 2)) for slot in range(len(SLOT_NAMES))], dim=1).float()
    shares = counts.sqrt()
    shares[:, BACKGROUND] = 0.0
    shares = shares * (1 - BACKGROUND_SHARE) / shares.sum(1, keepdim=True).clamp(min=1e-6)
    shares[:, BACKGROUND] = BACKGROUND_SHARE
    per_cell = shares / counts.clamp(min=1.0)
    return per_cell.gather(1, slots.flatten(1).long()).view(slots.shape)


def training_times(
    count: int, total: int, generator: torch.Generator, noisy: float = COLOURS_FIRST
) -> Int[Tensor, "N"]:
    """Times in [0, total), one from each of `count` slices of equal probability: t = 1 - (1 - u)^noisy.

    A garment covers a hundred latent cells of one colour, so its colour can be read off even when every cell
    is nearly noise (Hoogeboom et al., arXiv:2301.11093, on image size): only in the last 6 % of a cosine
    schedule is it the prompt that decides. With 2, a quarter of the pictures is spent there, and half as many
    as by a uniform choice (1) on clean ones, which stripes and faces are learnt from.
    """
    u = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    return ((1 - (1 - u) ** noisy) * total).long().clamp(max=total - 1)


def time_weight(kept: Float[Tensor, "N"]) -> Float[Tensor, "N"]:
    """min(SNR + 1, 5) / (SNR + 1): the truncated SNR + 1 weight on x0, said in terms of v.

    As min-SNR-5 (Hang et al., arXiv:2303.09556) it keeps nearly clean latents from dominating; unlike it,
    it does not vanish at SNR 0, where sampling starts and the prompt decides every colour.
    """
    snr_plus_one = 1 / (1 - kept).clamp(min=1e-8)
    return snr_plus_one.clamp(max=SNR_CLAMP) / snr_plus_one


def predict(
    networks: Networks,
    x_t: Float[Tensor, "N C s s"],
    times: Int[Tensor, "N"],
    tokens: Int[Tensor, "N L"],
    conditions: Mapping[str, Float[Tensor, "N 3 S S"]],
) -> Float[Tensor, "N C s s"]:
    """v, with the residuals of several ControlNets added up as at run time."""
    states = networks.text_encoder(tokens).last_hidden_state
    down, mid = None, None
    for name, image in conditions.items():
        more, more_mid = networks.controlnets[name](x_t, times, states, image, return_dict=False)
        down = list(more) if down is None else [a + b for a, b in zip(down, more, strict=True)]
        mid = more_mid if mid is None else mid + more_mid
    return networks.unet(
        x_t,
        times,
        states,
        down_block_additional_residuals=down,
        mid_block_additional_residual=mid,
        return_dict=False,
    )[0]
