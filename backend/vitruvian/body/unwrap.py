"""UVs: are the ones that came usable for a texture, and new ones where they are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import xatlas
from torch import Tensor

from vitruvian.core.camera import CameraRig
from vitruvian.core.errors import UserError
from vitruvian.core.mesh import Mesh
from vitruvian.render.raster import rasterize

_CHECK_SIZE = 512
"""Pixels across the UV square when looking for overlaps."""
_OVERLAP_TOLERANCE = 0.005
"""Share of the covered UV area that may be claimed twice: less is rounding along seams."""
_COLLAPSED_TOLERANCE = 0.01
_UNWRAP_SIZE, _UNWRAP_PADDING = 1024, 8
"""Islands keep this many texels apart at this texture size."""


def check_uvs(mesh: Mesh) -> list[str]:
    """What keeps the mesh's UVs from carrying a texture of their own; empty where nothing does."""
    if mesh.uvs is None or mesh.uv_faces is None:
        return ["The mesh has no UVs."]
    findings = []
    outside = ((mesh.uvs < -1e-4) | (mesh.uvs > 1.0 + 1e-4)).any(dim=-1)
    if outside.any():
        share = float(outside.float().mean())
        findings.append(f"{share:.1%} of the UVs lie outside 0..1 (tiled or UDIM texture coordinates).")
    collapsed = _collapsed_area_share(mesh)
    if collapsed > _COLLAPSED_TOLERANCE:
        findings.append(f"{collapsed:.1%} of the surface has no area in the UV map.")
    overlap = _overlap_share(mesh)
    if overlap > _OVERLAP_TOLERANCE:
        findings.append(f"{overlap:.1%} of the UV map is used more than once (overlaps).")
    return findings


def unwrap(mesh: Mesh) -> Mesh:
    """The same vertices, faces and rig with UVs made by xatlas (charts without overlap, padded).

    Raises:
        UserError: where xatlas finds no face to unwrap.
    """
    faces = mesh.faces.cpu().numpy()
    atlas = xatlas.Atlas()
    atlas.add_mesh(mesh.vertices.detach().cpu().numpy().astype(np.float32), faces.astype(np.uint32))
    packing = xatlas.PackOptions()
    packing.resolution, packing.padding = _UNWRAP_SIZE, _UNWRAP_PADDING
    atlas.generate(xatlas.ChartOptions(), packing)
    origin, corners, uvs = atlas.get_mesh(0)
    if len(uvs) == 0:
        raise UserError("mesh.faces", len(faces), "have no area to unwrap", "Choose a mesh with a surface")
    corners = corners.astype(np.int64)
    if not np.array_equal(origin[corners], faces):
        raise RuntimeError("xatlas reordered the faces")
    return replace(
        mesh,
        uvs=torch.from_numpy(np.clip(uvs, 0.0, 1.0)).to(mesh.vertices),
        uv_faces=torch.from_numpy(corners).to(mesh.faces.device),
        replaced_uvs=mesh.uvs,
        replaced_uv_faces=mesh.uv_faces,
    )


def _collapsed_area_share(mesh: Mesh) -> float:
    """Share of the surface whose faces are points or lines in UV space."""
    assert mesh.uvs is not None
    assert mesh.uv_faces is not None
    area = _double_area(mesh.vertices[mesh.faces])
    uv_area = _double_area(torch.nn.functional.pad(mesh.uvs[mesh.uv_faces], (0, 1)))
    return float(area[uv_area < 1e-12].sum() / area.sum().clamp(min=1e-30))


def _double_area(corners: Tensor) -> Tensor:
    a, b, c = corners.double().unbind(1)
    return torch.linalg.cross(b - a, c - a).norm(dim=-1)


def _overlap_share(mesh: Mesh) -> float:
    """Share of the covered pixels of the UV square in which more than one face lies.

    Every face lies flat at a height of its own. Seen straight from above and from below, a pixel shows the
    same face exactly where there is only one.
    """
    assert mesh.uvs is not None
    assert mesh.uv_faces is not None
    corners = mesh.uvs[mesh.uv_faces].detach().cpu().float()
    count = len(corners)
    height = torch.linspace(0.0, 1.0, count)[:, None, None].expand(-1, 3, 1)
    flat = Mesh(torch.cat([corners, height], dim=-1).reshape(-1, 3), torch.arange(3 * count).reshape(-1, 3))
    above, below = rasterize(flat, _uv_cameras()).face_id.cpu()
    below = below.flip(0)
    covered = (above >= 0) & (below >= 0)
    return float((above[covered] != below[covered]).float().mean()) if covered.any() else 0.0


def _uv_cameras() -> CameraRig:
    """Orthographic cameras above (image row 0 is v = 1) and below (row 0 is v = 0) the unit UV square."""
    T = torch.eye(4).repeat(2, 1, 1)
    T[0, :3, :3], T[1, :3, :3] = torch.diag(torch.tensor([1.0, -1.0, -1.0])), torch.eye(3)
    T[0, :3, 3], T[1, :3, 3] = torch.tensor([0.5, 0.5, 2.0]), torch.tensor([0.5, 0.5, -1.0])
    size = _CHECK_SIZE
    K = torch.tensor([[size, 0.0, size / 2], [0.0, size, size / 2], [0.0, 0.0, 1.0]]).repeat(2, 1, 1)
    orthographic = torch.ones(2, dtype=torch.bool)
    return CameraRig(T, K, orthographic, size, size, ("above", "below"), ("extra", "extra"))
