"""More training for the bundled prior's decoder alone: latents, and all that was trained on them, stay."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from vitruvian.diffusion.mini_model import MiniShape, save_part
from vitruvian.wardrobe.checkpoints import MovingAverage, Progress
from vitruvian.wardrobe.train_vae import (
    CROP,
    CROPS,
    LATENT_NOISE,
    compare,
    finished_vae,
    picture_batches,
    picture_pools,
    weighted_errors,
)  # fmt: skip
from vitruvian.wardrobe.training import Budget, Log, Rhythm, Task, autocast, train

SQUARED = 10.0
"""Weight of the squared error: colours are right by now, and what is left to win are the larger errors."""


def train_decoder(
    out: Path,
    shape: MiniShape,
    budget: Budget,
    log: Log,
    resume: bool = False,
    device: str = "cpu",
    seed: int = 0,
    crops: int = CROPS,
    crop: int = CROP,
    rhythm: Rhythm = Rhythm(sheet=150.0),
) -> Progress:
    """Go on with the decoder of `OUT/prior/vae`; its encoder is left as it is, to the byte.

    Raises:
        UserError: there is no autoencoder, or there are no pictures.
    """
    place = torch.device(device)
    vae = finished_vae(out, place).train()
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    pool, held_out = picture_pools(out)
    batches = picture_batches(pool, shape.image_size, crops, crop, place)

    def loss(rng: np.random.Generator, step: int) -> tuple[Tensor, dict[str, float]]:
        images, masks, generator = batches(rng, step)
        return decoder_loss(vae, images.to(place), masks.to(place), generator)

    def export(averages: Mapping[str, MovingAverage], progress: Progress) -> None:
        save_part(vae, out / "prior" / "vae", averages["vae"].state)

    def sheet(progress: Progress) -> dict[str, float]:
        return compare(vae, *held_out.all(48), out / "sheets" / f"decoder-{progress.step:06d}.png")

    task = Task(
        "decoder", {"vae": vae}, 4e-4, loss, export, sheet,
        decay=0.998, weight_decay=1e-5, warm_up_steps=100, seed=seed,
        refresh=lambda: pool.refresh(most=4), shares=batches.shares,
    )  # fmt: skip
    return train(task, out, budget, log, resume, rhythm)


def decoder_loss(
    vae: Any, images: UInt8[Tensor, "N 3 h w"], masks: Bool[Tensor, "N h w"], generator: torch.Generator
) -> tuple[Tensor, dict[str, float]]:
    """The autoencoder's loss without its KL term, from latents that get no gradient."""
    target = (images.float() / 127.5 - 1.0).contiguous(memory_format=torch.channels_last)
    with autocast(images.device):
        with torch.no_grad():
            latents = vae.encode(target).latent_dist.mean
        noise = torch.randn(latents.shape, generator=generator).to(images.device)
        made = vae.decode(latents + LATENT_NOISE * noise).sample.float()
    pixel, edges = weighted_errors(made - target, masks, SQUARED)
    return pixel + edges, {"pixel": pixel.item(), "edges": edges.item()}
