"""Colours for texels no view saw, and for the space between the islands."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate

from vitruvian.core.parallel import for_each
from vitruvian.texture.distance import beyond, bounded_squares, nearest_keys, offsets
from vitruvian.texture.nearest import NearestPoints
from vitruvian.texture.texels import TexelMap

_NEIGHBOURS, _FINE_NEIGHBOURS = 32, 6
_COARSE, _FINE = 20_000, 150_000
"""Points of the coarse and the fine pass over the holes; more only cost time."""
_SEAM = 2.0
"""Width of the band along island borders that is smoothed, texels."""
_SEAM_NEIGHBOURS = 16
PADDING = 16
"""Texels around the islands that repeat the nearest one exactly."""
_BLOCK = 8
"""Beyond them colours are means over blocks of this many texels, and over larger ones further out."""
_BAND = 128
"""Rows of a texture that one core works on at a time."""
_QUERIES = {"cpu": 1 << 14, "cuda": 1 << 20}
"""Points that are asked for their neighbours together."""


Surface = Callable[[Int[Tensor, "B"]], tuple[Float[Tensor, "3 B"], Float[Tensor, "3 B"]]]
"""Positions and unit normals of some of the points."""


@torch.no_grad()
def fill_holes(colours: Float[Tensor, "3 P"], coverage: Float[Tensor, "P"], surface: Surface) -> None:
    """Colour unseen points from seen ones that lie near them on the surface; changes `colours`.

    Weights are 1/distance, times how far the normals agree, so that a colour does not jump across a thin part
    (MVPaint; research 4.1), and times how well the seen point was seen. Nothing is taken from UV neighbours,
    which need not be neighbours on the body.
    Grey where nothing at all was seen.
    """
    seen = coverage > 0
    seeds, holes = seen.nonzero().squeeze(1), (~seen).nonzero().squeeze(1)
    if len(seeds) == 0:
        colours[:] = 0.5
    if len(seeds) == 0 or len(holes) == 0:
        return
    coarse_seeds, coarse = _thinned(seeds, _COARSE), _thinned(holes, _COARSE)
    around = _Known(coarse_seeds, colours, coverage[coarse_seeds], surface)
    around.colour_in(colours, coarse, surface, _NEIGHBOURS)
    # The rest: between the coarse holes, now filled, and the seen texels around.
    fine_seeds = _thinned(seeds, _FINE)
    trust = torch.cat([coverage[fine_seeds], coverage.new_full((len(coarse),), 0.3)])
    around = _Known(torch.cat([fine_seeds, coarse]), colours, trust, surface)
    around.colour_in(colours, holes, surface, _FINE_NEIGHBOURS)


def _thinned(indices: Int[Tensor, "A"], most: int) -> Int[Tensor, "B"]:
    """At most `most` of the indices, evenly spread."""
    return indices[:: max(1, -(-len(indices) // most))]


class _Known:
    """Points whose colours are known."""

    def __init__(
        self,
        points: Int[Tensor, "K"],
        colours: Float[Tensor, "3 P"],
        trust: Float[Tensor, "K"],
        surface: Surface,
    ) -> None:
        position, self._normal = surface(points)
        self._colours, self._trust = colours[:, points], trust
        self._nearest = NearestPoints(position)

    def colour_in(
        self, colours: Float[Tensor, "3 P"], holes: Int[Tensor, "H"], surface: Surface, neighbours: int
    ) -> None:
        """Set the colours of `holes` to weighted means of the known points nearest to each."""

        def fill(part: slice) -> None:
            position, normal = surface(holes[part])
            near, distance = self._nearest(position, neighbours)
            agreement = (self._normal[:, near] * normal[..., None]).sum(0)
            weight = (0.02 + agreement.clamp_min(0.0) ** 2) / (distance + 1e-3) * (0.02 + self._trust[near])
            colours[:, holes[part]] = (self._colours[:, near] * weight).sum(-1) / weight.sum(-1)

        for_each(fill, _parts(holes), colours.device)


def smooth_seams(colours: Float[Tensor, "3 P"], texels: TexelMap) -> None:
    """Let the two sides of every cut of the UV layout agree; changes `colours`.

    Texels within `_SEAM` of an island's border move to the mean of the surface within about a texel around
    them, whichever island it lies on; fully at the border, not at all at the band's inner edge.
    """
    reach = int(2.0 * _SEAM)
    squares = _border_squares(texels.inside_image, reach)
    near = squares.reshape(-1)[texels.index] <= reach**2
    around = near.nonzero().squeeze(1)
    depth = squares.reshape(-1)[texels.index[around]].float().sqrt()
    inner = (depth <= _SEAM).nonzero().squeeze(1)
    if len(inner) == 0:
        return
    position, normal, footprint = texels.surface(around)
    nearest, smoothed = NearestPoints(position), torch.empty(3, len(inner), device=colours.device)

    def smooth(part: slice) -> None:
        own = inner[part]
        near, distance = nearest(position[:, own], _SEAM_NEIGHBOURS)
        agreement = (normal[:, near] * normal[:, own][..., None]).sum(0)
        steps = distance / footprint[own].clamp_min(1e-6)[:, None]
        weight = torch.exp(-0.5 * steps**2) * (agreement > 0.5) + 1e-6 * (distance == 0)
        total = weight.sum(-1)
        mean = (colours[:, around[near]] * weight).sum(-1) / total.clamp_min(1e-12)
        keep = torch.where(total > 1e-9, (depth[own] / _SEAM).clamp(0.0, 1.0), 1.0)
        smoothed[:, part] = torch.lerp(mean, colours[:, around[own]], keep)

    for_each(smooth, _parts(inner), colours.device)
    colours[:, around[inner]] = smoothed


def _border_squares(inside: Bool[Tensor, "S S"], limit: int) -> Int[Tensor, "S S"]:
    """Squared distance of each texel inside an island to the nearest one outside, where within `limit`; 0
    outside."""
    squares = torch.empty(inside.shape, dtype=torch.int32, device=inside.device)

    def measure(rows: slice) -> None:
        wide, own = _with_halo(rows, limit, len(inside))
        squares[rows] = bounded_squares(~inside[wide], limit)[own]

    for_each(measure, _bands(inside), inside.device)
    return squares


def pad_islands(
    image: Float[Tensor, "C S S"], known: Bool[Tensor, "S S"], reach: int = PADDING
) -> Float[Tensor, "C S S"]:
    """Continue the islands' colours outwards, so that no lookup reads the gaps.

    Up to `reach` texels away by the nearest known texel, further out by the mean of what lies around.
    """
    if not bool(known.any()) or bool(known.all()):
        return image
    padded = image.clone()
    coarse = _spread(image, known, _BLOCK)

    def pad(rows: slice) -> None:
        wide, own = _with_halo(rows, reach, known.shape[0])
        row, column = (~known[rows]).nonzero().unbind(1)
        keys = nearest_keys(known[wide], reach)[own][row, column]
        near = keys < beyond(reach)
        down, right = offsets(keys[near])
        row = row + rows.start
        at, to = row[near] + down, column[near] + right
        padded[:, row[near], column[near]] = image[:, at, to]
        row, column = row[~near], column[~near]
        grid = (
            torch.stack([column, row], dim=-1)
            .float()
            .add_(0.5)
            .div_(_BLOCK * coarse.shape[1] / 2.0)
            .sub_(1.0)
        )
        far = grid_sample(coarse[None], grid[None, None], padding_mode="border", align_corners=False)
        padded[:, row, column] = far[0, :, 0].to(image.dtype)

    for_each(pad, _bands(known), image.device)
    return padded


def _spread(image: Float[Tensor, "C S S"], known: Bool[Tensor, "S S"], block: int) -> Float[Tensor, "C s s"]:
    """Means of the known texels over blocks, and where a block has none, of larger ones, smoothly."""
    channels = [_means((channel * known)[None], block) for channel in image]
    levels = [torch.cat([*channels, _means(known[None].to(image.dtype), block)])]
    while max(levels[-1].shape[1:]) > 1:
        levels.append(_means(levels[-1], 2))
    filled = levels[-1][:-1] / levels[-1][-1:].clamp_min(1e-12)
    for level in reversed(levels[:-1]):
        height, width = level.shape[1:]
        larger = interpolate(filled[None], scale_factor=2, mode="bilinear")[0, :, :height, :width]
        filled = torch.where(level[-1:] > 0, level[:-1] / level[-1:].clamp_min(1e-12), larger)
    return filled


def _means(image: Float[Tensor, "C H W"], block: int) -> Float[Tensor, "C h w"]:
    return avg_pool2d(image[None], block, ceil_mode=True)[0]


def _parts(points: Tensor) -> list[slice]:
    """Points that are worked on together."""
    count = _QUERIES.get(points.device.type, _QUERIES["cuda"])
    return [slice(i, min(i + count, len(points))) for i in range(0, len(points), count)]


def _bands(image: Tensor) -> list[slice]:
    """Rows of the image that are worked on together."""
    rows = len(image) if image.device.type != "cpu" else _BAND
    return [slice(i, min(i + rows, len(image))) for i in range(0, len(image), rows)]


def _with_halo(rows: slice, halo: int, height: int) -> tuple[slice, slice]:
    """The rows with `halo` more on either side, as far as the image goes; and where the rows lie in those."""
    wide = slice(max(rows.start - halo, 0), min(rows.stop + halo, height))
    return wide, slice(rows.start - wide.start, rows.stop - wide.start)
