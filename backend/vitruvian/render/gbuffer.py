"""Attributes on G-buffers: interpolation over faces, and a check that something is seen."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from vitruvian.core.camera import CameraRig
from vitruvian.core.errors import UserError
from vitruvian.core.images import GBuffer


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
