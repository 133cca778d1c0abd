"""The paper's way of bringing views together: each view with its neighbours on the ring.

MVHuman (arXiv 2312.10120; research: method_multiview.md, section 1.4). Visibility, the weights 1 + 0.2 cos
and the close-ups' priority are the paper's. Three slips of its release are not repeated: the view itself has
the same weight above and below the fraction bar, pixels are looked up without the half-pixel drift, and
blending happens in RGB. Close-ups take over with a feathered border instead of a hard one.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitruvian.core.camera import CameraRig, project
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh
from vitruvian.texture.blend import Gather
from vitruvian.texture.project import RANK, Sightings
from vitruvian.texture.surface import SurfaceViews, flatten_pyramid, surface_views, towards_camera
from vitruvian.texture.taps import bilinear_taps

DEPTH_TOLERANCE = 0.01
"""Metres between a point and what the neighbour sees there."""
SMALLEST_COSINE = math.cos(math.radians(80.0))


class NeighbourWarpFuser:
    """Pairwise neighbour warping; called like `TextureFuser`."""

    def __init__(self, mesh: Mesh, rig: CameraRig, gbuffer: GBuffer) -> None:
        views = surface_views(mesh, rig, gbuffer)
        warps = [
            _warp(views, target, source) for target in range(len(rig)) for source in _sources(rig, target)
        ]
        self._views = views
        self._mask = gbuffer.mask
        sightings = _as_sightings(views, warps)
        self._shares = _shares(sightings, views)
        self._gather = Gather(sightings, [views])
        self._support = torch.zeros(self._mask.shape, dtype=torch.long, device=self._mask.device)
        self._support[self._mask] = torch.bincount(sightings.point, minlength=sightings.points)

    @torch.no_grad()
    def __call__(
        self, images: Float[Tensor, "N 3 H W"], power: float = 0.0
    ) -> tuple[Float[Tensor, "N 3 H W"], Int[Tensor, "N H W"]]:
        """Fuse one set of images.

        Args:
            images: one per camera of the rig, any range.
            power: not used; the paper's weights do not change over the steps.

        Returns:
            The fused images (background as it came), and the number of views that contribute to each pixel.
        """
        fused = images.permute(0, 2, 3, 1).clone()
        pixels = flatten_pyramid(images.float(), [self._views])
        fused[self._mask] = self._gather(pixels, self._shares).to(images.dtype)
        return fused.permute(0, 3, 1, 2).contiguous(), self._support


def _sources(rig: CameraRig, target: int) -> list[int]:
    """The adjacent views of the target's ring, and for a full-body view the close-up from the same side."""
    azimuth = rig.azimuth_degrees
    gap = (azimuth - azimuth[target] + 180.0) % 360.0 - 180.0
    ring = [j for j in range(len(rig)) if rig.kinds[j] == rig.kinds[target] and j != target]
    left = [j for j in ring if gap[j] > 0]
    right = [j for j in ring if gap[j] <= 0]
    sources = {min(side, key=lambda j: abs(float(gap[j]))) for side in (left, right) if side}
    closeups = [j for j in range(len(rig)) if rig.kinds[j] == "upper" and abs(float(gap[j])) < 1.0]
    if RANK[rig.kinds[target]] == 0:
        sources.update(closeups[:1])
    return sorted(sources)


def _warp(views: SurfaceViews, target: int, source: int) -> tuple[Tensor, ...]:
    """Where the target's pixels lie in the source: (flat pixel, source, taps, weights, cosine)."""
    points, normals = views.position[target].reshape(-1, 3), views.normal[target].reshape(-1, 3)
    height, width = views.mask.shape[1:]
    camera = views.rig.select([source])
    (pixel,), (z,) = project(points, camera)
    cosine = (normals * towards_camera(points, camera)).sum(-1)
    rows, columns, weights = bilinear_taps(pixel, height, width)
    depth = (views.depth[source, rows, columns] * weights).sum(-1)
    visible = ((z - depth).abs() <= DEPTH_TOLERANCE) & (cosine >= SMALLEST_COSINE) & (z > 0)
    visible &= (pixel > 0).all(-1) & (pixel[:, 0] < width) & (pixel[:, 1] < height)
    # A tap on the background would bring its colour along.
    visible &= views.mask[source, rows, columns].all(-1) & views.mask[target].reshape(-1)
    kept = _opened(visible.reshape(height, width)).reshape(-1).nonzero().squeeze(1)
    taps = (source * height + rows[kept]) * width + columns[kept]
    flat = target * height * width + kept
    return flat, torch.full_like(flat, source), taps, weights[kept], cosine[kept]


def _opened(mask: Bool[Tensor, "H W"]) -> Bool[Tensor, "H W"]:
    """Erosion, then dilation by 3x3: lone pixels and one-pixel lines go."""
    pool = torch.nn.functional.max_pool2d
    eroded = -pool(-mask.float()[None], 3, stride=1, padding=1)
    return (pool(eroded, 3, stride=1, padding=1)[0] > 0.5) & mask


def _as_sightings(views: SurfaceViews, warps: list[tuple[Tensor, ...]]) -> Sightings:
    """The target pixels themselves and all warped ones, by foreground pixel."""
    own = views.mask.reshape(-1).nonzero().squeeze(1)
    height, width = views.mask.shape[1:]
    first_only = torch.tensor([1.0, 0.0, 0.0, 0.0], device=own.device).expand(len(own), 4)
    itself = (
        own,
        torch.div(own, height * width, rounding_mode="floor"),
        own[:, None].expand(-1, 4),
        first_only,
        torch.zeros(len(own), device=own.device),
    )
    flat, view, taps, weights, cosine = (torch.cat(column) for column in zip(itself, *warps, strict=True))
    number = torch.full((views.pixels,), -1, dtype=torch.long, device=own.device)
    number[own] = torch.arange(len(own), device=own.device)
    order = torch.argsort(flat, stable=True)
    clear = (views.clear.reshape(-1)[taps] * weights).sum(-1)
    return Sightings(
        points=len(own),
        point=number[flat[order]],
        view=view[order],
        taps=taps[order],
        tap_weights=weights[order],
        cosine=cosine[order],
        clear=clear[order],
        density=torch.ones_like(cosine),
    )


def _shares(sightings: Sightings, views: SurfaceViews) -> Float[Tensor, "S"]:
    """1 + 0.2 cos for neighbours, 1 for the view itself; what a close-up shows clearly is its own."""
    s = sightings
    ranks = torch.tensor([RANK[kind] for kind in views.rig.kinds], device=s.view.device)
    target = torch.div(
        views.mask.reshape(-1).nonzero().squeeze(1), views.mask[0].numel(), rounding_mode="floor"
    )
    closeup = ranks[s.view] > ranks[target[s.point]]
    weight = (1.0 + 0.2 * s.cosine) * ~closeup
    total = torch.zeros(s.points, device=weight.device).index_add_(0, s.point, weight)
    taken = torch.zeros_like(total).index_add_(0, s.point, s.clear * closeup).clamp_max(1.0)
    return torch.where(closeup, s.clear, weight / total[s.point] * (1.0 - taken[s.point]))
