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
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.core.images import ViewSet
from vitruvian.core.mesh import Mesh
from vitruvian.core.parallel import for_each
from vitruvian.texture.close import Claims, look_closely
from vitruvian.texture.planes import ViewPlanes, colour_planes, sample, view_planes
from vitruvian.texture.points import Points, Rows, at, tolerance
from vitruvian.texture.project import RANK, SAME_SIDE, SMALLEST_COSINE
from vitruvian.texture.texels import TexelMap

_BATCH = {"cpu": 1 << 17, "cuda": 1 << 22}
"""Texels looked up together: few enough for the cache, many enough to keep a core or a GPU busy."""
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
    rows: Rows
    """The texels that it adds to (int32)."""
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
        colours = images.new_empty(3, len(self._texels.index), dtype=torch.float32)

        def read(item: tuple[slice, list[_Share]]) -> None:
            part, shares = item
            points = Points(*self._texels.surface(part))
            summed = torch.zeros_like(points.position)
            for kept in shares:
                view, rows = self._views[kept.view], kept.rows
                rows = rows if isinstance(rows, slice) else rows.long()
                x, y, _ = view.camera.project(at(points.position, rows))
                picture = pictures[kept.view][kept.level]
                _add(summed, rows, sample(picture, view.grid(x, y, kept.level)) * kept.share)
            colours[:, part] = summed

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
                    columns = look.cosine, look.density, look.clear, look.seen
                    weight = claims.weight(*columns, look.rows) / look.trust
                    _add(summed, look.rows, sample(pictures[i][level], look.grid) * weight)
                    weights.append(_Share(i, level, look.rows, weight))
            claims.close_rank()
        inverse = 1.0 / claims.total.clamp_min(1e-30)
        return summed * inverse, claims.best, [_kept(weight, inverse) for weight in weights]

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


def _add(summed: Float[Tensor, "3 B"], rows: Rows, more: Float[Tensor, "3 b"]) -> None:
    if isinstance(rows, slice):
        summed[:, rows] += more
    else:
        summed.index_add_(1, rows, more)


def _kept(weight: _Share, inverse: Float[Tensor, "B"]) -> _Share:
    """The share of a weight, small enough to be kept; on a CPU without the points that it adds nothing to."""
    share, rows = weight.share * at(inverse, weight.rows), weight.rows
    if isinstance(rows, slice):
        return replace(weight, share=share.half())
    worth = (share > _NOTHING).nonzero().squeeze(1)
    return replace(weight, rows=at(rows, worth).int(), share=at(share, worth).half())


@dataclass(frozen=True)
class _Look:
    """What one view shows of the points at one level of its pyramid."""

    rows: Rows
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
    on_cpu = points.position.device.type == "cpu"
    x, y, z = view.camera.project(points.position)
    density = view.camera.pixels_per_metre(z)
    asked = view.camera.shows(x, y, z) & (cosine > SMALLEST_COSINE)
    if on_cpu:
        asked &= claims.may_matter(cosine, density)
    for level, chosen in view.at_levels(points.footprint * density, on_cpu):
        wanted = asked if chosen is None else asked & chosen
        rows: Rows = wanted.nonzero().squeeze(1) if on_cpu else slice(None)
        here, slant, dense, cosines = (at(column, rows) for column in (z, points.normal, density, cosine))
        if len(here) == 0:
            continue
        grid = view.grid(at(x, rows), at(y, rows), level)
        depth, clear, trust, *normal = sample(view.levels[level].planes, grid).unbind(0)
        near = (depth - here).abs_() <= tolerance(cosines, dense * 0.5**level)
        facing = sum(a * b for a, b in zip(normal, slant, strict=True))
        seen = at(wanted, rows) & near & (facing >= SAME_SIDE) & (clear > 0.0)
        trust = trust.clamp_min_(1e-6)
        yield level, _Look(rows, grid, seen.float(), clear, trust, cosines, dense)
