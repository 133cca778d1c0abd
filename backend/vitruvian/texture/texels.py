"""Which point of the surface each texel of a UV layout shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitruvian.core.errors import UserError
from vitruvian.core.mesh import Mesh
from vitruvian.core.parallel import for_each
from vitruvian.texture.layout import Triangles, claimed_texels, triangles_of

SMALLEST, LARGEST = 512, 8192
"""Jobs are bounded earlier, at what clients take back: `job.check_job`."""
_BATCH = 1 << 17
"""Texels worked on together."""
_GROUPS = 26


@dataclass(frozen=True)
class TexelMap:
    """The texels that show a surface, as flat lists; those that follow each other lie and face alike.

    Texels whose centre lies up to one texel outside an island are listed too, with the nearest point of the
    island, so that bilinear lookups along the border find real samples; `inside` tells them apart. Positions
    and normals are worked out for those who ask: kept, they would take more memory than everything else.
    """

    size: int
    """Edge length of the square texture, texels."""
    index: Int[Tensor, "P"]
    """Flat texel index: row * size + column, row 0 at the top (v = 1)."""
    face: Int[Tensor, "P"]
    """int32."""
    barycentric: Float[Tensor, "P 3"]
    inside: Bool[Tensor, "P"]
    """Whether the texel's centre lies inside a triangle."""
    faces: Int[Tensor, "F 3"]
    """The mesh's."""
    corners: Float[Tensor, "V 6"]
    """Position and unit normal of the mesh's vertices."""
    face_footprint: Float[Tensor, "F"]
    """Edge length of a texel on each face, metres."""

    def surface(
        self, rows: slice | Int[Tensor, "B"]
    ) -> tuple[Float[Tensor, "3 B"], Float[Tensor, "3 B"], Float[Tensor, "B"]]:
        """Of some texels: position (world, metres), unit normal, and edge length on the surface (metres).

        Normals are interpolated from the vertices'.
        """
        face = self.face[rows].long()
        ids, weights = self.faces[face], self.barycentric[rows]
        mixed = sum(self.corners.index_select(0, ids[:, k]) * weights[:, k : k + 1] for k in range(3))
        assert isinstance(mixed, Tensor)
        flat = mixed.T.contiguous()
        length = (flat[3] ** 2 + flat[4] ** 2 + flat[5] ** 2).sqrt().clamp_min(1e-12)
        return flat[:3], flat[3:] / length, self.face_footprint[face]

    @property
    def position(self) -> Float[Tensor, "P 3"]:
        """World, metres."""
        return self._all(0)

    @property
    def normal(self) -> Float[Tensor, "P 3"]:
        """Unit, interpolated from the vertex normals."""
        return self._all(1)

    @property
    def footprint(self) -> Float[Tensor, "P"]:
        """Edge length of the texel on the surface, metres."""
        return self.face_footprint[self.face.long()]

    def _all(self, which: int) -> Float[Tensor, "P 3"]:
        out = torch.empty(len(self.index), 3, device=self.index.device)

        def fill(part: slice) -> None:
            out[part] = self.surface(part)[which].T

        for_each(fill, _parts(len(out)), out.device)
        return out

    def image(self, values: Float[Tensor, "C P"], background: float = 0.0) -> Float[Tensor, "C S S"]:
        """The listed values as an image; `background` where no surface is."""
        flat = values.new_full((len(values), self.size * self.size), background)
        for_each(lambda c: flat[c].index_copy_(0, self.index, values[c]), range(len(values)), values.device)
        return flat.reshape(-1, self.size, self.size)

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
    triangles = triangles_of(mesh.uvs, mesh.uv_faces, size)
    index, face, inside = _grouped(_neighbourhoods(mesh), *claimed_texels(triangles, size))
    barycentric = torch.empty(len(index), 3, device=index.device)

    def fill(part: slice) -> None:
        barycentric[part] = _barycentric(triangles, face[part].long(), index[part], size)

    for_each(fill, _parts(len(index)), index.device)
    return TexelMap(
        size=size,
        index=index,
        face=face,
        barycentric=barycentric,
        inside=inside,
        faces=mesh.faces,
        corners=torch.cat([mesh.vertices, mesh.vertex_normals], dim=1),
        face_footprint=_texel_footprints(mesh, triangles),
    )


def _neighbourhoods(mesh: Mesh) -> Int[Tensor, "F"]:
    """A group for each face: eight directions around the body at three heights, and what looks up or down.

    Cameras that see one face of a group see most of it.
    """
    x, y, z = mesh.face_normals.unbind(1)
    around = ((torch.atan2(y, x) / math.tau + 0.5) * 8.0).long().clamp(0, 7)
    height = mesh.vertices[mesh.faces][:, :, 2].mean(1)
    low, high = height.min(), height.max()
    band = ((height - low) / (high - low).clamp_min(1e-9) * 3.0).long().clamp(0, 2)
    group = torch.where(z > 0.8, 24, torch.where(z < -0.8, 25, band * 8 + around))
    return group.to(torch.uint8)


def _grouped(
    group: Int[Tensor, "F"], index: Int[Tensor, "P"], face: Int[Tensor, "P"], inside: Bool[Tensor, "P"]
) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"], Bool[Tensor, "P"]]:
    """The texels sorted by the group of their face: few views see all of one group, many see none of it."""
    of_texel = torch.cat(for_each(lambda part: group[face[part].long()], _parts(len(face)), face.device))

    def pick(which: int) -> tuple[Tensor, ...]:
        rows = (of_texel == which).nonzero().squeeze(1)
        return index[rows], face[rows], inside[rows]

    columns = zip(*for_each(pick, range(_GROUPS), face.device), strict=True)
    index, face, inside = (torch.cat(column) for column in columns)
    return index, face, inside


def _parts(count: int) -> list[slice]:
    return [slice(i, min(i + _BATCH, count)) for i in range(0, count, _BATCH)]


def _barycentric(
    triangles: Triangles, face: Int[Tensor, "B"], index: Int[Tensor, "B"], size: int
) -> Float[Tensor, "B 3"]:
    """Weights of the corners at the texels' centres; of the nearest point, about, where those lie outside."""
    x = (index % size - triangles.left[face]) + 0.5
    y = (torch.div(index, size, rounding_mode="floor") - triangles.top[face]) + 0.5
    distances = triangles.edges[:, :, face]
    weights = (distances[:, 0] * x + distances[:, 1] * y + distances[:, 2]) * triangles.lengths[:, face]
    weights = weights.clamp_min(0.0)
    return (weights / weights.sum(0).clamp_min(1e-12)).T


def _texel_footprints(mesh: Mesh, triangles: Triangles) -> Float[Tensor, "F"]:
    """Metres of surface per texel edge, for each face."""
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    area = torch.linalg.cross(b - a, c - a).norm(dim=-1)
    return (area / triangles.doubled_area.abs().clamp_min(1e-12)).sqrt()
