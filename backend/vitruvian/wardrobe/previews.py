"""Sample sheets of a diffusion model in training, made by the run-time denoiser and sampler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from vitruvian.core.images import Conditions
from vitruvian.diffusion.denoiser import make_denoiser, with_guidance
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.sampling import make_scheduler, sample, view_noise
from vitruvian.diffusion.text_states import TextStates
from vitruvian.wardrobe.latent_pool import LatentPool
from vitruvian.wardrobe.records import BACKGROUND
from vitruvian.wardrobe.train_vae import decode, psnr
from vitruvian.wardrobe.training import save_sheet

STEPS, GUIDANCE, PICTURES = 12, 3.0, 8


def preview_sheet(
    networks: Any, vae: Any, tokenizer: Any, scheduler: Any, pool: LatentPool, place: torch.device, path: Path
) -> dict[str, float]:
    """Held-out people beside what the model makes of their captions and conditions, rows of eight.

    Returns:
        `colours`: PSNR of sample against truth at latent resolution inside the silhouette, in dB; it rises as
        garments take the colours that were asked for.
    """
    rows = np.linspace(0, len(pool) - 1, min(PICTURES, len(pool))).round().astype(int).tolist()
    batch = pool.batch(rows, np.random.default_rng(0))
    prior = Prior(
        name="in training", vae=vae, unet=networks.unet, text_encoder=networks.text_encoder,
        tokenizer=tokenizer, scheduler=scheduler.config, controlnets=networks.controlnets,
        prediction="v_prediction",
        image_size=batch.depth.shape[-1], hash="", device=place, dtype=torch.float32,
    )  # fmt: skip
    blank = torch.tensor(tokenizer("", padding="max_length", max_length=batch.tokens.shape[1]).input_ids)
    states = networks.text_encoder(torch.cat([batch.tokens, blank[None]]).to(place)).last_hidden_state
    positive = TextStates(states[:-1])
    negative = TextStates(states[-1:].expand(len(rows), -1, -1))
    mask = batch.normal.amin(1) < 1
    conditions = Conditions(batch.depth, batch.normal, mask)
    denoise = make_denoiser(prior, {"depth": conditions.depth, "normal": conditions.normal}, {})
    chunks = [list(range(i, min(i + 8, len(rows)))) for i in range(0, len(rows), 8)]
    guided = with_guidance(denoise, positive, negative, GUIDANCE, chunks)
    channels, height, width = batch.latents.shape[1:]
    noise = view_noise(0, [str(i) for i in rows], (channels, height, width), place)
    latents = sample(guided, noise, make_scheduler(scheduler.config, "ddim", STEPS, place))
    made, truth = decode(vae, latents.float().cpu()), decode(vae, batch.latents)
    lines = [x for part in chunks for x in (batch.normal[part], truth[part], made[part])]
    save_sheet(lines, path)
    small = [F.interpolate(x, batch.latents.shape[-2:], mode="area") for x in (made, truth)]
    return {"colours": psnr(small[0], small[1], batch.slots > BACKGROUND)}
