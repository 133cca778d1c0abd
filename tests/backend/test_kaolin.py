"""Kaolin's side against Embree and torch: on brute-force twins of its kernels, and on CUDA on the kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import kaolin_twin
import pytest
import torch
from jaxtyping import Float
from shapes import mixed_rig, pebble, sphere
from torch import Tensor

from vitruvian.core.camera import CameraRig
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh
from vitruvian.render import raster, raster_kaolin, silhouette
from vitruvian.render.raster import rasterize, sample_points
from vitruvian.render.rig_json import parse_rig


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raster_kaolin, "_kernels", lambda: kaolin_twin.TWIN)


@pytest.mark.usefixtures("twin")
def test_gbuffers_agree_with_embree() -> None:
    mesh, rig = sphere(subdivisions=2), mixed_rig(48, 40)
    _assert_same(raster_kaolin.rasterize(mesh, rig), rasterize(mesh, rig))


@pytest.mark.usefixtures("twin")
def test_nothing_in_front_of_any_camera_gives_an_empty_gbuffer() -> None:
    rig = parse_rig({"cameras": [{"position": [0, 3, 1], "look_at": [0, 4, 1], "fov": 50}]}, 16)
    ours, embree = (
        raster_kaolin.rasterize(sphere(subdivisions=1), rig),
        rasterize(sphere(subdivisions=1), rig),
    )
    assert not ours.mask.any()
    for field in ("face_id", "barycentric", "depth"):
        assert torch.equal(getattr(ours, field), getattr(embree, field))
        assert getattr(ours, field).dtype == getattr(embree, field).dtype
    soft = raster_kaolin.soft_silhouette(sphere(subdivisions=1), rig, ours.mask, 1.0)
    assert soft.abs().max() == 0


@pytest.mark.usefixtures("twin")
def test_gradients_agree_with_embree() -> None:
    mesh, rig = pebble(), mixed_rig(48, 40)
    of_kaolin = _gbuffer_gradients(raster_kaolin.rasterize, mesh, rig)
    _assert_close_vectors(of_kaolin, _gbuffer_gradients(rasterize, mesh, rig), 0.02)


@pytest.mark.usefixtures("twin")
@pytest.mark.parametrize("blur", [0.5, 1.0, 2.5])
def test_soft_silhouettes_and_their_gradients_agree_with_torch(blur: float) -> None:
    mesh, rig = pebble(), mixed_rig(48, 40)
    covered = rasterize(mesh, rig).mask
    of_kaolin, slope_of_kaolin = _silhouette(raster_kaolin.soft_silhouette, mesh, rig, covered, blur)
    of_torch, slope_of_torch = _silhouette(silhouette.soft_silhouette, mesh, rig, covered, blur)
    # torch leaves out what is further than three blurs away, Kaolin what lies outside a face's widened
    # bounds.
    assert (of_kaolin - of_torch).abs().max() < 2e-3
    _assert_close_vectors(slope_of_kaolin, slope_of_torch, 5e-3)


@pytest.mark.usefixtures("twin")
def test_texture_look_ups_agree_with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    albedo = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    uv = torch.rand(200, 2, generator=torch.Generator().manual_seed(1)) * 1.4 - 0.2
    of_torch = sample_points(albedo, uv)
    monkeypatch.setattr(raster, "_kaolin_serves", lambda device: True)
    assert torch.allclose(sample_points(albedo, uv), of_torch, atol=1e-6)


def _real_or_skip() -> None:
    if not torch.cuda.is_available() or not raster_kaolin.available():
        pytest.skip("needs CUDA and Kaolin")


@pytest.mark.gpu
def test_the_real_kernels_agree_with_embree() -> None:
    _real_or_skip()
    mesh, rig = sphere(), mixed_rig(256, 200)
    _assert_same(rasterize(mesh, rig, "cuda").to("cpu"), rasterize(mesh, rig))
    on_card = _gbuffer_gradients(rasterize, mesh.to("cuda"), rig.to("cuda")).cpu()
    _assert_close_vectors(on_card, _gbuffer_gradients(rasterize, mesh, rig), 0.02)


@pytest.mark.gpu
def test_the_real_soft_mask_agrees_with_torch() -> None:
    _real_or_skip()
    mesh, rig = pebble(4), mixed_rig(256, 200)
    covered = rasterize(mesh, rig).mask
    here, slope_here = _silhouette(silhouette.soft_silhouette, mesh, rig, covered, 1.5)
    mesh, rig, covered = mesh.to("cuda"), rig.to("cuda"), covered.cuda()
    there, slope_there = _silhouette(raster_kaolin.soft_silhouette, mesh, rig, covered, 1.5)
    assert (here - there.cpu()).abs().max() < 2e-3
    _assert_close_vectors(slope_there.cpu(), slope_here, 5e-3)


@pytest.mark.gpu
def test_the_real_kernels_do_what_their_twins_do() -> None:
    _real_or_skip()
    real = raster_kaolin._kernels()
    generator = torch.Generator().manual_seed(2)
    corners = torch.rand(2, 12, 3, 2, generator=generator, dtype=torch.float64) * 1.6 - 0.8
    z = torch.rand(2, 12, 3, generator=generator, dtype=torch.float64)
    features = torch.rand(2, 12, 3, 4, generator=generator, dtype=torch.float64)
    valid = torch.rand(2, 12, generator=generator) < 0.8
    ours = kaolin_twin.rasterize(35, 31, z, corners, features, valid)
    theirs = real.rasterize(35, 31, z.cuda(), corners.cuda(), features.cuda(), valid_faces=valid.cuda())
    assert torch.equal(theirs[1].cpu(), ours[1])
    assert torch.allclose(theirs[0].cpu(), ours[0], atol=1e-6)
    for knum in (30, 3):
        soft = real.dibr_soft_mask(corners.cuda(), ours[1].cuda(), 70, 0.2, knum)
        assert torch.allclose(
            soft.cpu(), kaolin_twin.dibr_soft_mask(corners, ours[1], 70, 0.2, knum), atol=1e-6
        )
    uv = torch.rand(1, 50, 2, generator=generator, dtype=torch.float64) * 1.4 - 0.2
    image = torch.rand(1, 3, 8, 8, generator=generator, dtype=torch.float64)
    found = real.texture_mapping(uv.cuda(), image.cuda(), mode="bilinear").cpu()
    assert torch.allclose(found, kaolin_twin.texture_mapping(uv, image, "bilinear"), atol=1e-9)


def _assert_same(first: GBuffer, second: GBuffer) -> None:
    both = first.mask & second.mask
    assert both.sum() / (first.mask | second.mask).sum() > 0.999
    same = both & (first.face_id == second.face_id)
    assert same.sum() / both.sum() > 0.999
    assert (first.depth - second.depth)[both].abs().max() < 1e-3
    assert (first.barycentric - second.barycentric)[same].abs().max() < 1e-2


def _assert_close_vectors(first: Tensor, second: Tensor, tolerance: float) -> None:
    assert second.norm() > 0
    assert (first - second).norm() / second.norm() < tolerance


def _gbuffer_gradients(
    rasterizer: Callable[..., GBuffer], mesh: Mesh, rig: CameraRig
) -> Float[Tensor, "V 3"]:
    """Of a sum over depth and weights that no symmetry cancels."""
    vertices = mesh.vertices.clone().requires_grad_()
    gbuffer = rasterizer(replace(mesh, vertices=vertices), rig)
    pattern = torch.arange(gbuffer.depth[0].numel(), device=vertices.device).reshape(gbuffer.depth[0].shape)
    pattern = (0.7 * pattern).sin()
    loss = (gbuffer.depth * pattern).sum() + (gbuffer.barycentric[..., 1] * pattern).sum() * 0.01
    return torch.autograd.grad(loss, vertices)[0]


def _silhouette(
    function: Callable[..., Tensor], mesh: Mesh, rig: CameraRig, covered: Tensor, blur: float
) -> tuple[Tensor, Tensor]:
    """The mask, and the gradient of a sum of it that no symmetry cancels."""
    vertices = mesh.vertices.clone().requires_grad_()
    mask = function(replace(mesh, vertices=vertices), rig, covered, blur)
    pattern = torch.linspace(0, 1, rig.width, device=vertices.device)
    return mask.detach(), torch.autograd.grad((mask * pattern).sum(), vertices)[0]
