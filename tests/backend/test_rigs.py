"""Camera rigs: framing, order, JSON, coverage."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from shapes import mixed_rig, sphere

from vitruvian.body.anny_body import anny_body
from vitruvian.core.camera import project
from vitruvian.core.errors import UserError
from vitruvian.core.mesh import Mesh
from vitruvian.render.cameras import MARGIN, fitting_distance, look_at
from vitruvian.render.coverage import face_quality
from vitruvian.render.raster import rasterize
from vitruvian.render.rigs import cover_greedily, default_rig, rig_from_json, rig_to_json, turntable_rig

FRONT: dict[str, Any] = {"position": [0, -2, 1], "look_at": [0, 0, 1], "fov": 50}
IDENTITY = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize("pose", ["A", "T"])
@pytest.mark.parametrize("scale", [1.0, 0.6])
def test_the_body_ring_frames_the_body_exactly(pose: str, scale: float) -> None:
    mesh = anny_body(pose=pose).mesh
    mesh = replace(mesh, vertices=mesh.vertices * scale)
    rig = default_rig(mesh, size=256)
    assert rig.names[:2] == ("body_000", "body_045")
    assert rig.names[8:10] == ("upper_000", "upper_045")
    pixels, z = project(mesh.vertices, rig)
    body = pixels[:8] / 256
    assert z.min() > 0
    assert body.min() >= MARGIN - 1e-4
    assert body.max() <= 1 - MARGIN + 1e-4
    # And no farther away than needed.
    assert min(float(body.min()), float(1 - body.max())) == pytest.approx(MARGIN, abs=1e-3)


@pytest.mark.parametrize("pose", ["A", "walking", "seated"])
def test_upper_views_hold_the_crown_and_look_larger(pose: str) -> None:
    mesh = anny_body(pose=pose).mesh
    rig = default_rig(mesh, size=256)
    pixels, _ = project(mesh.vertices, rig)
    crown = int(mesh.vertices[:, 2].argmax())
    assert (pixels[8:, crown, 1] / 256 > MARGIN - 1e-3).all()
    assert (pixels[8:, crown, 1] / 256 < 0.2).all()
    area = rasterize(mesh, rig).mask.float().mean(dim=(1, 2))
    assert (area[8:] > (1.5 if pose != "seated" else 1.0) * area[:8]).all()


def test_azimuths_count_from_the_front_towards_the_bodys_left() -> None:
    rig = default_rig(sphere())
    expected = torch.tensor([0.0, 45, 90, 135, 180, -135, -90, -45])
    difference = (rig.azimuth_degrees[:8] - expected + 180) % 360 - 180
    assert difference.abs().max() < 1e-3
    assert rig.positions[0, 1] < 0
    assert rig.positions[2, 0] > 0


def test_look_at_is_a_right_handed_opencv_camera() -> None:
    T = look_at(torch.tensor([1.0, -2.0, 3.0]), torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]))
    assert torch.allclose(T[:3, :3].T @ T[:3, :3], torch.eye(3), atol=1e-6)
    assert torch.det(T[:3, :3]) == pytest.approx(1.0)
    assert T[2, 1] < 0, "image y points down"
    assert torch.allclose(T[:3, 2], -T[:3, 3] / T[:3, 3].norm())


def test_fitting_distance_of_a_point_is_by_hand() -> None:
    # A point half a metre to the side needs its share of the field of view: 0.5 / tan.
    distance = fitting_distance(torch.tensor([[0.5, 0.0, 0.0]]), torch.zeros(3), [0.0], 0.0)
    assert distance == pytest.approx(0.5 * (550 / 512) / (0.5 - MARGIN), rel=1e-5)


def test_turntable_turns_once() -> None:
    rig = turntable_rig(sphere(), frames=12, size=64)
    assert len(rig) == 12
    steps = torch.diff(torch.rad2deg(torch.atan2(rig.positions[:, 1], rig.positions[:, 0]))) % 360
    assert torch.allclose(steps, torch.full_like(steps, 30.0), atol=1e-3)
    with pytest.raises(UserError, match="frames = 0"):
        turntable_rig(sphere(), frames=0)


@pytest.mark.parametrize("size", [0, -5, 100000])
def test_impossible_sizes_are_refused(size: int) -> None:
    with pytest.raises(UserError, match=f"size = {size}"):
        default_rig(sphere(), size=size)


def test_a_rig_survives_json(tmp_path: Path) -> None:
    path = tmp_path / "rig.json"
    for rig in (mixed_rig(), default_rig(sphere(), 64)):
        path.write_text(json.dumps(rig_to_json(rig)))
        back = rig_from_json(path, size=None)
        assert (back.names, back.kinds, back.width, back.height) == (
            rig.names,
            rig.kinds,
            rig.width,
            rig.height,
        )
        assert torch.equal(back.K, rig.K)
        assert torch.equal(back.T_world_cam, rig.T_world_cam)
        assert torch.equal(back.orthographic, rig.orthographic)
    assert rig_from_json(path, size=128).K[0, 0, 0] == pytest.approx(2 * float(rig.K[0, 0, 0]))


def test_fov_and_scale_are_across_the_width(tmp_path: Path) -> None:
    path = tmp_path / "rig.json"
    cameras = [FRONT | {"fov": 90}, {"position": [0, -2, 1], "look_at": [0, 0, 1], "ortho_scale": 2}]
    path.write_text(json.dumps({"width": 200, "height": 100, "cameras": cameras}))
    rig = rig_from_json(path, size=None)
    edge = torch.tensor([[2.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    pixels, _ = project(edge, rig)
    assert pixels[0, 0].tolist() == pytest.approx([200, 50], abs=1e-3)
    assert pixels[1, 1].tolist() == pytest.approx([200, 50], abs=1e-3)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"fov": "wide"}, "cameras[1].fov"),
        ({"fov": 0}, "cameras[1].fov"),
        ({"fov": float("nan")}, "cameras[1].fov"),
        ({"fov": True}, "cameras[1].fov"),
        ({"ortho_scale": 2}, "cameras[1].fov"),
        ({"fov": [50]}, "cameras[1].fov"),
        ({"orthographic": True}, "cameras[1].fov"),
        ({"orthographic": "yes"}, "cameras[1].orthographic"),
        ({"position": [0, 1]}, "cameras[1].position"),
        ({"position": [0, 1, "x"]}, "cameras[1].position"),
        ({"look_at": [0, -2, 1]}, "cameras[1].look_at"),
        ({"up": [0, 1, 0]}, "cameras[1].up"),
        ({"up": [0, 0, 0]}, "cameras[1].up"),
        ({"name": "../escape"}, "cameras[1].name"),
        ({"name": "first"}, "cameras[1].name"),
        ({"name": 3}, "cameras[1].name"),
        ({"kind": "portrait"}, "cameras[1].kind"),
        ({"focal": 35}, "cameras[1].focal"),
        ({"principal_point": [0.5]}, "cameras[1].principal_point"),
        ({"T_world_cam": [[1, 0, 0, 0]] * 4}, "cameras[1].look_at"),
    ],
)
def test_bad_cameras_are_named(change: dict[str, Any], field: str, tmp_path: Path) -> None:
    path = tmp_path / "rig.json"
    path.write_text(json.dumps({"cameras": [{**FRONT, "name": "first"}, {**FRONT, **change}]}))
    with pytest.raises(UserError) as caught:
        rig_from_json(path)
    assert caught.value.field == field
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("[]", "cameras"),
        ("{", "cameras"),
        ('{"cameras": []}', "cameras"),
        ('{"cameras": 3}', "cameras"),
        ('{"cameras": [7]}', "cameras[0]"),
        ('{"width": 0, "cameras": [{}]}', "width"),
        ('{"height": 1.5, "cameras": [{}]}', "height"),
        ('{"camera": []}', "camera"),
        ('{"cameras": [{}]}', "cameras[0].position"),
        (json.dumps({"cameras": [{"position": [0, -2, 1], "look_at": [0, 0, 1], "K": IDENTITY}]}), "width"),
    ],
)
def test_bad_files_are_named(text: str, field: str, tmp_path: Path) -> None:
    path = tmp_path / "rig.json"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        rig_from_json(path)
    assert caught.value.field == field


def test_matrices_must_be_rigid_and_intrinsics_upper_triangular(tmp_path: Path) -> None:
    good = rig_to_json(mixed_rig())
    path = tmp_path / "rig.json"
    broken = [("T_world_cam", 0, 0, 3.0), ("T_world_cam", 3, 0, 1.0), ("K", 0, 0, -1.0), ("K", 2, 0, 1.0)]
    for field, row, column, value in broken:
        bad = json.loads(json.dumps(good))
        bad["cameras"][2][field][row][column] = value
        path.write_text(json.dumps(bad))
        with pytest.raises(UserError) as caught:
            rig_from_json(path)
        assert caught.value.field == f"cameras[2].{field}"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        rig_from_json(tmp_path / "none.json")


def test_greedy_views_raise_the_quality_each_time() -> None:
    mesh = sphere(subdivisions=3)
    front = default_rig(mesh, 64).select([0])
    more = cover_greedily(mesh, front, 3)
    assert more.names[0] == "body_000"
    assert more.kinds[1:] == ("extra",) * 3
    assert len(set(more.names)) == 4
    assert (more.width, more.height) == (64, 64)
    quality = [_mean_quality(mesh, more.select(list(range(n)))) for n in (1, 2, 3, 4)]
    assert all(b > a + 0.01 for a, b in pairwise(quality))
    assert cover_greedily(mesh, front, 0) is front
    with pytest.raises(UserError, match="extra views"):
        cover_greedily(mesh, front, -1)


def test_face_quality_of_a_sphere_is_the_cosine_on_the_near_side() -> None:
    mesh = sphere(subdivisions=3)
    rig = default_rig(mesh, 128).select([0])
    quality = face_quality(mesh, rig, rasterize(mesh, rig))[0]
    centres = mesh.vertices[mesh.faces].mean(dim=1)
    to_camera = torch.nn.functional.normalize(rig.positions - centres, dim=-1)
    cosine = (to_camera * mesh.face_normals).sum(dim=-1)
    assert torch.allclose(quality[cosine > 0.1], cosine[cosine > 0.1], atol=1e-5)
    assert (quality[cosine < 0] == 0).all()


def _mean_quality(mesh: Mesh, rig: Any) -> float:
    return float(face_quality(mesh, rig, rasterize(mesh, rig)).amax(dim=0).mean())
