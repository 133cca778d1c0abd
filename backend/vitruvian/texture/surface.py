"""What the pixels of a set of views show of a surface, and which of their colours can be trusted.

Everything here depends on geometry alone: it is worked out once, and reused for every set of images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from vitruvian.core.camera import CameraRig
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh

_MARGIN = 2.0 / 256.0
"""Width of the untrusted band along silhouettes and depth edges, in image heights."""
_SMALLEST_MARGIN = 1.5
"""The same in pixels: however small the image, a pixel on the edge is a mixture."""


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
    inset: Float[Tensor, "N H W"]
    """Distance to the nearest silhouette or depth edge, pixels; 0 on the background."""

    @property
    def pixels(self) -> int:
        return self.mask.numel()


def surface_views(mesh: Mesh, rig: CameraRig, gbuffer: GBuffer) -> SurfaceViews:
    """Positions, normals and trust per pixel, from what the rasteriser saw."""
    mask = gbuffer.mask
    corners = mesh.faces[gbuffer.face_id[mask]]
    weights = gbuffer.barycentric[mask][..., None].to(mesh.vertices.dtype)
    normal, position = (torch.zeros(*mask.shape, 3, device=mask.device) for _ in range(2))
    normal[mask] = torch.nn.functional.normalize((mesh.vertex_normals[corners] * weights).sum(1), dim=-1)
    position[mask] = (mesh.vertices[corners] * weights).sum(1)
    bare = SurfaceViews(rig, mask, gbuffer.depth.float(), normal, position, mask.float(), mask.float())
    trusted = (mask & ~_depth_edges(bare)).cpu().numpy()
    inset = torch.from_numpy(np.stack([_distance_inside(image) for image in trusted])).to(mask.device)
    return replace(bare, clear=_clearness(bare, inset), inset=inset)


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


def towards_camera(points: Float[Tensor, "P 3"], rig: CameraRig) -> Float[Tensor, "P 3"]:
    """Unit directions from the points to a rig's only camera."""
    if bool(rig.orthographic[0]):
        return -rig.T_world_cam[0, :3, 2].expand_as(points)
    return torch.nn.functional.normalize(rig.positions[0] - points, dim=-1)


def pixels_per_metre(z: Float[Tensor, "P"], rig: CameraRig) -> Float[Tensor, "P"]:
    focal = (rig.K[0, 0, 0] * rig.K[0, 1, 1]).sqrt()
    return focal.expand_as(z) if bool(rig.orthographic[0]) else focal / z.clamp_min(1e-6)


def pixel_footprints(views: SurfaceViews) -> Float[Tensor, "N H W"]:
    """Metres across one pixel at the depth of what it shows."""
    focal = (views.rig.K[:, 0, 0] * views.rig.K[:, 1, 1]).sqrt()[:, None, None]
    parallel = views.rig.orthographic[:, None, None]
    return torch.where(parallel, torch.ones_like(views.depth), views.depth) / focal


def inward(views: SurfaceViews) -> Int[Tensor, "N H W"]:
    """For each pixel, the flat index of the one to take its colour from.

    That is itself, or, along silhouettes and depth edges, where colours mix with what lies behind, the
    innermost pixel of the same surface nearby.
    """
    n, height, width = views.mask.shape
    margin = _margin(height)
    source = torch.arange(views.pixels, device=views.mask.device).reshape(n, height, width)
    slope, footprint = _slope_and_footprint(views)
    allowed = footprint * (3.0 * slope + 1.0) + 0.004
    best, step = views.inset.clone(), source.clone()
    for shift in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
        inset, depth = (torch.roll(x, shift, (1, 2)) for x in (views.inset, views.depth))
        better = (views.inset < 0.75 * margin) & (inset > best) & ((depth - views.depth).abs() < allowed)
        best = torch.where(better & views.mask, inset, best)
        step = torch.where(better & views.mask, torch.roll(source, shift, (1, 2)), step)
    pointer = source.reshape(-1)
    for _ in range(max(1, round(1.5 * margin))):
        pointer = step.reshape(-1)[pointer]
    return pointer.reshape(n, height, width)


def _margin(height: int) -> float:
    """Width of the untrusted band, pixels."""
    return max(_MARGIN * height, _SMALLEST_MARGIN)


def purity(inset: Float[Tensor, "*S"], height: int) -> Float[Tensor, "*S"]:
    """0 for pixels on an edge, which mix two surfaces; 1 from a pixel or two further in."""
    margin = _margin(height)
    return smoothstep((inset - 0.75 * margin) / (0.5 * margin))


def _clearness(views: SurfaceViews, inset: Float[Tensor, "N H W"]) -> Float[Tensor, "N H W"]:
    """A ramp away from silhouettes, depth edges and image borders."""
    margin = _margin(views.mask.shape[1])
    inner = smoothstep((inset - 0.75 * margin) / (1.5 * margin))
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
        footprints.append(1.0 / pixels_per_metre(views.depth[view], rig).clamp(1e-6, 1e6))
    return torch.stack(slopes), torch.stack(footprints)


def _halved(views: SurfaceViews) -> SurfaceViews:
    """The views at half resolution; pixels average the surface's pixels below them."""
    height, width = views.mask.shape[1:]
    scale = torch.tensor([0.5, 0.5, 1.0], device=views.mask.device)[None, :, None]
    rig = replace(views.rig, K=views.rig.K * scale, width=width // 2, height=height // 2)
    trust = torch.stack([views.clear, views.inset / 2.0], dim=-1)
    stacked = torch.cat([views.depth[..., None], views.normal, views.position, trust], dim=-1)
    pooled = _pool(stacked.permute(0, 3, 1, 2), views.mask).permute(0, 2, 3, 1)
    mask = torch.nn.functional.max_pool2d(views.mask.float()[:, None], 2)[:, 0] > 0
    normal = torch.nn.functional.normalize(pooled[..., 1:4], dim=-1)
    clear, inset = pooled[..., 7] * mask, pooled[..., 8] * mask
    return SurfaceViews(rig, mask, pooled[..., 0], normal, pooled[..., 4:7], clear, inset)


def _pool(images: Float[Tensor, "N C H W"], mask: Bool[Tensor, "N H W"]) -> Float[Tensor, "N C h w"]:
    """2x2 means over the pixels in `mask`; plain means where there are none."""
    weight = mask[:, None].to(images.dtype) + 1e-6
    pool = torch.nn.functional.avg_pool2d
    return pool(images * weight, 2) / pool(weight, 2)


def smoothstep(x: Tensor) -> Tensor:
    """0 below 0, 1 above 1, smooth between."""
    x = x.clamp(0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)
