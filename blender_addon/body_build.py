"""The free body as Blender objects: a quad mesh with UVs and weights on an armature in the chosen pose."""

from __future__ import annotations

from collections.abc import Mapping

import bpy
import numpy as np
from mathutils import Matrix, Vector

from .proxy import Proxy, make_proxy
from .result_check import BadResult, check_polygons

MIN_BONE = 0.01
"""Metres; Blender deletes bones without length."""


def add_proxy(phenotype: Mapping[str, float], pose: str, name: str = "Body") -> bpy.types.Object:
    """A body in the active collection, its armature as parent; both are linked and the body is active.

    The armature is hidden: its bones stick out at eyes, fingers and toes and would cover the result.
    """
    proxy = make_proxy(phenotype, pose)
    scale = 1.0 / (bpy.context.scene.unit_settings.scale_length or 1.0)
    mesh = _build_mesh(name, proxy, scale)  # first: what may be refused is refused before anything is made
    collection = bpy.context.collection
    armature = bpy.data.objects.new(f"{name} Rig", bpy.data.armatures.new(f"{name} Rig"))
    collection.objects.link(armature)
    _build_bones(armature, proxy, scale)
    body = bpy.data.objects.new(name, mesh)
    collection.objects.link(body)
    _add_weights(body, proxy)
    body.parent = armature
    modifier = body.modifiers.new("Armature", "ARMATURE")
    modifier.object = armature
    armature.data.display_type = "STICK"
    _pose(armature, proxy, scale)
    for item in bpy.context.selected_objects:
        item.select_set(False)
    body.select_set(True)
    bpy.context.view_layer.objects.active = body
    armature.hide_set(True)
    return body


def _build_mesh(name: str, proxy: Proxy, scale: float) -> bpy.types.Mesh:
    corners = proxy.quads.reshape(-1).astype(np.int32)
    starts = np.arange(0, len(corners), 4, dtype=np.int32)
    check_polygons(proxy.rest_vertices, corners, starts, proxy.corner_uvs.reshape(-1, 2))
    mesh = bpy.data.meshes.new(name)
    mesh.vertices.add(len(proxy.rest_vertices))
    mesh.vertices.foreach_set("co", (proxy.rest_vertices * scale).astype(np.float32).ravel())
    mesh.loops.add(len(corners))
    mesh.loops.foreach_set("vertex_index", corners)
    mesh.polygons.add(len(starts))
    mesh.polygons.foreach_set("loop_start", starts)
    if bpy.app.version < (4, 1, 0):
        mesh.polygons.foreach_set("loop_total", np.full(len(starts), 4, np.int32))
    mesh.polygons.foreach_set("use_smooth", np.ones(len(starts), bool))
    layer = mesh.uv_layers.new(name="UVMap")
    layer.data.foreach_set("uv", proxy.corner_uvs.astype(np.float32).ravel())
    mesh.validate()
    if (len(mesh.polygons), len(mesh.loops)) != (len(starts), len(corners)):
        bpy.data.meshes.remove(mesh)
        raise BadResult("Blender took faces out of the free body: the add-on's file is damaged")
    mesh.update(calc_edges=True)
    return mesh


def _build_bones(armature: bpy.types.Object, proxy: Proxy, scale: float) -> None:
    """Bones at the joints, each towards the middle of its children. Needs object mode."""
    view_layer = bpy.context.view_layer
    view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    heads = proxy.T_rest_joint[:, :3, 3] * scale
    children: list[list[int]] = [[] for _ in heads]
    for joint, parent in enumerate(proxy.joint_parents):
        if parent >= 0:
            children[parent].append(joint)
    bones = []
    for joint, name in enumerate(proxy.joint_names):
        bone = armature.data.edit_bones.new(name)
        bone.head = Vector(heads[joint])
        bone.tail = Vector(_tail(joint, heads, children, proxy.joint_parents))
        bone.align_roll(Vector((0.0, -1.0, 0.0)))
        parent = proxy.joint_parents[joint]
        if parent >= 0:
            bone.parent = bones[parent]
        bones.append(bone)
    bpy.ops.object.mode_set(mode="OBJECT")


def _tail(joint: int, heads: np.ndarray, children: list[list[int]], parents: np.ndarray) -> np.ndarray:
    head, parent = heads[joint], parents[joint]
    if children[joint]:
        direction = heads[children[joint]].mean(axis=0) - head
    elif parent >= 0:
        direction = (head - heads[parent]) * 0.5
    else:
        direction = np.array([0.0, 0.0, 1.0])
    length = np.linalg.norm(direction)
    smallest = MIN_BONE * (np.ptp(heads[:, 2]) or 1.0)
    if length < smallest:
        direction = np.array([0.0, 0.0, smallest]) if length < 1e-9 else direction * (smallest / length)
    return head + direction


def _add_weights(body: bpy.types.Object, proxy: Proxy) -> None:
    """One vertex group a bone. Vertices of equal weight are added together, which saves most of the calls."""
    for joint, name in enumerate(proxy.joint_names):
        group = body.vertex_groups.new(name=name)
        column = np.round(proxy.weights[:, joint], 4)
        moved = np.flatnonzero(column > 0)
        if not len(moved):
            continue
        order = moved[np.argsort(column[moved], kind="stable")]
        values, starts = np.unique(column[order], return_index=True)
        for value, part in zip(values, np.split(order, starts[1:]), strict=True):
            group.add(part.tolist(), float(value), "REPLACE")


def _pose(armature: bpy.types.Object, proxy: Proxy, scale: float) -> None:
    """Turn the pose bones so that each bone carries what the joint's transform carries.

    A bone's matrix against its parent's gives its own basis, so no depsgraph update is needed in between.
    """
    deform = proxy.T_world_joint @ np.linalg.inv(proxy.T_rest_joint)
    deform[:, :3, 3] *= scale
    for joint, name in enumerate(proxy.joint_names):
        bone = armature.pose.bones[name]
        rest = bone.bone.matrix_local
        wanted = Matrix(deform[joint]) @ rest
        parent = proxy.joint_parents[joint]
        if parent < 0:
            bone.matrix_basis = rest.inverted() @ wanted
            continue
        parent_rest = bone.parent.bone.matrix_local
        parent_wanted = Matrix(deform[parent]) @ parent_rest
        offset = parent_rest.inverted() @ rest
        bone.matrix_basis = (parent_wanted @ offset).inverted() @ wanted
