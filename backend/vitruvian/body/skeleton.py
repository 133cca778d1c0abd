"""OpenPose keypoints from a rig: limbs from its joints, the face from its head's outline."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitruvian.body.joint_names import Side, find_joint, parse_joint
from vitruvian.core.mesh import Mesh, Rig

KEYPOINT_NAMES = (
    "nose",
    "neck",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
)
"""OpenPose's COCO-18 order; left and right are the body's own."""

_SIDES: dict[str, Side] = {"left": "L", "right": "R"}
_HEAD_SHARE = 0.5
"""A vertex is the head's where the head joint and what hangs from it have at least this weight."""


def keypoints_of(mesh: Mesh, surface_points: Mapping[str, int] | None = None) -> Float[Tensor, "18 3"] | None:
    """Keypoints of a posed, rigged mesh, world metres; NaN where the rig does not tell.

    Args:
        surface_points: vertex indices of facial keypoints by name, where they are known (default: found by
            `face_vertices`). A vertex is used for an eye only where there is no eye joint.

    Returns:
        None without a rig, or where no limb is recognised by its joint's name.
    """
    if mesh.rig is None:
        return None
    points = torch.full((len(KEYPOINT_NAMES), 3), float("nan"), dtype=mesh.vertices.dtype)
    for index, name in enumerate(KEYPOINT_NAMES):
        side, _, role = name.partition("_")
        if role and role != "ear":
            joint = find_joint(mesh.rig.joint_names, role, _SIDES[side])
            if joint is not None:
                points[index] = mesh.rig.T_world_joint[joint, :3, 3]
    if torch.isnan(points).all():
        return None
    for name, vertex in (face_vertices(mesh.rig) if surface_points is None else surface_points).items():
        index = KEYPOINT_NAMES.index(name)
        if torch.isnan(points[index]).any():
            points[index] = mesh.vertices[vertex]
    # OpenPose has no joint for the neck: it is the middle of the shoulders.
    points[1] = (points[2] + points[5]) / 2
    return points


def head_vertices(rig: Rig) -> Bool[Tensor, "V"]:
    """Vertices moved mostly by the head joint and what hangs from it; all False without a head joint."""
    head = find_joint(rig.joint_names, "head", "")
    belongs = torch.zeros(len(rig.joint_names), dtype=torch.bool)
    if head is not None:
        for joint, parent in enumerate(rig.joint_parents.tolist()):
            belongs[joint] = joint == head or (parent >= 0 and bool(belongs[parent]))
    return (belongs[rig.weight_joints] * rig.weights).sum(-1) >= _HEAD_SHARE


def face_vertices(rig: Rig) -> dict[str, int]:
    """Nose and ears as vertices, found in the rest pose (facing -Y): the foremost vertex of the head, and the
    outermost ones. Empty where the head is unknown or too coarse."""
    candidates = head_vertices(rig).nonzero()[:, 0]
    if len(candidates) < 20 or not any(parse_joint(name)[0] == "head" for name in rig.joint_names):
        return {}
    x, y, _ = rig.rest_vertices[candidates].unbind(-1)
    outermost = {"nose": y.argmin(), "left_ear": x.argmax(), "right_ear": x.argmin()}
    return {name: int(candidates[int(index)]) for name, index in outermost.items()}
