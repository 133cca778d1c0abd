"""Which views see a point of the surface, at which pixels, and how well.

Everything here depends on geometry alone: it is worked out once, and reused for every set of images.
Rules (research: method_multiview.md, sections 4.1 and 5): a depth test relative to the pixel's footprint
and slope, normals that agree, no pixels near silhouettes or depth edges (their colours mix two surfaces), a
cut at grazing angles, close-ups before full-body views with feathered borders.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from vitruvian.core.camera import CameraRig, ViewKind, project
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh

RANK: dict[ViewKind, int] = {"body": 0, "extra": 0, "upper": 1, "face": 2}
"""Views of a higher rank override those of a lower one where both see a point well."""
SMALLEST_COSINE = 0.03
"""Below this a surface counts as seen edge-on, that is, not at all."""
POOR = 1e-4
"""Weight that an untrustworthy sample keeps, so that it serves where there is no better one."""
_MARGIN = 2.0 / 256.0
"""Width of the untrusted band along silhouettes and depth edges, in image heights."""
_SAME_SIDE = 0.2
"""Smallest cosine between a point's normal and that of the pixel that may show it."""


@dataclass(frozen=True)
class SurfaceViews:
    """What each pixel of N views shows of a surface, and whether its colour can be trusted."""

    rig: CameraRig
    mask: Bool[Tensor, "N H W"]
    depth: Float[Tensor, "N H W"]
    """Camera z, metres."""
    normal: Float[Tensor, "N H W 3"]
    """Unit, world."""
    position: Float[Tensor, "N H W 3"]
    """World, metres."""
    clear: Float[Tensor, "N H W"]
    """0 at silhouettes, depth edges and image borders, 1 away from them."""

    @property
    def pixels(self) -> int:
        return self.mask.numel()


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


def surface_views(mesh: Mesh, rig: CameraRig, gbuffer: GBuffer) -> SurfaceViews:
    """Positions, normals and trust per pixel, from what the rasteriser saw."""
    mask = gbuffer.mask
    corners = mesh.faces[gbuffer.face_id[mask]]
    weights = gbuffer.barycentric[mask][..., None].to(mesh.vertices.dtype)
    normal, position = (torch.zeros(*mask.shape, 3, device=mask.device) for _ in range(2))
    normal[mask] = torch.nn.functional.normalize((mesh.vertex_normals[corners] * weights).sum(1), dim=-1)
    position[mask] = (mesh.vertices[corners] * weights).sum(1)
    bare = SurfaceViews(rig, mask, gbuffer.depth.float(), normal, position, mask.float())
    return replace(bare, clear=_clearness(bare))


def pyramid(views: SurfaceViews, levels: int = 3) -> list[SurfaceViews]:
    """The same views at 1, 1/2, 1/4 ... of the resolution, for points that are larger than a pixel."""
    chain = [views]
    while len(chain) < levels and min(chain[-1].mask.shape[1:]) >= 32:
        chain.append(_halved(chain[-1]))
    return chain


def flatten_pyramid(images: Float[Tensor, "N 3 H W"], chain: list[SurfaceViews]) -> Float[Tensor, "Q 3"]:
    """Pixels of all levels in one list; smaller levels average the surface's pixels only."""
    flat = [images.permute(0, 2, 3, 1).reshape(-1, 3)]
    for finer in chain[:-1]:
        images = _pool(images, finer.mask)
        flat.append(images.permute(0, 2, 3, 1).reshape(-1, 3))
    return torch.cat(flat)


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
    density = _pixels_per_metre(z, rig)
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


def towards_camera(points: Float[Tensor, "P 3"], rig: CameraRig) -> Float[Tensor, "P 3"]:
    """Unit directions from the points to a rig's only camera."""
    if bool(rig.orthographic[0]):
        return -rig.T_world_cam[0, :3, 2].expand_as(points)
    return torch.nn.functional.normalize(rig.positions[0] - points, dim=-1)


def _pixels_per_metre(z: Float[Tensor, "P"], rig: CameraRig) -> Float[Tensor, "P"]:
    focal = (rig.K[0, 0, 0] * rig.K[0, 1, 1]).sqrt()
    return focal.expand_as(z) if bool(rig.orthographic[0]) else focal / z.clamp_min(1e-6)


def pixel_footprints(views: SurfaceViews) -> Float[Tensor, "N H W"]:
    """Metres across one pixel at the depth of what it shows."""
    focal = (views.rig.K[:, 0, 0] * views.rig.K[:, 1, 1]).sqrt()[:, None, None]
    parallel = views.rig.orthographic[:, None, None]
    return torch.where(parallel, torch.ones_like(views.depth), views.depth) / focal


def _clearness(views: SurfaceViews) -> Float[Tensor, "N H W"]:
    """A ramp away from silhouettes, depth edges and image borders."""
    height = views.mask.shape[1]
    margin = _MARGIN * height
    trusted = views.mask & ~_depth_edges(views)
    distances = np.stack([_distance_inside(image) for image in trusted.cpu().numpy()])
    distance = torch.from_numpy(distances).to(views.mask.device)
    inner = smoothstep((distance - 0.75 * margin) / (1.5 * margin))
    return inner * smoothstep(_border_distance(views) / (4.0 * margin)) * views.mask


def _distance_inside(mask: np.ndarray) -> np.ndarray:
    """Distance of each set pixel to the nearest unset one, pixels (float32); a full mask is far from any."""
    if mask.all():
        return np.full(mask.shape, 1e6, dtype=np.float32)
    return np.asarray(distance_transform_edt(mask), dtype=np.float32)


def _border_distance(views: SurfaceViews) -> Float[Tensor, "H W"]:
    """Distance of each pixel to the image border, pixels."""
    _, height, width = views.mask.shape
    y = torch.arange(height, device=views.mask.device) + 0.5
    x = torch.arange(width, device=views.mask.device) + 0.5
    return torch.minimum(torch.minimum(y, height - y)[:, None], torch.minimum(x, width - x)[None, :])


def _depth_edges(views: SurfaceViews) -> Bool[Tensor, "N H W"]:
    """Pixels next to another surface: the step in depth is larger than the slope of either side explains."""
    edges = torch.zeros_like(views.mask)
    slope, footprint = _slope_and_footprint(views)
    for axis in (1, 2):
        count = views.mask.shape[axis] - 1
        a, b = (slice(None),) * axis + (slice(0, count),), (slice(None),) * axis + (slice(1, count + 1),)
        step = (views.depth[a] - views.depth[b]).abs()
        allowed = torch.maximum(footprint[a], footprint[b]) * (2.0 * torch.minimum(slope[a], slope[b]) + 1.0)
        jump = views.mask[a] & views.mask[b] & (step > allowed + 0.004)
        edges[a] |= jump
        edges[b] |= jump
    return edges


def _slope_and_footprint(views: SurfaceViews) -> tuple[Float[Tensor, "N H W"], Float[Tensor, "N H W"]]:
    """Depth gained per metre sideways, and metres per pixel, at each pixel."""
    slopes, footprints = [], []
    for view in range(len(views.rig)):
        rig = views.rig.select([view])
        points, shape = views.position[view].reshape(-1, 3), views.mask.shape[1:]
        cosine = (views.normal[view].reshape(-1, 3) * towards_camera(points, rig)).sum(-1).reshape(shape)
        slopes.append((1.0 - cosine**2).clamp_min(0).sqrt() / cosine.clamp_min(0.2))
        footprints.append(1.0 / _pixels_per_metre(views.depth[view], rig).clamp(1e-6, 1e6))
    return torch.stack(slopes), torch.stack(footprints)


def _halved(views: SurfaceViews) -> SurfaceViews:
    """The views at half resolution; pixels average the surface's pixels below them."""
    height, width = views.mask.shape[1:]
    scale = torch.tensor([0.5, 0.5, 1.0], device=views.mask.device)[None, :, None]
    rig = replace(views.rig, K=views.rig.K * scale, width=width // 2, height=height // 2)
    stacked = torch.cat(
        [views.depth[..., None], views.normal, views.position, views.clear[..., None]], dim=-1
    )
    pooled = _pool(stacked.permute(0, 3, 1, 2), views.mask).permute(0, 2, 3, 1)
    mask = torch.nn.functional.max_pool2d(views.mask.float()[:, None], 2)[:, 0] > 0
    normal = torch.nn.functional.normalize(pooled[..., 1:4], dim=-1)
    return SurfaceViews(rig, mask, pooled[..., 0], normal, pooled[..., 4:7], pooled[..., 7] * mask)


def _pool(images: Float[Tensor, "N C H W"], mask: Bool[Tensor, "N H W"]) -> Float[Tensor, "N C h w"]:
    """2x2 means over the pixels in `mask`; plain means where there are none."""
    weight = mask[:, None].to(images.dtype) + 1e-6
    pool = torch.nn.functional.avg_pool2d
    return pool(images * weight, 2) / pool(weight, 2)


def smoothstep(x: Tensor) -> Tensor:
    """0 below 0, 1 above 1, smooth between."""
    x = x.clamp(0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)
