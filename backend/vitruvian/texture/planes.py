"""Each view as images to look points up in: geometry and trust, and its colours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import grid_sample, max_pool2d

from vitruvian.core.camera import CameraRig
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh
from vitruvian.core.parallel import for_each
from vitruvian.render.windows import Window
from vitruvian.texture.points import Camera, cameras_of
from vitruvian.texture.surface import (
    SurfaceViews,
    inward,
    pool,
    purity,
    pyramid,
    pyramid_levels,
    windowed_views,
)


@dataclass(frozen=True)
class LevelPlanes:
    """One level of a view's pyramid."""

    planes: Float[Tensor, "6 h w"]
    """Depth, clearness, trust in the colour, normal (x, y, z)."""
    farthest: Float[Tensor, "1 h w"]
    """The largest depth around each pixel; 0 where all around is background."""

    @property
    def shape(self) -> tuple[int, int]:
        return self.planes.shape[1], self.planes.shape[2]


@dataclass(frozen=True)
class ViewPlanes:
    """One view, cut to the window that the body fills."""

    view: int
    window: Window
    camera: Camera
    """Of the whole picture."""
    masks: list[Bool[Tensor, "1 h w"]]
    """Where the body is, at each level."""
    levels: list[LevelPlanes]
    moved: Int[Tensor, "E"]
    source: Int[Tensor, "E"]
    """Pixels of the window that take their colour from another one, and which; see `inward`."""

    def at_levels(
        self, size: Float[Tensor, "B"], hurry: bool
    ) -> Iterator[tuple[int, Bool[Tensor, "B"] | None]]:
        """Each level of the pyramid, and the points to be read there (None: all), by their size in pixels.

        Args:
            hurry: leave out levels without points.
        """
        bounds = [2.0 ** (level + 0.5) for level in range(len(self.levels) - 1)]
        if not bounds or (hurry and float(size.max()) < bounds[0]):
            yield 0, None
            return
        of_point = torch.bucketize(size, torch.tensor(bounds, device=size.device), right=True)
        for level in range(len(self.levels)):
            chosen = of_point == level
            if not hurry or bool(chosen.any()):
                yield level, chosen

    def grid(self, x: Float[Tensor, "B"], y: Float[Tensor, "B"], level: int) -> Float[Tensor, "1 1 B 2"]:
        """Pixels of the whole picture as `grid_sample` asks for them, within the window of a level."""
        height, width = self.levels[level].shape
        scale = 0.5**level
        grid = torch.empty(1, 1, len(x), 2, device=x.device)
        torch.mul(x - self.window.left, 2.0 * scale / width, out=grid[0, 0, :, 0])
        torch.mul(y - self.window.top, 2.0 * scale / height, out=grid[0, 0, :, 1])
        return grid.sub_(1.0)


def sample(
    image: Float[Tensor, "C h w"],
    grid: Float[Tensor, "1 1 B 2"],
    mode: Literal["bilinear", "nearest"] = "bilinear",
) -> Float[Tensor, "C B"]:
    """Look-ups in an image; 0 outside it."""
    return grid_sample(image[None], grid, mode=mode, padding_mode="zeros", align_corners=False)[0, :, 0]


def view_planes(mesh: Mesh, rig: CameraRig, gbuffer: GBuffer) -> list[ViewPlanes]:
    """All views in which the body is seen."""
    cameras = cameras_of(rig)
    levels = pyramid_levels(rig.height, rig.width)

    def one(item: tuple[tuple[int, Window], SurfaceViews]) -> ViewPlanes:
        (view, window), surface = item
        chain = pyramid(surface, levels)
        moved, source = inward(surface)
        masks, planes = [part.mask for part in chain], [_level(part) for part in chain]
        return ViewPlanes(view, window, cameras[view], masks, planes, moved, source)

    return for_each(one, windowed_views(mesh, rig, gbuffer), gbuffer.face_id.device)


def colour_planes(view: ViewPlanes, images: Float[Tensor, "N 3 H W"]) -> list[Float[Tensor, "3 h w"]]:
    """The view's colours at each level, multiplied by the trust in their pixels."""
    cut = images[view.view][:, view.window.slices[0], view.window.slices[1]].float()
    flat = cut.reshape(3, -1)
    flat = flat.index_copy(1, view.moved, flat[:, view.source])
    image, planes = flat.reshape(1, *cut.shape), []
    for number, (mask, level) in enumerate(zip(view.masks, view.levels, strict=True)):
        planes.append(image[0] * level.planes[2])
        if number + 1 < len(view.levels):
            image = pool(image, mask)
    return planes


def _level(views: SurfaceViews) -> LevelPlanes:
    trust = purity(views.inset, views.margin) + 1e-3
    normal = views.normal[0].permute(2, 0, 1)
    farthest = max_pool2d(views.depth, 3, stride=1, padding=1)
    return LevelPlanes(torch.cat([views.depth, views.clear, trust, normal]), farthest)
