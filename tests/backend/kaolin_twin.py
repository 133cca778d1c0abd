"""Kaolin's three kernels as its documentation and source describe them, brute force and differentiable.

Kaolin needs CUDA, so on other machines these stand in for it. tests/backend/test_kaolin.py holds them against
the real ones where it can.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitruvian.render.raster_kaolin import Kernels


def pixel_centres(height: int, width: int, dtype: torch.dtype) -> Float[Tensor, "H*W 2"]:
    """Image plane from -1 to 1, x right, y up."""
    y = (height - 2 * torch.arange(height, dtype=dtype) - 1) / height
    x = (2 * torch.arange(width, dtype=dtype) + 1 - width) / width
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).reshape(-1, 2)


def rasterize(
    height: int,
    width: int,
    face_vertices_z: Float[Tensor, "N F 3"],
    face_vertices_image: Float[Tensor, "N F 3 2"],
    face_features: Float[Tensor, "N F 3 C"],
    valid_faces: Bool[Tensor, "N F"] | None = None,
    multiplier: float | None = None,
    eps: float | None = None,
    backend: str = "cuda",
) -> tuple[Float[Tensor, "N H W C"], Int[Tensor, "N H W"]]:
    """Most z wins among the valid faces that hold the pixel's centre; features are mixed on the image."""
    assert backend == "cuda"
    assert multiplier is None
    if valid_faces is not None and not valid_faces.any():
        raise IndexError("no valid face in any view: the kernel's packed arrays are empty")
    points = pixel_centres(height, width, face_vertices_image.dtype)[:, None]
    features, faces = [], []
    for view, (z, corners, feature) in enumerate(
        zip(face_vertices_z, face_vertices_image, face_features, strict=True)
    ):
        edges = corners[None] - points[:, :, None]
        following, last = edges[:, :, [1, 2, 0]], edges[:, :, [2, 0, 1]]
        weights = following[..., 0] * last[..., 1] - following[..., 1] * last[..., 0]
        total = weights.sum(-1, keepdim=True)
        weights = weights / (total + torch.full_like(total, eps or 1e-8).copysign(total))
        covered = (weights >= 0).all(-1)
        if valid_faces is not None:
            covered = covered & valid_faces[view]
        closeness = (weights * z).sum(-1).masked_fill(~covered, -torch.inf)
        best, face = closeness.max(dim=1)
        hit = best > -torch.inf
        chosen = weights[torch.arange(len(face)), face]
        mixed = torch.einsum("pk,pkc->pc", chosen, feature[face]).where(hit[:, None], 0.0)
        features.append(mixed.reshape(height, width, -1))
        faces.append(torch.where(hit, face, -1).reshape(height, width))
    return torch.stack(features), torch.stack(faces)


def dibr_soft_mask(
    face_vertices_image: Float[Tensor, "N F 3 2"],
    selected_face_idx: Int[Tensor, "N H W"],
    sigmainv: float = 7000,
    boxlen: float = 0.02,
    knum: int = 30,
    multiplier: float = 1000.0,
) -> Float[Tensor, "N H W"]:
    """1 on covered pixels; elsewhere the first `knum` faces whose widened bounds hold the pixel count."""
    assert multiplier == 1000.0
    height, width = selected_face_idx.shape[1:]
    points = pixel_centres(height, width, face_vertices_image.dtype)[:, None]
    masks = []
    for corners, face_id in zip(face_vertices_image, selected_face_idx, strict=True):
        low, high = corners.amin(1) - boxlen, corners.amax(1) + boxlen
        near = ((points >= low) & (points < high)).all(-1)
        near = near & (near.cumsum(1) <= knum)
        missed = torch.where(near, 1 - (-sigmainv * _squared_distance(points, corners)).exp(), 1.0)
        masks.append(torch.where(face_id >= 0, 1.0, 1 - missed.prod(1).reshape(height, width)))
    return torch.stack(masks)


def _squared_distance(
    points: Float[Tensor, "P 1 2"], corners: Float[Tensor, "F 3 2"]
) -> Float[Tensor, "P F"]:
    """Least of six: to each edge's line where the foot lies on the edge, and to each corner."""
    found = []
    for start, end in ((0, 1), (1, 2), (2, 0)):
        a, b = corners[:, start], corners[:, end]
        edge = b - a
        # An edge of no length is left to its two corners, as in the kernel.
        length_squared = edge.square().sum(-1).clamp_min(1e-13)
        is_edge = length_squared > 1e-13
        across = edge[:, 0] * (points - a)[..., 1] - edge[:, 1] * (points - a)[..., 0]
        foot = a + (((points - a) * edge).sum(-1) / length_squared)[..., None] * edge
        on_edge = is_edge & (((foot - a) * (foot - b)).sum(-1) <= 0)
        found += [torch.where(on_edge, across.square() / length_squared, 4.0)]
        found += [(points - a).square().sum(-1)]
    return torch.stack(found).amin(0)


def texture_mapping(
    texture_coordinates: Float[Tensor, "N P 2"], texture_maps: Float[Tensor, "N C H W"], mode: str = "nearest"
) -> Float[Tensor, "N P C"]:
    """Bilinear look-ups, v up, coordinates held to [0, 1], border repeated: four texels, weighed by hand."""
    assert mode == "bilinear"
    views = []
    for uv, image in zip(texture_coordinates, texture_maps, strict=True):
        height, width = image.shape[1:]
        x = (uv[:, 0].clamp(0, 1) * width - 0.5).clamp(0, width - 1)
        y = ((1 - uv[:, 1].clamp(0, 1)) * height - 0.5).clamp(0, height - 1)
        left, top = x.floor().long(), y.floor().long()
        colour = 0.0
        for right in (0, 1):
            for below in (0, 1):
                column, row = (left + right).clamp(max=width - 1), (top + below).clamp(max=height - 1)
                weight_x = (x - left) if right else 1 - (x - left)
                weight_y = (y - top) if below else 1 - (y - top)
                colour = colour + (weight_x * weight_y)[:, None] * image[:, row, column].T
        views.append(colour)
    return torch.stack(views)


TWIN = Kernels(rasterize, dibr_soft_mask, texture_mapping)
