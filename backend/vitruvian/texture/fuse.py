"""Bringing views together: inside the sampling loop, and into a texture."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitruvian.core.camera import CameraRig
from vitruvian.core.images import GBuffer, Texture, ViewSet
from vitruvian.core.mesh import Mesh
from vitruvian.core.report import Report, silent
from vitruvian.render.texturing import render_texture
from vitruvian.texture.blend import Gather, Shares
from vitruvian.texture.fill import fill_holes, pad_islands, smooth_seams
from vitruvian.texture.project import find_sightings
from vitruvian.texture.surface import (
    flatten_pyramid,
    inward,
    pixel_footprints,
    pyramid,
    smoothstep,
    surface_views,
)
from vitruvian.texture.texels import TexelMap, check_texture_size, texel_map

_TEXELS_AT_ONCE = 1_200_000
"""Texels looked up together; bounds the memory at large sizes."""
_TEXELS_KEPT = 3_000_000
"""Up to here the look-ups are kept between passes; beyond, they are worked out again to save memory."""


class TextureFuser:
    """Consensus of all views on the surface, shown to every view again.

    Each point of the surface has one colour: the weighted mean of the views that see it. It is evaluated at
    the surface point behind every pixel, so it closes loops as a texture does, but a view's own pixels are
    read without any resampling; a UV texture in between would blur them twice. All geometry is worked out
    here, once; a call is one sparse product. Pixels on a silhouette or a depth edge stay as they are: they
    mix two surfaces, and colouring them in would move the edge a little at every step.
    """

    def __init__(self, mesh: Mesh, rig: CameraRig, gbuffer: GBuffer) -> None:
        self._chain = pyramid(surface_views(mesh, rig, gbuffer))
        self._mask = gbuffer.mask
        views = self._chain[0]
        footprint = pixel_footprints(views)
        self._sightings = find_sightings(
            views.position[self._mask],
            views.normal[self._mask],
            self._chain,
            footprint[self._mask],
            cubic=True,
        )
        self._shares = Shares(self._sightings, rig)
        self._gather = Gather(self._sightings, self._chain)
        self._support = torch.zeros(self._mask.shape, dtype=torch.long, device=self._mask.device)
        self._support[self._mask] = self._shares.count_good()
        self._seen = self._support[self._mask] > 0
        self._keep = (1.0 - smoothstep(views.inset[self._mask][self._seen] - 0.5))[:, None]

    @torch.no_grad()
    def __call__(
        self, images: Float[Tensor, "N 3 H W"], power: float = 4.0
    ) -> tuple[Float[Tensor, "N 3 H W"], Int[Tensor, "N H W"]]:
        """Fuse one set of images.

        Args:
            images: one per camera of the rig, any range.
            power: exponent of the viewing angle's cosine; 0 averages, 6 nearly picks the best view.

        Returns:
            The fused images, and the number of views that see each pixel's surface well. It is 0 for pixels
            left as they came: the background, and what is edge-on to every view.
        """
        colours = self._gather(flatten_pyramid(images.float(), self._chain), self._shares(power))
        fused = images.permute(0, 2, 3, 1).clone()
        inner = self._support > 0
        fused[inner] = torch.lerp(colours[self._seen].to(images.dtype), fused[inner], self._keep)
        return fused.permute(0, 3, 1, 2).contiguous(), self._support


@torch.no_grad()
def fuse(
    views: ViewSet,
    mesh: Mesh,
    size: int,
    power: float = 6.0,
    sharpen: int = 1,
    report: Report = silent,
) -> Texture:
    """Bake the views into one texture.

    Each texel reads the views that see it (inverse sampling), weighted by cos^power and by how far they can
    be trusted there; what no view saw is filled from the surface around it. Then the texture is drawn into
    the views, and what is missing is baked on top where the views are clear, `sharpen` times: linear
    interpolation into the texture and back would blur otherwise.

    Raises:
        UserError: for a mesh without UVs or a size we do not bake.
        Cancelled: `report` was told to stop.
    """
    check_texture_size(size)
    total = 5 + sharpen
    report("texture", 0, total)
    texels = texel_map(mesh, size)
    report("texture", 1, total)
    bake = Bake(texels, mesh, views, power)
    report("texture", 2, total)
    colours, coverage = bake(views.images.float())
    report("texture", 3, total)
    seen, trust = coverage > 0, smoothstep(coverage / 0.3)[:, None]
    for turn in range(sharpen):
        drawn = render_texture(mesh, views.gbuffer, padded(texels, colours, seen))
        missing, _ = bake(views.images - drawn)
        colours = (colours + missing * trust).clamp(0.0, 1.0)
        report("texture", 4 + turn, total)
    colours = fill_holes(colours.clamp(0.0, 1.0), coverage, texels.position, texels.normal)
    report("texture", total - 1, total)
    colours = smooth_seams(colours, texels)
    report("texture", total, total)
    inside = texels.inside_image
    return Texture(
        albedo=padded(texels, colours, torch.ones_like(seen)),
        coverage=texels.image(coverage[:, None])[0] * inside,
        inside=inside,
    )


def padded(
    texels: TexelMap, colours: Float[Tensor, "P 3"], known: Bool[Tensor, "P"]
) -> Float[Tensor, "3 S S"]:
    """The texels that are known as an image, continued over everything else."""
    flat = torch.zeros(texels.size**2, dtype=torch.bool, device=colours.device)
    flat[texels.index[known]] = True
    return pad_islands(texels.image(colours), flat.reshape(texels.size, texels.size))


class Bake:
    """Reads images at the texels; what sees what is worked out once."""

    def __init__(self, texels: TexelMap, mesh: Mesh, views: ViewSet, power: float) -> None:
        self._texels, self._rig, self._power = texels, views.rig, power
        self._chain = pyramid(surface_views(mesh, views.rig, views.gbuffer))
        self._inward = inward(self._chain[0])
        self._kept = list(self._parts()) if len(texels.index) <= _TEXELS_KEPT else None

    def __call__(self, images: Float[Tensor, "N 3 H W"]) -> tuple[Float[Tensor, "P 3"], Float[Tensor, "P"]]:
        """Colour of each texel (0 where no view sees it), and how well it is seen (0 to 1)."""
        inner = images.permute(1, 0, 2, 3).reshape(3, -1)[:, self._inward].permute(1, 0, 2, 3)
        pixels = flatten_pyramid(inner, self._chain)
        parts = self._kept if self._kept is not None else self._parts()
        colours, coverage = zip(
            *((gather(pixels, share), seen) for gather, share, seen in parts), strict=True
        )
        return torch.cat(colours), torch.cat(coverage)

    def _parts(self) -> Iterator[tuple[Gather, Float[Tensor, "S"], Float[Tensor, "B"]]]:
        """Gather, shares and coverage of one batch of texels after the other."""
        t = self._texels
        for start in range(0, len(t.index), _TEXELS_AT_ONCE):
            part = slice(start, start + _TEXELS_AT_ONCE)
            sightings = find_sightings(t.position[part], t.normal[part], self._chain, t.footprint[part])
            shares = Shares(sightings, self._rig)
            yield Gather(sightings, self._chain), shares(self._power), shares.coverage()
