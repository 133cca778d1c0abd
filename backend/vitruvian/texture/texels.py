"""Which point of the surface each texel of a UV layout shows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitruvian.core.errors import UserError
from vitruvian.core.mesh import Mesh

SMALLEST, LARGEST = 512, 4096
_CANDIDATES = 2_000_000
"""Texel-triangle pairs looked at together; bounds the memory at large sizes."""


@dataclass(frozen=True)
class TexelMap:
    """The texels that show a surface, as flat lists.

    Texels whose centre lies up to one texel outside an island are listed too, with the nearest point of the
    island, so that bilinear lookups along the border find real samples; `inside` tells them apart.
    """

    size: int
    """Edge length of the square texture, texels."""
    index: Int[Tensor, "P"]
    """Flat texel index: row * size + column, row 0 at the top (v = 1)."""
    face: Int[Tensor, "P"]
    barycentric: Float[Tensor, "P 3"]
    position: Float[Tensor, "P 3"]
    """World, metres."""
    normal: Float[Tensor, "P 3"]
    """Unit, interpolated from the vertex normals."""
    footprint: Float[Tensor, "P"]
    """Edge length of the texel on the surface, metres."""
    inside: Bool[Tensor, "P"]
    """Whether the texel's centre lies inside a triangle."""

    def image(self, values: Float[Tensor, "P C"], background: float = 0.0) -> Float[Tensor, "C S S"]:
        """The listed values as an image; `background` where no surface is."""
        flat = values.new_full((self.size * self.size, values.shape[1]), background)
        flat[self.index] = values
        return flat.T.reshape(-1, self.size, self.size)

    @property
    def inside_image(self) -> Bool[Tensor, "S S"]:
        flat = torch.zeros(self.size * self.size, dtype=torch.bool, device=self.index.device)
        flat[self.index[self.inside]] = True
        return flat.reshape(self.size, self.size)


def check_texture_size(size: int) -> None:
    """Raises: UserError unless SMALLEST <= size <= LARGEST."""
    if isinstance(size, bool) or not isinstance(size, int) or not SMALLEST <= size <= LARGEST:
        raise UserError(
            "texture size", size, "is not a size we bake", f"Choose {SMALLEST} to {LARGEST}, for example 1024"
        )


@torch.no_grad()
def texel_map(mesh: Mesh, size: int) -> TexelMap:
    """Rasterise the UV layout of `mesh` at `size` x `size` texels.

    Where UVs overlap, a texel shows the triangle whose border is farthest away.

    Raises:
        UserError: when the mesh has no UVs, or the size is not one we bake.
    """
    check_texture_size(size)
    if mesh.uvs is None or mesh.uv_faces is None:
        raise UserError("mesh.uvs", None, "are missing", "Unwrap the mesh first")
    corners = _texel_coordinates(mesh.uvs, size)[mesh.uv_faces]
    owner, depth = _rasterise(corners, size)
    index = (owner >= 0).nonzero().squeeze(1)
    face = owner[index]
    at = torch.stack([index % size, index // size], dim=-1) + 0.5
    barycentric = _edge_distances(at, corners[face]) * _edge_lengths(corners[face])
    barycentric = barycentric.clamp_min(0.0)
    barycentric = barycentric / barycentric.sum(-1, keepdim=True).clamp_min(1e-12)
    corner_ids = mesh.faces[face]
    normal = (mesh.vertex_normals[corner_ids] * barycentric[..., None]).sum(1)
    return TexelMap(
        size=size,
        index=index,
        face=face,
        barycentric=barycentric,
        position=(mesh.vertices[corner_ids] * barycentric[..., None]).sum(1),
        normal=torch.nn.functional.normalize(normal, dim=-1),
        footprint=_texel_footprints(mesh, corners)[face],
        inside=depth[index] >= 0,
    )


def _texel_coordinates(uvs: Float[Tensor, "T 2"], size: int) -> Float[Tensor, "T 2"]:
    """UVs as texels, x right and y down, centres at +0.5."""
    return torch.stack([uvs[:, 0] * size, (1.0 - uvs[:, 1]) * size], dim=-1)


def _rasterise(corners: Float[Tensor, "F 3 2"], size: int) -> tuple[Int[Tensor, "SS"], Float[Tensor, "SS"]]:
    """Per texel: the triangle it belongs to (-1: none) and how far inside its border it lies, texels."""
    device = corners.device
    low = (corners.amin(1) - 1.5).ceil().long().clamp(0, size)
    high = (corners.amax(1) + 0.5).floor().long().clamp(-1, size - 1)
    extent = (high - low + 1).clamp_min(0)
    extent[_doubled_area(corners).abs() < 1e-9] = 0
    counts = extent[:, 0] * extent[:, 1]
    owner = torch.full((size * size,), -1, dtype=torch.long, device=device)
    best = torch.full((size * size,), -1.0, device=device)
    ends = counts.cumsum(0)
    first, total = 0, int(counts.sum())
    while total and first < len(counts):
        before = int(ends[first - 1]) if first else 0
        last = int(torch.searchsorted(ends, torch.tensor(before + _CANDIDATES, device=device), right=True))
        last = max(last, first + 1)
        faces = torch.arange(first, min(last, len(counts)), device=device)
        _claim_texels(faces, corners, low, extent, counts, size, owner, best)
        first = last
    return owner, best


def _claim_texels(
    faces: Int[Tensor, "B"],
    corners: Float[Tensor, "F 3 2"],
    low: Int[Tensor, "F 2"],
    extent: Int[Tensor, "F 2"],
    counts: Int[Tensor, "F"],
    size: int,
    owner: Int[Tensor, "SS"],
    best: Float[Tensor, "SS"],
) -> None:
    """Give each texel around `faces` to the face it lies deepest in; updates `owner` and `best`."""
    repeats = counts[faces]
    face = faces.repeat_interleave(repeats)
    starts = repeats.cumsum(0) - repeats
    within = torch.arange(len(face), device=face.device) - starts.repeat_interleave(repeats)
    width = extent[face, 0]
    x, y = low[face, 0] + within % width, low[face, 1] + torch.div(within, width, rounding_mode="floor")
    depth = _edge_distances(torch.stack([x, y], dim=-1) + 0.5, corners[face]).amin(-1)
    near = depth > -1.0
    face, depth, texel = face[near], depth[near], (y * size + x)[near]
    before = best[texel]
    best.scatter_reduce_(0, texel, depth, "amax")
    owner[texel[best[texel] > before]] = -1
    wins = depth == best[texel]
    # On a shared edge two faces tie: the later one, whatever order the threads write in.
    owner.scatter_reduce_(0, texel[wins], face[wins], "amax")


def _doubled_area(corners: Float[Tensor, "F 3 2"]) -> Float[Tensor, "F"]:
    a, b, c = corners.unbind(1)
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])


def _edge_lengths(corners: Float[Tensor, "P 3 2"]) -> Float[Tensor, "P 3"]:
    """Length of the edge opposite each corner."""
    return (corners.roll(-1, 1) - corners.roll(-2, 1)).norm(dim=-1)


def _edge_distances(points: Float[Tensor, "P 2"], corners: Float[Tensor, "P 3 2"]) -> Float[Tensor, "P 3"]:
    """Signed distance to the edge opposite each corner, positive on the inner side, whatever the winding."""
    start, end = corners.roll(-1, 1), corners.roll(-2, 1)
    edge, offset = end - start, points[:, None] - start
    cross = edge[..., 0] * offset[..., 1] - edge[..., 1] * offset[..., 0]
    sign = torch.sign(_doubled_area(corners))[:, None]
    return sign * cross / edge.norm(dim=-1).clamp_min(1e-12)


def _texel_footprints(mesh: Mesh, corners: Float[Tensor, "F 3 2"]) -> Float[Tensor, "F"]:
    """Metres of surface per texel edge, for each face."""
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    area = torch.linalg.cross(b - a, c - a).norm(dim=-1)
    return (area / _doubled_area(corners).abs().clamp_min(1e-12)).sqrt()
