"""The bundled prior's autoencoder.

It comes first and is looked at before anything stands on it: what it cannot reconstruct, no prompt can ask
for. Steps alternate between crops of 128 px, where most pixels show the person, and whole pictures, because
GroupNorm's statistics are of the whole input and whole pictures are what it meets at run time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from vitruvian.core.errors import UserError
from vitruvian.diffusion.colour_start import start_from_colours
from vitruvian.diffusion.mini_model import MiniShape, build_vae, fold_normalisation, load_vae, save_part
from vitruvian.wardrobe.checkpoints import MovingAverage, Progress
from vitruvian.wardrobe.dataset import load_painted, painted_paths, random_crops
from vitruvian.wardrobe.training import (
    Budget,
    Log,
    Rhythm,
    Task,
    autocast,
    averaged,
    save_sheet,
    shares_on,
    train,
)

CROP, CROPS = 128, 16
KL_WEIGHT = 3e-6
"""Per latent element, against a loss per pixel. Small: the latents only have to stay near unit size."""
LATENT_NOISE = 0.04
"""Least noise on latents, in their own spread: the decoder has to forgive what a sampler leaves over."""
BACKGROUND_WEIGHT = 0.2


class PicturePool:
    """The painted pictures of a folder, in memory as bytes; `refresh` takes up new files."""

    def __init__(self, folder: Path, limit: int = 16_000) -> None:
        self.folder, self.limit = folder, limit
        self.known: set[str] = set()
        self.images: list[UInt8[Tensor, "3 S S"]] = []
        self.masks: list[Bool[Tensor, "S S"]] = []

    def refresh(self, most: int = 10_000) -> int:
        """Read at most `most` new files; returns how many pictures there are."""
        for path in [p for p in painted_paths(self.folder) if p.name not in self.known][:most]:
            if len(self.images) < self.limit:
                painted = load_painted(path)
                self.images.extend(painted.images)
                self.masks.extend(painted.masks)
            self.known.add(path.name)
        return len(self.images)

    def sample(
        self, rng: np.random.Generator, count: int
    ) -> tuple[UInt8[Tensor, "N 3 S S"], Bool[Tensor, "N S S"]]:
        rows = rng.integers(0, len(self.images), count).tolist()
        return torch.stack([self.images[i] for i in rows]), torch.stack([self.masks[i] for i in rows])

    def all(self, count: int) -> tuple[UInt8[Tensor, "N 3 S S"], Bool[Tensor, "N S S"]]:
        """`count` pictures, evenly spread."""
        rows = np.linspace(0, len(self.images) - 1, min(count, len(self.images))).round().astype(int).tolist()
        return torch.stack([self.images[i] for i in rows]), torch.stack([self.masks[i] for i in rows])


def picture_pools(out: Path) -> tuple[PicturePool, PicturePool]:
    """The pictures to learn from, and those to be judged by.

    Raises:
        UserError: nothing has been painted yet.
    """
    pools = PicturePool(out / "data"), PicturePool(out / "data-validation", limit=256)
    for pool in pools:
        if pool.refresh() == 0:
            raise UserError(
                "data", str(pool.folder), "holds no painted pictures", "Run train-prior --part data first"
            )
    return pools


def finished_vae(out: Path, place: torch.device) -> Any:
    """The autoencoder of `OUT/prior/vae`, on `place`.

    Raises:
        UserError: there is none.
    """
    if not (out / "prior" / "vae").is_dir():
        raise UserError("out", str(out), "has no prior/vae", "Run --part vae first")
    vae: Any = load_vae(out / "prior" / "vae")
    return vae.to(place, memory_format=torch.channels_last)


@dataclass(frozen=True)
class PictureBatches:
    """Crops and whole pictures in turn, as many pixels of either."""

    pool: PicturePool
    crops: int
    crop: int
    whole: int
    shares: int

    def __call__(
        self, rng: np.random.Generator, step: int
    ) -> tuple[UInt8[Tensor, "N 3 h w"], Bool[Tensor, "N h w"], torch.Generator]:
        """Pictures, silhouettes, and a generator for the noise that goes with them."""
        if step % 2 and self.crops:
            sampled = self.pool.sample(rng, max(1, self.crops // self.shares))
            pairs = list(random_crops(*sampled, self.crop, rng))
            images, masks = torch.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs])
        else:
            images, masks = self.pool.sample(rng, max(1, self.whole // self.shares))
        return images, masks, torch.Generator().manual_seed(int(rng.integers(2**62)))


def picture_batches(
    pool: PicturePool, image_size: int, crops: int, crop: int, place: torch.device
) -> PictureBatches:
    """Batches for one share of the work on `place`."""
    whole = max(1, crops * crop**2 // image_size**2)
    return PictureBatches(pool, crops if crop < image_size else 0, crop, whole, shares_on(place, whole))


def train_vae(
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
    """Teach `OUT/prior/vae` on `OUT/data/painted`, look at `OUT/data-validation/painted`."""
    torch.manual_seed(seed)
    place = torch.device(device)
    vae: Any = build_vae(shape)
    start_from_colours(vae)
    vae = vae.to(place, memory_format=torch.channels_last)
    pool, held_out = picture_pools(out)
    batches = picture_batches(pool, shape.image_size, crops, crop, place)

    def loss(rng: np.random.Generator, step: int) -> tuple[Tensor, dict[str, float]]:
        images, masks, generator = batches(rng, step)
        return autoencoder_loss(vae, images.to(place), masks.to(place), generator)

    def export(averages: Mapping[str, MovingAverage], progress: Progress) -> None:
        with averaged({"vae": vae}, averages):
            mean, std = latent_statistics(vae, *pool.all(160))
        save_part(vae, out / "prior" / "vae", fold_normalisation(averages["vae"].state, mean, std))

    def sheet(progress: Progress) -> dict[str, float]:
        figures = compare(vae, *held_out.all(48), out / "sheets" / f"vae-{progress.step:06d}.png")
        return figures | {"pictures": float(len(pool.images))}

    task = Task(
        "vae", {"vae": vae}, 8e-4, loss, export, sheet,
        decay=0.998, weight_decay=1e-5, warm_up_steps=100, seed=seed,
        refresh=lambda: pool.refresh(most=4), shares=batches.shares,
    )  # fmt: skip
    return train(task, out, budget, log, resume, rhythm)


def autoencoder_loss(
    vae: Any, images: UInt8[Tensor, "N 3 h w"], masks: Bool[Tensor, "N h w"], generator: torch.Generator
) -> tuple[Tensor, dict[str, float]]:
    """L1 + L2 + differences at three scales, weighted towards the person, and a light KL term."""
    target = (images.float() / 127.5 - 1.0).contiguous(memory_format=torch.channels_last)
    with autocast(images.device):
        posterior = vae.encode(target).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator).to(images.device)
        least = LATENT_NOISE * float(posterior.mean.detach().float().std())
        made = vae.decode(posterior.mean + posterior.std.clamp(min=least) * noise).sample.float()
    pixel, edges = weighted_errors(made - target, masks)
    mean, spread = posterior.mean.float(), posterior.logvar.float()
    kl = 0.5 * (mean.square() + spread.exp() - 1.0 - spread).mean()
    return pixel + edges + KL_WEIGHT * kl, {"pixel": pixel.item(), "edges": edges.item(), "kl": kl.item()}


def weighted_errors(
    error: Float[Tensor, "N 3 h w"], masks: Bool[Tensor, "N h w"], squared: float = 1.0
) -> tuple[Tensor, Tensor]:
    """L1 + `squared` * L2, and the L1 of differences, both weighted towards the person."""
    weight = masks[:, None].float() * (1 - BACKGROUND_WEIGHT) + BACKGROUND_WEIGHT
    pixel = ((error.abs() + squared * error.square()) * weight).sum() / (weight.sum() * 3)
    return pixel, edge_loss(error, weight)


def edge_loss(error: Float[Tensor, "N 3 h w"], weight: Float[Tensor, "N 1 h w"], scales: int = 3) -> Tensor:
    """L1 of the error's horizontal and vertical differences, at full, half and quarter size."""
    total = error.new_zeros(())
    for _ in range(scales):
        across = ((error[..., 1:] - error[..., :-1]).abs() * weight[..., 1:]).sum()
        down = ((error[..., 1:, :] - error[..., :-1, :]).abs() * weight[..., 1:, :]).sum()
        total = total + (across + down) / (6 * weight.sum())
        error, weight = F.avg_pool2d(error, 2), F.avg_pool2d(weight, 2)
    return total


def compare(
    vae: Any, images: UInt8[Tensor, "N 3 S S"], masks: Bool[Tensor, "N S S"], path: Path
) -> dict[str, float]:
    """A sheet of pictures above their reconstructions, and PSNR in dB.

    Returns:
        `psnr`: over the silhouettes; `inside`: two pixels and more inside them; `chroma`: of the colours less
        their grey, over the silhouettes; `latent_std`.
    """
    targets = images.float() / 255
    latents = encode_means(vae, images)
    made = decode(vae, latents)
    save_sheet(
        [x for i in range(0, min(len(images), 24), 8) for x in (targets[i : i + 8], made[i : i + 8])], path
    )
    chroma = (targets - targets.mean(1, keepdim=True)) - (made - made.mean(1, keepdim=True))
    inside = -F.max_pool2d(-masks[:, None].float(), 5, 1, 2)[:, 0] > 0
    return {
        "psnr": psnr(made, targets, masks),
        "inside": psnr(made, targets, inside),
        "chroma": psnr(chroma, torch.zeros_like(chroma), masks),
        "latent_std": float(latents.std()),
    }


@torch.no_grad()
def encode_means(vae: Any, images: UInt8[Tensor, "N 3 S S"], batch: int = 8) -> Float[Tensor, "N C s s"]:
    """Latent means, not scaled."""
    place = next(vae.parameters()).device
    parts = []
    for part in images.split(batch):
        target = (part.to(place).float() / 127.5 - 1.0).contiguous(memory_format=torch.channels_last)
        with autocast(place):
            parts.append(vae.encode(target).latent_dist.mean.float().cpu())
    return torch.cat(parts)


@torch.no_grad()
def decode(vae: Any, latents: Float[Tensor, "N C s s"], batch: int = 8) -> Float[Tensor, "N 3 S S"]:
    """Pictures in [0, 1] of latents that are not scaled."""
    place = next(vae.parameters()).device
    parts = []
    for part in latents.split(batch):
        with autocast(place):
            parts.append(vae.decode(part.to(place)).sample.float().cpu())
    return (torch.cat(parts) / 2 + 0.5).clamp(0, 1)


def latent_statistics(
    vae: Any, images: UInt8[Tensor, "N 3 S S"], masks: Bool[Tensor, "N S S"]
) -> tuple[Float[Tensor, "C"], Float[Tensor, "C"]]:
    """Mean and standard deviation of every latent channel over cells that show the person."""
    latents = encode_means(vae, images)
    cells = F.interpolate(masks[:, None].float(), latents.shape[-2:], mode="area")[:, 0] > 0.5
    inside = latents.permute(0, 2, 3, 1)[cells]
    return inside.mean(0), inside.std(0).clamp(min=1e-4)


def psnr(
    made: Float[Tensor, "N C H W"], target: Float[Tensor, "N C H W"], masks: Bool[Tensor, "N H W"]
) -> float:
    """Over the pixels of all masks together, in dB; range 1."""
    inside = masks[:, None].expand_as(made)
    error = (made - target)[inside].square().mean()
    return float(-10 * torch.log10(error.clamp(min=1e-12)))
