"""Baking views into a texture."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from textured import globe, painted, photograph, psnr, ring_rig, two_plates, waves
from torch import Tensor

from vitruvian.core.errors import UserError
from vitruvian.core.images import Texture, ViewSet
from vitruvian.core.mesh import Mesh
from vitruvian.render.texturing import render_texture, sample_texture
from vitruvian.texture import bake as bake_module
from vitruvian.texture.bake import Bake
from vitruvian.texture.fill import fill_holes, pad_islands
from vitruvian.texture.fuse import fuse
from vitruvian.texture.preview import KeptBake
from vitruvian.texture.texels import texel_map


@cache
def baked_globe() -> tuple[Mesh, Tensor, ViewSet, Texture]:
    """A ball with a known texture, its pictures, and the texture baked from them."""
    mesh, rig = globe(), ring_rig(size=128)
    texels = texel_map(mesh, 512)
    known = painted(texels, waves(texels.position))
    images, gbuffer = photograph(mesh, rig, known)
    views = ViewSet(images, rig, gbuffer)
    return mesh, known, views, fuse(views, mesh, 512)


def test_a_known_texture_comes_back() -> None:
    _, known, _, texture = baked_globe()
    seen = texture.coverage > 0.2
    assert float(seen[texture.inside].float().mean()) > 0.45
    assert psnr(texture.albedo[:, seen], known[:, seen]) > 38.0


def test_rendered_again_it_looks_like_its_views() -> None:
    mesh, _, views, texture = baked_globe()
    again = render_texture(mesh, views.gbuffer, texture.albedo).permute(0, 2, 3, 1)
    mask = views.gbuffer.mask
    eroded = -torch.nn.functional.max_pool2d(-mask.float(), 3, stride=1, padding=1) > 0.5
    assert psnr(again[eroded], views.images.permute(0, 2, 3, 1)[eroded]) > 36.0


def test_no_white_from_the_background() -> None:
    mesh, rig = globe(), ring_rig(size=128)
    black = torch.zeros(3, 512, 512)
    images, gbuffer = photograph(mesh, rig, black)
    texture = fuse(ViewSet(images, rig, gbuffer), mesh, 512)
    assert images.max() == 1.0
    assert texture.albedo.max() < 0.02


def test_nothing_hidden_takes_the_colour_of_what_hides_it() -> None:
    mesh = two_plates()
    texels = texel_map(mesh, 512)
    green, red = torch.tensor([0.1, 0.8, 0.1]), torch.tensor([0.9, 0.1, 0.1])
    on_back = texels.face < 2
    known = painted(texels, torch.where(on_back[:, None], green, red))
    rig = ring_rig(size=128, count=9).select([0, 1, 8])
    images, gbuffer = photograph(mesh, rig, known)
    texture = fuse(ViewSet(images, rig, gbuffer), mesh, 512)
    baked = texture.albedo.reshape(3, -1)[:, texels.index].T
    assert (baked[on_back] - green).abs().max() < 0.05
    assert (baked[~on_back] - red).abs().max() < 0.05


def test_both_sides_of_the_cut_agree() -> None:
    # The globe's layout is cut along its back: u = 0.05 and u = 0.95 are the same points.
    _, _, _, texture = baked_globe()
    v = torch.linspace(0.2, 0.8, 200)
    left, right = (
        sample_texture(texture.albedo, torch.stack([torch.full_like(v, u), v], -1)[None, None])
        for u in (0.05, 0.95)
    )
    assert (left - right).abs().max() < 0.03


def test_padding_reaches_beyond_eight_texels() -> None:
    _, _, _, texture = baked_globe()
    left, right = (torch.nonzero(texture.inside.any(0)).squeeze(1)[i] for i in (0, -1))
    rows = texture.albedo[:, 150:350]
    for offset in range(1, 9):
        assert (rows[:, :, left - offset] - rows[:, :, left]).abs().max() < 0.05
        assert (rows[:, :, right + offset] - rows[:, :, right]).abs().max() < 0.05


def test_what_no_view_saw_is_filled_from_around_it() -> None:
    mesh, rig = globe(), ring_rig(size=128).select([0])
    texels = texel_map(mesh, 512)
    images, gbuffer = photograph(mesh, rig, painted(texels, torch.full((len(texels.index), 3), 0.3)))
    texture = fuse(ViewSet(images, rig, gbuffer), mesh, 512)
    unseen = texture.inside & (texture.coverage == 0)
    assert int(unseen.sum()) > 50_000
    assert (texture.albedo - 0.3).abs().max() < 0.02


def test_batches_of_texels_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh, _, views, texture = baked_globe()
    monkeypatch.setitem(bake_module._BATCH, "cpu", 5_000)
    # Sums run in another order; nothing but rounding may differ.
    assert torch.allclose(fuse(views, mesh, 512).albedo, texture.albedo, atol=2e-3)


@pytest.mark.parametrize("closeups", [False, True])
@pytest.mark.parametrize("size", [64, 128, 256])
def test_reading_views_in_batches_comes_to_the_same_as_every_look_kept(size: int, closeups: bool) -> None:
    # At 64 px a texel is smaller than a pixel, at 256 px pyramids are read too.
    mesh, rig = globe(), ring_rig(size=size, closeups=closeups)
    texels = texel_map(mesh, 512)
    images, gbuffer = photograph(mesh, rig, painted(texels, waves(texels.position)))
    views = ViewSet(images, rig, gbuffer)
    bake = Bake(texels, mesh, views, power=6.0)
    kept = KeptBake(texels, mesh, rig, gbuffer, power=6.0)
    colours, coverage = bake(images)
    expected, expected_coverage = kept(images)
    assert int(((coverage > 0) != (expected_coverage > 0)).sum()) <= 2
    # What close-ups show is not looked up in the other views, which may have seen it a little better.
    assert (coverage - expected_coverage).max() < 0.005
    if not closeups:
        assert (expected_coverage - coverage).max() < 0.005
    well = expected_coverage > 0.1
    assert (colours - expected)[:, well].abs().max() < 0.002
    assert psnr(colours, expected) > 55.0
    other = torch.rand(images.shape, generator=torch.Generator().manual_seed(5))
    assert psnr(bake.reread(other)[:, well], kept(other)[0][:, well]) > 60.0


def test_the_same_views_give_the_same_bytes() -> None:
    mesh, _, views, texture = baked_globe()
    assert torch.equal(fuse(views, mesh, 512).albedo, texture.albedo)


def test_refuses_sizes_that_we_do_not_bake() -> None:
    mesh, _, views, _ = baked_globe()
    for size in (0, 100_000):
        with pytest.raises(UserError, match="texture size"):
            fuse(views, mesh, size)


def test_holes_do_not_take_colours_through_a_thin_sheet() -> None:
    # Two sheets a millimetre apart that face away from each other: each hole copies its own side.
    grid = torch.stack(torch.meshgrid(torch.linspace(0, 1, 30), torch.linspace(0, 1, 30), indexing="ij"), -1)
    flat = grid.reshape(-1, 2)
    position = torch.cat([torch.cat([flat, torch.full((900, 1), z)], 1) for z in (0.0, 0.001)])
    normal = torch.tensor([[0.0, 0.0, -1.0]] * 900 + [[0.0, 0.0, 1.0]] * 900)
    colours = torch.tensor([[1.0, 0.0, 0.0]] * 900 + [[0.0, 0.0, 1.0]] * 900)
    coverage = torch.ones(1800)
    coverage[::7] = 0.0
    holes = coverage == 0
    filled = torch.where(holes[:, None], torch.zeros(3), colours).T.contiguous()
    fill_holes(filled, coverage, lambda rows: (position[rows].T, normal[rows].T))
    filled = filled.T
    assert (filled - colours).abs().max() < 0.1
    assert torch.equal(filled[~holes], colours[~holes])


def test_a_surface_that_nothing_saw_is_grey() -> None:
    colours = torch.zeros(3, 5)
    fill_holes(colours, torch.zeros(5), lambda rows: (torch.zeros(3, len(rows)), torch.zeros(3, len(rows))))
    assert torch.equal(colours, torch.full((3, 5), 0.5))


def test_padding_copies_the_nearest_texel() -> None:
    image = torch.zeros(1, 8, 8)
    known = torch.zeros(8, 8, dtype=torch.bool)
    image[0, 2, 2], image[0, 6, 6] = 0.25, 0.75
    known[2, 2] = known[6, 6] = True
    padded = pad_islands(image, known)
    for row in range(8):
        for column in range(8):
            first, second = math.hypot(row - 2, column - 2), math.hypot(row - 6, column - 6)
            if first != second:
                assert float(padded[0, row, column]) == (0.25 if first < second else 0.75)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_bakes_the_same_texture() -> None:
    mesh, _, views, texture = baked_globe()
    there = ViewSet(views.images.cuda(), views.rig.to("cuda"), views.gbuffer.to("cuda"))
    found = fuse(there, mesh.to("cuda"), 512)
    assert found.albedo.is_cuda
    assert float((found.inside.cpu() == texture.inside).float().mean()) > 0.9999
    assert psnr(found.albedo.cpu()[:, texture.inside], texture.albedo[:, texture.inside]) > 45.0
