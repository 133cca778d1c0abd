"""What the panel warns of before a job is sent, and the repairs behind the buttons."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Vector
from mathutils.bvhtree import BVHTree

from .problems import BUTTONS, Problem
from .rig_export import armature_of
from .scene_export import chosen_uv_map, read

NEW_MAP = "Vitruvian UV"
PLAUSIBLE_METRES = (0.3, 3.0)
SAMPLES = 4000
"""Points of the UV map at which overlap is looked for."""
OVERLAP = 0.01
"""Share of the UV map that may be claimed twice; the backend refuses to paint on more."""


@dataclass(frozen=True)
class Doubt:
    """Something about the body that an artist should know before waiting for a result."""

    code: str
    sentence: str

    @property
    def button(self) -> tuple[str, str] | None:
        return BUTTONS.get(self.code)


_known: dict[tuple, tuple[Doubt, ...]] = {}
_asked: tuple[tuple, str, str] | None = None
"""Key, object's name and UV map that a panel wants to know about."""


def known_doubts(body: bpy.types.Object, uv_map: str) -> tuple[Doubt, ...]:
    """What is odd about the body as far as it is known: panels compute nothing, the next `look` does."""
    global _asked
    key = _key(body, uv_map)
    if key not in _known:
        _asked = (key, body.name, uv_map)
    return _known.get(key, ())


def look() -> bool:
    """Look at the body that a panel asked for; False when none did."""
    global _asked
    if _asked is None:
        return False
    key, name, uv_map = _asked
    _asked = None
    body = bpy.data.objects.get(name)
    if body is None or body.type != "MESH" or body.mode == "EDIT":
        return False
    _known.clear()
    _known[key] = doubts(body, uv_map)
    return True


def forget() -> None:
    """The bodies may have changed: look again."""
    _known.clear()


def _key(body: bpy.types.Object, uv_map: str) -> tuple:
    mesh = body.data
    scale = tuple(round(value, 4) for value in body.scale)
    return (body.name, len(mesh.vertices), len(mesh.polygons), len(mesh.uv_layers), uv_map, scale)


def doubts(body: bpy.types.Object, uv_map: str) -> tuple[Doubt, ...]:
    """What is odd about the body; takes a moment on a large one."""
    return tuple(_find(body, uv_map))


def _find(body: bpy.types.Object, uv_map: str) -> list[Doubt]:
    mesh, found = body.data, []
    if not len(mesh.polygons):
        return [Doubt("BAD_SCENE:EMPTY", "The mesh has no faces")]
    positions = read(mesh.vertices, "co", np.float32, 3)
    if not np.isfinite(positions).all():
        found.append(Doubt("BAD_SCENE:NOT_FINITE", "Some vertices have invalid positions"))
    scale = np.array(body.matrix_world.to_scale()) * (bpy.context.scene.unit_settings.scale_length or 1.0)
    tall = float(np.ptp(positions * np.abs(scale), axis=0).max())
    if not PLAUSIBLE_METRES[0] <= tall <= PLAUSIBLE_METRES[1]:
        found.append(Doubt("SIZE", f"The body is {tall:.2g} m across; people are 0.5 to 2.2 m"))
    if any(value < 0 for value in body.scale) or np.ptp(np.abs(np.array(body.scale))) > 1e-3:
        found.append(Doubt("BAD_SCENE:SIZE", "The object's scale is uneven or negative"))
    found.extend(uv_doubts(body, uv_map))
    if armature_of(body) is None:
        found.append(Doubt("NO_RIG", "No armature: the backend guesses the pose from the shape"))
    return found


def uv_doubts(body: bpy.types.Object, uv_map: str) -> list[Doubt]:
    """What keeps the UV map from carrying a texture; empty where nothing does."""
    try:
        name = chosen_uv_map(body, uv_map)
    except Problem as problem:
        return [Doubt("BAD_SCENE:UV", problem.told.sentence)]
    if not name:
        return [Doubt("BAD_SCENE:UV", "The body has no UV map")]
    uvs = read(body.data.uv_layers[name].data, "uv", np.float32, 2)
    if not np.isfinite(uvs).all():
        return [Doubt("BAD_SCENE:UV", "The UV map has invalid values")]
    if uvs.min() < -1e-4 or uvs.max() > 1 + 1e-4:
        return [Doubt("BAD_SCENE:UV", "UVs lie outside the 0 to 1 square (tiles are not supported)")]
    if overlap_share(body.data, uvs) > OVERLAP:
        return [Doubt("BAD_SCENE:UV", "Parts of the UV map overlap: both would show the same picture")]
    return []


def overlap_share(mesh: bpy.types.Mesh, uvs: np.ndarray) -> float:
    """Which share of the UV surface shows the same piece of texture as another face.

    Each triangle lies at a height of its own; a random point of the surface is looked at from above and from
    below, and where two different triangles are met, they overlap.
    """
    mesh.calc_loop_triangles()
    triangles = uvs[read(mesh.loop_triangles, "loops", np.int32, 3)].astype(np.float64)
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    first, second = b - a, c - a
    area = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
    total = float(area.sum())
    if total <= 0:
        return 1.0
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(area), SAMPLES, p=area / total)
    u, v = rng.random((2, SAMPLES, 1))
    outside = (u + v) > 1
    u, v = np.where(outside, 1 - u, u), np.where(outside, 1 - v, v)
    points = a[chosen] + u * first[chosen] + v * second[chosen]
    heights = np.repeat(np.arange(1, len(area) + 1) / len(area), 3)
    corners = np.column_stack([triangles.reshape(-1, 2), heights])
    faces = np.arange(3 * len(area)).reshape(-1, 3)
    tree = BVHTree.FromPolygons(corners.tolist(), faces.tolist())
    up, down = Vector((0.0, 0.0, 1.0)), Vector((0.0, 0.0, -1.0))
    twice = 0
    for x, y in points.tolist():
        twice += tree.ray_cast(Vector((x, y, -1.0)), up)[2] != tree.ray_cast(Vector((x, y, 3.0)), down)[2]
    return twice / SAMPLES


def new_uv_map(body: bpy.types.Object) -> str:
    """Unwrap into an extra UV map; returns its name.

    Raises:
        Problem: Blender has no room for another map.
    """
    layers = body.data.uv_layers
    layer = layers.new(name=NEW_MAP, do_init=False)
    if layer is None:
        raise Problem("BAD_SCENE:UV", "The mesh has eight UV maps already", "Remove one")
    name, before = layer.name, layers.active_index
    layers.active = layer
    _as_only_selected(body)
    bpy.ops.object.mode_set(mode="EDIT")
    try:
        bpy.ops.mesh.select_all(action="SELECT")
        bpy.ops.uv.smart_project(island_margin=0.004)
    finally:
        bpy.ops.object.mode_set(mode="OBJECT")
    layers.active_index = before
    forget()
    return name


def apply_scale(body: bpy.types.Object) -> None:
    """Move the object's scale into its mesh; normals stay outside."""
    _as_only_selected(body)
    bpy.ops.object.transform_apply(location=False, rotation=False, scale=True)
    forget()


def clean(body: bpy.types.Object) -> str:
    """Remove what makes a mesh unusable; returns what was done."""
    import bmesh

    mesh = body.data
    before = (len(mesh.vertices), len(mesh.polygons))
    positions = read(mesh.vertices, "co", np.float32, 3)
    bad = set(np.flatnonzero(~np.isfinite(positions).all(axis=1)).tolist())
    mesh.validate()
    work = bmesh.new()
    try:
        work.from_mesh(mesh)
        work.verts.ensure_lookup_table()
        flat = [face for face in work.faces if not face.calc_area() > 0]
        bmesh.ops.delete(work, geom=flat, context="FACES")
        gone = [v for v in work.verts if v.is_valid and (v.index in bad or not v.link_faces)]
        bmesh.ops.delete(work, geom=gone, context="VERTS")
        work.to_mesh(mesh)
    finally:
        work.free()
    mesh.update()
    forget()
    vertices, faces = before[0] - len(mesh.vertices), before[1] - len(mesh.polygons)
    return f"Removed {vertices} vertices and {faces} faces"


def _as_only_selected(body: bpy.types.Object) -> None:
    for item in bpy.context.selected_objects:
        item.select_set(False)
    body.select_set(True)
    bpy.context.view_layer.objects.active = body
