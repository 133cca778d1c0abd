"""Rasteriser on CUDA: NVIDIA Kaolin's DIB-R kernel. The only file that knows Kaolin.

Kaolin's wheels come from NVIDIA's own index (docs/installation.md); PyPI's `kaolin` is an empty placeholder.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitruvian.core.camera import CameraRig, project
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh

NEAR = 1e-4
"""Metres in front of a camera; a face with a corner nearer than this, or behind, is not drawn."""


@cache
def available() -> bool:
    """Whether a working Kaolin is installed (its placeholder on PyPI has no renderer)."""
    try:
        _kernel()
    except (ImportError, AttributeError):
        return False
    return True


def rasterize(mesh: Mesh, rig: CameraRig) -> GBuffer:
    """The G-buffer of `mesh` seen by every camera of `rig`; both on the same CUDA device.

    Vertices are projected here and not by Kaolin, so orthographic cameras, skew and off-centre principal
    points work.
    """
    pixels, z = project(mesh.vertices.detach(), rig)
    size = torch.tensor([rig.width, rig.height], dtype=pixels.dtype, device=pixels.device)
    # Kaolin's image plane runs from -1 to 1, x right and y up, pixel centres as ours.
    image = (2 * pixels / size - 1) * torch.tensor([1.0, -1.0], dtype=pixels.dtype, device=pixels.device)
    closeness = _closeness(z, rig.orthographic)
    corner_z, corner_closeness = z[:, mesh.faces], closeness[:, mesh.faces]
    in_front = (corner_z > NEAR).all(dim=-1)
    one_hot = torch.eye(3, dtype=pixels.dtype, device=pixels.device)
    features = one_hot.expand(len(rig), len(mesh.faces), 3, 3).contiguous()
    weights, face_id = _kernel()(
        rig.height,
        rig.width,
        corner_closeness.contiguous(),
        image[:, mesh.faces].contiguous(),
        features,
        valid_faces=in_front,
        backend="cuda",
    )
    barycentric, depth = _surface_weights(weights, face_id, corner_z, rig.orthographic)
    return GBuffer(face_id, barycentric, depth)


def _closeness(z: Float[Tensor, "N V"], orthographic: Bool[Tensor, "N"]) -> Float[Tensor, "N V"]:
    """What the depth test maximises, affine over the image so that the kernel interpolates it exactly.

    Given -z, Kaolin interpolates depth linearly on the image, which is wrong under perspective; 1/z is right.
    """
    return torch.where(orthographic[:, None], -z, 1 / z.clamp(min=NEAR))


def _surface_weights(
    weights: Float[Tensor, "N H W 3"],
    face_id: Tensor,
    corner_z: Float[Tensor, "N F 3"],
    orthographic: Bool[Tensor, "N"],
) -> tuple[Float[Tensor, "N H W 3"], Float[Tensor, "N H W"]]:
    """Weights on the surface and camera depth, from weights on the image (perspective correction)."""
    n = len(corner_z)
    hit = face_id >= 0
    views = torch.arange(n, device=face_id.device)[:, None, None].expand_as(face_id)
    z = corner_z[views, face_id.clamp(min=0)]
    divisor = torch.where(orthographic[:, None, None, None], torch.ones_like(z), z)
    corrected = weights / divisor.clamp(min=NEAR)
    total = corrected.sum(dim=-1, keepdim=True)
    barycentric = corrected / torch.where(total > 0, total, torch.ones_like(total)) * hit[..., None]
    return barycentric, (barycentric * z).sum(dim=-1)


def _kernel() -> Callable[..., tuple[Tensor, Tensor]]:
    """`kaolin.render.mesh.rasterize`."""
    from kaolin.render.mesh import rasterize as kaolin_rasterize  # pyright: ignore[reportMissingImports]

    return kaolin_rasterize
