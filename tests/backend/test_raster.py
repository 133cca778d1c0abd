"""G-buffers: known shapes, agreement of the two rasterisers, gradients, textures."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import mixed_rig, sphere, square

from vitruvian.core.camera import pixel_rays, project
from vitruvian.core.errors import UserError
from vitruvian.render.gbuffer import check_visible, interpolate
from vitruvian.render.raster import rasterize
from vitruvian.render.raster_embree import box_rays, projected_boxes
from vitruvian.render.rig_json import parse_rig
from vitruvian.render.texturing import render_texture, sample_texture


def test_sphere_silhouette_and_depth_are_analytic() -> None:
    rig = parse_rig({"cameras": [{"position": [0, -2, 1], "look_at": [0, 0, 1], "ortho_scale": 1.28}]}, 128)
    gbuffer = rasterize(sphere(0.5, subdivisions=6), rig)
    ys, xs = torch.meshgrid(*(torch.arange(128) + 0.5 - 64,) * 2, indexing="ij")
    radius_squared = (xs**2 + ys**2) * 0.01**2
    inside = radius_squared < 0.495**2
    expected = 2 - (0.25 - radius_squared[inside]).sqrt()
    assert (gbuffer.mask[0] & (radius_squared > 0.5001**2)).sum() == 0
    assert gbuffer.mask[0][inside].all()
    assert (gbuffer.depth[0][inside] - expected).abs().median() < 1e-4
    assert gbuffer.depth[0][~gbuffer.mask[0]].abs().max() == 0


def test_interpolated_positions_lie_on_the_rays_at_the_depth() -> None:
    mesh, rig = sphere(), mixed_rig()
    gbuffer = rasterize(mesh, rig)
    origins, directions = pixel_rays(rig)
    expected = origins + directions * gbuffer.depth[..., None]
    found = interpolate(gbuffer, mesh.faces, mesh.vertices)
    assert gbuffer.mask.any(dim=2).any(dim=1).all()
    assert (found - expected)[gbuffer.mask].abs().max() < 2e-5
    assert found[~gbuffer.mask].abs().max() == 0
    assert torch.allclose(gbuffer.barycentric.sum(-1), gbuffer.mask.float(), atol=1e-6)


def test_positions_project_back_to_their_pixels() -> None:
    mesh, rig = sphere(), mixed_rig()
    gbuffer = rasterize(mesh, rig)
    positions = interpolate(gbuffer, mesh.faces, mesh.vertices)
    for view in range(len(rig)):
        rows, columns = gbuffer.mask[view].nonzero().unbind(1)
        pixels, z = project(positions[view, rows, columns], rig.select([view]))
        centres = torch.stack([columns, rows], dim=-1) + 0.5
        assert (pixels[0] - centres).abs().max() < 5e-3
        assert (z[0] - gbuffer.depth[view, rows, columns]).abs().max() < 1e-5


def test_box_rays_are_those_of_the_camera_and_boxes_miss_nothing() -> None:
    mesh, rig = sphere(), mixed_rig()
    origins, directions = pixel_rays(rig)
    boxes = projected_boxes(mesh, rig)
    pixels, _ = project(mesh.vertices, rig)
    for view, (left, top, right, bottom) in enumerate(boxes.tolist()):
        ours = box_rays(rig, view, left, top, right, bottom)
        window = (view, slice(top, bottom), slice(left, right))
        assert torch.allclose(torch.from_numpy(ours[0]), origins[window].reshape(-1, 3), atol=1e-5)
        assert torch.allclose(torch.from_numpy(ours[1]), directions[window].reshape(-1, 3), atol=1e-5)
        assert left <= max(pixels[view, :, 0].min(), 0)
        assert right >= min(pixels[view, :, 0].max(), rig.width)
        assert top <= max(pixels[view, :, 1].min(), 0)
        assert bottom >= min(pixels[view, :, 1].max(), rig.height)


@pytest.mark.parametrize(("y", "sees"), [(3.0, False), (-3.0, True), (0.0, True)])
def test_a_camera_sees_what_is_in_front_of_it_only(y: float, sees: bool) -> None:
    camera = {"position": [0, y, 1], "look_at": [0, y + 1, 1], "fov": 50}
    rig = parse_rig({"cameras": [camera]}, 64)
    gbuffer = rasterize(sphere(), rig)
    assert bool(gbuffer.mask.any()) is sees
    if sees:
        check_visible(gbuffer, rig)
    else:
        with pytest.raises(UserError, match="no camera sees the body"):
            check_visible(gbuffer, rig)


def test_gradients_reach_vertices_normals_and_textures() -> None:
    mesh, rig = sphere(subdivisions=2), mixed_rig(32, 24)
    gbuffer = rasterize(mesh, rig)
    vertices = mesh.vertices.clone().requires_grad_()
    moved = replace(mesh, vertices=vertices)
    interpolate(gbuffer, mesh.faces, moved.vertex_normals)[..., 0].square().sum().backward()
    assert vertices.grad is not None
    assert vertices.grad.abs().sum() > 0
    flat = square()
    camera = {"position": [0.5, -2, 0.5], "look_at": [0.5, 0, 0.5], "fov": 40}
    flat_rig = parse_rig({"cameras": [camera]}, 32)
    albedo = torch.rand(3, 8, 8, requires_grad=True)
    render_texture(flat, rasterize(flat, flat_rig), albedo).sum().backward()
    assert albedo.grad is not None
    assert (albedo.grad > 0).all()


def test_interpolation_passes_gradcheck() -> None:
    mesh, rig = sphere(subdivisions=1), mixed_rig(16, 16)
    gbuffer = rasterize(mesh, rig)
    attribute = torch.rand(len(mesh.vertices), 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: interpolate(gbuffer, mesh.faces, a), attribute)


def test_a_textured_square_seen_face_on_is_its_texture() -> None:
    albedo = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    rig = parse_rig(
        {"cameras": [{"position": [0.5, -1, 0.5], "look_at": [0.5, 0, 0.5], "ortho_scale": 1}]}, 16
    )
    picture = render_texture(square(), rasterize(square(), rig), albedo)
    assert torch.allclose(picture[0], albedo, atol=1e-4)


def test_a_texture_too_fine_for_the_picture_is_averaged_as_many_rays_would() -> None:
    # Blotches of two texels; from 0.3 m to 3 m a pixel covers less than one texel up to four of them.
    noise = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))
    albedo = noise.repeat_interleave(2, 1).repeat_interleave(2, 2)
    mesh = square()
    for distance in (0.3, 1.0, 2.0, 3.0):
        camera = {"position": [0.9, -distance, 0.2], "look_at": [0.5, 0, 0.5], "fov": 50}
        rig = parse_rig({"cameras": [camera]}, 48)
        gbuffer = rasterize(mesh, rig)
        fine = rasterize(mesh, rig.resized(48 * 12, 48 * 12))
        slow = torch.nn.functional.avg_pool2d(render_texture(mesh, fine, albedo), 12)
        inside = -torch.nn.functional.max_pool2d(-gbuffer.mask.float(), 3, 1, 1) > 0
        error = (render_texture(mesh, gbuffer, albedo) - slow).square().mean(1)[inside].mean()
        assert mesh.uv_faces is not None
        assert mesh.uvs is not None
        uv = interpolate(gbuffer, mesh.uv_faces, mesh.uvs)
        at_a_point = (sample_texture(albedo, uv) - slow).square().mean(1)[inside].mean()
        assert error < 0.25 * at_a_point, distance
        assert error < 0.06**2, distance


def test_texture_corners_and_background() -> None:
    albedo = torch.zeros(3, 4, 4)
    albedo[0, 0, 0] = 1.0
    uv = torch.tensor([[[[0.125, 0.875], [0.125, 0.125]]]])
    assert sample_texture(albedo, uv)[0, 0, 0].tolist() == [1.0, 0.0]
    rig = parse_rig(
        {"cameras": [{"position": [0.5, -1, 0.5], "look_at": [0.5, 0, 0.5], "ortho_scale": 2}]}, 16
    )
    picture = render_texture(square(), rasterize(square(), rig), albedo, background=0.25)
    assert (picture[0, :, 0] == 0.25).all()


@settings(max_examples=20, deadline=None)
@given(u=st.floats(0.1, 0.9), v=st.floats(0.1, 0.9), slope=st.tuples(*[st.floats(-1, 1)] * 3))
def test_bilinear_sampling_reproduces_linear_textures(
    u: float, v: float, slope: tuple[float, float, float]
) -> None:
    size = 16
    centres = (torch.arange(size) + 0.5) / size
    a, b, c = slope
    ramp = a * centres[None, :] + b * (1 - centres[:, None]) + c
    sampled = sample_texture(ramp.expand(3, -1, -1), torch.tensor([[[[u, v]]]]))
    assert torch.allclose(sampled, torch.full_like(sampled, a * u + b * v + c), atol=1e-5)
