"""One rasteriser interface: what each pixel sees, soft silhouettes, texture look-ups.

Kaolin does the work on CUDA where it is installed. Without it Embree rasterises on the CPU and torch does the
rest on whatever device the tensors are on, to the same results.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample

from vitruvian.core.camera import CameraRig
from vitruvian.core.errors import UserError
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh
from vitruvian.render.gbuffer import follow_vertices


def rasterize(mesh: Mesh, rig: CameraRig, device: torch.device | str | None = None) -> GBuffer:
    """The G-buffer of `mesh` seen by every camera of `rig`, on `device` (default: the mesh's).

    Both rasterisers sample at pixel centres, see both sides of a face, and see nothing behind a camera. A rig
    that sees nothing gives an empty G-buffer: `gbuffer.check_visible` tells the user. Where the vertices ask
    for gradients, weights and depth are differentiable in them; which face a pixel sees is held.
    """
    target = torch.device(device) if device is not None else mesh.vertices.device
    if _kaolin_serves(target):
        from vitruvian.render import raster_kaolin

        return raster_kaolin.rasterize(mesh.to(target), rig.to(target))
    from vitruvian.render import raster_embree

    gbuffer = raster_embree.rasterize(mesh, rig).to(target)
    if not mesh.vertices.requires_grad:
        return gbuffer
    return follow_vertices(gbuffer, mesh.to(target), rig.to(target))


def soft_silhouette(
    mesh: Mesh, rig: CameraRig, gbuffer: GBuffer | None = None, blur: float = 1.0
) -> Float[Tensor, "N H W"]:
    """Masks in [0, 1] that fall off around the body over `blur` pixels (DIB-R); differentiable in vertices.

    On the device of `mesh`, where rig and G-buffer are too. The gradient of a pixel outside the body says how
    to move the outline towards it; pixels inside are 1 and have none.

    Args:
        gbuffer: what `rasterize` gave for the same mesh and rig; made here if left out.
        blur: pixels at which a lone face's influence has fallen to 1/e.

    Raises:
        UserError: unless `blur` is a positive number.
    """
    if not (blur > 0 and math.isfinite(blur)):
        raise UserError("blur", blur, "is not a width in pixels", "Use a number above 0, such as 1")
    covered = (gbuffer if gbuffer is not None else rasterize(mesh, rig)).mask
    if _kaolin_serves(mesh.vertices.device):
        from vitruvian.render import raster_kaolin

        return raster_kaolin.soft_silhouette(mesh, rig, covered, blur)
    from vitruvian.render import silhouette

    return silhouette.soft_silhouette(mesh, rig, covered, blur)


def sample_points(albedo: Float[Tensor, "C S S"], uv: Float[Tensor, "P 2"]) -> Float[Tensor, "P C"]:
    """Bilinear texture look-ups; UV origin bottom-left, row 0 of `albedo` is the top (v = 1).

    Outside [0, 1] the border texel is repeated. Differentiable in both arguments.
    """
    if _kaolin_serves(albedo.device):
        from vitruvian.render import raster_kaolin

        return raster_kaolin.sample_points(albedo, uv)
    grid = torch.stack([2 * uv[:, 0] - 1, 1 - 2 * uv[:, 1]], dim=-1)[None, None].to(albedo.dtype)
    sampled = grid_sample(albedo[None], grid, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled[0, :, 0].T


def _kaolin_serves(device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    from vitruvian.render import raster_kaolin

    return raster_kaolin.available()
