"""`vitruvian train-prior`: data, autoencoder, text encoder and diffusion model, each resumable."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal, get_args

import torch

from vitruvian.core.errors import UserError
from vitruvian.diffusion.mini_model import MiniShape
from vitruvian.wardrobe.dataset import DataPlan, painted_paths, prepare_data
from vitruvian.wardrobe.train_decoder import train_decoder
from vitruvian.wardrobe.train_diffusion import train_diffusion
from vitruvian.wardrobe.train_text import TEXT_START, train_text
from vitruvian.wardrobe.train_tiny import train_tiny
from vitruvian.wardrobe.train_vae import train_vae
from vitruvian.wardrobe.training import Budget, Log

Part = Literal["data", "vae", "text", "diffusion", "decoder", "tiny", "all"]
PARTS: tuple[Part, ...] = get_args(Part)
SHARES = {"vae": 0.27, "text": 0.06, "diffusion": 0.57, "decoder": 0.10}
"""Of the minutes, when all parts are trained."""
PRIOR_FILES = ("model_index.json", "prior.json")
PRIOR_PARTS = (
    "vae",
    "text_encoder",
    "tokenizer",
    "unet",
    "scheduler",
    "controlnet_depth",
    "controlnet_normal",
)
EXTRA_PARTS = ("vae_tiny",)
"""What a prior may have besides."""


def train_prior(
    out: Path,
    part: Part = "all",
    minutes: float = 90.0,
    resume: bool = False,
    device: str = "cpu",
    subjects: int = 700,
    seed: int = 0,
    workers: int = 2,
    shape: MiniShape = MiniShape(),
    start_from: Path | None = None,
) -> Path:
    """Train a prior from nothing but seeds, or go on with one; returns its folder, `OUT/prior`.

    The folder is a complete prior from the first checkpoint of the diffusion model on (`--prior OUT/prior`),
    and gets better every two minutes. Progress goes to the screen and to `OUT/train.log`, samples to
    `OUT/sheets`.

    Args:
        part: "data" renders and paints people; "vae", "text", "diffusion" and "decoder" train, in that order
            ("decoder" sharpens what "vae" began); "all" does everything but "tiny": the tiny autoencoder
            stands beside the others and has to be made again when "vae" or "decoder" change.
        minutes: of training in all, or of the one part; resumed runs count towards them.
        resume: go on from the checkpoints in `out`, where there are any.
        subjects: how many different people are rendered.
        start_from: a finished prior of this shape to go on from: its autoencoder and tokenizer are kept, and
            "all" teaches only the diffusion model and the decoder. For checkpoints that are gone.

    Raises:
        UserError: a bad setting, a folder that cannot be written, or a part whose predecessors are missing.
    """
    _check(part, minutes, device, subjects)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "train.log").touch()
    except OSError as error:
        raise UserError("out", str(out), "cannot be written", "Choose another folder") from error
    if not resume:
        _forget(out, part)
    if start_from is not None:
        adopt_prior(start_from, out)
    learnt = start_from is not None
    log = Log(out / "train.log")
    plan = DataPlan(subjects=subjects, seed=seed)
    if part in ("data", "all"):
        prepare_data(out / "data", plan, log, workers)
        people = max(8, subjects // 20)
        prepare_data(
            out / "data-validation", DataPlan(people, outfits=1, split="validation", seed=seed), log, workers
        )
    elif part in ("vae", "diffusion", "decoder", "tiny") and not painted_paths(out / "data"):
        raise UserError(
            "part", part, f"finds no people in {out / 'data'}", "Run --part data first, or --part all"
        )

    def budget(name: str) -> Budget:
        return Budget(minutes * SHARES[name] if part == "all" else minutes)

    if part == "vae" or (part == "all" and not learnt):
        train_vae(out, shape, budget("vae"), log, resume, device, seed)
    if part == "text" or (part == "all" and not learnt):
        train_text(out, shape, budget("text"), log, resume, device, seed)
    if part in ("diffusion", "all"):
        train_diffusion(
            out, shape, budget("diffusion"), log, plan, resume, device, seed, generations=20, start=start_from
        )
    if part in ("decoder", "all"):
        train_decoder(out, shape, budget("decoder"), log, resume, device, seed)
    if part == "tiny":
        train_tiny(out, shape, budget("tiny"), log, resume, device, seed)
    return out / "prior"


def _check(part: str, minutes: float, device: str, subjects: int) -> None:
    if part not in PARTS:
        raise UserError("part", part, "is unknown", f"Use one of {', '.join(PARTS)}")
    if not 0 < minutes <= 100_000:
        raise UserError(
            "minutes", minutes, "is out of range", "Use more than 0; 90 on two cores, 25 on a GPU"
        )
    if not 1 <= subjects <= 1_000_000:
        raise UserError("subjects", subjects, "is out of range", "Use 1 to 1000000 people")
    if device.split(":")[0] not in ("cpu", "cuda"):
        raise UserError("device", device, "is unknown", "Use cpu or cuda")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError("device", device, "is not there", "Use --device cpu")


def adopt_prior(source: Path, out: Path) -> None:
    """Make a finished prior the one that the training in `out` goes on with.

    Raises:
        UserError: the prior is not complete.
    """
    install_prior(source, out / "prior")
    shutil.copytree(source / "text_encoder", out / TEXT_START, dirs_exist_ok=True)


def _forget(out: Path, part: Part) -> None:
    """Start a part anew: its checkpoint goes, and latents go with the autoencoder that made them."""
    for name in ("vae", "text", "diffusion", "decoder", "tiny"):
        if part in (name, "all"):
            (out / "checkpoints" / f"{name}.safetensors").unlink(missing_ok=True)
    if part in ("vae", "all"):
        for data in ("data", "data-validation"):
            shutil.rmtree(out / data / "latents", ignore_errors=True)


def install_prior(source: Path, target: Path) -> int:
    """Copy a finished prior to `target` (e.g. the package's `assets/mini`); returns its size in bytes.

    Raises:
        UserError: the prior is not complete.
    """
    missing = [name for name in (*PRIOR_PARTS, *PRIOR_FILES) if not (source / name).exists()]
    if missing:
        raise UserError("prior", str(source), f"lacks {', '.join(missing)}", "Train all parts first")
    fresh = target.with_name(target.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name in (*PRIOR_PARTS, *(part for part in EXTRA_PARTS if (source / part).exists())):
        shutil.copytree(source / name, fresh / name)
    for name in PRIOR_FILES:
        shutil.copy(source / name, fresh / name)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
