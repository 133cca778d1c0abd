"""Topology and one UV map of an object's own mesh, as arrays: what a texture is made for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import bpy
import numpy as np
from numpy.typing import NDArray

from .problems import Problem


@dataclass(frozen=True)
class Layout:
    """Posing and shape keys leave it as it is."""

    uv_map: str
    corners: NDArray[np.int32]
    """[L] vertex of each corner"""
    starts: NDArray[np.int32]
    """[P] first corner of each polygon"""
    totals: NDArray[np.int32]
    """[P] corners of each polygon"""
    uvs: NDArray[np.float32] | None
    """[L, 2]; None where there is no such map"""

    @property
    def sha256(self) -> str:
        """A result fits as long as this stays the same."""
        digest = hashlib.sha256(self.uv_map.encode())
        digest.update(self.corners.tobytes())
        digest.update(self.starts.tobytes())
        if self.uvs is not None:
            digest.update(self.uvs.tobytes())
        return digest.hexdigest()


def read_layout(body: bpy.types.Object, uv_map: str) -> Layout:
    """The layout as it is now, also in the middle of an edit."""
    with _readable(body) as mesh:
        layer = mesh.uv_layers.get(uv_map)
        return Layout(
            uv_map,
            read(mesh.loops, "vertex_index", np.int32, 1),
            read(mesh.polygons, "loop_start", np.int32, 1),
            read(mesh.polygons, "loop_total", np.int32, 1),
            None if layer is None else read(layer.data, "uv", np.float32, 2),
        )


@contextmanager
def _readable(body: bpy.types.Object) -> Iterator[bpy.types.Mesh]:
    """The mesh; in edit mode, when Blender shows nobody its UVs, a copy that goes again."""
    if body.mode != "EDIT":
        yield body.data
        return
    body.update_from_editmode()
    try:
        yield body.to_mesh()
    finally:
        body.to_mesh_clear()


def chosen_uv_map(body: bpy.types.Object, wanted: str) -> str:
    """The UV map to use; "" where the mesh has none.

    Raises:
        Problem: the one that was asked for is not there.
    """
    layers = body.data.uv_layers
    if wanted and wanted not in layers:
        raise Problem(
            "BAD_SCENE:UV",
            f'The body has no UV map called "{wanted}"',
            "Choose another UV map under Body",
        )
    if wanted:
        return wanted
    rendered = next((layer.name for layer in layers if layer.active_render), "")
    return rendered or (layers.active.name if layers.active else "")


def read(collection: bpy.types.bpy_prop_collection, name: str, dtype: type, width: int) -> NDArray:
    """A property of all items as an array [N] or [N, width]."""
    values = np.empty(len(collection) * width, dtype)
    collection.foreach_get(name, values)
    return values if width == 1 else values.reshape(-1, width)
