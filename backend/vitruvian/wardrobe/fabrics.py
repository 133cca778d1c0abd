"""Procedural fabrics: colour as a function of where on the cloth a pixel looks, in metres.

Every pattern is filtered by the pixel's footprint (box-filtered stripes and checks, faded dots and weaves):
a pattern that a view cannot resolve turns into its mean instead of into moire. The main colour keeps at
least 60 % of the area of every pattern.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.wardrobe.records import Garment

_TILE = 256
"""Lattice cells of the noise tile along each side; noise repeats after as many units."""
_PLAID_SHARE = 0.16
"""Width of a plaid's bands: (1 - 0.16)^2 = 71 % of the cloth is left in the main colour."""

Points = Float[Tensor, "P"]
Colours = Float[Tensor, "P 3"]


def fabric_colour(
    garment: Garment, uv: Float[Tensor, "P 2"], rest: Float[Tensor, "P 3"], footprint: Points
) -> Colours:
    """The cloth of one garment at P points.

    Args:
        garment: colours, pattern, scale and phase.
        uv: cloth coordinates in metres, u around the body or limb, v along it.
        rest: positions in the rest pose, divided by the body's height (prints sit on the chest).
        footprint: how much cloth a pixel covers, metres.

    Returns:
        sRGB-encoded albedo, in [0, 1].
    """
    pattern = _PATTERNS[garment.pattern]
    u = uv[:, 0] / garment.scale + garment.phase[0]
    v = uv[:, 1] / garment.scale + garment.phase[1]
    colours = pattern(garment, u, v, footprint / garment.scale, rest)
    return colours.clamp(0.0, 1.0)


def noise(x: Points, y: Points, seed: int = 0) -> Points:
    """Smooth noise of zero mean and unit variance; features are about one unit wide."""
    # Offsets by the golden ratio keep seeds apart within the tile.
    shift_x, shift_y = (seed * 0.61803399 % 1.0) * _TILE, (seed * 0.75487767 % 1.0) * _TILE
    grid = torch.stack([(x + shift_x) % _TILE, (y + shift_y) % _TILE], dim=-1)
    grid = grid * (2.0 / _TILE) - 1.0
    sampled = torch.nn.functional.grid_sample(
        _noise_tile(), grid[None, None], mode="bilinear", padding_mode="border", align_corners=True
    )
    return sampled.reshape(-1)


@functools.cache
def _noise_tile() -> Float[Tensor, "1 1 S S"]:
    tile = np.random.default_rng(20).normal(size=(_TILE, _TILE)).astype(np.float32)
    tile = np.pad(tile, ((0, 1), (0, 1)), mode="wrap")  # the last row and column repeat the first
    return torch.from_numpy(tile)[None, None]


def stripe_coverage(t: Points, duty: float, width: Points) -> Points:
    """Exactly how much of a pixel, `width` periods around `t`, lies in stripes [0, duty) of each period."""

    def integral(x: Points) -> Points:
        whole = torch.floor(x)
        return whole * duty + (x - whole).clamp_max(duty)

    width = width.clamp_min(1e-4)
    return (integral(t + width / 2) - integral(t - width / 2)) / width


def shape_coverage(distance: Points, width: Points) -> Points:
    """Antialiased inside of a signed distance (negative inside), with edges one pixel `width` wide."""
    return (0.5 - distance / width.clamp_min(1e-6)).clamp(0.0, 1.0)


def mix(a: Colours, b: Tensor, share: Points) -> Colours:
    """`a` where share is 0, `b` where it is 1."""
    return torch.lerp(a, b.expand_as(a), share[:, None])


def _cloth(garment: Garment, u: Points, v: Points, width: Points) -> Colours:
    """The main colour with a faint weave and slow unevenness."""
    metres = garment.scale
    weave = noise(u * metres / 0.006, v * metres / 0.006, garment.seed)
    uneven = noise(u * metres / 0.11, v * metres / 0.11, garment.seed + 1)
    fade = (0.005 / (width * metres) - 1.0).clamp(0.0, 1.0)
    tone = 1.0 + 0.018 * weave * fade + 0.010 * uneven
    # Multiplying leaves black cloth flat: a little is added instead.
    return torch.tensor(garment.rgb) * tone[:, None] + 0.008 * (weave * fade)[:, None]


def _plain(garment: Garment, u: Points, v: Points, width: Points, rest: Colours) -> Colours:
    return _cloth(garment, u, v, width)


def _striped(garment: Garment, u: Points, v: Points, width: Points, rest: Colours) -> Colours:
    return mix(
        _cloth(garment, u, v, width), torch.tensor(garment.rgb2), stripe_coverage(v, garment.duty, width)
    )


def _vertical(garment: Garment, u: Points, v: Points, width: Points, rest: Colours) -> Colours:
    duty = 0.75 * garment.duty
    return mix(_cloth(garment, u, v, width), torch.tensor(garment.rgb2), stripe_coverage(u, duty, width))


def _plaid(garment: Garment, u: Points, v: Points, width: Points, rest: Colours) -> Colours:
    """Bands of the second colour both ways, half strength where one band runs, full where two cross."""
    second = torch.tensor(garment.rgb2)
    across, along = stripe_coverage(u, _PLAID_SHARE, width), stripe_coverage(v, _PLAID_SHARE, width)
    line = torch.maximum(stripe_coverage(u + 0.42, 0.035, width), stripe_coverage(v + 0.42, 0.035, width))
    colours = mix(_cloth(garment, u, v, width), second, 0.62 * across)
    colours = mix(colours, second, 0.62 * along)
    return mix(colours, second, 0.55 * line)


def _dotted(garment: Garment, u: Points, v: Points, width: Points, rest: Colours) -> Colours:
    """Dots on a staggered grid; the period holds two rows."""
    row = torch.floor(2.0 * v)
    x = (u + 0.5 * (row % 2)) % 1.0 - 0.5
    y = ((2.0 * v) % 1.0 - 0.5) / 2.0
    share = 0.7 * garment.duty
    radius = min(math.sqrt(share / 2.0 / math.pi), 0.24)
    sharp = shape_coverage(torch.hypot(x, y) - radius, width)
    seen = (1.6 - 2.0 * width).clamp(0.0, 1.0)
    return mix(
        _cloth(garment, u, v, width),
        torch.tensor(garment.rgb2),
        torch.lerp(torch.full_like(x, share), sharp, seen),
    )


def _denim(garment: Garment, u: Points, v: Points, width: Points, rest: Colours) -> Colours:
    """Slubby threads along the cloth, a diagonal twill where it can be seen, and worn, lighter places."""
    metres = garment.scale
    main = torch.tensor(garment.rgb)
    slub = noise(u * metres / 0.003, v * metres / 0.045, garment.seed)
    worn = noise(u * metres / 0.09, v * metres / 0.16, garment.seed + 1)
    fade = (0.004 / (width * metres)).clamp_max(1.0)
    twill = (2.0 * stripe_coverage(u + v, 0.5, width) - 1.0) * (1.0 - width).clamp(0.0, 1.0)
    tone = 0.07 * slub * (0.35 + 0.65 * fade) + 0.04 * worn + 0.08 * twill
    light = main + 0.55 * (1.0 - main)
    return mix(main.expand(len(u), 3), light, tone.clamp_min(0.0)) * (1.0 + tone.clamp_max(0.0))[:, None]


def _knit(garment: Garment, u: Points, v: Points, width: Points, rest: Colours) -> Colours:
    """Columns of V stitches; unresolved, only slow ribs are left."""
    column = (u % 1.0 - 0.5).abs() * 2.0
    stitch = (2.0 * v + 0.8 * column) % 1.0
    seen = (1.3 - 1.4 * width).clamp(0.0, 1.0)
    tone = seen * (0.24 * ((stitch - 0.5).abs() * 2.0 - 0.5) - 0.18 * (column - 0.5))
    rib = 0.045 * torch.cos(2.0 * math.pi * u / 2.0) * (1.0 - width / 2.0).clamp(0.0, 1.0)
    colours = _cloth(garment, u, v, width)
    tone = tone + rib
    return colours * (1.0 + tone)[:, None] + 0.08 * tone.clamp_min(0.0)[:, None]


def _print(garment: Garment, u: Points, v: Points, width: Points, rest: Colours) -> Colours:
    """One emblem on the chest, by position: it does not repeat."""
    size = garment.scale / 2.0 / 1.7  # rest positions are in body heights
    x, y = rest[:, 0] / size, (rest[:, 2] - PRINT_HEIGHT) / size
    pixel = width * garment.scale / 1.7 / size
    emblem = _EMBLEMS[garment.seed % len(_EMBLEMS)]
    front = (rest[:, 1] < PRINT_FRONT).float()
    coverage = shape_coverage(emblem(x, y), pixel) * front
    return mix(_cloth(garment, u, v, width), torch.tensor(garment.rgb2), coverage)


PRINT_HEIGHT = 0.735
"""Height of the middle of a chest print, body heights."""
PRINT_FRONT = -0.02
"""The y in front of which cloth is the chest's."""


def _disc(x: Points, y: Points) -> Points:
    return torch.hypot(x, y) - 0.75


def _ring(x: Points, y: Points) -> Points:
    return (torch.hypot(x, y) - 0.66).abs() - 0.2


def _diamond(x: Points, y: Points) -> Points:
    return (x.abs() + y.abs() - 0.95) / math.sqrt(2.0)


def _triangle(x: Points, y: Points) -> Points:
    return torch.maximum((0.87 * x.abs() + 0.5 * y) - 0.4, -y - 0.55)


def _bars(x: Points, y: Points) -> Points:
    rows = (y.abs() - 0.35).abs() - 0.2
    return torch.maximum(rows, x.abs() - 0.95)


def _star(x: Points, y: Points) -> Points:
    """Five points: a cosine in the angle bends the radius."""
    angle = torch.atan2(x, y)
    fold = (angle / (2 * math.pi / 5)) % 1.0
    point = (fold - 0.5).abs() * 2.0  # 1 at a tip, 0 between tips
    return (torch.hypot(x, y) - (0.42 + 0.55 * point**1.6)) * 0.6


def _heart(x: Points, y: Points) -> Points:
    """Two lobes over a wedge."""
    lobes = torch.hypot(x.abs() - 0.38, y - 0.28) - 0.42
    wedge = torch.maximum((x.abs() - y) * math.sqrt(0.5) - 0.55, y - 0.3)
    return torch.minimum(lobes, wedge)


_EMBLEMS: tuple[Callable[[Points, Points], Points], ...] = (
    _disc,
    _ring,
    _diamond,
    _triangle,
    _bars,
    _star,
    _heart,
)

_PATTERNS: dict[str, Callable[[Garment, Points, Points, Points, Colours], Colours]] = {
    "plain": _plain,
    "striped": _striped,
    "vertical stripes": _vertical,
    "plaid": _plaid,
    "dotted": _dotted,
    "denim": _denim,
    "knit": _knit,
    "print": _print,
}
