"""One rasteriser interface: which face each pixel sees, where on it, and how far away."""

from __future__ import annotations

import torch

from vitruvian.core.camera import CameraRig
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh


def rasterize(mesh: Mesh, rig: CameraRig, device: torch.device | str | None = None) -> GBuffer:
    """The G-buffer of `mesh` seen by every camera of `rig`, on `device` (default: the mesh's).

    Kaolin on CUDA where it is installed, Embree ray casting otherwise. Both sample at pixel centres, see both
    sides of a face, and see nothing behind a camera. A rig that sees nothing gives an empty G-buffer:
    `gbuffer.check_visible` tells the user.
    """
    target = torch.device(device) if device is not None else mesh.vertices.device
    if target.type == "cuda":
        from vitruvian.render import raster_kaolin

        if raster_kaolin.available():
            return raster_kaolin.rasterize(mesh.to(target), rig.to(target))
    from vitruvian.render import raster_embree

    return raster_embree.rasterize(mesh, rig).to(target)
