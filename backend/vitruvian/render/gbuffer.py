"""Attributes on G-buffers: interpolation over faces, gradients, and a check that something is seen."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitruvian.core.camera import CameraRig, pixel_rays
from vitruvian.core.errors import UserError
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh


def interpolate(
    gbuffer: GBuffer, faces: Int[Tensor, "F 3"], attribute: Float[Tensor, "A C"]
) -> Float[Tensor, "N H W C"]:
    """Barycentric mix of a per-corner attribute at every pixel; zeros on the background.

    Differentiable in `attribute`. `faces` says which rows of `attribute` the corners of a face use:
    `mesh.faces` for vertex attributes, `mesh.uv_faces` for texture coordinates.
    """
    pixels, values = interpolate_foreground(gbuffer, faces, attribute)
    out = values.new_zeros(gbuffer.face_id.numel(), attribute.shape[1])
    return out.index_copy(0, pixels, values).reshape(*gbuffer.face_id.shape, -1)


def interpolate_foreground(
    gbuffer: GBuffer, faces: Int[Tensor, "F 3"], attribute: Float[Tensor, "A C"]
) -> tuple[Int[Tensor, "P"], Float[Tensor, "P C"]]:
    """The same for foreground pixels only: flat indices into N*H*W, and the mixed values there."""
    face_id = gbuffer.face_id.reshape(-1)
    pixels = (face_id >= 0).nonzero().squeeze(1)
    corners = faces[face_id[pixels]]
    weights = gbuffer.barycentric.reshape(-1, 3)[pixels].to(attribute.dtype)
    # Three row gathers instead of one [P, 3, C] gather: less memory, and faster on a CPU.
    values = sum(attribute.index_select(0, corners[:, k]) * weights[:, k : k + 1] for k in range(3))
    assert isinstance(values, Tensor)
    return pixels, values


def follow_vertices(gbuffer: GBuffer, mesh: Mesh, rig: CameraRig) -> GBuffer:
    """The same G-buffer with weights and depth computed again as functions of the vertices, for gradients.

    Which face a pixel sees is taken from `gbuffer`; where its ray meets that face's plane follows from the
    corners (Möller and Trumbore 1997, "Fast, minimum storage ray/triangle intersection").
    """
    mask = gbuffer.mask
    origins, directions = (rays[mask] for rays in pixel_rays(rig))
    corners = mesh.vertices[mesh.faces[gbuffer.face_id[mask]]]
    edge_1, edge_2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    across = torch.linalg.cross(directions, edge_2)
    from_corner = origins - corners[:, 0]
    upright = torch.linalg.cross(from_corner, edge_1)
    # A face seen exactly edge-on has no such point; its pixels keep finite values and get no gradient.
    determinant = (edge_1 * across).sum(-1)
    crossed = determinant.abs() > 1e-20
    inverse = torch.where(crossed, 1 / determinant.where(crossed, 1.0), 0.0)
    weight_1 = (from_corner * across).sum(-1) * inverse
    weight_2 = (directions * upright).sum(-1) * inverse
    weights = torch.stack([1 - weight_1 - weight_2, weight_1, weight_2], dim=-1)
    pixels = mask.nonzero(as_tuple=True)
    return GBuffer(
        gbuffer.face_id,
        torch.zeros_like(gbuffer.barycentric).index_put(pixels, weights),
        torch.zeros_like(gbuffer.depth).index_put(pixels, (edge_2 * upright).sum(-1) * inverse),
    )


def check_visible(gbuffer: GBuffer, rig: CameraRig) -> None:
    """Refuse a rig of which no camera sees the body.

    Raises:
        UserError: naming the cameras and how to repair them.
    """
    if not bool((gbuffer.face_id >= 0).any()):
        raise UserError(
            "cameras",
            ", ".join(rig.names),
            "no camera sees the body",
            "Point them at the body (metres, +Z up, OpenCV axes), or leave the rig out to use the default",
        )
