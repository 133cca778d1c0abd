"""Blend shapes, forward kinematics and linear blend skinning over Anny's arrays."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.body.anny_arrays import AnnyArrays


def rest_joints(arrays: AnnyArrays, coefficients: Float[Tensor, "B"]) -> Float[Tensor, "J 4 4"]:
    """Joint frames of a shaped body at rest: positions are linear in the blend shapes, orientations are the
    rotations nearest (Procrustes) to cross-covariances that are."""
    T = torch.eye(4).repeat(len(arrays.joint_names), 1, 1)
    T[:, :3, 3] = arrays.template_heads + blend(arrays.heads_blendshapes, coefficients)
    M = arrays.template_orientations + blend(arrays.orientations_blendshapes, coefficients)
    U, _, Vh = torch.linalg.svd(M.double())
    U[:, :, 2] *= torch.sign(torch.linalg.det(U @ Vh))[:, None]
    T[:, :3, :3] = (U @ Vh).float()
    return T


def posed_joints(
    arrays: AnnyArrays, T_rest_joint: Float[Tensor, "J 4 4"], D: Float[Tensor, "J 3 3"]
) -> Float[Tensor, "J 4 4"]:
    """Joint frames after forward kinematics.

    With no rotation each joint takes its reference orientation U, the same for every phenotype. A rotation D
    of joint c acts in its parent's frame, in world-aligned axes: G_c = G_p D_c, W_c = G_c U_c.
    """
    U, R, heads = arrays.reference_orientations, T_rest_joint[:, :3, :3], T_rest_joint[:, :3, 3]
    # A brings a joint's rest orientation to its reference orientation; offsets to its children turn with it.
    A = U @ R.transpose(-1, -2)
    A[0] = torch.eye(3)
    parents = arrays.joint_parents.tolist()
    # The root counts as its own parent: its offset is zero and never used.
    above = arrays.joint_parents.clamp(min=0)
    offsets = torch.einsum("jab,jb->ja", A[above], heads - heads[above])
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
    dense = torch.zeros(len(rest_vertices), len(transforms)).scatter_add_(
        1, arrays.weight_joints, arrays.weights
    )
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


def axis_angle_from_rotation(R: Float[Tensor, "3 3"]) -> Float[Tensor, "3"]:
    """The inverse of `rotation_from_axis_angle`, for angles below pi; radians."""
    axis = torch.stack([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]])
    sine, cosine = axis.norm(), R.trace() - 1.0
    return axis * (torch.atan2(sine, cosine) / sine.clamp(min=1e-12))


def blend(shapes: Float[Tensor, "B *shape"], coefficients: Float[Tensor, "B"]) -> Float[Tensor, "*shape"]:
    """The offsets that the coefficients make of the blend shapes."""
    return (coefficients @ shapes.reshape(len(shapes), -1)).reshape(shapes.shape[1:])
