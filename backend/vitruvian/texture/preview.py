"""The texture while it is still being painted: small, and quick once the geometry is known."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.core.camera import CameraRig
from vitruvian.core.images import GBuffer, ViewSet
from vitruvian.core.mesh import Mesh
from vitruvian.texture.fuse import Bake, padded
from vitruvian.texture.texels import SMALLEST, TexelMap, texel_map

_GREY = 0.5


class TexturePreview:
    """Bakes views into a small texture. What sees what is worked out at the first call, so an unused preview
    costs nothing."""

    def __init__(self, mesh: Mesh, rig: CameraRig, gbuffer: GBuffer, size: int = SMALLEST) -> None:
        self._mesh, self._rig, self._gbuffer, self._size = mesh, rig, gbuffer, size
        self._known: tuple[TexelMap, Bake] | None = None

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "3 S S"]:
        """The texture that these views make, grey where none sees the body."""
        if self._known is None:
            texels = texel_map(self._mesh, self._size)
            views = ViewSet(images, self._rig, self._gbuffer)
            self._known = texels, Bake(texels, self._mesh, views, power=6.0)
        texels, bake = self._known
        colours, coverage = bake(images.float())
        seen = (coverage > 0)[:, None]
        grey = torch.full_like(colours, _GREY)
        filled = torch.where(seen, colours.clamp(0.0, 1.0), grey)
        return padded(texels, filled, torch.ones_like(seen[:, 0]))
