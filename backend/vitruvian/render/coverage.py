"""Extra cameras where the rig sees least, chosen greedily."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.core.camera import CameraRig, project
from vitruvian.core.errors import UserError
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh
from vitruvian.render.cameras import fitting_distance, join_rigs, look_at, perspective_K, ring_direction
from vitruvian.render.raster import rasterize

CANDIDATE_ELEVATIONS = (-60.0, -30.0, 0.0, 30.0, 60.0)
CANDIDATE_AZIMUTHS = tuple(22.5 + 45.0 * i for i in range(8))
CLOSE_UP = 0.55
"""Distance of close-up candidates, as a share of the full-body distance."""
CANDIDATE_SIZE = 128
"""Pixels of the candidates' depth maps; enough to tell hidden faces from seen ones."""
MAX_EXTRA = 32


def cover_greedily(mesh: Mesh, rig: CameraRig, extra: int) -> CameraRig:
    """`rig` with `extra` more cameras, each the one that improves the view of most surface area.

    A face's quality is the best cosine between its normal and the direction to a camera that sees it; a
    camera's gain is the area-weighted rise in quality over the faces. Candidates are full-body views and
    close-ups of head, trunk and legs, all around and from below and above.

    Raises:
        UserError: if `extra` is out of range.
    """
    if not 0 <= extra <= MAX_EXTRA:
        raise UserError("extra views", extra, "is out of range", f"Use 0 to {MAX_EXTRA}")
    if extra == 0:
        return rig
    mesh = mesh.to("cpu")
    candidates = _candidates(mesh)
    areas = _face_areas(mesh)
    quality = face_quality(mesh, rig, rasterize(mesh, rig)).amax(dim=0)
    offered = face_quality(mesh, candidates, rasterize(mesh, candidates))
    chosen: list[int] = []
    for _ in range(extra):
        gain = ((offered - quality).clamp(min=0) * areas).sum(dim=1)
        gain[chosen] = -1.0
        best = int(gain.argmax())
        chosen.append(best)
        quality = torch.maximum(quality, offered[best])
    added = candidates.select(chosen).resized(rig.width, rig.height)
    return join_rigs(rig, _renamed(added, rig.names))


def face_quality(mesh: Mesh, rig: CameraRig, gbuffer: GBuffer) -> Float[Tensor, "N F"]:
    """Per view and face: the cosine at which the camera sees the face's centre, 0 where it does not."""
    centres = mesh.vertices.detach()[mesh.faces].mean(dim=1).to(rig.K)
    normals = mesh.face_normals.detach().to(rig.K)
    pixels, z = project(centres, rig)
    column, row = pixels[..., 0].floor().long(), pixels[..., 1].floor().long()
    inside = (z > 0) & (column >= 0) & (column < rig.width) & (row >= 0) & (row < rig.height)
    views = torch.arange(len(rig))[:, None]
    surface = gbuffer.depth[views, row.clamp(0, rig.height - 1), column.clamp(0, rig.width - 1)]
    to_camera = torch.where(
        rig.orthographic[:, None, None], -rig.T_world_cam[:, None, :3, 2], rig.positions[:, None] - centres
    )
    cosine = (torch.nn.functional.normalize(to_camera, dim=-1) * normals).sum(dim=-1)
    # The depth map is read at a pixel, not at the centre itself: allow for the face's slope across it.
    footprint = torch.where(rig.orthographic[:, None], torch.ones_like(z), z) / rig.K[:, 0, 0, None]
    allowance = 0.004 + 1.5 * footprint / cosine.clamp(min=0.05)
    seen = inside & (surface > 0) & (z - surface <= allowance) & (cosine > 0.05)
    return torch.where(seen, cosine, torch.zeros_like(cosine))


def _face_areas(mesh: Mesh) -> Float[Tensor, "F"]:
    a, b, c = mesh.vertices.detach()[mesh.faces].unbind(1)
    return torch.linalg.cross(b - a, c - a).norm(dim=-1) / 2


def _candidates(mesh: Mesh) -> CameraRig:
    """Full-body views, and close-ups aimed at three heights, on a sphere of directions."""
    points = mesh.vertices.detach().cpu()
    low, high = points.amin(0), points.amax(0)
    centre, height = (low + high) / 2, float(high[2] - low[2])
    up = torch.tensor([0.0, 0.0, 1.0])
    poses, names, kinds = [], [], []
    for elevation in CANDIDATE_ELEVATIONS:
        full = fitting_distance(points, centre, list(CANDIDATE_AZIMUTHS), elevation)
        for offset in (None, -0.3, 0.0, 0.35):
            target = centre + torch.tensor([0.0, 0.0, (offset or 0.0) * height])
            distance = full if offset is None else CLOSE_UP * full
            for azimuth in CANDIDATE_AZIMUTHS:
                poses.append(look_at(target + distance * ring_direction(azimuth, elevation), target, up))
                names.append(f"extra_{round(azimuth):03d}_{round(elevation):+03d}")
                kinds.append("extra")
    n = len(poses)
    return CameraRig(
        torch.stack(poses),
        perspective_K(CANDIDATE_SIZE).expand(n, 3, 3).clone(),
        torch.zeros(n, dtype=torch.bool),
        CANDIDATE_SIZE,
        CANDIDATE_SIZE,
        tuple(names),
        tuple(kinds),
    )


def _renamed(rig: CameraRig, taken: tuple[str, ...]) -> CameraRig:
    """The same cameras under names that no other camera has."""
    used, names = set(taken), []
    for name in rig.names:
        unique, count = name, 1
        while unique in used:
            count += 1
            unique = f"{name}_{count}"
        used.add(unique)
        names.append(unique)
    return CameraRig(rig.T_world_cam, rig.K, rig.orthographic, rig.width, rig.height, tuple(names), rig.kinds)
