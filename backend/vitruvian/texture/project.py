"""Which views see a point of the surface, at which pixels, and how well.

Everything here depends on geometry alone: it is worked out once, and reused for every set of images.
Rules (research: method_multiview.md, sections 4.1 and 5): a depth test relative to the pixel's footprint
and slope, normals that agree, no pixels near silhouettes or depth edges (their colours mix two surfaces), a
cut at grazing angles, close-ups before full-body views with feathered borders.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitruvian.core.camera import ViewKind, project
from vitruvian.texture.surface import SurfaceViews, pixels_per_metre, towards_camera

RANK: dict[ViewKind, int] = {"body": 0, "extra": 0, "upper": 1, "face": 2}
"""Views of a higher rank override those of a lower one where both see a point well."""
SMALLEST_COSINE = 0.03
"""Below this a surface counts as seen edge-on, that is, not at all."""
POOR = 1e-4
"""Weight that an untrustworthy sample keeps, so that it serves where there is no better one."""
_SAME_SIDE = 0.2
"""Smallest cosine between a point's normal and that of the pixel that may show it."""


@dataclass(frozen=True)
class Sightings:
    """Pairs of a surface point and a view that sees it, as flat lists sorted by point."""

    points: int
    """How many points were looked for."""
    point: Int[Tensor, "S"]
    view: Int[Tensor, "S"]
    taps: Int[Tensor, "S 4"]
    """Flat pixel indices (view, row, column) of the image pyramid, see `flatten_pyramid`."""
    tap_weights: Float[Tensor, "S 4"]
    """Bilinear weights of the pixels that show the point's surface; sum 1."""
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
) -> Sightings:
    """Every view that sees each point, with the pixels to read.

    Args:
        points, normals: world, metres; unit.
        chain: the views, from `pyramid`.
        footprint: the point's size in metres; a coarser level is read where it spans several pixels.
    """
    found, base = [], 0
    for level, views in enumerate(chain):
        for view in range(len(views.rig)):
            found.append(_seen_by(points, normals, footprint, views, view, level, len(chain), base))
        base += views.pixels
    columns = [torch.cat(column) for column in zip(*found, strict=True)]
    order = torch.argsort(columns[0], stable=True)
    return Sightings(len(points), *(column[order] for column in columns))


def _seen_by(
    points: Float[Tensor, "P 3"],
    normals: Float[Tensor, "P 3"],
    footprint: Float[Tensor, "P"] | None,
    views: SurfaceViews,
    view: int,
    level: int,
    levels: int,
    base: int,
) -> tuple[Tensor, ...]:
    """The columns of `Sightings` for one view at one level of the pyramid."""
    rig = views.rig.select([view])
    (pixel,), (z,) = project(points, rig)
    cosine = (normals * towards_camera(points, rig)).sum(-1)
    density = pixels_per_metre(z, rig)
    height, width = views.mask.shape[1:]
    kept = (cosine > SMALLEST_COSINE) & (z > 0) & (pixel > 0).all(-1)
    kept &= (pixel[:, 0] < width) & (pixel[:, 1] < height)
    if footprint is None:
        kept &= torch.full_like(kept, level == 0)
    else:
        wanted = torch.log2((footprint * density * 2.0**level).clamp_min(1e-6)).round().clamp(0, levels - 1)
        kept &= wanted == level
    point = kept.nonzero().squeeze(1)
    pixel, z, cosine, density, normals = pixel[point], z[point], cosine[point], density[point], normals[point]
    rows, columns, weights = bilinear_taps(pixel, height, width)
    slope = (1.0 - cosine**2).clamp_min(0).sqrt() / cosine.clamp_min(0.2)
    tolerance = (1.5 * slope + 0.5) / density + 0.001
    same = views.mask[view, rows, columns]
    same &= (views.depth[view, rows, columns] - z[:, None]).abs() <= tolerance[:, None]
    same &= (views.normal[view, rows, columns] * normals[:, None]).sum(-1) >= _SAME_SIDE
    weights = weights * same
    total = weights.sum(-1)
    seen = total > 0.1
    weights = (weights / total[:, None].clamp_min(1e-6))[seen]
    rows, columns = rows[seen], columns[seen]
    clear = (views.clear[view, rows, columns] * weights).sum(-1)
    taps = base + (view * height + rows) * width + columns
    point = point[seen]
    return point, torch.full_like(point, view), taps, weights, cosine[seen], clear, density[seen] * 2.0**level


def bilinear_taps(
    pixel: Float[Tensor, "P 2"], height: int, width: int
) -> tuple[Int[Tensor, "P 4"], Int[Tensor, "P 4"], Float[Tensor, "P 4"]]:
    """Rows, columns and weights of the four pixels around a position (centres at +0.5)."""
    corner = (pixel - 0.5).floor()
    fx, fy = ((pixel - 0.5) - corner).unbind(-1)
    x, y = corner.long().unbind(-1)
    rows = torch.stack([y, y, y + 1, y + 1], dim=-1).clamp(0, height - 1)
    columns = torch.stack([x, x + 1, x, x + 1], dim=-1).clamp(0, width - 1)
    weights = torch.stack([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy], dim=-1)
    return rows, columns, weights
