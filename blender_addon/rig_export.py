"""The armature that deforms a body, as joint frames and weights. Reads only.

Blender gives weights away vertex by vertex only, which takes a second for a heavy body. So the click makes a
copy of the mesh that is nobody else's, and the beats after it read that in slices.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import bmesh
import bpy
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from vitruvian_protocol.scene import RigArrays

MAX_JOINTS = 1024
WEIGHTS = 8
"""Weights kept of a vertex: the largest."""
SLICE = 1000
"""Vertices whose weights are read in one slice. About 5 ms."""

RigSteps = Generator[int, None, "RigArrays"]
"""Yields the number of vertices read since the last time; returns the rig."""


@dataclass(frozen=True)
class _Bones:
    """The armature's bones, parents first, metres."""

    names: tuple[str, ...]
    parents: NDArray[np.int32]
    world: NDArray[np.float64]
    """[J, 4, 4] as posed, scale included"""
    rest: NDArray[np.float64]
    """[J, 4, 4] at rest"""


def armature_of(body: bpy.types.Object) -> bpy.types.Object | None:
    """The armature that deforms the body: its modifier's, else its parent."""
    for modifier in body.modifiers:
        if modifier.type == "ARMATURE" and modifier.object is not None and modifier.show_viewport:
            return modifier.object
    parent = body.parent
    return parent if parent is not None and parent.type == "ARMATURE" else None


def rig_steps(
    body: bpy.types.Object,
    mesh: bpy.types.Mesh,
    vertices: NDArray[np.floating],
    depsgraph: bpy.types.Depsgraph,
    scale: float,
) -> RigSteps | None:
    """Rig of the evaluated `mesh` with posed world vertices [V, 3]; None without a usable armature.

    Whatever becomes of body, armature and file while the steps are taken does not reach them.
    """
    armature = armature_of(body)
    if armature is None:
        return None
    ordered = _ordered_bones(armature)
    index_of = {bone.name: index for index, bone in enumerate(ordered)}
    joint_of_group = np.array([index_of.get(group.name, -1) for group in body.vertex_groups], np.int32)
    if not (joint_of_group >= 0).any() or len(ordered) > MAX_JOINTS:
        return None
    world, rest = _frames(armature.evaluated_get(depsgraph), ordered, scale)
    parents = [index_of[bone.parent.name] if bone.parent else -1 for bone in ordered]
    bones = _Bones(tuple(bone.name[:128] for bone in ordered), np.array(parents, np.int32), world, rest)
    copy = bmesh.new()
    copy.from_mesh(mesh, face_normals=False, vertex_normals=False)
    return _read(copy, joint_of_group, vertices, bones)


def _read(
    copy: bmesh.types.BMesh,
    joint_of_group: NDArray[np.int32],
    vertices: NDArray[np.floating],
    bones: _Bones,
) -> RigSteps:
    from vitruvian_protocol.scene import RigArrays

    V = len(vertices)
    joints, weights = np.zeros((V, WEIGHTS), np.int32), np.zeros((V, WEIGHTS))
    rest_vertices = np.zeros((V, 3), np.float32)
    transforms = bones.world @ np.linalg.inv(bones.rest)
    try:
        layer, verts = copy.verts.layers.deform.active, iter(copy.verts)
        for begin in range(0, V, SLICE):
            part = slice(begin, min(begin + SLICE, V))
            rows, groups, values = _held(islice(verts, SLICE), layer)
            joints[part], weights[part] = _largest(rows, joint_of_group[groups], values, part.stop - begin)
            rest_vertices[part] = _unposed(vertices[part], joints[part], weights[part], transforms)
            yield part.stop - begin
    finally:
        copy.free()
    return RigArrays(
        joint_names=bones.names,
        joint_parents=bones.parents,
        T_world_joint=_rigid(bones.world).astype(np.float32),
        T_rest_joint=_rigid(bones.rest).astype(np.float32),
        rest_vertices=rest_vertices,
        weight_joints=joints,
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


def _held(
    verts: Iterable[bmesh.types.BMVert], layer: bmesh.types.BMLayerItem | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Vertex (counted from 0), group and weight of each weight of some vertices.

    Nothing but numbers outlives its vertex: thousands of pairs set off Python's garbage collector, which
    takes longer than the slice.
    """
    groups: list[int] = []
    values: list[float] = []
    counts: list[int] = []
    for vertex in verts if layer is not None else ():
        held = vertex[layer]
        groups.extend(held.keys())
        values.extend(held.values())
        counts.append(len(held))
    rows = np.repeat(np.arange(len(counts)), counts)
    return rows, np.array(groups, np.int64), np.array(values, np.float64)


def _largest(
    row: NDArray[np.int64], joint: NDArray[np.int32], value: NDArray[np.float64], count: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Joints and weights [count, WEIGHTS], rows summing to 1; a vertex of no bone hangs on the root.

    Args:
        row, joint, value: of each weight; the joint of a group that is no bone's is -1.
    """
    counts = (joint >= 0) & (value > 0.0)
    row, joint, value = row[counts], joint[counts], value[counts]
    # Largest weight first within each vertex, then its place in the row is its rank.
    order = np.lexsort((-value, row))
    row, joint, value = row[order], joint[order], value[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    kept = rank < WEIGHTS
    joints, weights = np.zeros((count, WEIGHTS), np.int32), np.zeros((count, WEIGHTS))
    joints[row[kept], rank[kept]] = joint[kept]
    weights[row[kept], rank[kept]] = value[kept]
    weights[weights.sum(axis=1) <= 0, 0] = 1.0
    return joints, weights / weights.sum(axis=1, keepdims=True)


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
    # Bones at odds (a limb twisted by 180 degrees): such a vertex stays where it is.
    blended[singular] = np.eye(4)
    return np.linalg.solve(blended, homogeneous[..., None])[:, :3, 0]


def _rigid(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    """The frames without scale and shear."""
    U, _, Vh = np.linalg.svd(frames[:, :3, :3])
    U[:, :, 2] *= np.sign(np.linalg.det(U @ Vh))[:, None]
    clean = frames.copy()
    clean[:, :3, :3] = U @ Vh
    return clean
