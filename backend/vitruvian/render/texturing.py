"""Textures on G-buffers: look-ups that average over what a pixel covers."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from vitruvian.core.errors import UserError
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh
from vitruvian.core.parallel import for_each
from vitruvian.render.gbuffer import interpolate
from vitruvian.render.raster import sample_points
from vitruvian.render.windows import Window, windows

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
    levels = _pyramid(albedo)
    found = list(enumerate(windows(gbuffer.mask, multiple=1)))

    def one(item: tuple[int, Window | None]) -> Float[Tensor, "3 H W"]:
        view, window = item
        plain = albedo.new_full((3, *gbuffer.face_id.shape[1:]), background)
        return plain if window is None else _draw(mesh, gbuffer, levels, view, window, plain)

    followed = any(x.requires_grad for x in (albedo, mesh.uvs, gbuffer.barycentric))
    if followed and torch.is_grad_enabled():
        return torch.stack([one(item) for item in found])
    return torch.stack(for_each(one, found, albedo.device))


def _draw(
    mesh: Mesh,
    gbuffer: GBuffer,
    levels: list[Float[Tensor, "3 s s"]],
    view: int,
    window: Window,
    plain: Float[Tensor, "3 H W"],
) -> Float[Tensor, "3 H W"]:
    """One view on a plain background."""
    assert mesh.uvs is not None
    assert mesh.uv_faces is not None
    cut = GBuffer(*(x[view][window.slices][None] for x in vars(gbuffer).values()))
    mask = cut.mask[0]
    uv = interpolate(cut, mesh.uv_faces, mesh.uvs)[0].permute(2, 0, 1).contiguous()
    pixels = mask.reshape(-1).nonzero().squeeze(1)
    across, down = (_pixel_step(uv, mask, axis).reshape(2, -1)[:, pixels] for axis in (2, 1))
    points = uv.reshape(2, -1)[:, pixels]
    texels = levels[0].shape[-1] * (_length(across) * _length(down)).sqrt()
    spread = (texels - 1.0).clamp(0.0, 1.0) / 4.0
    level = (texels / 2.0).clamp_min(1.0).log2()
    corners = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], device=points.device)
    shifts = (corners[:, :1, None] * across + corners[:, 1:, None] * down) * spread
    colours = _sample_pyramid(levels, points + shifts, level)
    width = window.right - window.left
    row, column = torch.div(pixels, width, rounding_mode="floor") + window.top, pixels % width + window.left
    flat = plain.reshape(3, -1).index_copy(1, row * plain.shape[2] + column, colours.to(plain.dtype))
    return flat.reshape(plain.shape)


@torch.no_grad()
def _pixel_step(uv: Float[Tensor, "2 H W"], mask: Bool[Tensor, "H W"], axis: int) -> Float[Tensor, "2 H W"]:
    """How far texture coordinates move from a pixel to the next along `axis`; 0 where no neighbour says.

    Of the two neighbours the nearer one in the texture counts: the other may lie beyond a seam or an edge.
    """
    count = uv.shape[axis] - 1
    step = uv.narrow(axis, 1, count) - uv.narrow(axis, 0, count)
    known = mask.narrow(axis - 1, 1, count) & mask.narrow(axis - 1, 0, count)
    length = torch.where(known, _length(step), torch.inf)
    pad = (0, 0, 0, 1) if axis == 1 else (0, 1)
    back = (0, 0, 1, 0) if axis == 1 else (1, 0)
    ahead = torch.nn.functional.pad(length, pad, value=torch.inf)
    behind = torch.nn.functional.pad(length, back, value=torch.inf)
    nearer = torch.where(
        ahead <= behind, torch.nn.functional.pad(step, pad), torch.nn.functional.pad(step, back)
    )
    return torch.where(torch.minimum(ahead, behind).isfinite(), nearer, 0.0)


def _length(vectors: Float[Tensor, "2 *S"]) -> Float[Tensor, "*S"]:
    return (vectors[0] * vectors[0] + vectors[1] * vectors[1]).sqrt()


def _pyramid(albedo: Float[Tensor, "3 S S"]) -> list[Float[Tensor, "3 s s"]]:
    """The texture at 1, 1/2, 1/4 ... of its size."""
    levels = [albedo]
    while levels[-1].shape[-1] >= 2 * _SMALLEST_LEVEL and levels[-1].shape[-1] % 2 == 0:
        levels.append(avg_pool2d(levels[-1][None], 2)[0])
    return levels


def _sample_pyramid(
    pyramid: list[Float[Tensor, "3 s s"]], uv: Float[Tensor, "K 2 P"], level: Float[Tensor, "P"]
) -> Float[Tensor, "3 P"]:
    """Mean of K bilinear look-ups a point, each in the two levels around `level`, mixed."""
    level = level.clamp(max=len(pyramid) - 1)
    colours = pyramid[0].new_zeros(pyramid[0].shape[0], uv.shape[2])
    for index, image in enumerate(pyramid):
        weight = (1.0 - (level - index).abs()).clamp_min(0.0)
        rows = (weight > 0).nonzero().squeeze(1)
        if len(rows):
            count = len(rows)
            found = sample_points(image, uv[:, :, rows].transpose(1, 2).reshape(-1, 2)).T
            mean = found.reshape(len(found), -1, count).mean(1) * weight[rows].to(image.dtype)
            colours = colours.index_add(1, rows, mean)
    return colours
