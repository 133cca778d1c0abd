"""Renderings of dressed people as sparse pixels, to be painted any number of times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from vitruvian.core.camera import CameraRig
from vitruvian.render.raster_embree import box_rays, build_scene, projected_boxes
from vitruvian.wardrobe.dress import Dressed

SUPERSAMPLING = 2


@dataclass(frozen=True)
class DressedPixels:
    """The foreground of N views at twice their size: what is where, not yet what colour it has."""

    views: int
    height: int
    """Of the supersampled views: twice the rig's."""
    width: int
    view: UInt8[ndarray, "P"]
    pixel: Int[ndarray, "P"]
    """Flat index y * width + x in its view, int32; ascending within a view, views ascending."""
    slot: UInt8[ndarray, "P"]
    """Material slot (`records`), never background."""
    fabric_uv: Float[ndarray, "P 2"]
    """Float32 metres (u around, v up; hair: v along the strand); skin and eyes: Anny's UV in [0, 1]."""
    rest_position: Float[ndarray, "P 3"]
    """Float32; on the mean body at rest, feet z = 0, crown z = 1, facing -Y (`anatomy.Anatomy.rest`)."""
    ao: UInt8[ndarray, "P"]
    """Ambient occlusion: 255 = open, 0 = dark."""
    border: UInt8[ndarray, "P"]
    """Millimetres to the garment's nearest edge (hem, cuff, neckline), at most 255."""


def render_dressed(dressed: Dressed, rig: CameraRig) -> DressedPixels:
    """The dressed mesh seen by every camera of `rig`, supersampled 2 x 2."""
    fine = rig.to("cpu").resized(rig.width * SUPERSAMPLING, rig.height * SUPERSAMPLING)
    scene = build_scene(dressed.mesh)
    faces = dressed.mesh.faces.numpy()
    parts: list[dict[str, ndarray]] = []
    for view, (left, top, right, bottom) in enumerate(projected_boxes(dressed.mesh, fine).tolist()):
        if right <= left or bottom <= top:
            continue
        hits = scene.run(*box_rays(fine, view, left, top, right, bottom), query="INTERSECT", output=True)
        hit = np.nonzero(hits["primID"] >= 0)[0]
        row, column = np.divmod(hit, right - left)
        pixel = (row + top) * fine.width + column + left
        part = _attributes(dressed, faces, hits["primID"][hit], hits["u"][hit], hits["v"][hit])
        part["view"] = np.full(len(hit), view, dtype=np.uint8)
        part["pixel"] = pixel.astype(np.int32)
        parts.append(part)
    if not parts:
        parts.append(_attributes(dressed, faces, *(np.zeros(0, dtype=kind) for kind in (int, float, float))))
        parts[0] |= {"view": np.zeros(0, np.uint8), "pixel": np.zeros(0, np.int32)}
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return DressedPixels(views=len(rig), height=fine.height, width=fine.width, **joined)


def _attributes(
    dressed: Dressed, faces: ndarray, face: ndarray, u: ndarray, v: ndarray
) -> dict[str, ndarray]:
    """Barycentric interpolation at hits."""
    weights = np.stack([1.0 - u - v, u, v], axis=1).astype(np.float32)
    corners = faces[face]
    at_vertices = np.concatenate(
        [dressed.rest_position, dressed.ao[:, None] * 255.0, dressed.border[:, None] * 1000.0],
        axis=1,
        dtype=np.float32,
    )
    values = np.einsum("pk,pkc->pc", weights, at_vertices[corners])
    return {
        "slot": dressed.slot[face],
        "fabric_uv": np.einsum("pk,pkc->pc", weights, dressed.fabric_uv[face]),
        "rest_position": np.ascontiguousarray(values[:, :3]),
        "ao": np.clip(values[:, 3] + 0.5, 0, 255).astype(np.uint8),
        "border": np.clip(values[:, 4] + 0.5, 0, 255).astype(np.uint8),
    }
