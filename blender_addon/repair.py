"""What the panel warns of before a job is sent, and the repairs behind the buttons."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial

import bpy
import numpy as np

from .problems import BUTTONS, Problem, Told
from .rig_export import armature_of
from .uv_layout import Layout, chosen_uv_map, read, read_layout
from .uv_overlap import overlap_steps

NEW_MAP = "Vitruvian UV"
PLAUSIBLE_METRES = (0.3, 3.0)
PERSON_METRES = 1.7
STRAY = 0.005
"""Share of a body's vertices at either end that say nothing of its size."""
OVERLAP = 0.01
"""Share of the UV map that may be claimed twice; the backend refuses to paint on more."""
UNWRAP = "Unwrap into a new UV map; your own maps stay"


@dataclass(frozen=True)
class Doubt:
    """Something about the body that an artist should know before waiting for a result."""

    code: str
    sentence: str

    @property
    def button(self) -> tuple[str, str] | None:
        return BUTTONS.get(self.code)


Steps = Generator[int, None, "list[Doubt]"]
"""A look in slices: yields the work done since the last time, in corners, faces and the like."""


@dataclass
class _Look:
    """A look at a body that is under way."""

    key: tuple
    find_body: Callable[[], bpy.types.Object]
    steps: Steps


_known: dict[tuple, tuple[Doubt, ...]] = {}
_asked: tuple[tuple, str, str] | None = None
"""Key, object's name and UV map that a panel wants to know about."""
_look: _Look | None = None


def known_doubts(body: bpy.types.Object, uv_map: str) -> tuple[Doubt, ...]:
    """What is odd about the body as far as it is known: panels compute nothing, the next `look`s do."""
    global _asked
    key = _key(body, uv_map)
    if key not in _known and (_look is None or _look.key != key):
        _asked = (key, body.name, uv_map)
    return _known.get(key, ())


def looking() -> bool:
    """Whether there is something to look at."""
    return _asked is not None or _look is not None


def look(budget_s: float, clock: Callable[[], float] = time.perf_counter) -> bool:
    """Go on looking at the body that a panel asked for, for about `budget_s`; True when that is done.

    At least one slice is done. A body that changes or goes meanwhile is asked for again by the panel.
    """
    global _asked, _look
    if _asked is not None:
        key, name, uv_map = _asked
        find_body = partial(_unchanged, name, uv_map, key)
        _asked, _look = None, _Look(key, find_body, _find(find_body, uv_map))
    if _look is None:
        return False
    until = clock() + budget_s
    try:
        _look.find_body()
        next(_look.steps)
        while clock() < until:
            next(_look.steps)
    except StopIteration as end:
        _known.clear()
        _known[_look.key] = tuple(end.value)
    except _ChangedError:
        pass
    else:
        return False
    _look = None
    return True


def forget() -> None:
    """The bodies may have changed: look again."""
    global _look
    _known.clear()
    _look = None


class _ChangedError(Exception):
    """The body is not what it was when the look began."""


def _unchanged(name: str, uv_map: str, key: tuple) -> bpy.types.Object:
    """The body by its name: a reference would not survive undo."""
    body = bpy.data.objects.get(name)
    if body is None or body.type != "MESH" or body.mode == "EDIT" or _key(body, uv_map) != key:
        raise _ChangedError
    return body


def _key(body: bpy.types.Object, uv_map: str) -> tuple:
    mesh = body.data
    scale = tuple(round(value, 4) for value in body.scale)
    return (body.name, len(mesh.vertices), len(mesh.polygons), len(mesh.uv_layers), uv_map, scale)


def doubts(body: bpy.types.Object, uv_map: str) -> tuple[Doubt, ...]:
    """What is odd about the body, at once; takes a moment on a large one."""
    return tuple(_at_once(_find(lambda: body, uv_map)))


def uv_fault(layout: Layout) -> Doubt | None:
    """What keeps the UV map from carrying a texture and can be told at a glance."""
    uvs = layout.uvs
    if uvs is None:
        return Doubt("BAD_SCENE:UV", "The body has no UV map")
    if not np.isfinite(uvs).all():
        return Doubt("BAD_SCENE:UV", "The UV map has invalid values")
    if uvs.min(initial=0) < -1e-4 or uvs.max(initial=0) > 1 + 1e-4:
        return Doubt("BAD_SCENE:UV", "UVs lie outside the 0 to 1 square (tiles are not supported)")
    return None


def overlap_check(layout: Layout) -> Generator[int, None, Told | None]:
    """What takes longer to see, in slices. The arrays are ours: the body may change or go meanwhile."""
    doubt = yield from _find_overlap(layout)
    return None if doubt is None else Told(doubt.code, doubt.sentence, UNWRAP)


def _at_once(steps: Steps) -> list[Doubt]:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def _find(find_body: Callable[[], bpy.types.Object], uv_map: str) -> Steps:
    body, found = find_body(), []
    if not len(body.data.polygons):
        return [Doubt("BAD_SCENE:EMPTY", "The mesh has no faces")]
    positions = read(body.data.vertices, "co", np.float32, 3)
    if not np.isfinite(positions).all():
        found.append(Doubt("BAD_SCENE:NOT_FINITE", "Some vertices have invalid positions"))
    scale = np.array(body.matrix_world.to_scale()) * (bpy.context.scene.unit_settings.scale_length or 1.0)
    tall = float(np.ptp(positions * np.abs(scale), axis=0).max())
    if not PLAUSIBLE_METRES[0] <= tall <= PLAUSIBLE_METRES[1]:
        found.append(Doubt("SIZE", f"The body is {tall:.2g} m across; people are 0.5 to 2.2 m"))
    if any(value < 0 for value in body.scale) or np.ptp(np.abs(np.array(body.scale))) > 1e-3:
        found.append(Doubt("SCALE", "The object's scale is uneven or negative"))
    yield len(positions)
    found.extend((yield from _find_in_uvs(find_body(), uv_map)))
    if armature_of(find_body()) is None:
        found.append(Doubt("NO_RIG", "No armature: the backend guesses the pose from the shape"))
    return found


def _find_in_uvs(body: bpy.types.Object, uv_map: str) -> Steps:
    try:
        layout = read_layout(body, chosen_uv_map(body, uv_map))
    except Problem as problem:
        return [Doubt("BAD_SCENE:UV", problem.told.sentence)]
    yield len(layout.corners)
    doubt = uv_fault(layout) or (yield from _find_overlap(layout))
    return [] if doubt is None else [doubt]


def _find_overlap(layout: Layout) -> Generator[int, None, Doubt | None]:
    assert layout.uvs is not None
    share = yield from overlap_steps(layout.uvs, layout.starts, layout.totals)
    if share <= OVERLAP:
        return None
    return Doubt("BAD_SCENE:UV", "Parts of the UV map overlap: both would show the same picture")


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


def to_persons_size(body: bpy.types.Object) -> float:
    """Scale the object, or the rig that it hangs on, until the body is as tall as a person; the factor.

    Raises:
        Problem: it is as tall already, and only a few vertices lie far away; or it has no extent.
    """
    scale = np.abs(np.array(body.matrix_world.to_scale()))
    metres = scale * (bpy.context.scene.unit_settings.scale_length or 1.0)
    positions = read(body.data.vertices, "co", np.float32, 3).astype(np.float64) * metres
    positions = positions[np.isfinite(positions).all(axis=1)]
    low, high = np.quantile(positions, [STRAY, 1 - STRAY], axis=0) if len(positions) else (np.zeros(3),) * 2
    tall = float((high - low).max())
    if not tall > 0:
        raise Problem("BAD_SCENE:DEGENERATE", "The body has no extent", "Choose a body mesh with volume")
    if PLAUSIBLE_METRES[0] <= tall <= PLAUSIBLE_METRES[1]:
        raise Problem(
            "BAD_SCENE:NOT_FINITE",
            f"The body is {tall:.2g} m across, and a few vertices lie far from it",
            "Delete those vertices (Select Linked, invert, delete)",
        )
    root = body
    while root.parent is not None:
        root = root.parent
    factor = PERSON_METRES / tall
    root.scale = [value * factor for value in root.scale]
    bpy.context.view_layer.update()
    forget()
    return factor


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
