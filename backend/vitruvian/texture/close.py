"""Weights of what views show of a point, and the careful look at points that no view shows well."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitruvian.texture.planes import LevelPlanes, ViewPlanes, sample
from vitruvian.texture.points import Points, Rows, at, put, tolerance
from vitruvian.texture.project import POOR, SAME_SIDE, SMALLEST_COSINE
from vitruvian.texture.surface import smoothstep
from vitruvian.texture.taps import bilinear_taps

_NEGLIGIBLE = 1.0 / 1024.0
"""Share of the colour that is not worth looking for."""


class Claims:
    """Running weights over the views of a batch of points, those of the highest rank first.

    The same weights as `blend.Shares`, which has all sightings before it.
    """

    def __init__(self, points: Points, power: float) -> None:
        self.total = torch.zeros_like(points.footprint)
        """Sum of all weights so far."""
        self.best = torch.zeros_like(self.total)
        """How well the best view sees each point; 0 unseen."""
        self._left, self._claimed = torch.ones_like(self.total), torch.zeros_like(self.total)
        self._power = power

    def weight(
        self,
        cosine: Float[Tensor, "B"],
        density: Float[Tensor, "B"],
        clear: Float[Tensor, "B"],
        seen: Float[Tensor, "B"],
        rows: Rows,
    ) -> Float[Tensor, "B"]:
        """The weight of one view at some of the points; 0 where `seen` is (it is 1 elsewhere)."""
        seen_clear = clear * seen
        quality = smoothstep((cosine - 0.17) / 0.2) * seen_clear
        claim = smoothstep((cosine - 0.25) / 0.3) * seen_clear
        best = (quality * cosine).clamp_min_(POOR).mul_(seen)
        put(self._claimed, rows, torch.maximum(at(self._claimed, rows), claim))
        put(self.best, rows, torch.maximum(at(self.best, rows), best))
        # An even power is taken of the square: an odd half of it is quick to compute.
        weight = (cosine * cosine) ** (0.5 * self._power) * quality.clamp_min_(POOR)
        weight = weight.mul_(at(self._left, rows)).mul_(density).mul_(density).mul_(seen)
        put(self.total, rows, at(self.total, rows) + weight)
        return weight

    def may_matter(self, cosine: Float[Tensor, "B"], density: Float[Tensor, "B"]) -> Bool[Tensor, "B"]:
        """Whether a view could still add to the points' colours, however clearly it shows them."""
        most = (cosine * cosine) ** (0.5 * self._power) * density * density
        return most.mul_(self._left) > self.total * _NEGLIGIBLE

    def close_rank(self) -> None:
        """All views of one rank have been weighed: what they claim is not left to the lower ones."""
        self._left = (self._left * (1.0 - self._claimed)).clamp_min_(POOR)
        self._claimed = torch.zeros_like(self._claimed)


def look_closely(
    points: Points,
    views: list[ViewPlanes],
    by_rank: list[list[int]],
    pictures: list[list[Float[Tensor, "3 h w"]]],
    power: float,
) -> tuple[Float[Tensor, "3 B"], Float[Tensor, "B"]]:
    """Colours and coverage of points, each of the four pixels around them tested by itself."""
    claims = Claims(points, power)
    summed = torch.zeros_like(points.position)
    for rank in by_rank:
        for i in rank:
            camera = views[i].camera
            cosine = camera.cosine(points.position, points.normal)
            x, y, z = camera.project(points.position)
            density = camera.pixels_per_metre(z)
            inside = camera.shows(x, y, z) & (cosine > SMALLEST_COSINE)
            pixel = torch.stack([x - views[i].window.left, y - views[i].window.top], dim=-1)
            for level, chosen in views[i].at_levels(points.footprint * density, hurry=False):
                asked = inside if chosen is None else inside & chosen
                allowed = tolerance(cosine, density * 0.5**level)
                grid = views[i].grid(x, y, level)
                # Most of these points are hidden from every view: behind all that is around their pixel.
                farthest = sample(views[i].levels[level].farthest, grid, "nearest")[0]
                rows = (asked & (z <= farthest + allowed)).nonzero().squeeze(1)
                if len(rows) == 0:
                    continue
                hit, found, trust, enough = _tap(
                    pixel.index_select(0, rows) * 0.5**level,
                    at(z, rows),
                    at(allowed, rows),
                    at(points.normal, rows),
                    views[i].levels[level],
                    pictures[i][level],
                )
                rows = rows[hit]
                columns = at(cosine, rows), at(density, rows), trust, enough.float()
                summed.index_add_(1, rows, found * claims.weight(*columns, rows))
        claims.close_rank()
    return summed / claims.total.clamp_min(1e-30), claims.best


def _tap(
    pixel: Float[Tensor, "M 2"],
    z: Float[Tensor, "M"],
    allowed: Float[Tensor, "M"],
    normal: Float[Tensor, "3 M"],
    level: LevelPlanes,
    picture: Float[Tensor, "3 h w"],
) -> tuple[Int[Tensor, "H"], Float[Tensor, "3 H"], Float[Tensor, "H"], Bool[Tensor, "H"]]:
    """The points that may be seen, the colour of the pixels that show their surface, the trust in those, and
    whether there are enough of them."""
    rows, columns, weights = bilinear_taps(pixel, *level.shape)
    taps: Int[Tensor, "M 4"] = rows * level.shape[1] + columns
    depth, clear, trust, *pixel_normal = level.planes
    # The background's depth is 0: never near.
    near = (_taken(depth, taps) - z[:, None]).abs_() <= allowed[:, None]
    hit = near.any(1).nonzero().squeeze(1)
    taps, normal = taps.index_select(0, hit), at(normal, hit)
    facing = sum(_taken(a, taps) * b[:, None] for a, b in zip(pixel_normal, normal, strict=True))
    weights = weights.index_select(0, hit) * (near.index_select(0, hit) & (facing >= SAME_SIDE))
    total = weights.sum(-1)
    # Colours come multiplied by the trust in their pixels.
    weights_of_trust = (_taken(trust, taps) * weights).sum(-1).clamp_min_(1e-9)
    channels = [(_taken(channel, taps) * weights).sum(-1) / weights_of_trust for channel in picture]
    clearness = (_taken(clear, taps) * weights).sum(-1) / total.clamp_min(1e-6)
    return hit, torch.stack(channels), clearness, total > 0.1


def _taken(plane: Float[Tensor, "h w"], taps: Int[Tensor, "M 4"]) -> Float[Tensor, "M 4"]:
    return plane.reshape(-1).index_select(0, taps.reshape(-1)).reshape(taps.shape)
