"""Latents of painted pictures, made in the background while the diffusion model trains."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from safetensors.torch import load_file, save_file
from torch import Tensor

from vitruvian.diffusion.mini_model import load_tokenizer, load_vae
from vitruvian.wardrobe.dataset import (
    DataPlan,
    load_conditions,
    load_painted,
    load_slots,
    paint_group,
    painted_paths,
    views_path,
)  # fmt: skip
from vitruvian.wardrobe.subject import seeds_of
from vitruvian.wardrobe.train_text import tokenize
from vitruvian.wardrobe.train_vae import encode_means


def encode_file(painted: Path, target: Path, vae: Any, tokenizer: Any) -> None:
    """Latents, tokens of every caption, and which view each picture shows."""
    content = load_painted(painted)
    captions = [entry["captions"] for entry in content.entries]
    tokens = tokenize(tokenizer, [text for texts in captions for text in texts])
    tensors = {
        "latents": encode_means(vae, content.images).half(),
        "tokens": tokens.to(torch.int16).view(len(captions), len(captions[0]), -1),
        "seed": torch.tensor([entry["seed"] for entry in content.entries]),
        "view": torch.tensor([entry["view"] for entry in content.entries]),
        "flip": torch.tensor([int(entry["flip"]) for entry in content.entries]),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    save_file({k: v.contiguous() for k, v in tensors.items()}, fresh)
    os.replace(fresh, target)


def encode_all(data: Path, prior: Path) -> int:
    """Encode what is painted and has no latents yet; returns how many files were made."""
    vae: Any = load_vae(prior / "vae")
    tokenizer = load_tokenizer(prior / "tokenizer")
    vae.eval().to(memory_format=torch.channels_last)
    made = 0
    for path in painted_paths(data):
        target = data / "latents" / path.name
        if not target.exists():
            encode_file(path, target, vae, tokenizer)
            made += 1
    return made


def keep_encoding(data: Path, prior: Path, plan: DataPlan, generations: int, idle: float = 3.0) -> None:
    """For a process of its own: encode everything, then paint and encode new outfits until told to end.

    Args:
        generations: how often every person is dressed anew.
        idle: seconds of rest per second of work once everything first painted is encoded; the training beside
            this process needs the cores more.
    """
    torch.set_num_threads(1)
    os.nice(5)
    parent = os.getppid()
    encode_all(data, prior)
    seeds = seeds_of(plan.split, plan.subjects)
    groups = [seeds[i : i + plan.subjects_per_file] for i in range(0, len(seeds), plan.subjects_per_file)]
    for generation in range(1, generations + 1):
        for i in np.random.default_rng([plan.seed, generation]).permutation(len(groups)).tolist():
            if os.getppid() != parent:
                return  # the training is gone
            start = time.monotonic()
            done = [p for p in (data / "latents").glob(f"{i:04d}-{generation:02d}-*") if p.exists()]
            if not done:
                made = paint_group(data, plan, groups[i], i, generation)
                encode_all(data, prior)
                for path in made:
                    path.unlink()  # pictures are large; their latents stay
            time.sleep(idle * (time.monotonic() - start))


@dataclass(frozen=True)
class Batch:
    latents: Float[Tensor, "N C s s"]
    slots: UInt8[Tensor, "N s s"]
    """What each cell shows (`records.SLOT_NAMES`)."""
    tokens: Int[Tensor, "N L"]
    depth: Float[Tensor, "N 3 S S"]
    """Condition, in [0, 1]."""
    normal: Float[Tensor, "N 3 S S"]


class LatentPool:
    """All latents of a folder in memory; `refresh` takes up new files. Conditions are kept as bytes."""

    def __init__(self, data: Path, limit: int = 40_000) -> None:
        self.data, self.limit = data, limit
        self.known: set[str] = set()
        self.parts: dict[str, list[Tensor]] = {}
        self.conditions: dict[int, tuple[UInt8[Tensor, "V S S"], UInt8[Tensor, "V 3 S S"]]] = {}
        self.slots: dict[int, UInt8[Tensor, "V s s"]] = {}
        self.joined: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self.joined["latents"]) if self.joined else 0

    def refresh(self) -> int:
        fresh = [p for p in sorted((self.data / "latents").glob("*.safetensors")) if p.name not in self.known]
        for path in fresh:
            if len(self) < self.limit:
                for name, tensor in load_file(path).items():
                    self.parts.setdefault(name, []).append(tensor)
            self.known.add(path.name)
        if fresh and self.parts:
            self.joined = {name: torch.cat(tensors) for name, tensors in self.parts.items()}
            self.parts = {name: [tensor] for name, tensor in self.joined.items()}
            for seed in set(self.joined["seed"].tolist()) - set(self.conditions):
                path = views_path(self.data, seed)
                self.conditions[seed] = load_conditions(path)
                self.slots[seed] = load_slots(path, self.joined["latents"].shape[-1])
        return len(self)

    def batch(self, rows: list[int], rng: np.random.Generator) -> Batch:
        """The pictures `rows`, each with one of its captions."""
        pool = self.joined
        choice = torch.from_numpy(rng.integers(0, pool["tokens"].shape[1], len(rows)))
        depth, normal, slots = zip(*(self._geometry(i) for i in rows), strict=True)
        return Batch(
            pool["latents"][rows].float(),
            torch.stack(slots),
            pool["tokens"][torch.tensor(rows), choice].long(),
            (torch.stack(depth)[:, None].float() / 255).expand(-1, 3, -1, -1),
            torch.stack(normal).float() / 255,
        )

    def _geometry(
        self, row: int
    ) -> tuple[UInt8[Tensor, "S S"], UInt8[Tensor, "3 S S"], UInt8[Tensor, "s s"]]:
        seed, view, flip = (int(self.joined[k][row]) for k in ("seed", "view", "flip"))
        depth, normal, slots = (*(part[view] for part in self.conditions[seed]), self.slots[seed][view])
        return (depth.flip(-1), mirrored_normals(normal), slots.flip(-1)) if flip else (depth, normal, slots)


def mirrored_normals(normal: UInt8[Tensor, "3 S S"]) -> UInt8[Tensor, "3 S S"]:
    """The normal picture of the mirrored body: left becomes right; 128 is zero and stays."""
    mirrored = normal.flip(-1).clone()
    mirrored[0] = (256 - mirrored[0].to(torch.int16)).clamp(0, 255).to(torch.uint8)
    return mirrored
