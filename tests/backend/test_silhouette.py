"""Soft silhouettes and gradients of G-buffers: laws, and finite differences."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from shapes import mixed_rig, pebble, sphere, square

from vitruvian.core.camera import CameraRig
from vitruvian.core.errors import UserError
from vitruvian.core.images import GBuffer
from vitruvian.render import silhouette
from vitruvian.render.gbuffer import follow_vertices
from vitruvian.render.raster import rasterize, soft_silhouette
from vitruvian.render.rig_json import parse_rig

FRONT = {"position": [0, -2, 1], "look_at": [0, 0, 1], "ortho_scale": 1.5}


def test_the_area_grows_with_its_outline() -> None:
    # Whatever the profile, it falls from 1 to 0 across the outline, so the soft area's derivative is the
    # disc's, but that a ring at distance d outside a radius of 50 is longer by d / 50.
    rig = parse_rig({"cameras": [FRONT]}, 150)
    ball = sphere(0.5, subdivisions=4)
    for blur in (0.7, 1.5, 3.0):
        vertices = ball.vertices.clone().requires_grad_()
        mesh = replace(ball, vertices=vertices)
        soft_silhouette(mesh, rig, blur=blur).sum().backward()
        outwards = ball.vertices - torch.tensor([0.0, 0.0, 1.0])
        assert vertices.grad is not None
        growth = float((vertices.grad * outwards).sum())
        area = torch.pi * 50.0**2
        assert 0.98 < growth / (2 * area) < 1.01 + 2 * blur / 50, blur


def test_one_edge_falls_off_as_the_formula_says() -> None:
    rig = parse_rig({"cameras": [{"position": [0, -1, 0.5], "look_at": [0, 0, 0.5], "ortho_scale": 1}]}, 32)
    soft = soft_silhouette(square(), rig, blur=4.0)[0]
    # The square covers the right half. On the middle row its left edge, and one face of it alone, is nearest.
    distance = 16 - (torch.arange(16) + 0.5)
    reached = torch.where(distance < 12, (-((distance / 4) ** 2)).exp(), 0.0)
    assert (soft[16, 16:] == 1).all()
    assert (soft[16, :16] >= reached - 1e-6).all()
    triangle = replace(square(), faces=square().faces[1:])
    alone = soft_silhouette(triangle, rig, blur=4.0)[0]
    assert torch.allclose(alone[16, :16], reached, atol=1e-6)


def test_it_is_the_mask_softened() -> None:
    mesh, rig = sphere(), mixed_rig()
    gbuffer = rasterize(mesh, rig)
    soft = soft_silhouette(mesh, rig, gbuffer, blur=1.0)
    assert (soft[gbuffer.mask] == 1).all()
    assert ((soft >= 0) & (soft <= 1)).all()
    reached = torch.nn.functional.max_pool2d(gbuffer.mask.float(), 9, 1, 4) > 0
    assert soft[~reached].abs().max() == 0
    assert (soft_silhouette(mesh, rig, gbuffer, blur=2.0) >= soft - 1e-6).all()
    sharp = soft_silhouette(mesh, rig, gbuffer, blur=0.01) > 0.5
    assert (sharp != gbuffer.mask).float().mean() < 1e-3


def test_it_does_not_depend_on_how_pairs_are_cut_up(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh, rig = sphere(subdivisions=2), mixed_rig(40, 32)
    whole = soft_silhouette(mesh, rig, blur=1.5)
    monkeypatch.setattr(silhouette, "_PAIRS_AT_ONCE", 50)
    assert torch.allclose(soft_silhouette(mesh, rig, blur=1.5), whole, atol=1e-6)


def test_bodies_behind_the_camera_cast_nothing() -> None:
    rig = parse_rig({"cameras": [{"position": [0, 3, 1], "look_at": [0, 4, 1], "fov": 50}]}, 32)
    vertices = sphere(subdivisions=1).vertices.requires_grad_()
    soft = soft_silhouette(replace(sphere(subdivisions=1), vertices=vertices), rig)
    assert soft.abs().max() == 0


@pytest.mark.parametrize("blur", [0.0, -1.0, float("nan"), float("inf")])
def test_a_blur_that_is_none_is_refused(blur: float) -> None:
    with pytest.raises(UserError, match="blur"):
        soft_silhouette(square(), parse_rig({"cameras": [FRONT]}, 16), blur=blur)


def test_silhouettes_pass_gradcheck() -> None:
    mesh, rig = pebble(0), _small_rig()
    covered = rasterize(mesh, rig).mask

    def soft(vertices: torch.Tensor) -> torch.Tensor:
        return silhouette.soft_silhouette(replace(mesh, vertices=vertices), _double(rig), covered, 1.5)

    # Pixels at exactly the reach may enter or leave: the jump there is exp(-9) of a mask.
    vertices = mesh.vertices.double().requires_grad_()
    assert torch.autograd.gradcheck(soft, vertices, eps=1e-7, atol=1e-4, rtol=1e-3)


def test_gbuffers_follow_their_vertices() -> None:
    mesh, rig = sphere(), mixed_rig()
    plain = rasterize(mesh, rig)
    vertices = mesh.vertices.clone().requires_grad_()
    followed = rasterize(replace(mesh, vertices=vertices), rig)
    assert plain.depth.requires_grad is False
    assert torch.equal(followed.face_id, plain.face_id)
    assert (followed.barycentric - plain.barycentric).abs().max() < 2e-3
    assert (followed.depth - plain.depth).abs().max() < 1e-5


def test_weights_and_depth_pass_gradcheck() -> None:
    mesh, rig = pebble(0), _small_rig()
    gbuffer = rasterize(mesh, rig)
    exact = GBuffer(gbuffer.face_id, gbuffer.barycentric.double(), gbuffer.depth.double())

    def follow(vertices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        followed = follow_vertices(exact, replace(mesh, vertices=vertices), _double(rig))
        return followed.barycentric, followed.depth

    assert torch.autograd.gradcheck(follow, mesh.vertices.double().requires_grad_())


def _small_rig() -> CameraRig:
    """One perspective and one orthographic camera."""
    return mixed_rig(16, 16).select([1, 3])


def _double(rig: CameraRig) -> CameraRig:
    return replace(rig, T_world_cam=rig.T_world_cam.double(), K=rig.K.double())
