"""The texture while it is still being painted: small, and quick once the geometry is known."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.core.camera import CameraRig
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh
from vitruvian.texture.blend import Gather, Shares
from vitruvian.texture.fuse import padded
from vitruvian.texture.project import find_sightings
from vitruvian.texture.surface import flatten_pyramid, inward, pyramid, surface_views
from vitruvian.texture.texels import SMALLEST, TexelMap, texel_map

_GREY = 0.5


class TexturePreview:
    """Bakes views into a small texture. What sees what is worked out at the first call, so an unused preview
    costs nothing."""

    def __init__(self, mesh: Mesh, rig: CameraRig, gbuffer: GBuffer, size: int = SMALLEST) -> None:
        self._mesh, self._rig, self._gbuffer, self._size = mesh, rig, gbuffer, size
        self._known: tuple[TexelMap, KeptBake] | None = None

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "3 S S"]:
        """The texture that these views make, grey where none sees the body."""
        if self._known is None:
            texels = texel_map(self._mesh, self._size)
            self._known = texels, KeptBake(texels, self._mesh, self._rig, self._gbuffer, power=6.0)
        texels, bake = self._known
        colours, coverage = bake(images.float())
        return padded(texels, torch.where(coverage > 0, colours.clamp(0.0, 1.0), _GREY))


class KeptBake:
    """Reads images at the texels, like `bake.Bake`, and keeps every look-up: much memory for a large texture,
    but reading another set of images is one sparse product."""

    def __init__(self, texels: TexelMap, mesh: Mesh, rig: CameraRig, gbuffer: GBuffer, power: float) -> None:
        self._chain = pyramid(surface_views(mesh, rig, gbuffer))
        self._moved, self._source = inward(self._chain[0])
        sightings = find_sightings(texels.position, texels.normal, self._chain, texels.footprint)
        shares = Shares(sightings, rig)
        self._gather, self._share = Gather(sightings, self._chain), shares(power)
        self._coverage = shares.coverage()

    def __call__(self, images: Float[Tensor, "N 3 H W"]) -> tuple[Float[Tensor, "3 P"], Float[Tensor, "P"]]:
        """Colour of each texel (0 where no view sees it), and how well it is seen (0 to 1)."""
        flat = images.permute(1, 0, 2, 3).reshape(3, -1)
        inner = flat.index_copy(1, self._moved, flat[:, self._source])
        inner = inner.reshape(3, *images.shape[:1], *images.shape[2:]).permute(1, 0, 2, 3)
        return self._gather(flatten_pyramid(inner, self._chain), self._share).T, self._coverage
