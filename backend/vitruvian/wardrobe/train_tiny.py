"""A tiny autoencoder for a prior that is there, learnt from its own: what consistency guidance decodes with.

TAESD's way (Ollin Boer Bohan, github.com/madebyollin/taesd): targets are the latents and the pictures of the
autoencoder that the tiny one stands in for, not the data's, so that both speak of the same latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from vitruvian.diffusion.mini_model import MiniShape, build_tiny_vae, save_part
from vitruvian.wardrobe.checkpoints import MovingAverage, Progress
from vitruvian.wardrobe.train_vae import (
    CROP,
    CROPS,
    finished_vae,
    picture_batches,
    picture_pools,
    psnr,
    weighted_errors,
)
from vitruvian.wardrobe.training import Budget, Log, Rhythm, Task, autocast, save_sheet, train

SQUARED = 3.0
"""Weight of the squared error of pictures."""
LATENT_WEIGHT = 0.3
"""Of the latents' error, whose unit is their spread, against that of pictures, whose range is 2."""
STRAY = 0.3
"""Spread of the noise on half of the latents: in a sampling loop they are predictions, not encodings."""


def train_tiny(
    out: Path,
    shape: MiniShape,
    budget: Budget,
    log: Log,
    resume: bool = False,
    device: str = "cpu",
    seed: int = 0,
    crops: int = CROPS,
    crop: int = CROP,
    rhythm: Rhythm = Rhythm(sheet=300.0),
) -> Progress:
    """Teach `OUT/prior/vae_tiny` what `OUT/prior/vae` does.

    Raises:
        UserError: there is no autoencoder, or there are no pictures.
    """
    torch.manual_seed(seed)
    place = torch.device(device)
    teacher = finished_vae(out, place).eval().requires_grad_(False)
    tiny: Any = build_tiny_vae(shape)
    tiny.to(place, memory_format=torch.channels_last)
    pool, held_out = picture_pools(out)
    batches = picture_batches(pool, shape.image_size, crops, crop, place)

    def loss(rng: np.random.Generator, step: int) -> tuple[Tensor, dict[str, float]]:
        images, masks, generator = batches(rng, step)
        return distillation_loss(tiny, teacher, images.to(place), masks.to(place), generator)

    def export(averages: Mapping[str, MovingAverage], progress: Progress) -> None:
        save_part(tiny, out / "prior" / "vae_tiny", averages["tiny"].state)

    def sheet(progress: Progress) -> dict[str, float]:
        return compare(tiny, teacher, *held_out.all(48), out / "sheets" / f"tiny-{progress.step:06d}.png")

    task = Task(
        "tiny", {"tiny": tiny}, 1e-3, loss, export, sheet,
        decay=0.998, weight_decay=1e-5, warm_up_steps=100, seed=seed,
        refresh=lambda: pool.refresh(most=4), shares=batches.shares,
    )  # fmt: skip
    return train(task, out, budget, log, resume, rhythm)


def distillation_loss(
    tiny: Any,
    teacher: Any,
    images: UInt8[Tensor, "N 3 h w"],
    masks: Bool[Tensor, "N h w"],
    generator: torch.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """Error of the pictures, weighted towards the person, and of the latents of those very pictures."""
    true = (images.float() / 127.5 - 1.0).contiguous(memory_format=torch.channels_last)
    scale = float(teacher.config.scaling_factor)
    with autocast(images.device):
        with torch.no_grad():
            latents = teacher.encode(true).latent_dist.mean * scale
            stray = STRAY * (torch.arange(len(latents)) % 2).view(-1, 1, 1, 1)
            latents = latents + (stray * torch.randn(latents.shape, generator=generator)).to(latents)
            pictures = teacher.decode(latents / scale).sample.clamp(-1.0, 1.0)
            wanted = teacher.encode(pictures).latent_dist.mean.float() * scale
        made = tiny.decode(latents).sample.float()
        found = tiny.encode(pictures).latents.float()
    pixel, edges = weighted_errors(made - pictures.float(), masks, SQUARED)
    error = F.smooth_l1_loss(found, wanted)
    figures = {"pixel": pixel.item(), "edges": edges.item(), "latent": error.item()}
    return pixel + edges + LATENT_WEIGHT * error, figures


@torch.no_grad()
def compare(
    tiny: Any, teacher: Any, images: UInt8[Tensor, "N 3 S S"], masks: Bool[Tensor, "N S S"], path: Path
) -> dict[str, float]:
    """A sheet of the teacher's pictures above those of its pupil, and how near they are.

    Returns:
        `psnr`: dB between the two pictures of the same latents, over the silhouettes; `latent_error`: spread
        of the difference of the two latents of the same picture, as a share of the latents' own.
    """
    theirs, ours, errors, spreads = [], [], [], []
    scale = float(teacher.config.scaling_factor)
    for part in images.split(8):
        latents, drawn, redrawn = _both(tiny, teacher, part, scale)
        theirs.append(drawn)
        ours.append(redrawn)
        found = tiny.encode(part.to(latents.device).float() / 127.5 - 1.0).latents
        errors.append((found - latents).square().mean())
        spreads.append(latents.var())
    target, made = torch.cat(theirs), torch.cat(ours)
    rows = [x for i in range(0, min(len(made), 24), 8) for x in (target[i : i + 8], made[i : i + 8])]
    save_sheet(rows, path)
    share = (torch.stack(errors).mean() / torch.stack(spreads).mean()).sqrt()
    return {"psnr": psnr(made, target, masks), "latent_error": float(share)}


def _both(
    tiny: Any, teacher: Any, images: UInt8[Tensor, "N 3 S S"], scale: float
) -> tuple[Float[Tensor, "N C s s"], Float[Tensor, "N 3 S S"], Float[Tensor, "N 3 S S"]]:
    """Scaled latents, and the pictures in [0, 1] that both make of them."""
    place = next(teacher.parameters()).device
    latents = teacher.encode(images.to(place).float() / 127.5 - 1.0).latent_dist.mean * scale
    drawn = teacher.decode(latents / scale).sample.float().cpu()
    redrawn = tiny.decode(latents).sample.float().cpu()
    return latents, (drawn / 2 + 0.5).clamp(0, 1), (redrawn / 2 + 0.5).clamp(0, 1)
