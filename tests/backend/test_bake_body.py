"""The built-in body, painted with a known pattern, photographed by the default rig, and baked again."""

from __future__ import annotations

from functools import cache

import torch
from textured import painted, photograph, psnr, waves
from torch import Tensor

from vitruvian.body.anny_body import anny_body
from vitruvian.core.images import Avatar, Texture, ViewSet
from vitruvian.evaluate.consistency import seen_coverage
from vitruvian.render.rigs import default_rig
from vitruvian.render.texturing import render_texture
from vitruvian.texture.fuse import fuse
from vitruvian.texture.texels import texel_map


@cache
def baked_body() -> tuple[Avatar, Tensor]:
    """Sixteen 256 px views baked at 512 px, and the texture they show."""
    mesh = anny_body().mesh
    texels = texel_map(mesh, 512)
    known = painted(texels, waves(texels.position, period=0.5) * 0.8)
    rig = default_rig(mesh, 256)
    images, gbuffer = photograph(mesh, rig, known)
    views = ViewSet(images, rig, gbuffer)
    return Avatar(mesh, fuse(views, mesh, 512), views, {}), known


def texture() -> Texture:
    return baked_body()[0].texture


def test_the_known_texture_comes_back_on_every_seen_texel() -> None:
    _, known = baked_body()
    seen, well_seen = texture().coverage > 0, texture().coverage > 0.3
    assert psnr(texture().albedo[:, seen], known[:, seen]) > 32.0
    assert psnr(texture().albedo[:, well_seen], known[:, well_seen]) > 44.0


def test_no_white_bleeds_in_from_the_background() -> None:
    # The pattern ends at 0.72 and the background is 1.
    _, known = baked_body()
    assert known.max() < 0.73
    seen = texture().coverage > 0
    assert float((texture().albedo[:, seen].amin(0) > 0.8).float().mean()) == 0.0
    brighter = (texture().albedo - known)[:, seen].amin(0) > 0.1
    assert float(brighter.float().mean()) < 0.002


def test_rendered_again_it_looks_like_its_views() -> None:
    avatar, _ = baked_body()
    mask = avatar.views.gbuffer.mask
    inner = -torch.nn.functional.max_pool2d(-mask.float(), 3, stride=1, padding=1) > 0.5
    again = render_texture(avatar.mesh, avatar.views.gbuffer, avatar.texture.albedo).permute(0, 2, 3, 1)
    assert psnr(again[inner], avatar.views.images.permute(0, 2, 3, 1)[inner]) > 40.0


def test_texels_that_a_camera_can_see_are_covered() -> None:
    # Judged by rays to the cameras, which the fusion does not use.
    assert seen_coverage(baked_body()[0]) >= 0.995
