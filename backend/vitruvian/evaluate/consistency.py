"""Guided against independent sampling of the same person with the same seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitruvian.core.camera import CameraRig, project
from vitruvian.core.images import Avatar, ViewSet
from vitruvian.core.mesh import Mesh
from vitruvian.diffusion.latents import decode, encode
from vitruvian.diffusion.prior import Prior
from vitruvian.evaluate.metrics import erode, laplacian_energy, patches, psnr, sliced_wasserstein
from vitruvian.evaluate.people import Person
from vitruvian.render.raster_embree import build_scene
from vitruvian.render.texturing import render_texture
from vitruvian.texture.overlap import find_overlap, overlap_psnr
from vitruvian.texture.texels import texel_map

JUDGED_TEXELS = 40_000
POOLED_PATCHES = 16_384
EDGE_ON = 0.05
"""Cosine up to which a surface is edge-on to a camera, which then shows nothing of it."""


@dataclass(frozen=True)
class ViewFigures:
    """One person, sampled one way."""

    overlap_psnr: float
    """dB between views where they see the same points, before fusion."""
    sharpness: float
    """Laplacian energy inside the body."""
    patch_distance: float
    """Sliced Wasserstein distance of this person's patches to those of the true renderings."""
    texture_psnr: float
    """dB of the texture rendered again against its views, inside the body."""
    coverage: float
    """Share of the texels that any camera can see which got colour from a view."""


def measure_views(person: Person, avatar: Avatar) -> ViewFigures:
    """All figures of one avatar of `person`."""
    views = avatar.views
    mask = views.gbuffer.mask
    again = render_texture(avatar.mesh, views.gbuffer, avatar.texture.albedo)
    truth, made = patches(person.truth, mask), patches(views.images, mask)
    return ViewFigures(
        overlap_psnr=overlap_psnr(views.images, find_overlap(avatar.mesh, views.rig, views.gbuffer)),
        sharpness=laplacian_energy(views.images, mask),
        patch_distance=sliced_wasserstein(truth, made),
        texture_psnr=psnr(again, views.images, erode(mask, 1)),
        coverage=seen_coverage(avatar),
    )


def seen_coverage(avatar: Avatar, seed: int = 0) -> float:
    """Of the texels whose surface point some camera can see, the share that got colour from a view.

    What can be seen is decided by rays from a sample of texels to every camera: the fusion looks texels up in
    the G-buffers, and this checks it against something else.
    """
    texels = texel_map(avatar.mesh, avatar.texture.coverage.shape[-1])
    inside = texels.inside.nonzero()[:, 0]
    order = torch.randperm(len(inside), generator=torch.Generator().manual_seed(seed))
    sample = inside[order[:JUDGED_TEXELS]]
    visible = visible_by_rays(avatar.mesh, avatar.views.rig, texels.position[sample], texels.normal[sample])
    coverage = avatar.texture.coverage.reshape(-1)[texels.index[sample]]
    return float((coverage[visible] > 0).float().mean())


def visible_by_rays(
    mesh: Mesh, rig: CameraRig, points: Float[Tensor, "P 3"], normals: Float[Tensor, "P 3"]
) -> Bool[Tensor, "P"]:
    """Whether any camera sees each surface point: in its image, not edge-on, and nothing in between."""
    scene = build_scene(mesh)
    pixels, z = project(points, rig)
    inside = (z > 0) & (pixels >= 0).all(-1) & (pixels[..., 0] < rig.width) & (pixels[..., 1] < rig.height)
    visible = torch.zeros(len(points), dtype=torch.bool)
    for view in range(len(rig)):
        forward = rig.T_world_cam[view, :3, 2]
        towards = -forward.expand_as(points) if bool(rig.orthographic[view]) else rig.positions[view] - points
        distance = towards.norm(dim=-1, keepdim=True)
        facing = (towards / distance * normals).sum(-1) > EDGE_ON
        asked = (inside[view] & facing & ~visible).nonzero()[:, 0]
        if len(asked) == 0:
            continue
        # A millimetre off the surface, or the ray would hit the face that it starts on.
        origins = np.ascontiguousarray((points + 1e-3 * normals)[asked].numpy(), dtype=np.float32)
        directions = np.ascontiguousarray(towards[asked].numpy(), dtype=np.float32)
        blocked = scene.run(origins, directions, query="OCCLUDED") >= 0
        visible[asked] = torch.from_numpy(~blocked)
    return visible


def truth_floor(people: list[Person]) -> float:
    """Patch distance between the true renderings of two halves of `people`: what chance alone gives."""
    half = len(people) // 2

    def all_patches(side: list[Person]) -> Tensor:
        return torch.cat([patches(p.truth, p.slots > 0, count=POOLED_PATCHES // half) for p in side])

    return sliced_wasserstein(all_patches(people[:half]), all_patches(people[half : 2 * half]))


class PatchPool:
    """Patches of all people together, true and made.

    One person's distance depends on what the prompt leaves open, such as a skin tone, which guided views
    choose once and independent views sixteen times; over all people that evens out.
    """

    def __init__(self, people: int) -> None:
        self._each = POOLED_PATCHES // people
        self._truth: list[Float[Tensor, "K D"]] = []
        self._made: dict[str, list[Float[Tensor, "K D"]]] = {}

    def add(self, person: Person, sets: Mapping[str, ViewSet]) -> None:
        """The same places of the true renderings and of each set of views."""
        mask = next(iter(sets.values())).gbuffer.mask
        self._truth.append(patches(person.truth, mask, count=self._each))
        for name, views in sets.items():
            self._made.setdefault(name, []).append(patches(views.images, mask, count=self._each))

    def distance(self, name: str) -> float:
        """Sliced Wasserstein distance of what was added under `name` to the truth."""
        return sliced_wasserstein(torch.cat(self._truth), torch.cat(self._made[name]))


def reconstruction_psnr(prior: Prior, person: Person, mask: Bool[Tensor, "N H W"]) -> list[float]:
    """dB of what the autoencoder makes of each true rendering, two pixels and more inside the body.

    A view that shows no such pixel is left out.
    """
    made = decode(prior, encode(prior, person.truth))
    inside = erode(mask, 2)
    return [
        psnr(made[i : i + 1], person.truth[i : i + 1], inside[i : i + 1])
        for i in range(len(made))
        if bool(inside[i].any())
    ]
