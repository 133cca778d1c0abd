"""A card without Kaolin: every tensor is where it belongs, from the cameras to the texture.

There is no card here; `pretend_card` has one that computes on the processor and refuses to mix devices.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from pretend_card import CARD, CardTensor, pretend_card, put_on_card
from shapes import ball, pebble

from vitruvian.body.anny_body import anny_body
from vitruvian.core.images import ViewSet
from vitruvian.core.report import silent
from vitruvian.diffusion.prior import Prior
from vitruvian.methods.inputs import Inputs
from vitruvian.methods.mvhuman import MVHumanSettings, run
from vitruvian.render.conditions import render_conditions
from vitruvian.render.raster import rasterize, soft_silhouette
from vitruvian.render.rigs import default_rig
from vitruvian.render.texturing import render_texture
from vitruvian.texture.fuse import TextureFuser, fuse
from vitruvian.texture.neighbour import NeighbourWarpFuser


def test_the_stand_in_refuses_what_cuda_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretend_card(monkeypatch) as card:
        there, here = torch.arange(3.0, device=card), torch.ones(3)
        for wrong in (
            lambda: there + here,
            lambda: torch.cat([there, here]),
            lambda: there @ here,
            there.numpy,
        ):
            with pytest.raises(RuntimeError, match=r"same device|numpy"):
                wrong()
        assert float((there + here.to(card)).sum()) == 6.0
        assert (there + torch.tensor(1.0)).device == CARD
        assert type((2 * there).cpu()) is torch.Tensor


def test_rendering_and_fusing_stay_on_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh, images = ball(6, 12), torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    rig = default_rig(mesh, 32, 2)
    gbuffer = rasterize(mesh, rig)
    expected = fuse(ViewSet(images, rig, gbuffer), mesh, 512).albedo
    pictures = render_texture(mesh, gbuffer, expected)
    with pretend_card(monkeypatch) as card:
        mesh, rig, images = mesh.to(card), rig.to(card), images.to(card)
        gbuffer = rasterize(mesh, rig)
        conditions, _ = render_conditions(mesh, rig, torch.rand(18, 3).to(card))
        assert isinstance(conditions.depth, CardTensor)
        assert isinstance(conditions.pose, CardTensor)
        for fuser in (TextureFuser(mesh, rig, gbuffer), NeighbourWarpFuser(mesh, rig, gbuffer)):
            assert isinstance(fuser(images)[0], CardTensor)
        texture = fuse(ViewSet(images, rig, gbuffer), mesh, 512)
        drawn = render_texture(mesh, gbuffer, texture.albedo)
        assert isinstance(drawn, CardTensor)
        # On a CPU views that would add less than a thousandth to a texel are not read.
        assert torch.allclose(texture.albedo.cpu(), expected, atol=0.01)
        assert torch.allclose(drawn.cpu(), pictures, atol=0.01)


def test_gradients_stay_on_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = pebble(1)
    rig = default_rig(mesh, 32, 1)
    with pretend_card(monkeypatch) as card:
        mesh, rig = mesh.to(card), rig.to(card)
        vertices = mesh.vertices.clone().requires_grad_()
        gbuffer = rasterize(replace(mesh, vertices=vertices), rig)
        soft = soft_silhouette(replace(mesh, vertices=vertices), rig, gbuffer)
        (soft.sum() + gbuffer.depth.sum()).backward()
        assert isinstance(vertices.grad, CardTensor)
        assert float(vertices.grad.abs().sum()) > 0


def test_a_whole_job_stays_on_the_card(tiny: Prior, monkeypatch: pytest.MonkeyPatch) -> None:
    body = anny_body()
    inputs = Inputs(body, default_rig(body.mesh, 32, 2), "a person in a red shirt")
    settings = MVHumanSettings(steps=2, texture_size=512)
    expected = run(inputs, settings, tiny, silent)
    with pretend_card(monkeypatch) as card:
        there = _on_card(tiny, card)
        avatar = run(inputs, settings, there, silent)
        assert isinstance(avatar.texture.albedo, CardTensor)
        assert isinstance(avatar.views.images, CardTensor)
        assert torch.allclose(avatar.texture.albedo.cpu(), expected.texture.albedo, atol=0.01)


def _on_card(prior: Prior, card: torch.device) -> Prior:
    """A copy whose networks are there."""
    copied = copy.deepcopy(prior)
    for part in vars(copied).values():
        for module in part.values() if isinstance(part, dict) else (part,):
            if isinstance(module, torch.nn.Module):
                put_on_card(module)
    return replace(copied, device=card)
