"""Textures on G-buffers: look-ups that average over what a pixel covers."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from vitruvian.core.errors import UserError
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh
from vitruvian.render.gbuffer import interpolate
from vitruvian.render.raster import sample_points

_SMALLEST_LEVEL = 8
"""Width in texels of the smallest image of the pyramid."""


def sample_texture(albedo: Float[Tensor, "3 S S"], uv: Float[Tensor, "N H W 2"]) -> Float[Tensor, "N 3 H W"]:
    """Bilinear texture look-up. UV origin bottom-left; row 0 of `albedo` is the top (v = 1).

    Outside [0, 1] the border texel is repeated. Differentiable in both arguments.
    """
    n, h, w, _ = uv.shape
    colours = sample_points(albedo, uv.reshape(-1, 2))
    return colours.reshape(n, h, w, -1).permute(0, 3, 1, 2)


def render_texture(
    mesh: Mesh, gbuffer: GBuffer, albedo: Float[Tensor, "3 S S"], background: float = 1.0
) -> Float[Tensor, "N 3 H W"]:
    """Unlit pictures of the textured mesh, on a plain background.

    A pixel that covers many texels shows their mean: four look-ups within the pixel, each in the image
    pyramid's two levels around its size (Williams 1983, "Pyramidal parametrics"). Read at one point, a sharp
    texture would shimmer in every view that it is too fine for. Where texels are larger than pixels it is one
    bilinear look-up. Differentiable in `albedo`.

    Raises:
        UserError: if the mesh has no UVs.
    """
    if mesh.uvs is None or mesh.uv_faces is None:
        raise UserError("mesh.uvs", None, "has no texture coordinates", "Unwrap the mesh first")
    mask = gbuffer.mask
    uv = interpolate(gbuffer, mesh.uv_faces, mesh.uvs)
    across, down = (_pixel_step(uv, mask, axis)[mask] for axis in (2, 1))
    size = albedo.shape[-1]
    texels = size * (across.norm(dim=-1) * down.norm(dim=-1)).sqrt()
    spread = (texels - 1.0).clamp(0.0, 1.0)[:, None] / 4.0
    level = (texels / 2.0).clamp_min(1.0).log2()
    pyramid = _pyramid(albedo)
    points = uv[mask]
    colours = albedo.new_zeros(len(points), albedo.shape[0])
    for x, y in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        colours = colours + _sample_pyramid(pyramid, points + spread * (x * across + y * down), level) / 4.0
    n, h, w = mask.shape
    out = torch.full((n * h * w, 3), background, dtype=colours.dtype, device=colours.device)
    pixels = mask.reshape(-1).nonzero().squeeze(1)
    return out.index_copy(0, pixels, colours).reshape(n, h, w, 3).permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def _pixel_step(
    uv: Float[Tensor, "N H W 2"], mask: Bool[Tensor, "N H W"], axis: int
) -> Float[Tensor, "N H W 2"]:
    """How far texture coordinates move from a pixel to the next along `axis`; 0 where no neighbour says.

    Of the two neighbours the nearer one in the texture counts: the other may lie beyond a seam or an edge.
    """
    count = mask.shape[axis] - 1
    step = uv.narrow(axis, 1, count) - uv.narrow(axis, 0, count)
    known = mask.narrow(axis, 1, count) & mask.narrow(axis, 0, count)
    step = torch.where(known[..., None], step, torch.inf)
    beyond = torch.full_like(uv.narrow(axis, 0, 1), torch.inf)
    ahead, behind = torch.cat([step, beyond], axis), torch.cat([beyond, step], axis)
    nearer = torch.where((ahead.norm(dim=-1) <= behind.norm(dim=-1))[..., None], ahead, behind)
    return torch.where(nearer.isfinite(), nearer, 0.0)


def _pyramid(albedo: Float[Tensor, "3 S S"]) -> list[Float[Tensor, "3 s s"]]:
    """The texture at 1, 1/2, 1/4 ... of its size."""
    levels = [albedo]
    while levels[-1].shape[-1] >= 2 * _SMALLEST_LEVEL and levels[-1].shape[-1] % 2 == 0:
        levels.append(avg_pool2d(levels[-1][None], 2)[0])
    return levels


def _sample_pyramid(
    pyramid: list[Float[Tensor, "3 s s"]], uv: Float[Tensor, "P 2"], level: Float[Tensor, "P"]
) -> Float[Tensor, "P 3"]:
    """Bilinear look-ups in the two levels around `level`, mixed."""
    level = level.clamp(max=len(pyramid) - 1)
    colours = pyramid[0].new_zeros(len(uv), pyramid[0].shape[0])
    for index, image in enumerate(pyramid):
        weight = (1.0 - (level - index).abs()).clamp_min(0.0)
        rows = (weight > 0).nonzero().squeeze(1)
        if len(rows):
            found = sample_points(image, uv[rows]) * weight[rows, None].to(image.dtype)
            colours = colours.index_add(0, rows, found)
    return colours
