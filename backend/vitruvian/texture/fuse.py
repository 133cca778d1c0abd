"""Bringing views together: inside the sampling loop, and into a texture."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitruvian.core.camera import CameraRig
from vitruvian.core.images import GBuffer, Texture, ViewSet
from vitruvian.core.mesh import Mesh
from vitruvian.core.report import Report, silent
from vitruvian.render.texturing import render_texture
from vitruvian.texture.bake import Bake
from vitruvian.texture.blend import Gather, Shares
from vitruvian.texture.fill import PADDING, fill_holes, pad_islands, smooth_seams
from vitruvian.texture.project import find_pixel_sightings
from vitruvian.texture.surface import (
    flatten_pyramid,
    pixel_footprints,
    pyramid,
    smoothstep,
    surface_views,
)
from vitruvian.texture.texels import TexelMap, check_texture_size, texel_map

_DRAWN = 4
"""Texels around the islands that must be right where a texture is only drawn."""


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
        self._sightings = find_pixel_sightings(self._chain, self._mask, footprint, cubic=True)
        self._shares = Shares(self._sightings, rig)
        self._gather = Gather(self._sightings, self._chain)
        self._support = torch.zeros(self._mask.shape, dtype=torch.long, device=self._mask.device)
        self._support[self._mask] = self._shares.count_good()
        # Places as numbers, not as masks: an index by a mask makes the processor wait for a graphics card.
        self._inner = (self._support.flatten() > 0).nonzero()[:, 0]
        self._seen = (self._support[self._mask] > 0).nonzero()[:, 0]
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
        fused = images.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)
        flat = fused.view(-1, 3)
        flat[self._inner] = torch.lerp(colours[self._seen].to(images.dtype), flat[self._inner], self._keep)
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
    colours, coverage = bake(views.images)
    report("texture", 3, total)
    seen = coverage > 0
    for turn in range(sharpen):
        drawn = render_texture(mesh, views.gbuffer, padded(texels, colours, seen, reach=_DRAWN))
        missing = bake.reread(torch.sub(views.images, drawn, out=drawn))
        colours.addcmul_(missing, smoothstep(coverage / 0.3)).clamp_(0.0, 1.0)
        report("texture", 4 + turn, total)
    colours.clamp_(0.0, 1.0)
    fill_holes(colours, coverage, lambda rows: texels.surface(rows)[:2])
    report("texture", total - 1, total)
    smooth_seams(colours, texels)
    report("texture", total, total)
    inside = texels.inside_image
    return Texture(
        albedo=padded(texels, colours),
        coverage=texels.image(coverage[None])[0] * inside,
        inside=inside,
    )


def padded(
    texels: TexelMap,
    colours: Float[Tensor, "3 P"],
    known: Bool[Tensor, "P"] | None = None,
    reach: int = PADDING,
) -> Float[Tensor, "3 S S"]:
    """The texels that are known (default: all) as an image, continued over everything else."""
    flat = torch.zeros(texels.size**2, dtype=torch.bool, device=colours.device)
    flat[texels.index if known is None else texels.index[known]] = True
    return pad_islands(texels.image(colours), flat.reshape(texels.size, texels.size), reach)
