"""What the pixels of a set of views show of a surface, and which of their colours can be trusted.

Everything here depends on geometry alone: it is worked out once, and reused for every set of images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitruvian.core.camera import CameraRig
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh
from vitruvian.core.parallel import for_each
from vitruvian.render.gbuffer import interpolate
from vitruvian.render.windows import Window, cropped, windows
from vitruvian.texture.distance import distance_inside

_MARGIN = 2.0 / 256.0
"""Width of the untrusted band along silhouettes and depth edges, in image heights."""
_SMALLEST_MARGIN = 1.5
"""The same in pixels: however small the image, a pixel on the edge is a mixture."""
LEVELS = 3
"""Levels of the image pyramid."""
_COARSEST = 2 ** (LEVELS - 1)
"""Pixels under one of its coarsest level; windows begin at multiples of it, so that the levels fall
together."""


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
    """Distance to the nearest silhouette or depth edge, pixels, up to where nothing asks; 0 on the
    background."""
    margin: float
    """Width of the untrusted band along silhouettes and depth edges, pixels."""

    @property
    def pixels(self) -> int:
        return self.mask.numel()


def surface_views(mesh: Mesh, rig: CameraRig, gbuffer: GBuffer) -> SurfaceViews:
    """Positions, normals and trust per pixel, from what the rasteriser saw."""
    mask = gbuffer.mask
    normal, position = (torch.zeros(*mask.shape, 3, device=mask.device) for _ in range(2))
    clear, inset = (torch.zeros(mask.shape, device=mask.device) for _ in range(2))
    for (view, window), part in windowed_views(mesh, rig, gbuffer):
        for whole, piece in ((normal, part.normal), (position, part.position), (clear, part.clear)):
            whole[view][window.slices] = piece[0]
        inset[view][window.slices] = part.inset[0]
    margin = _margin(mask.shape[1])
    return SurfaceViews(rig, mask, gbuffer.depth.float(), normal, position, clear, inset, margin)


def windowed_views(
    mesh: Mesh, rig: CameraRig, gbuffer: GBuffer
) -> list[tuple[tuple[int, Window], SurfaceViews]]:
    """The same for each view alone, cut to the window that the body fills; views without it are left out.

    Cameras are cut with their images, so a window is a picture like any other.
    """
    normals = torch.cat([mesh.vertices, mesh.vertex_normals], dim=1)
    found = list(enumerate(windows(gbuffer.mask, multiple=_COARSEST)))
    kept = [(view, window) for view, window in found if window is not None]

    def one(item: tuple[int, Window]) -> SurfaceViews:
        return _windowed_view(mesh, normals, rig, gbuffer, *item)

    return list(zip(kept, for_each(one, kept, gbuffer.face_id.device), strict=True))


def _windowed_view(
    mesh: Mesh,
    attributes: Float[Tensor, "V 6"],
    rig: CameraRig,
    gbuffer: GBuffer,
    view: int,
    window: Window,
) -> SurfaceViews:
    cut = GBuffer(*(x[view][window.slices][None] for x in vars(gbuffer).values()))
    values = interpolate(cut, mesh.faces, attributes)
    position, normal = values[..., :3], torch.nn.functional.normalize(values[..., 3:], dim=-1)
    mask, margin = cut.mask, _margin(rig.height)
    camera = cropped(rig.select([view]), window)
    zero = torch.zeros(mask.shape, device=mask.device)
    bare = SurfaceViews(camera, mask, cut.depth.float(), normal, position, zero, zero, margin)
    limit = round(2.5 * margin) + 8
    inset = distance_inside((mask & ~_depth_edges(bare))[0], limit)[None]
    inner = smoothstep((inset - 0.75 * margin) / (1.5 * margin))
    border = smoothstep(_border_distance(rig, window, mask.device) / (4.0 * margin))
    return replace(bare, clear=inner * border * mask, inset=inset)


def pyramid(views: SurfaceViews, levels: int | None = None) -> list[SurfaceViews]:
    """The same views at 1, 1/2, 1/4 ... of the resolution, for points that are larger than a pixel.

    `levels` is `pyramid_levels` of the images unless it is given.
    """
    chain = [views]
    for _ in range((levels or pyramid_levels(*views.mask.shape[1:])) - 1):
        chain.append(_halved(chain[-1]))
    return chain


def pyramid_levels(height: int, width: int) -> int:
    """How often images of this size are halved for the pyramid, and one."""
    return next(n for n in range(1, LEVELS + 1) if n == LEVELS or min(height, width) >> (n - 1) < 32)


def flatten_pyramid(images: Float[Tensor, "N 3 H W"], chain: list[SurfaceViews]) -> Float[Tensor, "Q 3"]:
    """Pixels of all levels in one list; smaller levels average the surface's pixels only."""
    flat = [images.permute(0, 2, 3, 1).reshape(-1, 3)]
    for finer in chain[:-1]:
        images = pool(images, finer.mask)
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


def inward(views: SurfaceViews) -> tuple[Int[Tensor, "B"], Int[Tensor, "B"]]:
    """Pixels whose colour is to be taken from another one, and which: flat indices (view, row, column).

    They lie along silhouettes and depth edges, where colours mix with what lies behind; their colour is that
    of the innermost pixel of the same surface nearby.
    """
    source = torch.arange(views.pixels, device=views.mask.device).reshape(views.mask.shape)
    slope, footprint = slope_and_footprint(views)
    allowed = footprint * (3.0 * slope + 1.0) + 0.004
    near_edge = (views.inset < 0.75 * views.margin) & views.mask
    best, step = views.inset.clone(), source.clone()
    for shift in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
        inset, depth = (torch.roll(x, shift, (1, 2)) for x in (views.inset, views.depth))
        better = near_edge & (inset > best) & ((depth - views.depth).abs() < allowed)
        best = torch.where(better, inset, best)
        step = torch.where(better, torch.roll(source, shift, (1, 2)), step)
    step, moved = step.reshape(-1), (step != source).reshape(-1).nonzero().squeeze(1)
    pointer = moved
    for _ in range(max(1, round(1.5 * views.margin))):
        pointer = step[pointer]
    return moved, pointer


def _margin(height: int) -> float:
    """Width of the untrusted band, pixels."""
    return max(_MARGIN * height, _SMALLEST_MARGIN)


def purity(inset: Float[Tensor, "*S"], margin: float) -> Float[Tensor, "*S"]:
    """0 for pixels on an edge, which mix two surfaces; 1 from a pixel or two further in."""
    return smoothstep((inset - 0.75 * margin) / (0.5 * margin))


def _border_distance(rig: CameraRig, window: Window, device: torch.device) -> Float[Tensor, "h w"]:
    """Distance of each pixel in the window to the border of the whole image, pixels."""
    y = torch.arange(window.top, window.bottom, device=device) + 0.5
    x = torch.arange(window.left, window.right, device=device) + 0.5
    return torch.minimum(torch.minimum(y, rig.height - y)[:, None], torch.minimum(x, rig.width - x)[None, :])


def _depth_edges(views: SurfaceViews) -> Bool[Tensor, "N H W"]:
    """Pixels next to another surface: the step in depth is larger than the slope of either side explains."""
    edges = torch.zeros_like(views.mask)
    slope, footprint = slope_and_footprint(views)
    for axis in (1, 2):
        count = views.mask.shape[axis] - 1
        a, b = (slice(None),) * axis + (slice(0, count),), (slice(None),) * axis + (slice(1, count + 1),)
        step = (views.depth[a] - views.depth[b]).abs()
        allowed = torch.maximum(footprint[a], footprint[b]) * (2.0 * torch.minimum(slope[a], slope[b]) + 1.0)
        jump = views.mask[a] & views.mask[b] & (step > allowed + 0.004)
        edges[a] |= jump
        edges[b] |= jump
    return edges


def slope_and_footprint(views: SurfaceViews) -> tuple[Float[Tensor, "N H W"], Float[Tensor, "N H W"]]:
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
    pooled = pool(stacked.permute(0, 3, 1, 2), views.mask).permute(0, 2, 3, 1)
    mask = torch.nn.functional.max_pool2d(views.mask.float()[:, None], 2)[:, 0] > 0
    normal = torch.nn.functional.normalize(pooled[..., 1:4], dim=-1)
    clear, inset = pooled[..., 7] * mask, pooled[..., 8] * mask
    margin = max(views.margin / 2.0, _SMALLEST_MARGIN)
    return SurfaceViews(rig, mask, pooled[..., 0], normal, pooled[..., 4:7], clear, inset, margin)


def pool(images: Float[Tensor, "N C H W"], mask: Bool[Tensor, "N H W"]) -> Float[Tensor, "N C h w"]:
    """2x2 means over the pixels in `mask`; plain means where there are none."""
    weight = mask[:, None].to(images.dtype) + 1e-6
    mean = torch.nn.functional.avg_pool2d
    return mean(images * weight, 2) / mean(weight, 2)


def smoothstep(x: Tensor) -> Tensor:
    """0 below 0, 1 above 1, smooth between."""
    x = x.clamp(0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)
