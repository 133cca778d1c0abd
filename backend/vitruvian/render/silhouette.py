"""Soft silhouettes on any device: DIB-R's formula in torch, with the exact distance to every face in reach.

Chen et al. 2019, "Learning to predict 3D objects with an interpolation-based differentiable renderer", eq. 5:
a pixel that no face covers is 1 - prod(1 - exp(-d^2 / blur^2)) over the faces near it, d being its distance
to the face on the image. A covered pixel is 1. So the area's derivative is that of the hard silhouette, and
pixels outside know which way the body has to grow to reach them.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitruvian.core.camera import CameraRig, project
from vitruvian.core.mesh import Mesh

NEAR = 1e-4
"""Metres in front of a camera; a face with a corner nearer than this, or behind, casts no soft silhouette."""
REACH = 3.0
"""Blurs beyond which a face counts for nothing: it would add less than exp(-9)."""
_PAIRS_AT_ONCE = 1 << 21


def soft_silhouette(
    mesh: Mesh, rig: CameraRig, covered: Bool[Tensor, "N H W"], blur: float
) -> Float[Tensor, "N H W"]:
    """Soft masks in [0, 1]; differentiable in `mesh.vertices`.

    Args:
        covered: the pixels that the body covers (a G-buffer's mask).
        blur: pixels at which a lone face's influence has fallen to 1/e, > 0.
    """
    pixels, z = project(mesh.vertices, rig)
    views = []
    for view, hidden in enumerate(covered):
        faces = mesh.faces[(z[view][mesh.faces] > NEAR).all(dim=1)]
        views.append(_soft_view(pixels[view][faces], ~hidden, blur))
    return torch.stack(views)


def _soft_view(
    corners: Float[Tensor, "F 3 2"], uncovered: Bool[Tensor, "H W"], blur: float
) -> Float[Tensor, "H W"]:
    """One view's soft mask from the faces' corners in pixels."""
    width = uncovered.shape[1]
    face, pixel = _near_pairs(corners.detach(), uncovered, REACH * blur)
    distance = _squared_distance(_centres(pixel, width, corners.dtype), corners[face]) / blur**2
    # log(1 - p) of p = exp(-distance), exact where p is almost 1; the floor keeps the logarithm finite.
    log_missed = (-torch.expm1(-distance.clamp_min(1e-12))).log()
    total = corners.new_zeros(uncovered.numel()).index_add(0, pixel, log_missed)
    return torch.where(uncovered, 1 - total.exp().reshape(uncovered.shape), 1.0)


@torch.no_grad()
def _near_pairs(
    corners: Float[Tensor, "F 3 2"], uncovered: Bool[Tensor, "H W"], reach: float
) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"]]:
    """Faces and the flat indices of the uncovered pixels nearer to them than `reach` pixels."""
    height, width = uncovered.shape
    boxes = reach_boxes(corners, reach, width, height)
    reached = faces_at_uncovered(boxes, uncovered)
    ends = _areas(boxes[reached]).cumsum(0)
    near: list[tuple[Tensor, Tensor]] = [(reached[:0], reached[:0])]
    first = 0
    while first < len(reached):
        done = int(ends[first - 1]) if first else 0
        last = max(int(torch.searchsorted(ends, done + _PAIRS_AT_ONCE, right=True)), first + 1)
        face, pixel = _pixels_in(boxes, reached[first:last], width)
        kept = uncovered.reshape(-1)[pixel]
        face, pixel = face[kept], pixel[kept]
        kept = _squared_distance(_centres(pixel, width, corners.dtype), corners[face]) < reach**2
        near.append((face[kept], pixel[kept]))
        first = last
    faces, pixels = zip(*near, strict=True)
    return torch.cat(faces), torch.cat(pixels)


def reach_boxes(corners: Float[Tensor, "F 3 2"], reach: float, width: int, height: int) -> Int[Tensor, "F 4"]:
    """Left, top, right, bottom (ends exclusive) of the pixels with centres in each face's bounds, widened."""
    size = torch.tensor([width, height], device=corners.device)
    low = (corners.amin(dim=1) - reach - 0.5).ceil().clamp_min(0).minimum(size).long()
    high = (corners.amax(dim=1) + reach + 0.5).floor().clamp_min(0).minimum(size).long()
    return torch.cat([low, high.maximum(low)], dim=1)


def faces_at_uncovered(boxes: Int[Tensor, "F 4"], uncovered: Bool[Tensor, "H W"]) -> Int[Tensor, "K"]:
    """Which boxes hold an uncovered pixel, by sums over rectangles."""
    sums = torch.nn.functional.pad(uncovered.long().cumsum(0).cumsum(1), (1, 0, 1, 0))
    left, top, right, bottom = boxes.unbind(1)
    inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return (inside > 0).nonzero().squeeze(1)


def _areas(boxes: Int[Tensor, "F 4"]) -> Int[Tensor, "F"]:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _pixels_in(
    boxes: Int[Tensor, "F 4"], faces: Int[Tensor, "K"], width: int
) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"]]:
    """Every pixel of every listed box: the face and the flat pixel index."""
    chosen = boxes[faces]
    areas = _areas(chosen)
    row = torch.arange(len(faces), device=boxes.device).repeat_interleave(areas)
    offset = torch.arange(len(row), device=boxes.device) - (areas.cumsum(0) - areas)[row]
    across = (chosen[:, 2] - chosen[:, 0])[row]
    x = chosen[row, 0] + offset % across
    y = chosen[row, 1] + offset // across
    return faces[row], y * width + x


def _centres(pixel: Int[Tensor, "P"], width: int, dtype: torch.dtype) -> Float[Tensor, "P 2"]:
    return torch.stack([pixel % width, pixel // width], dim=1).to(dtype) + 0.5


def _squared_distance(points: Float[Tensor, "P 2"], corners: Float[Tensor, "P 3 2"]) -> Float[Tensor, "P"]:
    """From points outside triangles to the nearest point of each one's outline, squared."""
    edge = corners.roll(-1, dims=1) - corners
    to_point = points[:, None] - corners
    # The nearest point's place on its edge does not move the distance to first order: no gradient through it.
    along = (to_point * edge).sum(-1).detach() / edge.square().sum(-1).detach().clamp_min(1e-20)
    return (to_point - along.clamp(0, 1)[..., None] * edge).square().sum(-1).amin(dim=1)
