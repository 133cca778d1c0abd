"""Drawn over the viewport and no part of the file: the growing texture on the body, the coverage dots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import bpy
import numpy as np
from numpy.typing import NDArray

from . import compat
from .pictures import Picture

if TYPE_CHECKING:
    from vitruvian_protocol.scene import MeshArrays

    from .camera_rig import Coverage

LIFT = 0.0015
"""Metres that the drawing stands off the surface, so that it is not swallowed by it."""


@dataclass
class _Textured:
    job: str
    positions: NDArray[np.float32]
    """[F * 3, 3]"""
    uvs: NDArray[np.float32]
    batch: Any = None
    texture: Any = None


_textured: _Textured | None = None
_dots: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
_dots_batch: Any = None
_handle: Any = None


def _has_window() -> bool:
    """Whether there is a viewport to draw over."""
    return not bpy.app.background


def follow(job: str, mesh: MeshArrays, unit_scale: float) -> None:
    """Draw this job's texture previews on the body as it was sent."""
    global _textured
    if mesh.corner_uvs is None or not _has_window():
        return
    lifted = (mesh.vertices + LIFT * _vertex_normals(mesh))[mesh.faces] / unit_scale
    positions = np.ascontiguousarray(lifted.reshape(-1, 3), dtype=np.float32)
    _textured = _Textured(job, positions, np.ascontiguousarray(mesh.corner_uvs.reshape(-1, 2)))
    _listen()


def _vertex_normals(mesh: MeshArrays) -> NDArray[np.float64]:
    """Unit normals, one a vertex, so that lifted triangles stay joined. [V, 3]"""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    by_face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros(mesh.vertices.shape)
    for axis in range(3):
        weights = np.repeat(by_face[:, axis], 3)
        normals[:, axis] = np.bincount(mesh.faces.ravel(), weights, minlength=len(normals))
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def update(job: str, picture: Picture) -> bool:
    """A newer preview of the texture; False where this job is not the one that is drawn."""
    if _textured is None or _textured.job != job:
        return False
    import gpu

    pixels = _linear(picture.pixels) if compat.draws_linear() else picture.pixels
    buffer = gpu.types.Buffer("FLOAT", len(pixels), pixels)
    size = (picture.width, picture.height)
    _textured.texture = gpu.types.GPUTexture(size, format="RGBA16F", data=buffer)
    return True


def _linear(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """A picture's sRGB values as light. [N * 4], alpha unchanged"""
    encoded = pixels.reshape(-1, 4)[:, :3]
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return np.column_stack([linear, pixels.reshape(-1, 4)[:, 3]]).astype(np.float32).ravel()


def stop(job: str) -> None:
    """Draw this job's texture no longer."""
    global _textured
    if _textured is not None and _textured.job == job:
        _textured = None


def show_coverage(coverage: Coverage) -> None:
    """Dots on the body: red unseen, yellow seen once, green seen by two cameras or more."""
    global _dots, _dots_batch
    palette = np.array([[0.9, 0.1, 0.1, 1.0], [0.9, 0.8, 0.1, 1.0], [0.1, 0.8, 0.2, 1.0]], np.float32)
    _dots = (coverage.points, palette[np.minimum(coverage.views, 2)])
    _dots_batch = None
    _listen()


def hide_coverage() -> None:
    global _dots, _dots_batch
    _dots = _dots_batch = None


def coverage_is_shown() -> bool:
    return _dots is not None


def clear() -> None:
    """Forget all; a file was loaded or the add-on is disabled."""
    global _textured, _handle
    _textured = None
    hide_coverage()
    if _handle is not None:
        bpy.types.SpaceView3D.draw_handler_remove(_handle, "WINDOW")
        _handle = None


def _listen() -> None:
    global _handle
    if _handle is None and _has_window():
        _handle = bpy.types.SpaceView3D.draw_handler_add(_draw, (), "WINDOW", "POST_VIEW")


def _draw() -> None:
    import gpu

    gpu.state.depth_test_set("LESS_EQUAL")
    try:
        _draw_texture(gpu)
        _draw_dots(gpu)
    finally:
        gpu.state.depth_test_set("NONE")


def _draw_texture(gpu: Any) -> None:
    if _textured is None or _textured.texture is None:
        return
    from gpu_extras.batch import batch_for_shader

    shader = gpu.shader.from_builtin(compat.image_shader())
    if _textured.batch is None:
        content = {"pos": _textured.positions, "texCoord": _textured.uvs}
        _textured.batch = batch_for_shader(shader, "TRIS", content)
    shader.bind()
    shader.uniform_sampler("image", _textured.texture)
    _textured.batch.draw(shader)


def _draw_dots(gpu: Any) -> None:
    global _dots_batch
    if _dots is None:
        return
    from gpu_extras.batch import batch_for_shader

    shader = gpu.shader.from_builtin(compat.colour_shader())
    if _dots_batch is None:
        _dots_batch = batch_for_shader(shader, "POINTS", {"pos": _dots[0], "color": _dots[1]})
    gpu.state.point_size_set(5.0)
    shader.bind()
    _dots_batch.draw(shader)
