"""The bundled prior's UNet and ControlNets, trained together; the text encoder follows slowly.

v-prediction (Salimans and Ho, arXiv:2202.00512) on a cosine schedule with zero terminal SNR (Lin et al.,
arXiv:2305.08891).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vitruvian.core.errors import UserError
from vitruvian.diffusion.mini_model import (
    MiniShape,
    build_controlnet,
    build_scheduler,
    build_unet,
    load_text_encoder,
    load_tokenizer,
    load_vae,
    load_weights,
    save_index,
    save_part,
    use_plain_attention,
)  # fmt: skip
from vitruvian.wardrobe.checkpoints import MovingAverage, Progress
from vitruvian.wardrobe.dataset import DataPlan
from vitruvian.wardrobe.diffusion_loss import COLOURS_FIRST, DETAIL_NEXT, Networks, diffusion_loss
from vitruvian.wardrobe.latent_pool import Batch, LatentPool, encode_all, keep_encoding
from vitruvian.wardrobe.previews import preview_sheet
from vitruvian.wardrobe.train_text import TEXT_START, tokenize
from vitruvian.wardrobe.training import Budget, Log, Rhythm, Task, shares_on, step_generator, train
from vitruvian.wardrobe.vocabulary import caption_words

NO_TEXT_SHARE = 0.12
MODES = (("depth",), ("normal",), ("depth", "normal"), ())
MODE_SHARES = (0.15, 0.15, 0.60, 0.10)
"""Which ControlNets a step trains; every subset, so that each also works alone."""


def train_diffusion(
    out: Path,
    shape: MiniShape,
    budget: Budget,
    log: Log,
    plan: DataPlan,
    resume: bool = False,
    device: str = "cpu",
    seed: int = 0,
    batch: int = 16,
    generations: int = 0,
    enough: int = 512,
    rhythm: Rhythm = Rhythm(sheet=480.0),
    start: Path | None = None,
) -> Progress:
    """Teach `OUT/prior/{unet,controlnet_depth,controlnet_normal,text_encoder}`.

    Needs the autoencoder and the text encoder in `OUT/prior` and painted pictures in `OUT/data`.

    Args:
        generations: how often a process in the background dresses everyone anew while this one trains;
            0 encodes everything first, in this process, and then repeats it, the same way every time.
        enough: latents to wait for before the first step.
        start: a prior of the same shape whose UNet and ControlNets are the first weights, not random ones;
            its ControlNets stay as they are, which makes a step a third faster, and clean pictures come as
            often as noisy ones.

    Raises:
        UserError: missing parts, or a `start` of another shape.
    """
    prior = out / "prior"
    _require_parts(out)
    helper = _start_helper(out / "data", prior, plan, generations, log) if generations else None
    if helper is None:
        encode_all(out / "data", prior)
    encode_all(out / "data-validation", prior)
    try:
        pool = LatentPool(out / "data")
        while pool.refresh() < enough and helper is not None and helper.is_alive():
            helper.join(2.0)
        if len(pool) == 0:
            raise UserError(
                "data", str(out / "data"), "holds no latents", "Run train-prior --part data first"
            )
        log(f"diffusion: starts with {len(pool)} latents")
        task = _task(out, shape, pool, torch.device(device), seed, batch, start)
        return train(task, out, budget, log, resume, rhythm)
    finally:
        if helper is not None:
            helper.terminate()


def _start_helper(data: Path, prior: Path, plan: DataPlan, generations: int, log: Log) -> SpawnProcess:
    helper = get_context("spawn").Process(
        target=keep_encoding, args=(data, prior, plan, generations), daemon=True
    )
    helper.start()
    log(f"diffusion: encoding in process {helper.pid}")
    return helper


def _require_parts(out: Path) -> None:
    for part in ("prior/vae", "prior/tokenizer", TEXT_START):
        if not (out / part).is_dir():
            raise UserError("out", str(out), f"has no {part}", "Run --part vae and --part text first")


def _task(
    out: Path,
    shape: MiniShape,
    pool: LatentPool,
    place: torch.device,
    seed: int,
    batch: int,
    start: Path | None,
) -> Task:
    prior = out / "prior"
    tokenizer = load_tokenizer(prior / "tokenizer")
    vae: Any = load_vae(prior / "vae")
    vae.eval().to(place)
    torch.manual_seed(seed)
    unet = build_unet(shape)
    controlnets = {name: build_controlnet(shape, unet) for name in ("depth", "normal")}
    networks = Networks(unet, controlnets, load_text_encoder(out / TEXT_START).train())
    if start is not None:
        load_weights({"unet": unet, **{f"controlnet_{n}": net for n, net in controlnets.items()}}, start)
        for net in controlnets.values():
            net.requires_grad_(False)
    _place(networks, place)
    noisy = COLOURS_FIRST if start is None else DETAIL_NEXT
    earlier = {} if start is None else json.loads((start / "prior.json").read_text())
    held_out = LatentPool(out / "data-validation")
    held_out.refresh()
    scheduler = build_scheduler()
    kept = scheduler.alphas_cumprod.to(place)
    no_text = tokenize(tokenizer, [""])[0].to(place)
    shares = shares_on(place, batch)

    def loss(rng: np.random.Generator, step: int) -> tuple[Tensor, dict[str, float]]:
        rows = rng.integers(0, len(pool), batch // shares).tolist()
        drop = torch.from_numpy(rng.random(len(rows)) < NO_TEXT_SHARE).to(place)
        mode = MODES[int(step_generator(seed, step).choice(len(MODES), p=MODE_SHARES))]
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        chosen = to_device(pool.batch(rows, rng), place)
        value = diffusion_loss(networks, kept, chosen, mode, drop, no_text, generator, noisy)
        return value, {"-".join(mode) or "none": value.item()}

    def export(averages: Mapping[str, MovingAverage], progress: Progress) -> None:
        for name, module in networks.modules().items():
            save_part(module, prior / name, averages[name].state)
        save_part(scheduler, prior / "scheduler")
        save_index(prior, _card(shape, progress, earlier))

    def sheet(progress: Progress) -> dict[str, float]:
        figures = {"loss": validation_loss(networks, kept, held_out, place, no_text)}
        path = out / "sheets" / f"diffusion-{progress.step:06d}.png"
        return figures | preview_sheet(networks, vae, tokenizer, scheduler, held_out, place, path)

    return Task(
        "diffusion", networks.modules(), 5e-4, loss, export, sheet,
        rate_factors={"text_encoder": 0.25}, decay=0.999, weight_decay=1e-2, warm_up_steps=200, seed=seed,
        refresh=pool.refresh, shares=shares,
    )  # fmt: skip


def _place(networks: Networks, place: torch.device) -> None:
    """On `place`, in the layout and with the attention that train fastest there.

    On a CPU, oneDNN orders images in its own way, and the backward pass of torch's fused attention takes
    longer than that of two plain products.
    """
    moved: list[Any] = list(networks.modules().values())
    for module in moved:
        module.to(place, memory_format=torch.channels_last if place.type == "cuda" else torch.preserve_format)
    if place.type == "cpu":
        use_plain_attention(networks.unet)


@torch.no_grad()
def validation_loss(
    networks: Networks,
    kept: Tensor,
    pool: LatentPool,
    place: torch.device,
    no_text: Tensor,
    pictures: int = 64,
) -> float:
    """The loss with all conditions on held-out people, with the same times and noise every time."""
    rows = np.linspace(0, len(pool) - 1, min(pictures, len(pool))).round().astype(int).tolist()
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    drop = torch.zeros(len(rows), dtype=torch.bool, device=place)
    batch = to_device(pool.batch(rows, rng), place)
    return float(diffusion_loss(networks, kept, batch, ("depth", "normal"), drop, no_text, generator))


def to_device(batch: Batch, place: torch.device) -> Batch:
    return Batch(**{name: value.to(place) for name, value in vars(batch).items()})


def _card(shape: MiniShape, progress: Progress, earlier: Mapping[str, Any]) -> dict[str, Any]:
    """What `prior.json` says; steps and minutes are those of all goes together."""
    minutes = earlier.get("trained_minutes", 0.0) + progress.elapsed / 60
    return {
        "name": "mini",
        "image_size": shape.image_size,
        "latent_size": shape.latent_size,
        "latent_channels": shape.latent_channels,
        "prediction_type": "v_prediction",
        "controlnets": ["depth", "normal"],
        "trained_steps": earlier.get("trained_steps", 0) + progress.step,
        "trained_minutes": round(minutes, 1),
        "data": "synthetic people of vitruvian.wardrobe, train split",
        "words": caption_words(),
    }
