"""Fusion inside the sampling loop, and the measure of consistency."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from textured import globe, painted, photograph, psnr, ring_rig, two_plates, waves
from torch import Tensor

from vitruvian.core.camera import CameraRig
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh
from vitruvian.render.raster import rasterize
from vitruvian.texture.fuse import TextureFuser
from vitruvian.texture.neighbour import NeighbourWarpFuser
from vitruvian.texture.overlap import find_overlap, overlap_psnr
from vitruvian.texture.project import find_pixel_sightings, find_sightings, nearest_views
from vitruvian.texture.surface import pixel_footprints, pyramid, surface_views
from vitruvian.texture.texels import texel_map

Scene = tuple[Mesh, CameraRig, GBuffer, Tensor]
FUSERS: list[Callable[[Mesh, CameraRig, GBuffer], TextureFuser | NeighbourWarpFuser]] = [
    TextureFuser,
    NeighbourWarpFuser,
]


@pytest.fixture(scope="module")
def scene() -> Scene:
    """A textured ball, six body views and six close-ups, and their pictures."""
    mesh, rig = globe(), ring_rig(closeups=True)
    texels = texel_map(mesh, 1024)
    images, gbuffer = photograph(mesh, rig, painted(texels, waves(texels.position)))
    return mesh, rig, gbuffer, images


def disagreeing(images: Tensor, mask: Tensor, seed: int = 0) -> Tensor:
    """The pictures with a smooth error of its own in each."""
    generator = torch.Generator().manual_seed(seed)
    error = torch.randn(len(images), 3, 4, 4, generator=generator) * 0.1
    error = torch.nn.functional.interpolate(error, size=images.shape[2:], mode="bicubic")
    return images + error * mask[:, None]


@pytest.mark.parametrize("fuser", FUSERS)
def test_views_that_agree_come_back_as_they_were(scene: Scene, fuser: Callable) -> None:
    mesh, rig, gbuffer, images = scene
    fused, support = fuser(mesh, rig, gbuffer)(images, 4.0)
    assert psnr(fused, images) > 40.0
    assert fused.shape == images.shape
    assert support.shape == gbuffer.mask.shape
    assert int(support.max()) >= 3


@pytest.mark.parametrize("fuser", FUSERS)
def test_the_background_is_left_alone(scene: Scene, fuser: Callable) -> None:
    mesh, rig, gbuffer, images = scene
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(1))
    fused, support = fuser(mesh, rig, gbuffer)(noise, 2.0)
    outside = ~gbuffer.mask[:, None].expand_as(images)
    assert torch.equal(fused[outside], noise[outside])
    assert (support[~gbuffer.mask] == 0).all()


@pytest.mark.parametrize("fuser", FUSERS)
def test_constant_views_stay_constant(scene: Scene, fuser: Callable) -> None:
    # Weights sum to 1 everywhere; the paper's released code greys such views.
    mesh, rig, gbuffer, images = scene
    grey = torch.full_like(images, 0.3)
    fused, _ = fuser(mesh, rig, gbuffer)(grey, 6.0)
    assert torch.allclose(fused, grey, atol=1e-5)


@pytest.mark.parametrize("fuser", FUSERS)
def test_a_single_view_comes_back_exactly(scene: Scene, fuser: Callable) -> None:
    mesh, rig, gbuffer, images = scene
    fused, _ = fuser(mesh, rig.select([0]), gbuffer.select([0]))(images[:1], 4.0)
    assert torch.allclose(fused, images[:1], atol=1e-4)


def test_fusion_is_linear_in_the_images(scene: Scene) -> None:
    mesh, rig, gbuffer, images = scene
    fuser = TextureFuser(mesh, rig, gbuffer)
    other = torch.rand(images.shape, generator=torch.Generator().manual_seed(2))
    both = fuser(images + 2.0 * other, 3.0)[0]
    assert torch.allclose(both, fuser(images, 3.0)[0] + 2.0 * fuser(other, 3.0)[0], atol=1e-4)


def test_disagreeing_views_agree_after_one_fusion(scene: Scene) -> None:
    mesh, rig, gbuffer, images = scene
    overlap = find_overlap(mesh, rig, gbuffer)
    views = disagreeing(images, gbuffer.mask)
    fused, _ = TextureFuser(mesh, rig, gbuffer)(views, 4.0)
    assert overlap_psnr(views, overlap) < 22.0
    assert overlap_psnr(fused, overlap) > 35.0


def test_neighbours_bring_views_nearer_together(scene: Scene) -> None:
    mesh, rig, gbuffer, images = scene
    overlap = find_overlap(mesh, rig, gbuffer)
    views = disagreeing(images, gbuffer.mask)
    fused, _ = NeighbourWarpFuser(mesh, rig, gbuffer)(views)
    assert overlap_psnr(fused, overlap) > overlap_psnr(views, overlap) + 3.0


@pytest.mark.parametrize("fuser", FUSERS)
def test_close_ups_override_full_body_views(scene: Scene, fuser: Callable) -> None:
    mesh, rig, gbuffer, images = scene
    red, blue = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    colours = torch.stack([blue if kind == "upper" else red for kind in rig.kinds])
    fused, _ = fuser(mesh, rig, gbuffer)(colours[:, :, None, None].expand_as(images).contiguous(), 4.0)
    size = images.shape[-1]
    centre = fused[0, :, size // 2, size // 2]
    assert torch.allclose(centre, blue, atol=0.05)


def test_what_is_hidden_takes_no_colour_from_what_hides_it() -> None:
    # A red plate floats before a green one; seen from the sides, red must not land on green.
    mesh = two_plates()
    texels = texel_map(mesh, 512)
    green, red = torch.tensor([0.1, 0.8, 0.1]), torch.tensor([0.9, 0.1, 0.1])
    colours = torch.where((texels.face < 2)[:, None], green, red)
    rig = ring_rig(count=9).select([0, 1, 8])
    images, gbuffer = photograph(mesh, rig, painted(texels, colours))
    fused, support = TextureFuser(mesh, rig, gbuffer)(images, 0.0)
    on_back = (gbuffer.face_id >= 0) & (gbuffer.face_id < 2) & (support > 1)
    inner = on_back & (images.permute(0, 2, 3, 1) - green).abs().amax(-1).lt(0.01)
    assert int(inner.sum()) > 1000
    assert (fused.permute(0, 2, 3, 1)[inner] - green).abs().max() < 0.02


def test_overlap_of_identical_views_is_perfect_and_of_noise_is_not(scene: Scene) -> None:
    mesh, rig, gbuffer, images = scene
    overlap = find_overlap(mesh, rig, gbuffer)
    assert overlap_psnr(images, overlap) > 35.0
    assert overlap_psnr(torch.full_like(images, 0.4), overlap) == pytest.approx(100.0)
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(1))
    assert overlap_psnr(noise, overlap) < 12.0


def test_overlap_is_unknown_where_there_is_none() -> None:
    mesh = globe()
    rig = ring_rig(count=2)
    overlap = find_overlap(mesh, rig, rasterize(mesh, rig))
    assert math.isnan(overlap_psnr(torch.zeros(2, 3, 96, 96), overlap))


def test_pixels_asked_by_view_are_the_pixels_asked_together(scene: Scene) -> None:
    mesh, rig, gbuffer, _ = scene
    chain = pyramid(surface_views(mesh, rig, gbuffer))
    mask, footprint = gbuffer.mask, pixel_footprints(chain[0])
    by_view = find_pixel_sightings(chain, mask, footprint, cubic=True)
    together = find_sightings(
        chain[0].position[mask], chain[0].normal[mask], chain, footprint[mask], cubic=True
    )
    for name, value in vars(together).items():
        assert torch.equal(torch.as_tensor(getattr(by_view, name)), torch.as_tensor(value)), name


def test_with_many_views_each_asks_those_that_look_its_way(scene: Scene) -> None:
    mesh, rig, gbuffer, _ = scene
    asked = nearest_views(rig, 4)
    forward = rig.T_world_cam[:, :3, 2]
    for view, chosen in enumerate(asked):
        assert view in chosen
        assert chosen == sorted(chosen)
        worst = min(float(forward[view] @ forward[other]) for other in chosen)
        others = [float(forward[view] @ forward[o]) for o in range(len(rig)) if o not in chosen]
        assert worst >= max(others) - 1e-5
    chain = pyramid(surface_views(mesh, rig, gbuffer))
    found = find_pixel_sightings(chain, gbuffer.mask, pixel_footprints(chain[0]), nearest=4)
    owner = gbuffer.mask.reshape(-1).nonzero().squeeze(1) // gbuffer.mask[0].numel()
    pairs = set(zip(owner[found.point].tolist(), found.view.tolist(), strict=True))
    assert pairs <= {(view, other) for view, chosen in enumerate(asked) for other in chosen}
    assert {(view, view) for view in range(len(rig))} <= pairs
