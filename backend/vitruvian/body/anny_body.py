"""The default proxy: Anny (code Apache-2.0, data CC0), shaped by a phenotype and put into a pose.

Our own forward pass over Anny's arrays: blend shapes, forward kinematics with each joint's rotation given in
world-aligned axes (Anny's "local-ref"), linear blend skinning. A few milliseconds a body.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.body.anny_arrays import PHENOTYPES, AnnyArrays, anny_model, blendshape_coefficients
from vitruvian.body.body import Body
from vitruvian.body.poses import joint_rotations_of
from vitruvian.body.regions import label_regions
from vitruvian.body.skeleton import keypoints_of
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
    rest_vertices = arrays.template_vertices + _blend(arrays.blendshapes, coefficients)
    T_rest_joint = rest_joints(arrays, coefficients)
    T_world_joint = posed_joints(arrays, T_rest_joint, joint_rotations)
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
    return Body(mesh, keypoints_of(mesh), label_regions(rig))


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


def rest_joints(arrays: AnnyArrays, coefficients: Float[Tensor, "B"]) -> Float[Tensor, "J 4 4"]:
    """Joint frames of a shaped body at rest: positions are linear in the blend shapes, orientations are the
    rotations nearest (Procrustes) to cross-covariances that are."""
    T = torch.eye(4).repeat(len(arrays.joint_names), 1, 1)
    T[:, :3, 3] = arrays.template_heads + _blend(arrays.heads_blendshapes, coefficients)
    M = arrays.template_orientations + _blend(arrays.orientations_blendshapes, coefficients)
    U, _, Vh = torch.linalg.svd(M.double())
    U[:, :, 2] *= torch.sign(torch.linalg.det(U @ Vh))[:, None]
    T[:, :3, :3] = (U @ Vh).float()
    return T


def posed_joints(
    arrays: AnnyArrays, T_rest_joint: Float[Tensor, "J 4 4"], joint_rotations: Rotations
) -> Float[Tensor, "J 4 4"]:
    """Joint frames after forward kinematics.

    With no rotation each joint takes its reference orientation U, the same for every phenotype. A rotation D
    of joint c acts in its parent's frame, in world-aligned axes: G_c = G_p D_c, W_c = G_c U_c.
    """
    D = _rotation_matrices(arrays, joint_rotations)
    U, R, heads = arrays.reference_orientations, T_rest_joint[:, :3, :3], T_rest_joint[:, :3, 3]
    # A brings a joint's rest orientation to its reference orientation; offsets to its children turn with it.
    A = U @ R.transpose(-1, -2)
    A[0] = torch.eye(3)
    parents = arrays.joint_parents.tolist()
    offsets = torch.einsum("jab,jb->ja", A[arrays.joint_parents.clamp(min=0)], heads - heads[arrays.joint_parents])
    G, positions = [D[0]], [heads[0]]
    for joint in range(1, len(parents)):
        parent = parents[joint]
        G.append(G[parent] @ D[joint])
        positions.append(positions[parent] + G[parent] @ offsets[joint])
    T = torch.eye(4).repeat(len(parents), 1, 1)
    T[:, :3, :3] = torch.stack(G) @ U
    T[:, :3, 3] = torch.stack(positions)
    return T


def skin(
    rest_vertices: Float[Tensor, "V 3"], arrays: AnnyArrays, transforms: Float[Tensor, "J 4 4"]
) -> Float[Tensor, "V 3"]:
    """Linear blend skinning."""
    dense = torch.zeros(len(rest_vertices), len(transforms)).scatter_add_(1, arrays.weight_joints, arrays.weights)
    blended = (dense @ transforms[:, :3, :].reshape(len(transforms), 12)).reshape(-1, 3, 4)
    return torch.einsum("vij,vj->vi", blended[:, :, :3], rest_vertices) + blended[:, :, 3]


def rigid_inverse(T: Float[Tensor, "J 4 4"]) -> Float[Tensor, "J 4 4"]:
    """Inverses of rigid transforms."""
    inverse = torch.eye(4).repeat(len(T), 1, 1)
    inverse[:, :3, :3] = T[:, :3, :3].transpose(-1, -2)
    inverse[:, :3, 3] = -torch.einsum("jab,jb->ja", inverse[:, :3, :3], T[:, :3, 3])
    return inverse


def rotation_from_axis_angle(vectors: Float[Tensor, "J 3"]) -> Float[Tensor, "J 3 3"]:
    """Rodrigues' formula; radians."""
    K = torch.zeros(len(vectors), 3, 3)
    x, y, z = vectors.unbind(-1)
    K[:, 0, 1], K[:, 0, 2], K[:, 1, 2] = -z, y, -x
    K[:, 1, 0], K[:, 2, 0], K[:, 2, 1] = z, -y, x
    return torch.linalg.matrix_exp(K)


def _rotation_matrices(arrays: AnnyArrays, joint_rotations: Rotations) -> Float[Tensor, "J 3 3"]:
    vectors = torch.zeros(len(arrays.joint_names), 3)
    for name, vector in joint_rotations.items():
        if name not in arrays.joint_names:
            raise UserError("pose", name, "is not a joint of the body", f"Joints: {', '.join(arrays.joint_names)}")
        vectors[arrays.joint_names.index(name)] = torch.as_tensor(vector, dtype=torch.float32)
    return rotation_from_axis_angle(vectors)


def _blend(shapes: Float[Tensor, "B *shape"], coefficients: Float[Tensor, "B"]) -> Float[Tensor, "*shape"]:
    return (coefficients @ shapes.reshape(len(shapes), -1)).reshape(shapes.shape[1:])


def _to_ground(vertices: Float[Tensor, "V 3"], pelvis: Float[Tensor, "3"]) -> Float[Tensor, "3"]:
    return torch.stack([-pelvis[0], -pelvis[1], -vertices[:, 2].min()])


def _moved(T: Float[Tensor, "J 4 4"], shift: Float[Tensor, "3"]) -> Float[Tensor, "J 4 4"]:
    moved = T.clone()
    moved[:, :3, 3] += shift
    return moved
