"""The mesh that every stage works on, and the rig that may come with it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitruvian.core.errors import UserError


@dataclass(frozen=True)
class Rig:
    """A skeleton with linear-blend-skinning weights, as it came with the proxy."""

    joint_names: tuple[str, ...]
    joint_parents: Int[Tensor, "J"]
    """Index of the parent joint, -1 for the root. Parents come before children."""
    T_world_joint: Float[Tensor, "J 4 4"]
    """Joint frames in the pose of `Mesh.vertices`, metres."""
    T_rest_joint: Float[Tensor, "J 4 4"]
    """Joint frames in the rest pose of `rest_vertices`, metres."""
    rest_vertices: Float[Tensor, "V 3"]
    weight_joints: Int[Tensor, "V K"]
    """Which joints move each vertex."""
    weights: Float[Tensor, "V K"]
    """By how much; rows sum to 1, unused slots are 0."""

    def to(self, device: torch.device | str) -> Rig:
        return replace(self, **{k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)})


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh in world space: metres, right-handed, +Z up, the body facing -Y."""

    vertices: Float[Tensor, "V 3"]
    faces: Int[Tensor, "F 3"]
    """Counter-clockwise seen from outside."""
    uvs: Float[Tensor, "T 2"] | None = None
    """Texture coordinates in [0, 1], origin bottom-left."""
    uv_faces: Int[Tensor, "F 3"] | None = None
    """Corner indices into `uvs`; None exactly where `uvs` is None."""
    rig: Rig | None = None
    name: str = "body"
    replaced_uvs: Float[Tensor, "R 2"] | None = None
    """The mesh's own UVs, where they could not carry a texture and `uvs` are new ones."""
    replaced_uv_faces: Int[Tensor, "F 3"] | None = None

    def to(self, device: torch.device | str) -> Mesh:
        moved = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved, rig=self.rig.to(device) if self.rig is not None else None)

    @property
    def face_normals(self) -> Float[Tensor, "F 3"]:
        """Unit normals; zero for faces without area."""
        a, b, c = self.vertices[self.faces].unbind(1)
        return torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1)

    @property
    def vertex_normals(self) -> Float[Tensor, "V 3"]:
        """Unit normals, area-weighted over the adjacent faces; differentiable in `vertices`."""
        a, b, c = self.vertices[self.faces].unbind(1)
        area_normals = torch.linalg.cross(b - a, c - a)
        summed = torch.zeros_like(self.vertices)
        for corner in range(3):
            summed = summed.index_add(0, self.faces[:, corner], area_normals)
        return torch.nn.functional.normalize(summed, dim=-1)


def check_mesh(mesh: Mesh) -> None:
    """Refuse a mesh that later stages cannot work on.

    Raises:
        UserError: naming the field (such as `mesh.vertices`), what is wrong with it, and the remedy.
    """
    vertices, faces = mesh.vertices, mesh.faces
    if len(vertices) == 0 or len(faces) == 0:
        raise UserError(
            "mesh",
            f"{len(vertices)} vertices, {len(faces)} faces",
            "is empty",
            "Choose a mesh with at least one face",
        )
    bad = ~torch.isfinite(vertices).all(dim=-1)
    if bad.any():
        index = int(bad.nonzero()[0])
        raise UserError(
            f"mesh.vertices[{index}]",
            vertices[index].tolist(),
            f"is not a finite position ({int(bad.sum())} such vertices)",
            "Remove the broken vertices, or export the mesh again",
        )
    _check_indices("mesh.faces", faces, len(vertices), "vertices")
    extent = float((vertices.amax(0) - vertices.amin(0)).max())
    if not 1e-3 <= extent <= 1e3:
        raise UserError(
            "mesh.vertices",
            f"{extent:.3g} m across",
            "is not a plausible size for a body",
            "Scale the mesh to metres",
        )
    if (mesh.uvs is None) != (mesh.uv_faces is None):
        raise UserError(
            "mesh.uvs", mesh.uvs is not None, "has UVs without UV faces, or the reverse", "Give both or none"
        )
    if mesh.uvs is not None and mesh.uv_faces is not None:
        if mesh.uv_faces.shape != faces.shape:
            raise UserError(
                "mesh.uv_faces",
                tuple(mesh.uv_faces.shape),
                f"does not match {tuple(faces.shape)} faces",
                "Unwrap the mesh again",
            )
        _check_indices("mesh.uv_faces", mesh.uv_faces, len(mesh.uvs), "UVs")
        if not torch.isfinite(mesh.uvs).all():
            raise UserError("mesh.uvs", "NaN or infinite", "are not finite", "Unwrap the mesh again")


def _check_indices(field: str, faces: Tensor, count: int, what: str) -> None:
    outside = ((faces < 0) | (faces >= count)).any(dim=-1)
    if outside.any():
        index = int(outside.nonzero()[0])
        raise UserError(
            f"{field}[{index}]",
            faces[index].tolist(),
            f"points outside the {count} {what}",
            "Repair or re-export the mesh",
        )
