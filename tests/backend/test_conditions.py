"""ControlNet conditions: colours on known shapes, and skeletons without hidden points."""

from __future__ import annotations

import pytest
import torch
from shapes import mixed_rig, sphere, square

from vitruvian.body.anny_body import anny_body
from vitruvian.core.errors import UserError
from vitruvian.render.conditions import camera_normals, render_conditions
from vitruvian.render.pose_drawing import FACE, LEFT_EAR, NECK, NOSE, RIGHT_EAR, draw_poses, visible_keypoints
from vitruvian.render.raster import rasterize
from vitruvian.render.rig_json import parse_rig
from vitruvian.render.rigs import default_rig

FRONT = {"position": [0, -3, 1], "look_at": [0, 0, 1], "ortho_scale": 1.28}


def test_normals_of_a_sphere_are_left_up_back() -> None:
    conditions, _ = render_conditions(sphere(0.5), parse_rig({"cameras": [FRONT]}, 128))
    normal = conditions.normal[0]
    # 0.4 m beside the middle of a ball of radius 0.5, the normal has 0.8 to the side: (1 + 0.8) / 2 = 0.9.
    left, right, top, bottom, middle = (64, 24), (64, 103), (24, 64), (103, 64), (64, 64)
    assert normal[:, left[0], left[1]].tolist() == pytest.approx([0.9, 0.5, 0.8], abs=0.02)
    assert normal[:, right[0], right[1]].tolist() == pytest.approx([0.1, 0.5, 0.8], abs=0.02)
    assert normal[:, top[0], top[1]].tolist() == pytest.approx([0.5, 0.9, 0.8], abs=0.02)
    assert normal[:, bottom[0], bottom[1]].tolist() == pytest.approx([0.5, 0.1, 0.8], abs=0.02)
    assert normal[:, middle[0], middle[1]].tolist() == pytest.approx([0.5, 0.5, 1.0], abs=0.02)
    assert normal[:, 0, 0].tolist() == [0.5, 0.5, 1.0]


def test_normals_face_the_viewer_from_either_side_of_an_open_surface() -> None:
    target = [0.5, 0, 0.5]
    cameras = [{"position": [0.5, y, 0.5], "look_at": target, "fov": 40} for y in (-2, 2)]
    mesh, rig = square(), parse_rig({"cameras": cameras}, 32)
    gbuffer = rasterize(mesh, rig)
    normals = camera_normals(mesh, rig, gbuffer)
    assert torch.allclose(normals[gbuffer.mask], torch.tensor([0.0, 0.0, -1.0]), atol=1e-6)


def test_normals_are_unit_length_inside_and_zero_outside() -> None:
    mesh, rig = sphere(), mixed_rig()
    gbuffer = rasterize(mesh, rig)
    length = camera_normals(mesh, rig, gbuffer).norm(dim=-1)
    assert torch.allclose(length[gbuffer.mask], torch.ones(()), atol=1e-5)
    assert length[~gbuffer.mask].abs().max() == 0


def test_depth_is_inverse_stretched_and_black_outside() -> None:
    rig = mixed_rig()
    conditions, gbuffer = render_conditions(sphere(), rig)
    depth = conditions.depth
    assert (depth[:, 0] == depth[:, 1]).all()
    for view in range(len(rig)):
        inside, z = depth[view, 0][gbuffer.mask[view]], gbuffer.depth[view][gbuffer.mask[view]]
        assert inside.max() == pytest.approx(1.0, abs=1e-5)
        assert inside.min() == pytest.approx(0.0, abs=1e-5)
        assert depth[view, 0][~gbuffer.mask[view]].abs().sum() == 0
        nearness = -z if rig.orthographic[view] else 1 / z
        expected = (nearness - nearness.min()) / (nearness.max() - nearness.min())
        assert torch.allclose(inside, expected, atol=1e-4)


def test_a_wall_parallel_to_the_image_is_all_near() -> None:
    rig = parse_rig(
        {"cameras": [{"position": [0.5, -2, 0.5], "look_at": [0.5, 0, 0.5], "ortho_scale": 2}]}, 32
    )
    conditions, gbuffer = render_conditions(square(), rig)
    assert torch.isfinite(conditions.depth).all()
    assert (conditions.depth[0, 0] == gbuffer.mask[0].float()).all()


def test_a_body_out_of_sight_is_refused() -> None:
    rig = parse_rig({"cameras": [{"position": [0, -3, 1], "look_at": [0, -9, 1], "fov": 50}]}, 32)
    with pytest.raises(UserError, match="no camera sees the body"):
        render_conditions(sphere(), rig)


@pytest.mark.parametrize("pose", ["A", "walking"])
def test_back_views_carry_no_face(pose: str) -> None:
    body = anny_body(pose=pose)
    assert body.keypoints is not None
    rig = default_rig(body.mesh, 256)
    visible = visible_keypoints(body.keypoints, rig, rasterize(body.mesh, rig))
    front = [i for i, name in enumerate(rig.names) if name.endswith(("000", "045", "315"))]
    back = [i for i, name in enumerate(rig.names) if name.endswith(("135", "180", "225"))]
    assert not visible[back][:, list(FACE)].any()
    assert visible[front][:, NOSE].all()
    assert visible[[i for i in front if rig.names[i].endswith("000")]][:, list(FACE)].all()
    # From behind the ears remain, as OpenPose itself reports them.
    straight_back = [i for i in back if rig.names[i].endswith("180")]
    assert visible[straight_back][:, [RIGHT_EAR, LEFT_EAR]].all()
    assert visible[:, NECK].all()


def test_a_profile_shows_the_near_side_only() -> None:
    body = anny_body(pose="relaxed")
    assert body.keypoints is not None
    rig = default_rig(body.mesh, 256).select([2])
    visible = visible_keypoints(body.keypoints, rig, rasterize(body.mesh, rig))[0]
    assert visible[LEFT_EAR]
    assert not visible[RIGHT_EAR]
    assert visible[[5, 6, 7]].all(), "the left arm is in front"
    assert not visible[[3, 4]].any(), "the right arm is behind the trunk"


def test_unknown_and_outside_points_are_left_out() -> None:
    mesh, rig = sphere(), mixed_rig()
    keypoints = torch.full((18, 3), torch.nan)
    keypoints[NECK] = torch.tensor([0.0, 0.0, 50.0])
    visible = visible_keypoints(keypoints, rig, rasterize(mesh, rig))
    assert not visible.any()
    assert draw_poses(keypoints, rig, rasterize(mesh, rig)).abs().sum() == 0


def test_the_drawing_has_openposes_colours_at_its_points() -> None:
    body = anny_body()
    assert body.keypoints is not None
    rig = default_rig(body.mesh, 512).select([0, 4])
    conditions, _ = render_conditions(body.mesh, rig, body.keypoints)
    assert conditions.pose is not None
    assert conditions.pose.shape == (2, 3, 512, 512)
    red_nose = torch.tensor([255, 0, 0]) / 255
    at_nose = (conditions.pose - red_nose[:, None, None]).abs().amax(dim=1) < 0.02
    assert at_nose[0].any()
    assert not at_nose[1].any()
