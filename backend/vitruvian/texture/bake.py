"""Reading views at the texels of a texture.

For each batch of texels, view after view: where its camera sees them, whether something hides them there, how
far the picture can be trusted, and its colour. Only the weighted sums are kept, and the weights, for reading
other pictures of the same views.

Away from silhouettes and depth edges the four pixels around a point show one surface: they are tested
together, and read with plain bilinear look-ups. Texels that no view sees so are few, and look at each pixel
by itself (`close.py`). `blend.KeptBake` does that everywhere and is the slow twin that the tests compare
with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.core.images import ViewSet
from vitruvian.core.mesh import Mesh
from vitruvian.core.parallel import for_each
from vitruvian.texture.close import Claims, look_closely
from vitruvian.texture.planes import ViewPlanes, colour_planes, sample, view_planes
from vitruvian.texture.points import Points, tolerance
from vitruvian.texture.project import RANK, SAME_SIDE, SMALLEST_COSINE
from vitruvian.texture.texels import TexelMap

_BATCH = {"cpu": 1 << 15, "cuda": 1 << 22}
"""Texels looked up together: what fits a core's cache, and what keeps a GPU busy in bounded memory."""
_GOOD = 0.01
"""Coverage up to which texels are looked at closely."""
_NOTHING = 1.0 / 512.0
"""Shares below this change no 8-bit colour when what sharpening adds is read."""
Pictures = list[list[Float[Tensor, "3 h w"]]]


@dataclass(frozen=True)
class _Share:
    """What one view at one level adds to a batch of texels."""

    view: int
    level: int
    share: Float[Tensor, "B"]
    """Of its colour, which comes multiplied by the trust in its pixels (float16)."""


class Bake:
    """Reads images at the texels; what the views show of the surface is worked out once."""

    def __init__(self, texels: TexelMap, mesh: Mesh, views: ViewSet, power: float) -> None:
        self._texels, self._power = texels, power
        self._views = view_planes(mesh, views.rig, views.gbuffer)
        # Close-ups first: what they claim is known before the views that leave it to them are read.
        ranks = [RANK[views.rig.kinds[v.view]] for v in self._views]
        self._by_rank = [
            [i for i, rank in enumerate(ranks) if rank == r] for r in sorted(set(ranks), reverse=True)
        ]
        self._device = views.gbuffer.face_id.device
        count, batch = len(texels.index), _BATCH.get(self._device.type, _BATCH["cuda"])
        self._parts = [slice(i, min(i + batch, count)) for i in range(0, count, batch)]
        self._shares: list[list[_Share]] = []

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "N 3 H W"]) -> tuple[Float[Tensor, "3 P"], Float[Tensor, "P"]]:
        """Colour of each texel (0 where no view sees it), and how well those it is from see it (0 to 1)."""
        pictures = self._pictures(images)
        colours = images.new_empty(3, len(self._texels.index), dtype=torch.float32)
        coverage = torch.empty_like(colours[0])

        def read(part: slice) -> list[_Share]:
            points = Points(*self._texels.surface(part))
            colours[:, part], coverage[part], shares = self._read(points, pictures)
            poor = (coverage[part] < _GOOD).nonzero().squeeze(1)
            if len(poor):
                found = look_closely(points.select(poor), self._views, self._by_rank, pictures, self._power)
                colours[:, part.start + poor], coverage[part.start + poor] = found
            return shares

        self._shares = for_each(read, self._parts, self._device)
        return colours, coverage

    @torch.no_grad()
    def reread(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "3 P"]:
        """Colours of other images of the same views, as the last call weighted them; 0 where none sees
        well."""
        pictures = self._pictures(images)
        colours = images.new_zeros(3, len(self._texels.index), dtype=torch.float32)

        def read(item: tuple[slice, list[_Share]]) -> None:
            part, shares = item
            points = Points(*self._texels.surface(part))
            for kept in shares:
                view = self._views[kept.view]
                x, y, _ = view.camera.project(points.position)
                picture = pictures[kept.view][kept.level]
                colours[:, part] += sample(picture, view.grid(x, y, kept.level)) * kept.share

        for_each(read, zip(self._parts, self._shares, strict=True), self._device)
        return colours

    def _pictures(self, images: Float[Tensor, "N 3 H W"]) -> Pictures:
        return for_each(lambda view: colour_planes(view, images), self._views, self._device)

    def _read(
        self, points: Points, pictures: Pictures
    ) -> tuple[Float[Tensor, "3 B"], Float[Tensor, "B"], list[_Share]]:
        """Colours and coverage of one batch of texels as far as they are seen well, and the shares of the
        views."""
        claims = Claims(points, self._power)
        summed = torch.zeros_like(points.position)
        weights: list[_Share] = []
        for views in self._by_rank:
            for i, cosine in self._facing(points, views):
                for level, look in _looks(points, self._views[i], cosine, claims):
                    weight = claims.weight(look.cosine, look.density, look.clear, look.seen) / look.trust
                    summed.addcmul_(sample(pictures[i][level], look.grid), weight)
                    weights.append(_Share(i, level, weight))
            claims.close_rank()
        inverse = 1.0 / claims.total.clamp_min(1e-30)
        shares = [_Share(w.view, w.level, (w.share * inverse).half()) for w in weights]
        if self._device.type == "cpu":
            shares = [s for s in shares if float(s.share.max()) > _NOTHING]
        return summed * inverse, claims.best, shares

    def _facing(self, points: Points, views: list[int]) -> list[tuple[int, Float[Tensor, "B"]]]:
        """The views that some of the points face, with the cosines; those they face most come first on a CPU.

        After them there is little left that could matter, and looking for it can be left out. Asking a GPU
        whether there is anything to do would cost more than doing it.
        """
        cosines = [(i, self._views[i].camera.cosine(points.position, points.normal)) for i in views]
        if points.position.device.type != "cpu":
            return cosines
        facing = [item for item in cosines if float(item[1].max()) > SMALLEST_COSINE]
        return sorted(facing, key=lambda item: -float(item[1].mean()))


@dataclass(frozen=True)
class _Look:
    """What one view shows of the points at one level of its pyramid."""

    grid: Float[Tensor, "1 1 B 2"]
    seen: Float[Tensor, "B"]
    """1 or 0."""
    clear: Float[Tensor, "B"]
    trust: Float[Tensor, "B"]
    cosine: Float[Tensor, "B"]
    density: Float[Tensor, "B"]
    """Pixels of the full resolution per metre."""


def _looks(
    points: Points, view: ViewPlanes, cosine: Float[Tensor, "B"], claims: Claims
) -> Iterator[tuple[int, _Look]]:
    """A look for each level of the pyramid at which the view may have points to show; each point is in
    one."""
    hurry = points.position.device.type == "cpu"
    x, y, z = view.camera.project(points.position)
    density = view.camera.pixels_per_metre(z)
    inside = view.camera.shows(x, y, z) & (cosine > SMALLEST_COSINE)
    if hurry:
        inside &= claims.may_matter(cosine, density)
        if not bool(inside.any()):
            return
    for level, chosen in view.at_levels(points.footprint * density, hurry):
        asked = inside if chosen is None else inside & chosen
        grid = view.grid(x, y, level)
        depth, clear, trust, *normal = sample(view.levels[level].planes, grid).unbind(0)
        near = (depth - z).abs_() <= tolerance(cosine, density * 0.5**level)
        facing = normal[0] * points.normal[0]
        facing = facing.addcmul_(normal[1], points.normal[1]).addcmul_(normal[2], points.normal[2])
        seen = asked & near & (facing >= SAME_SIDE) & (clear > 0.0)
        yield level, _Look(grid, seen.float(), clear, trust.clamp_min_(1e-6), cosine, density)
