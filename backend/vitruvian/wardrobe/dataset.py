"""Training data on disk: views rendered once per person, painted many times.

`OUT/data/views/SEED.safetensors`    sparse pixels of some views; the bare proxy's depth and normals
`OUT/data/painted/NAME.safetensors`   pictures of those views in one outfit or more, with captions
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from vitruvian.core.camera import ViewKind
from vitruvian.diffusion.mini_model import IMAGE_SIZE
from vitruvian.wardrobe.cameras import training_rig
from vitruvian.wardrobe.captions import caption
from vitruvian.wardrobe.records import SLOT_NAMES, Geometry, geometry_from_json, to_json
from vitruvian.wardrobe.subject import Split, sample_geometry, sample_outfit, seeds_of
from vitruvian.wardrobe.training import Log

CAPTIONS_PER_IMAGE = 6


@dataclass(frozen=True)
class Views:
    """One person seen by V cameras."""

    geometry: Geometry
    kinds: tuple[ViewKind, ...]
    azimuths: tuple[float, ...]
    """Degrees."""
    depth: UInt8[Tensor, "V S S"]
    """Depth condition of the bare proxy."""
    normal: UInt8[Tensor, "V 3 S S"]
    pixels: dict[str, Tensor]
    """Fields of `render.DressedPixels`; the floats in half precision."""
    size: tuple[int, int, int]
    """Its views, height and width."""


def render_views(seed: int, counts: tuple[int, int, int], size: int = IMAGE_SIZE) -> Views:
    """Dress and render the person of a seed."""
    from vitruvian.render.conditions import render_conditions
    from vitruvian.wardrobe.dress import dress
    from vitruvian.wardrobe.render import render_dressed

    geometry = sample_geometry(seed)
    dressed = dress(geometry)
    rig = training_rig(dressed.body, np.random.default_rng([seed, 2]), counts, size)
    pixels = render_dressed(dressed, rig)
    conditions, _ = render_conditions(dressed.body.mesh, rig)
    arrays = {
        f.name: getattr(pixels, f.name)
        for f in fields(pixels)
        if isinstance(getattr(pixels, f.name), np.ndarray)
    }
    tensors = {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in arrays.items()}
    return Views(
        geometry,
        rig.kinds,
        tuple(rig.azimuth_degrees.tolist()),
        _bytes(conditions.depth[:, 0]),
        _bytes(conditions.normal),
        {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()},
        (pixels.views, pixels.height, pixels.width),
    )


def save_views(views: Views, path: Path) -> None:
    card = {
        "geometry": to_json(views.geometry),
        "kinds": views.kinds,
        "azimuths": views.azimuths,
        "size": views.size,
    }
    tensors = {f"pixels/{k}": v for k, v in views.pixels.items()} | {
        "depth": views.depth,
        "normal": views.normal,
    }
    _save(tensors, path, card)


def load_views(path: Path) -> Views:
    card, tensors = _load(path)
    return Views(
        geometry_from_json(card["geometry"]),
        tuple(card["kinds"]),
        tuple(card["azimuths"]),
        tensors["depth"],
        tensors["normal"],
        {k.removeprefix("pixels/"): v for k, v in tensors.items() if k.startswith("pixels/")},
        tuple(card["size"]),
    )


def load_conditions(path: Path) -> tuple[UInt8[Tensor, "V S S"], UInt8[Tensor, "V 3 S S"]]:
    """Only the depth and normal pictures of `save_views`."""
    with safe_open(path, framework="pt") as opened:
        return opened.get_tensor("depth"), opened.get_tensor("normal")


def load_slots(path: Path, cells: int) -> UInt8[Tensor, "V s s"]:
    """What each of `cells` x `cells` squares of a view shows most of, ground aside; 0 where only ground."""
    with safe_open(path, framework="pt") as opened:
        view, pixel, slot = (opened.get_tensor(f"pixels/{k}").long() for k in ("view", "pixel", "slot"))
        views, height, width = json.loads(opened.metadata()["card"])["size"]
    row, column = pixel // width * cells // height, pixel % width * cells // width
    kinds = len(SLOT_NAMES)
    place = ((view * cells + row) * cells + column) * kinds + slot
    counts = torch.bincount(place, minlength=views * cells * cells * kinds)
    return counts.view(views, cells, cells, kinds).argmax(-1).to(torch.uint8)


@dataclass(frozen=True)
class Painted:
    """Pictures with captions, and which views they show."""

    images: UInt8[Tensor, "N 3 S S"]
    masks: Bool[Tensor, "N S S"]
    """The dressed silhouette."""
    entries: list[dict[str, Any]]
    """Per picture: `seed`, `view` (index), `flip`, `captions`."""


def paint_views(views: Views, rng: np.random.Generator) -> Painted:
    """All views of a person in one new outfit, mirrored half of the time (sides in the captions follow)."""
    from vitruvian.wardrobe.paint import paint
    from vitruvian.wardrobe.render import DressedPixels

    count, height, width = views.size
    arrays = {k: (v.float() if v.is_floating_point() else v).numpy() for k, v in views.pixels.items()}
    pixels = DressedPixels(views=count, height=height, width=width, **arrays)
    outfit = sample_outfit(views.geometry, rng)
    images = _bytes(paint(pixels, outfit, views.geometry))
    fine = torch.zeros(count, height * width, dtype=torch.bool)
    fine[
        torch.from_numpy(arrays["view"].astype(np.int64)), torch.from_numpy(arrays["pixel"].astype(np.int64))
    ] = True
    masks = fine.view(count, height // 2, 2, width // 2, 2).any(4).any(2)
    flip = bool(rng.random() < 0.5)
    if flip:
        images, masks = images.flip(-1), masks.flip(-1)
    entries = [
        {
            "seed": views.geometry.seed,
            "view": i,
            "flip": flip,
            "captions": [
                caption(views.geometry, outfit, rng, -azimuth if flip else azimuth, kind)
                for _ in range(CAPTIONS_PER_IMAGE)
            ],
        }
        for i, (azimuth, kind) in enumerate(zip(views.azimuths, views.kinds, strict=True))
    ]
    return Painted(images, masks, entries)


def save_painted(parts: list[Painted], path: Path) -> None:
    images, masks = torch.cat([p.images for p in parts]), torch.cat([p.masks for p in parts])
    packed = torch.from_numpy(np.packbits(masks.flatten(1).numpy(), axis=1))
    _save({"images": images, "masks": packed}, path, {"entries": [e for p in parts for e in p.entries]})


def load_painted(path: Path) -> Painted:
    card, tensors = _load(path)
    images = tensors["images"]
    bits = np.unpackbits(tensors["masks"].numpy(), axis=1).astype(bool)
    return Painted(images, torch.from_numpy(bits).view(len(images), *images.shape[2:]), card["entries"])


@dataclass(frozen=True)
class DataPlan:
    """How much to render and paint."""

    subjects: int = 500
    counts: tuple[int, int, int] = (4, 3, 1)
    """Full-body, upper-body and head views of each."""
    outfits: int = 2
    subjects_per_file: int = 8
    split: Split = "train"
    seed: int = 0
    size: int = IMAGE_SIZE


def prepare_data(
    folder: Path, plan: DataPlan, log: Log, workers: int = 2, steps: tuple[str, ...] = ("render", "paint")
) -> None:
    """Render and paint `plan` into `folder`; what is there already is kept. Files appear one by one."""
    seeds = seeds_of(plan.split, plan.subjects)
    groups = [seeds[i : i + plan.subjects_per_file] for i in range(0, len(seeds), plan.subjects_per_file)]
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        jobs = [pool.submit(_prepare_group, folder, plan, group, i, steps) for i, group in enumerate(groups)]
        for i, job in enumerate(jobs):
            for line in job.result():
                log(line)
            log(f"data: {min((i + 1) * plan.subjects_per_file, len(seeds))} of {len(seeds)} people")


def _prepare_group(
    folder: Path, plan: DataPlan, seeds: list[int], group: int, steps: tuple[str, ...]
) -> list[str]:
    """Render some people and paint them; returns what went wrong."""
    torch.set_num_threads(1)
    problems: list[str] = []
    if "render" in steps:
        for seed in seeds:
            path = views_path(folder, seed)
            if not path.exists():
                try:
                    save_views(render_views(seed, plan.counts, plan.size), path)
                except Exception:  # a person who cannot be dressed must not stop the other 499
                    problems.append(
                        f"data: person {seed} left out: {traceback.format_exc(limit=-1).strip()[-200:]}"
                    )
    if "paint" in steps:
        paint_group(folder, plan, seeds, group)
    return problems


def paint_group(
    folder: Path, plan: DataPlan, seeds: list[int], group: int, generation: int = 0
) -> list[Path]:
    """One painted file per outfit for a group of people; a later `generation` wears other outfits."""
    made: list[Path] = []
    paths = [views_path(folder, seed) for seed in seeds]
    for outfit in range(plan.outfits):
        path = folder / "painted" / f"{group:04d}-{generation:02d}-{outfit}.safetensors"
        if not path.exists():
            rngs = [np.random.default_rng([plan.seed, seed, generation, outfit, 3]) for seed in seeds]
            parts = [paint_views(load_views(p), r) for p, r in zip(paths, rngs, strict=True) if p.exists()]
            if parts:
                save_painted(parts, path)
                made.append(path)
    return made


def views_path(folder: Path, seed: int) -> Path:
    return folder / "views" / f"{seed:09d}.safetensors"


def painted_paths(folder: Path) -> list[Path]:
    """Oldest name first."""
    return sorted((folder / "painted").glob("*.safetensors"))


def random_crops(
    images: UInt8[Tensor, "N 3 S S"], masks: Bool[Tensor, "N S S"], size: int, rng: np.random.Generator
) -> Iterator[tuple[UInt8[Tensor, "3 c c"], Bool[Tensor, "c c"]]]:
    """A crop of each picture, centred on a random pixel of the person."""
    extent = images.shape[-1]
    for image, mask in zip(images, masks, strict=True):
        inside = mask.nonzero()
        centre = inside[int(rng.integers(len(inside)))] if len(inside) else torch.tensor([extent // 2] * 2)
        top, left = ((centre - size // 2).clamp(0, extent - size)).tolist()
        yield image[:, top : top + size, left : left + size], mask[top : top + size, left : left + size]


def _bytes(values: Float[Tensor, "..."]) -> UInt8[Tensor, "..."]:
    return (values.clamp(0, 1) * 255).round().to(torch.uint8)


def _save(tensors: dict[str, Tensor], path: Path, card: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    save_file({k: v.contiguous() for k, v in tensors.items()}, fresh, metadata={"card": json.dumps(card)})
    os.replace(fresh, path)


def _load(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    with safe_open(path, framework="pt") as opened:
        card = json.loads(opened.metadata()["card"])
    return card, load_file(path)
