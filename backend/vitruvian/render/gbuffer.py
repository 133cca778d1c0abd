"""Attributes on G-buffers: interpolation over faces, texture look-ups, and a check that something is seen."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitruvian.core.camera import CameraRig
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


def sample_texture(albedo: Float[Tensor, "3 S S"], uv: Float[Tensor, "N H W 2"]) -> Float[Tensor, "N 3 H W"]:
    """Bilinear texture look-up. UV origin bottom-left; row 0 of `albedo` is the top (v = 1).

    Outside [0, 1] the border texel is repeated. Differentiable in both arguments.
    """
    n, h, w, _ = uv.shape
    colours = _sample_points(albedo, uv.reshape(-1, 2))
    return colours.reshape(n, h, w, -1).permute(0, 3, 1, 2)


def render_texture(
    mesh: Mesh, gbuffer: GBuffer, albedo: Float[Tensor, "3 S S"], background: float = 1.0
) -> Float[Tensor, "N 3 H W"]:
    """Unlit pictures of the textured mesh, on a plain background.

    Raises:
        UserError: if the mesh has no UVs.
    """
    if mesh.uvs is None or mesh.uv_faces is None:
        raise UserError("mesh.uvs", None, "has no texture coordinates", "Unwrap the mesh first")
    pixels, uv = interpolate_foreground(gbuffer, mesh.uv_faces, mesh.uvs)
    colours = _sample_points(albedo, uv)
    n, h, w = gbuffer.face_id.shape
    out = torch.full((n * h * w, 3), background, dtype=colours.dtype, device=colours.device)
    return out.index_copy(0, pixels, colours).reshape(n, h, w, 3).permute(0, 3, 1, 2).contiguous()


def _sample_points(albedo: Float[Tensor, "3 S S"], uv: Float[Tensor, "P 2"]) -> Float[Tensor, "P 3"]:
    grid = torch.stack([2 * uv[:, 0] - 1, 1 - 2 * uv[:, 1]], dim=-1)[None, None].to(albedo.dtype)
    sampled = torch.nn.functional.grid_sample(
        albedo[None], grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[0, :, 0].T


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
