"""Keypoints, region labels, joint names."""

from __future__ import annotations

import pytest
import torch

from vitruvian.body.anny_body import anny_body
from vitruvian.body.joint_names import find_joint, parse_joint, region_of_joint
from vitruvian.body.regions import REGIONS, label_regions
from vitruvian.body.skeleton import KEYPOINT_NAMES, face_vertices, keypoints_of
from vitruvian.core.mesh import Mesh

MIXAMO = [
    "mixamorig:Hips",
    "mixamorig:LeftShoulder",
    "mixamorig:LeftArm",
    "mixamorig:LeftForeArm",
    "mixamorig:LeftHand",
    "mixamorig:LeftUpLeg",
    "mixamorig:LeftLeg",
    "mixamorig:LeftFoot",
    "mixamorig:Head",
]
RIGIFY = ["spine", "shoulder.L", "upper_arm.L", "forearm.L", "hand.L", "thigh.L", "shin.L", "foot.L", "head"]
SMPL = [
    "pelvis",
    "left_collar",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "left_hip",
    "left_knee",
    "left_ankle",
    "head",
]
UNREAL = ["pelvis", "clavicle_l", "upperarm_l", "lowerarm_l", "hand_l", "thigh_l", "calf_l", "foot_l", "head"]
VRM = [
    "hips",
    "leftShoulder",
    "leftUpperArm",
    "leftLowerArm",
    "leftHand",
    "leftUpperLeg",
    "leftLowerLeg",
    "leftFoot",
    "head",
]
SPELLINGS = [MIXAMO, RIGIFY, SMPL, UNREAL, VRM]


@pytest.mark.parametrize("names", SPELLINGS, ids=["mixamo", "rigify", "smpl", "unreal", "vrm"])
def test_joints_are_found_in_common_spellings(names: list[str]) -> None:
    roles = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    assert [find_joint(tuple(names), role, "L") for role in roles] == [2, 3, 4, 5, 6, 7]
    assert find_joint(tuple(names), "head", "") == 8
    assert find_joint(tuple(names), "wrist", "R") is None
    regions = [region_of_joint(name, tuple(names)) for name in names]
    assert regions == ["torso", "torso", "arms", "arms", "hands", "legs", "legs", "feet", "head"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mixamorig:RightUpLeg", ("upleg", "R")),
        ("mixamorigRightArm", ("arm", "R")),
        ("upperarm01.L", ("upperarm01", "L")),
        ("J_Bip_L_UpperArm", ("upperarm", "L")),
        ("left_eye_smplhf", ("eye", "L")),
        ("Head", ("head", "")),
    ],
)
def test_joint_names_are_parsed(name: str, expected: tuple[str, str]) -> None:
    assert parse_joint(name) == expected


def test_keypoints_of_the_default_body() -> None:
    body = anny_body({"gender": 1.0, "age": 0.67}, "T")
    points = keypoints_of(body.mesh)
    assert points is not None
    assert torch.isfinite(points).all()
    named: dict[str, torch.Tensor] = dict(zip(KEYPOINT_NAMES, points, strict=True))
    for role in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "eye", "ear"):
        left, right = named[f"left_{role}"], named[f"right_{role}"]
        assert left[0] > 0.0 > right[0]
        assert torch.allclose(left * torch.tensor([-1.0, 1.0, 1.0]), right, atol=5e-3)
    assert named["nose"][1] < named["left_eye"][1] < named["left_ear"][1]
    assert torch.allclose(named["neck"], (named["left_shoulder"] + named["right_shoulder"]) / 2)
    heights = [float(named[n][2]) for n in ("left_ankle", "left_knee", "left_hip", "left_shoulder", "nose")]
    assert heights == sorted(heights)


def test_keypoints_follow_the_pose() -> None:
    waving, relaxed = anny_body(pose="waving").keypoints, anny_body(pose="relaxed").keypoints
    assert waving is not None
    assert relaxed is not None
    wrist = KEYPOINT_NAMES.index("right_wrist")
    assert waving[wrist, 2] > relaxed[wrist, 2] + 0.4


def test_no_rig_no_keypoints() -> None:
    mesh = anny_body().mesh
    assert keypoints_of(Mesh(mesh.vertices, mesh.faces)) is None


def test_regions_lie_where_they_should() -> None:
    body = anny_body({"age": 0.67}, "T")
    assert body.regions is not None
    height = float(body.mesh.vertices[:, 2].max())
    z = {region: body.mesh.vertices[body.regions == i, 2] / height for i, region in enumerate(REGIONS)}
    assert all(len(values) > 100 for values in z.values())
    assert z["feet"].max() < 0.1 < z["legs"].mean() < 0.5 < z["torso"].mean() < 0.85 < z["head"].mean()
    assert z["hair"].mean() > z["head"].mean()
    x = body.mesh.vertices[:, 0].abs()
    assert x[body.regions == REGIONS.index("hands")].min() > x[body.regions == REGIONS.index("torso")].max()


def test_ears_and_eyes_are_not_hair() -> None:
    body = anny_body({"age": 0.67})
    rig = body.mesh.rig
    assert rig is not None
    hair = label_regions(rig) == REGIONS.index("hair")
    assert not hair[list(face_vertices(rig).values())].any()
