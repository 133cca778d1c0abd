"""The armature that deforms a body, as joint frames and weights. Reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bpy
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from vitruvian_protocol.scene import RigArrays

MAX_JOINTS = 1024
WEIGHTS = 8
"""Weights kept of a vertex: the largest."""


def armature_of(body: bpy.types.Object) -> bpy.types.Object | None:
    """The armature that deforms the body: its modifier's, else its parent."""
    for modifier in body.modifiers:
        if modifier.type == "ARMATURE" and modifier.object is not None and modifier.show_viewport:
            return modifier.object
    parent = body.parent
    return parent if parent is not None and parent.type == "ARMATURE" else None


def rig_arrays(
    body: bpy.types.Object,
    mesh: bpy.types.Mesh,
    vertices: NDArray[np.floating],
    depsgraph: bpy.types.Depsgraph,
    scale: float,
) -> RigArrays | None:
    """Rig of the evaluated `mesh` with posed world vertices [V, 3]; None without a usable armature."""
    from vitruvian_protocol.scene import RigArrays

    armature = armature_of(body)
    if armature is None:
        return None
    bones = _ordered_bones(armature)
    groups = {group.index: group.name for group in body.vertex_groups}
    index_of = {bone.name: index for index, bone in enumerate(bones)}
    joint_of_group = {group: index_of[name] for group, name in groups.items() if name in index_of}
    if not joint_of_group or len(bones) > MAX_JOINTS:
        return None
    weight_joints, weights = _weights(mesh, joint_of_group)
    world, rest = _frames(armature.evaluated_get(depsgraph), bones, scale)
    rest_vertices = _unposed(vertices, weight_joints, weights, world @ np.linalg.inv(rest))
    parents = [index_of[bone.parent.name] if bone.parent else -1 for bone in bones]
    return RigArrays(
        joint_names=tuple(bone.name[:128] for bone in bones),
        joint_parents=np.array(parents, np.int32),
        T_world_joint=_rigid(world).astype(np.float32),
        T_rest_joint=_rigid(rest).astype(np.float32),
        rest_vertices=rest_vertices.astype(np.float32),
        weight_joints=weight_joints,
        weights=weights.astype(np.float32),
    )


def _ordered_bones(armature: bpy.types.Object) -> list[bpy.types.Bone]:
    """All bones, parents first."""
    ordered: list[bpy.types.Bone] = []
    waiting = [bone for bone in armature.data.bones if bone.parent is None]
    while waiting:
        bone = waiting.pop(0)
        ordered.append(bone)
        waiting.extend(bone.children)
    return ordered


def _weights(
    mesh: bpy.types.Mesh, joint_of_group: dict[int, int]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Joints and weights [V, K], rows summing to 1; a vertex of no bone hangs on the root."""
    rows, joints, values = [], [], []
    for row, vertex in enumerate(mesh.vertices):
        for element in vertex.groups:
            joint = joint_of_group.get(element.group)
            if joint is not None and element.weight > 0.0:
                rows.append(row)
                joints.append(joint)
                values.append(element.weight)
    V = len(mesh.vertices)
    row, joint, value = np.array(rows, np.int64), np.array(joints, np.int32), np.array(values)
    # Largest weight first within each vertex, then its place in the row is its rank.
    order = np.lexsort((-value, row))
    row, joint, value = row[order], joint[order], value[order]
    first = np.searchsorted(row, np.arange(V))
    rank = np.arange(len(row)) - first[row] if len(row) else row
    kept = rank < WEIGHTS
    out_joints, out_weights = np.zeros((V, WEIGHTS), np.int32), np.zeros((V, WEIGHTS))
    out_joints[row[kept], rank[kept]] = joint[kept]
    out_weights[row[kept], rank[kept]] = value[kept]
    total = out_weights.sum(axis=1)
    out_weights[total <= 0, 0] = 1.0
    return out_joints, out_weights / out_weights.sum(axis=1, keepdims=True)


def _frames(
    armature: bpy.types.Object, bones: list[bpy.types.Bone], scale: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """World matrices [J, 4, 4] of the bones as posed and at rest, metres, the armature's scale included."""
    base = np.array(armature.matrix_world, dtype=np.float64)
    posed = np.array([armature.pose.bones[bone.name].matrix for bone in bones], dtype=np.float64)
    rest = np.array([bone.matrix_local for bone in bones], dtype=np.float64)
    world, at_rest = base @ posed, base @ rest
    world[:, :3, 3] *= scale
    at_rest[:, :3, 3] *= scale
    return world, at_rest


def _unposed(
    vertices: NDArray[np.floating],
    weight_joints: NDArray[np.int32],
    weights: NDArray[np.float64],
    transforms: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Linear blend skinning backwards: rest positions [V, 3] that the weights pose into `vertices`."""
    blended = np.einsum("vk,vkij->vij", weights, transforms[weight_joints])
    homogeneous = np.concatenate([vertices, np.ones((len(vertices), 1))], axis=1)
    singular = np.abs(np.linalg.det(blended[:, :3, :3])) < 1e-6
    blended[singular] = np.eye(
        4
    )  # bones at odds (a limb twisted by 180 degrees): such a vertex stays where it is
    return np.linalg.solve(blended, homogeneous[..., None])[:, :3, 0]


def _rigid(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """The frames without scale and shear."""
    U, _, Vh = np.linalg.svd(frames[:, :3, :3])
    U[:, :, 2] *= np.sign(np.linalg.det(U @ Vh))[:, None]
    clean = frames.copy()
    clean[:, :3, :3] = U @ Vh
    return clean
