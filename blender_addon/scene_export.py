"""From Blender's scene to the arrays of the wire: one snapshot at the current frame, nothing is changed."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import bpy
import numpy as np
from numpy.typing import NDArray

from . import camera_math
from .problems import Problem
from .rig_export import RigSteps, rig_steps
from .uv_layout import Layout, chosen_uv_map, read, read_layout

if TYPE_CHECKING:
    from vitruvian_protocol.scene import CameraArrays, MeshArrays, Scene

RIG_COLLECTION = "Vitruvian Cameras"
VIEW_SIZE = 512
"""Pixels that the intrinsics are written for; the backend scales them to its own view size."""


@dataclass(frozen=True)
class Snapshot:
    """What was taken of the scene, and what is needed to know the body again."""

    scene: Scene
    """Without the rig, which takes time to read."""
    layout: Layout
    """Of the object's own mesh."""
    warnings: tuple[str, ...]
    rig: RigSteps | None
    """Reads the rig as it was in the snapshot's moment; can be run once."""

    def complete(self) -> Generator[int, None, Scene | None]:
        """The scene with its rig, read in slices, each yielding its vertices; None where it has no rig."""
        if self.rig is None:
            return None
        rig = yield from self.rig
        return replace(self.scene, mesh=replace(self.scene.mesh, rig=rig))


def take_snapshot(body: bpy.types.Object, settings: bpy.types.PropertyGroup) -> Snapshot:
    """The evaluated, posed body and the cameras.

    Raises:
        Problem: for what the artist can repair; nothing was changed.
    """
    from vitruvian_protocol.scene import Scene

    uv_map = chosen_uv_map(body, settings.uv_map)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    scale = bpy.context.scene.unit_settings.scale_length or 1.0
    warnings: list[str] = []
    mesh, rig = _mesh_arrays(body, depsgraph, uv_map, scale, warnings)
    cameras = _camera_arrays(settings, depsgraph, scale)
    return Snapshot(Scene(mesh, cameras), read_layout(body, uv_map), tuple(warnings), rig)


def _mesh_arrays(
    body: bpy.types.Object,
    depsgraph: bpy.types.Depsgraph,
    uv_map: str,
    scale: float,
    warnings: list[str],
) -> tuple[MeshArrays, RigSteps | None]:
    from vitruvian_protocol.scene import MeshArrays

    if body.mode == "EDIT":
        body.update_from_editmode()
    evaluated = body.evaluated_get(depsgraph)
    mesh = evaluated.to_mesh()
    try:
        if mesh is None or not len(mesh.polygons):
            raise Problem(
                "BAD_SCENE:EMPTY",
                f'"{body.name}" has no faces at this frame',
                "Choose a body mesh, or turn off the modifier that hides it",
            )
        mesh.calc_loop_triangles()
        triangles = read(mesh.loop_triangles, "vertices", np.int32, 3)
        corners = read(mesh.loop_triangles, "loops", np.int32, 3)
        matrix = np.array(evaluated.matrix_world, dtype=np.float64)
        local = read(mesh.vertices, "co", np.float32, 3)
        vertices = (local @ matrix[:3, :3].T + matrix[:3, 3]) * scale
        uvs = None
        if uv_map in mesh.uv_layers:
            uvs = read(mesh.uv_layers[uv_map].data, "uv", np.float32, 2)[corners]
        elif uv_map:
            warnings.append(f'A modifier removes the UV map "{uv_map}"; the backend unwraps the body itself')
        if np.linalg.det(matrix[:3, :3]) < 0:
            triangles = triangles[:, ::-1]
            uvs = None if uvs is None else uvs[:, ::-1]
        arrays = MeshArrays(
            name=body.name[:128],
            vertices=np.ascontiguousarray(vertices, dtype=np.float32),
            faces=np.ascontiguousarray(triangles),
            corner_uvs=None if uvs is None else np.ascontiguousarray(uvs),
        )
        return arrays, rig_steps(body, mesh, vertices, depsgraph, scale)
    finally:
        evaluated.to_mesh_clear()


def cameras_of(settings: bpy.types.PropertyGroup) -> list[bpy.types.Object]:
    """The cameras that the settings mean; none for AUTO."""
    scene = bpy.context.scene
    if settings.camera_mode == "AUTO":
        return []
    if settings.camera_mode == "RIG":
        collection = bpy.data.collections.get(RIG_COLLECTION)
    else:
        collection = settings.camera_collection or scene.collection
    found = list(collection.all_objects) if collection else []
    cameras = [item for item in found if item.type == "CAMERA" and not item.hide_render]
    return sorted(cameras, key=lambda item: item.name)


def _camera_arrays(
    settings: bpy.types.PropertyGroup, depsgraph: bpy.types.Depsgraph, scale: float
) -> CameraArrays | None:
    """All cameras in square images: the wider side of a camera's frame fills the image."""
    from vitruvian_protocol.scene import CameraArrays

    cameras = cameras_of(settings)
    if settings.camera_mode == "AUTO":
        return None
    if not cameras:
        raise Problem("BAD_SCENE:CAMERA", "There is no camera to use", "Add the camera rig, or use Automatic")
    poses, Ks = [], []
    for camera in cameras:
        T, K = camera_arrays_of(camera, depsgraph)
        T[:3, 3] *= scale
        if camera.data.type == "ORTHO":
            K[[0, 1], [0, 1]] /= scale
        poses.append(T)
        Ks.append(K)
    return CameraArrays(
        names=tuple(camera.name[:128] for camera in cameras),
        kinds=tuple(camera.vitruvian.view_kind for camera in cameras),
        T_world_cam=np.stack(poses).astype(np.float32),
        K=np.stack(Ks).astype(np.float32),
        orthographic=np.array([camera.data.type == "ORTHO" for camera in cameras], np.uint8),
        width=VIEW_SIZE,
        height=VIEW_SIZE,
        prompts=tuple(camera.vitruvian.view_prompt for camera in cameras),
    )


def camera_arrays_of(
    camera: bpy.types.Object, depsgraph: bpy.types.Depsgraph, size: int = VIEW_SIZE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`T_world_cam` [4, 4] in Blender units and `K` [3, 3] of one camera.

    Raises:
        Problem: a panoramic camera, or one whose scale is zero.
    """
    evaluated = camera.evaluated_get(depsgraph)
    data = evaluated.data
    shift = (data.shift_x, data.shift_y)
    if data.type == "PERSP":
        K = camera_math.intrinsics(
            data.lens, data.sensor_width, data.sensor_height, data.sensor_fit, shift, size
        )
    elif data.type == "ORTHO":
        K = camera_math.orthographic_intrinsics(data.ortho_scale, shift, size)
    else:
        raise Problem(
            "BAD_SCENE:CAMERA",
            f'The camera "{camera.name}" is panoramic',
            "Make it perspective or orthographic, or hide it from renders",
        )
    try:
        pose = camera_math.camera_pose(np.array(evaluated.matrix_world, dtype=np.float64))
    except ValueError as error:
        raise Problem(
            "BAD_SCENE:CAMERA", f'The camera "{camera.name}" {error}', "Reset its scale (Alt-S)"
        ) from error
    return pose, K
