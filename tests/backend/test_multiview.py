"""Multi-view sampling where the best denoiser is known: each view may show any of K textures of one ball.

For a finite set of pictures the denoiser is a softmax over their distances to x_t. Views sampled on their own
each settle for one of the K; guided, they have to agree where they meet. Latents are pixels, regrouped.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from shapes import ball
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from vitruvian.core.camera import CameraRig
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh
from vitruvian.diffusion.consistency import Codec, ConsistencySettings, with_consistency
from vitruvian.diffusion.denoiser import Denoiser, NoiseLevel
from vitruvian.diffusion.sampling import make_scheduler, sample, view_noise
from vitruvian.render.gbuffer import interpolate
from vitruvian.render.raster import rasterize
from vitruvian.render.rigs import default_rig
from vitruvian.texture.fuse import TextureFuser
from vitruvian.texture.neighbour import NeighbourWarpFuser
from vitruvian.texture.overlap import Overlap, find_overlap, overlap_psnr

SIZE, CELL, TEXTURES = 64, 4, 6
SCHEDULE = {
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}


class Scene:
    """A ball, its cameras, and what it looks like with each texture."""

    def __init__(self) -> None:
        self.mesh: Mesh = ball()
        self.rig: CameraRig = default_rig(self.mesh, SIZE, views_per_ring=4)
        self.gbuffer: GBuffer = rasterize(self.mesh, self.rig)
        self.overlap: Overlap = find_overlap(self.mesh, self.rig, self.gbuffer)
        height = interpolate(self.gbuffer, self.mesh.faces, self.mesh.vertices[:, 2:])[..., 0]
        self.pictures = torch.stack([self._striped(height, k) for k in range(TEXTURES)])

    def _striped(self, height: Tensor, texture: int) -> Tensor:
        """Stripes whose phase tells the textures apart, as a prompt does not: [N, 3, H, W]."""
        phase = 2 * torch.pi * texture / TEXTURES
        stripe = 0.5 + 0.4 * torch.sin(12.0 * height + phase)
        colour = torch.stack([stripe, 0.5 * stripe + 0.2, 1.0 - stripe], dim=1)
        return torch.where(self.gbuffer.mask[:, None], colour, torch.ones_like(colour))

    def denoiser(self, x_t: Tensor, level: NoiseLevel) -> Tensor:
        """E[x0 | x_t] of each view on its own."""
        latents = torch.stack([encode(p) for p in self.pictures])
        distance = (x_t[None] - level.alpha * latents).square().sum((-1, -2, -3))
        share = torch.softmax(-distance / (2 * max(level.sigma, 1e-3) ** 2), dim=0)
        return (share[..., None, None, None] * latents).sum(0)

    def closest(self, images: Tensor) -> list[int]:
        """Which texture each view shows."""
        return (images[None] - self.pictures).square().mean((-1, -2, -3)).argmin(0).tolist()


def encode(images: Tensor) -> Tensor:
    return pixel_unshuffle(images * 2 - 1, CELL)


def decode(latents: Tensor) -> Tensor:
    return (pixel_shuffle(latents, CELL) / 2 + 0.5).clamp(0.0, 1.0)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


def paint(scene: Scene, wrap: Callable[[Denoiser], Denoiser], seed: int) -> Tensor:
    noise = view_noise(seed, scene.rig.names, (3 * CELL**2, SIZE // CELL, SIZE // CELL))
    return decode(sample(wrap(scene.denoiser), noise, make_scheduler(SCHEDULE, "dpm++", 20)))


@pytest.mark.parametrize("fuser", [TextureFuser, NeighbourWarpFuser])
@pytest.mark.parametrize("seed", [0, 1])
def test_views_come_to_agree_and_keep_their_contrast(
    scene: Scene, seed: int, fuser: type[TextureFuser] | type[NeighbourWarpFuser]
) -> None:
    fuse = fuser(scene.mesh, scene.rig, scene.gbuffer)
    alone = paint(scene, lambda denoise: denoise, seed)
    together = paint(
        scene, lambda d: with_consistency(d, fuse, Codec(encode, decode), ConsistencySettings()), seed
    )
    assert len(set(scene.closest(alone))) > 2
    assert overlap_psnr(together, scene.overlap) > overlap_psnr(alone, scene.overlap) + 6.0
    mask = scene.gbuffer.mask[:, None].expand_as(alone)
    assert float(together[mask].std() / alone[mask].std()) > 0.85


def test_views_part_again_when_guidance_ends_early(scene: Scene) -> None:
    """Why the last step is guided by default: what the views end as is the last x0."""
    fuse = TextureFuser(scene.mesh, scene.rig, scene.gbuffer)
    agreement = [
        overlap_psnr(
            paint(scene, lambda d, s=s: with_consistency(d, fuse, Codec(encode, decode), s), 0), scene.overlap
        )
        for s in (ConsistencySettings(), ConsistencySettings(end=0.6))
    ]
    assert agreement[0] > agreement[1] + 3.0
