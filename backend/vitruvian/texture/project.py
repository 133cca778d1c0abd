"""Which views see a point of the surface, at which pixels, and how well.

Everything here depends on geometry alone: it is worked out once, and reused for every set of images.
Rules (research: method_multiview.md, sections 4.1 and 5): a depth test relative to the pixel's footprint
and slope, normals that agree, no pixels near silhouettes or depth edges (their colours mix two surfaces), a
cut at grazing angles, close-ups before full-body views with feathered borders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitruvian.core.camera import CameraRig, ViewKind, project
from vitruvian.texture.surface import SurfaceViews, pixels_per_metre, purity, towards_camera
from vitruvian.texture.taps import bilinear_taps, cubic_taps

RANK: dict[ViewKind, int] = {"body": 0, "extra": 0, "upper": 1, "face": 2}
"""Views of a higher rank override those of a lower one where both see a point well."""
SMALLEST_COSINE = 0.03
"""Below this a surface counts as seen edge-on, that is, not at all."""
POOR = 1e-4
"""Weight that an untrustworthy sample keeps, so that it serves where there is no better one."""
SAME_SIDE = 0.2
"""Smallest cosine between a point's normal and that of the pixel that may show it."""
NEAREST = 16
"""Views in which the surface behind a view's pixels is looked for: all of the default rig."""


@dataclass(frozen=True)
class Sightings:
    """Pairs of a surface point and a view that sees it, as flat lists sorted by point."""

    points: int
    """How many points were looked for."""
    point: Int[Tensor, "S"]
    view: Int[Tensor, "S"]
    taps: Int[Tensor, "S T"]
    """Flat pixel indices (view, row, column) of the image pyramid, see `flatten_pyramid`."""
    tap_weights: Float[Tensor, "S T"]
    """Interpolation weights of the pixels that show the point's surface; sum 1."""
    cosine: Float[Tensor, "S"]
    """Between the surface normal and the direction to the camera."""
    clear: Float[Tensor, "S"]
    density: Float[Tensor, "S"]
    """Pixels per metre."""


def find_sightings(
    points: Float[Tensor, "P 3"],
    normals: Float[Tensor, "P 3"],
    chain: list[SurfaceViews],
    footprint: Float[Tensor, "P"] | None = None,
    cubic: bool = False,
    among: Sequence[int] | None = None,
) -> Sightings:
    """Every view that sees each point, with the pixels to read.

    Args:
        points, normals: world, metres; unit.
        chain: the views, from `pyramid`.
        footprint: the point's size in metres; a coarser level is read where it spans several pixels.
        cubic: read sixteen pixels instead of four where all are the surface's own; blurs less.
        among: the views that are asked; None asks all.
    """
    found = []
    for view in range(len(chain[0].rig)) if among is None else among:
        facing = _facing(points, normals, chain[0], view)
        size = footprint[facing.point] * facing.density if footprint is not None else facing.density * 0.0
        wanted = torch.log2(size.clamp_min(1e-6)).round().clamp(0, len(chain) - 1)
        base = 0
        for level, views in enumerate(chain):
            chosen, scale = facing.where(wanted == level), 0.5**level
            found.append(_unhidden(chosen, normals, views, view, scale, base, cubic))
            base += views.pixels
    columns = [torch.cat(column) for column in zip(*found, strict=True)]
    order = torch.argsort(columns[0], stable=True)
    return Sightings(len(points), *(column[order] for column in columns))


def find_pixel_sightings(
    chain: list[SurfaceViews],
    mask: Bool[Tensor, "N H W"],
    footprint: Float[Tensor, "N H W"],
    cubic: bool = False,
    nearest: int = NEAREST,
) -> Sightings:
    """For the surface behind every pixel of `mask`, in its order: which views see it.

    Each view's pixels are looked for in the `nearest` views that look most nearly the same way, itself among
    them: with all views, time and memory would grow with the square of their number, and one that looks
    another way sees little of the same and counts for less.
    """
    views = chain[0]
    parts = [
        find_sightings(
            views.position[view][here],
            views.normal[view][here],
            chain,
            footprint[view][here],
            cubic,
            among,
        )
        for view, (here, among) in enumerate(zip(mask, nearest_views(views.rig, nearest), strict=True))
    ]
    counts = [part.points for part in parts]
    starts = [sum(counts[:i]) for i in range(len(counts))]
    points = torch.cat([part.point + start for part, start in zip(parts, starts, strict=True)])
    names = ("view", "taps", "tap_weights", "cosine", "clear", "density")
    columns = (torch.cat([getattr(part, name) for part in parts]) for name in names)
    return Sightings(sum(counts), points, *columns)


def nearest_views(rig: CameraRig, count: int) -> list[list[int]]:
    """For each view, itself and the others that look most nearly the same way, at most `count`, in order."""
    forward = rig.T_world_cam[:, :3, 2]
    alike = (forward @ forward.T).cpu()
    alike.fill_diagonal_(2.0)
    order = alike.argsort(dim=1, descending=True, stable=True)[:, :count]
    return [sorted(row) for row in order.tolist()]


@dataclass(frozen=True)
class _Facing:
    """Points that face a camera within its image, hidden or not."""

    point: Int[Tensor, "M"]
    pixel: Float[Tensor, "M 2"]
    z: Float[Tensor, "M"]
    density: Float[Tensor, "M"]
    cosine: Float[Tensor, "M"]

    def where(self, mask: Bool[Tensor, "M"]) -> _Facing:
        return _Facing(*(column[mask] for column in vars(self).values()))


def _facing(
    points: Float[Tensor, "P 3"], normals: Float[Tensor, "P 3"], views: SurfaceViews, view: int
) -> _Facing:
    rig = views.rig.select([view])
    cosine = (normals * towards_camera(points, rig)).sum(-1)
    point = (cosine > SMALLEST_COSINE).nonzero().squeeze(1)
    (pixel,), (z,) = project(points[point], rig)
    height, width = views.mask.shape[1:]
    inside = (z > 0) & (pixel > 0).all(-1) & (pixel[:, 0] < width) & (pixel[:, 1] < height)
    return _Facing(point, pixel, z, pixels_per_metre(z, rig), cosine[point]).where(inside)


def _unhidden(
    facing: _Facing,
    normals: Float[Tensor, "P 3"],
    views: SurfaceViews,
    view: int,
    scale: float,
    base: int,
    cubic: bool,
) -> tuple[Tensor, ...]:
    """The columns of `Sightings` for one view at one level of the pyramid.

    `facing` is in pixels of the full resolution; `scale` is the level's, and `base` its first flat pixel.
    """
    height, width = views.mask.shape[1:]
    rows, columns, weights = bilinear_taps(facing.pixel * scale, height, width)
    taps = (view * height + rows) * width + columns
    slope = (1.0 - facing.cosine**2).clamp_min(0).sqrt() / facing.cosine.clamp_min(0.2)
    tolerance = (1.5 * slope + 0.5) / (facing.density * scale) + 0.001
    same = views.mask.reshape(-1)[taps]
    same &= (views.depth.reshape(-1)[taps] - facing.z[:, None]).abs() <= tolerance[:, None]
    same &= (views.normal.reshape(-1, 3)[taps] * normals[facing.point][:, None]).sum(-1) >= SAME_SIDE
    weights = weights * same
    total = weights.sum(-1)
    seen = total > 0.1
    kept, taps, weights = facing.where(seen), taps[seen], (weights / total[:, None].clamp_min(1e-6))[seen]
    clear = (views.clear.reshape(-1)[taps] * weights).sum(-1)
    weights = weights * (purity(views.inset.reshape(-1)[taps], views.margin) + 1e-3)
    weights = weights / weights.sum(-1, keepdim=True)
    if cubic:
        taps, weights = _with_cubic(kept.pixel * scale, taps, weights, views, view)
    view_index = torch.full_like(kept.point, view)
    return kept.point, view_index, (base + taps).int(), weights, kept.cosine, clear, kept.density


def _with_cubic(
    pixel: Float[Tensor, "M 2"],
    taps: Int[Tensor, "M 4"],
    weights: Float[Tensor, "M 4"],
    views: SurfaceViews,
    view: int,
) -> tuple[Int[Tensor, "M 16"], Float[Tensor, "M 16"]]:
    """Sixteen taps: Catmull-Rom away from edges, and the four given ones near them."""
    height, width = views.mask.shape[1:]
    rows, columns, smooth = cubic_taps(pixel, height, width)
    wide = (view * height + rows) * width + columns
    pure = (purity(views.inset.reshape(-1)[wide], views.margin) > 0.5).all(-1, keepdim=True)
    given = torch.cat([taps, taps[:, :1].expand(-1, 12)], dim=1)
    return torch.where(pure, wide, given), torch.where(
        pure, smooth, torch.nn.functional.pad(weights, (0, 12))
    )
