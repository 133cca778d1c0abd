"""A UV layout in texels: which triangle each texel belongs to.

Triangles are filled row by row: the columns that can lie within a texel of a triangle follow from its three
edges, so hardly a texel is looked at in vain. Each texel keeps the largest key of (depth inside the triangle,
triangle), whatever order they come in.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_BITS = 8
_TILE = 1 << _BITS
"""Texels are listed by tiles of this edge length: those worked on together then lie together on the body
too."""
_CANDIDATES = 1 << 19
"""Texel-triangle pairs looked at together; bounds the memory at large sizes."""


@dataclass(frozen=True)
class Triangles:
    """The layout's triangles, each in coordinates of its own, so that no digit is lost far from the
    origin."""

    left: Int[Tensor, "F"]
    top: Int[Tensor, "F"]
    """First column and row with centres up to a texel outside the triangle's box; the origin of its
    coordinates."""
    width: Int[Tensor, "F"]
    height: Int[Tensor, "F"]
    edges: Float[Tensor, "3 3 F"]
    """Signed distance to the edge opposite each corner, a x + b y + c, positive inside: corner, then (a, b,
    c)."""
    lengths: Float[Tensor, "3 F"]
    """Of these edges, texels."""
    doubled_area: Float[Tensor, "F"]
    """Signed; texels^2."""


def triangles_of(uvs: Float[Tensor, "T 2"], uv_faces: Int[Tensor, "F 3"], size: int) -> Triangles:
    """The layout at `size` x `size` texels, x right and y down, texel centres at +0.5."""
    scaled = torch.stack([uvs[:, 0] * size, (1.0 - uvs[:, 1]) * size], dim=-1)
    corners = scaled[uv_faces]
    low = (corners.amin(1) - 1.5).ceil().long().clamp(0, size)
    high = (corners.amax(1) + 0.5).floor().long().clamp(-1, size - 1)
    extent = (high - low + 1).clamp_min(0)
    corners = corners - low[:, None]
    a, b, c = corners.unbind(1)
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    extent = extent * (area.abs() >= 1e-9)[:, None]
    start, end = corners.roll(-1, 1), corners.roll(-2, 1)
    along = end - start
    lengths = along.norm(dim=-1)
    scale = torch.sign(area)[:, None] / lengths.clamp_min(1e-12)
    down, right = along[..., 0] * scale, -along[..., 1] * scale
    constant = -(right * start[..., 0] + down * start[..., 1])
    edges = torch.stack([right, down, constant], dim=-1).permute(1, 2, 0).contiguous()
    return Triangles(low[:, 0], low[:, 1], extent[:, 0], extent[:, 1], edges, lengths.T.contiguous(), area)


def claimed_texels(
    triangles: Triangles, size: int
) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"], Bool[Tensor, "P"]]:
    """Flat index of each texel within a texel of a triangle, tile by tile; that triangle (int32); if it is
    inside.

    Of several triangles the one whose border is farthest away wins, and the later one where two tie, as on a
    shared edge.
    """
    tiles = -(-size // _TILE)
    keys = torch.full(((tiles * _TILE) ** 2,), -1, dtype=torch.long, device=triangles.left.device)
    for rows in _batches(triangles.height, _CANDIDATES // 8):
        spans = _spans(triangles, rows)
        for part in _batches(spans.count, _CANDIDATES):
            _claim(spans, part, tiles, keys)
    listed = (keys >= 0).nonzero().squeeze(1)
    key = keys[listed]
    # The depth's bits, shifted by one texel to be positive, are ordered as it is.
    inside = (key >> 32).int().view(torch.float32) >= 1.0
    tile = listed >> (2 * _BITS)
    row = (tile // tiles << _BITS) + ((listed >> _BITS) & (_TILE - 1))
    column = (tile % tiles << _BITS) + (listed & (_TILE - 1))
    return row * size + column, (key & 0xFFFFFFFF).int(), inside


@dataclass(frozen=True)
class _Spans:
    """Runs of texels in one row that may lie within a texel of one triangle."""

    face: Int[Tensor, "R"]
    row: Int[Tensor, "R"]
    column: Int[Tensor, "R"]
    """The first one."""
    count: Int[Tensor, "R"]
    depth: Float[Tensor, "3 R"]
    """Distance to the triangle's edges at the first one."""
    slope: Float[Tensor, "3 R"]
    """What one column more adds to it."""


def _spans(triangles: Triangles, faces: slice) -> _Spans:
    height = triangles.height[faces]
    face = torch.arange(faces.start, faces.stop, device=height.device).repeat_interleave(height)
    down = torch.arange(len(face), device=height.device) - (height.cumsum(0) - height).repeat_interleave(
        height
    )
    a, b, c = triangles.edges[:, :, face].unbind(1)
    at_left = b * (down + 0.5) + c
    limit = (-1.0 - at_left) / a
    first = torch.where(a > 0, limit, -torch.inf).amax(0).clamp_min(0.0)
    last = torch.where(a < 0, limit, torch.inf).amin(0)
    empty = ((a == 0) & (at_left <= -1.0)).any(0)
    # One texel too many at either end forgives rounding; the depth test drops it.
    begin = (first - 0.5).floor().clamp_min(0.0).long()
    end = (last - 0.5).ceil().minimum(triangles.width[face] - 1.0).long()
    count = (end - begin + 1).clamp_min(0) * ~empty
    row, column = triangles.top[face] + down, triangles.left[face] + begin
    return _Spans(face, row, column, count, a * (begin + 0.5) + at_left, a)


def _claim(spans: _Spans, part: slice, tiles: int, keys: Int[Tensor, "A"]) -> None:
    """Give the texels of some spans to their triangles where those lie deepest; updates `keys`."""
    count = spans.count[part]
    span = torch.arange(part.start, part.stop, device=count.device).repeat_interleave(count)
    along = torch.arange(len(span), device=count.device) - (count.cumsum(0) - count).repeat_interleave(count)
    depth = (spans.depth[:, span] + spans.slope[:, span] * along).amin(0)
    row, column = spans.row[span], spans.column[span] + along
    tile = (row >> _BITS) * tiles + (column >> _BITS)
    address = (((tile << _BITS) | (row & (_TILE - 1))) << _BITS) | (column & (_TILE - 1))
    key = ((depth + 1.0).view(torch.int32).long() << 32) | spans.face[span]
    keys.scatter_reduce_(0, address, torch.where(depth > -1.0, key, -1), "amax")


def _batches(counts: Int[Tensor, "N"], most: int) -> list[slice]:
    """Consecutive entries that together count at most `most`, or one entry alone."""
    ends = counts.cumsum(0).cpu()
    total = int(ends[-1]) if len(ends) else 0
    bounds, begin, taken = [], 0, 0
    while taken < total:
        stop = int(torch.searchsorted(ends, taken + most, right=True))
        stop = max(stop, begin + 1)
        bounds.append(slice(begin, stop))
        begin, taken = stop, int(ends[stop - 1])
    return bounds
