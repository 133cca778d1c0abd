"""What is sewn on: hems, plackets, buttons, pockets, laces; painted by position on the mean body at rest.

Positions are in body heights (x to the body's left, y to its back, z up), so that they hold for every body.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.wardrobe.fabrics import Colours, Points, mix, shape_coverage
from vitruvian.wardrobe.records import BELT, BOTTOM, DRESS, OUTER, SHOES, TOP, Garment, Geometry

STATURE = 1.7
"""Metres per body height, for widths of seams."""
_GOLD = (0.78, 0.56, 0.27)
_METAL = (0.74, 0.72, 0.66)

# Height on the mean body (body heights) -> y of the leg's axis: where side seams run.
_LEG_Z = (0.06, 0.12, 0.24, 0.33, 0.42, 0.50, 0.60)
_LEG_Y = (0.005, 0.000, -0.003, -0.017, -0.021, -0.011, -0.016)


def add_details(
    cloth: Colours,
    garment: Garment,
    geometry: Geometry,
    uv: Float[Tensor, "P 2"],
    rest: Float[Tensor, "P 3"],
    border: Points,
    footprint: Points,
) -> Colours:
    """The garment's colours with its seams and fastenings.

    Args:
        cloth: colours of the fabric.
        uv: cloth coordinates, metres.
        rest: positions in body heights.
        border: metres to the garment's nearest edge.
        footprint: metres that a pixel covers.
    """
    x, y, z = rest.unbind(-1)
    width = footprint / STATURE
    front = y < -0.005
    if garment.slot in (TOP, DRESS, OUTER, BOTTOM) and garment.pattern != "knit":
        cloth = _seam(cloth, band(border - 0.022, 0.0014, footprint))
    if garment.kind == "sweater" or garment.kind == "beanie":
        cloth = _ribs(cloth, uv[:, 0], border, footprint)
    elif garment.kind == "shirt":
        cloth = _shirt(cloth, x, z, front, width)
    elif garment.slot == OUTER:
        cloth = _jacket(cloth, garment, geometry, x, z, front, width)
    elif garment.slot == BOTTOM and garment.kind != "skirt":
        cloth = _trousers(cloth, garment, rest, front, width)
    elif garment.slot == SHOES:
        cloth = _shoe(cloth, garment, rest, width)
    elif garment.slot == BELT:
        cloth = _buckle(cloth, x, border, front, width)
    return cloth


def band(distance: Points, half: float, width: Points) -> Points:
    """How much of a pixel `width` wide is line: `distance` from its middle, the line `half` to each side."""
    width = width.clamp_min(1e-6)
    low, high = (distance - width / 2).clamp_min(-half), (distance + width / 2).clamp_max(half)
    return ((high - low).clamp_min(0.0) / width).clamp_max(1.0)


def _seam(cloth: Colours, share: Points, strength: float = 0.30) -> Colours:
    """A line that is darker than light cloth and lighter than dark cloth."""
    dark = (cloth.mean(dim=1, keepdim=True) < 0.22).float()
    line = cloth * (1.0 - strength) * (1 - dark) + (cloth + 0.45 * strength) * dark
    return torch.lerp(cloth, line, share[:, None])


def _ribs(cloth: Colours, u: Points, border: Points, footprint: Points) -> Colours:
    """Cuffs, hem and neck: vertical ribs, and a step where they begin."""
    seen = (0.012 / footprint - 0.8).clamp(0.0, 1.0)
    rib = 0.10 * torch.cos(2 * np.pi * u / 0.011) * seen * (border < 0.05)
    cloth = cloth * (1.0 + rib)[:, None]
    return _seam(cloth, band(border - 0.05, 0.0018, footprint))


def _rectangle(x: Points, z: Points, cx: float, cz: float, hx: float, hz: float) -> Points:
    """Signed distance to a rectangle, negative inside."""
    return torch.maximum((x - cx).abs() - hx, (z - cz).abs() - hz)


def _buttons(z: Points, x: Points, at_x: float, spacing: float, radius: float, width: Points) -> Points:
    dz = (z / spacing - torch.round(z / spacing)) * spacing
    return shape_coverage(torch.hypot(x - at_x, dz) - radius, width)


def _shirt(cloth: Colours, x: Points, z: Points, front: Tensor, width: Points) -> Colours:
    torso = (front & (z < 0.825) & (z > 0.3) & (x.abs() < 0.12)).float()
    lines = band(x.abs() - 0.010, 0.0009, width) * torso
    pocket = band(_rectangle(x, z, 0.056, 0.735, 0.026, 0.028), 0.0008, width) * torso
    cloth = _seam(cloth, torch.maximum(lines, pocket), 0.34)
    light = cloth.mean() < 0.6
    button = torch.tensor([0.93, 0.92, 0.88] if light else [0.36, 0.34, 0.33])
    return mix(cloth, button, _buttons(z, x, 0.0, 0.047, 0.0042, width) * torso)


def _jacket(
    cloth: Colours, garment: Garment, geometry: Geometry, x: Points, z: Points, front: Tensor, width: Points
) -> Colours:
    torso = (front & (x.abs() < 0.16)).float()
    slanted = band((x.abs() - 0.075) + 0.35 * (z - 0.56), 0.0016, width) * ((z - 0.56).abs() < 0.032)
    cloth = _seam(cloth, slanted * torso, 0.45)
    if garment.pattern == "denim":
        flap = band(_rectangle(x.abs(), z, 0.056, 0.735, 0.027, 0.026), 0.0010, width)
        cloth = mix(cloth, torch.tensor(_GOLD), 0.6 * flap * torso)
    closed = geometry.outer_open == 0.0
    if garment.kind == "coat":
        spread = 0.016 if closed else 0.045
        return mix(
            cloth,
            torch.tensor([0.10, 0.09, 0.09] if cloth.mean() > 0.2 else [0.62, 0.58, 0.50]),
            _buttons(z, x, spread, 0.075, 0.0075, width) * torso * ((z < 0.78) & (z > 0.45)),
        )
    if closed:
        zipper = band(x, 0.0022, width) * torso
        return mix(cloth, torch.tensor(_METAL), 0.75 * zipper)
    return cloth


def _trousers(cloth: Colours, garment: Garment, rest: Tensor, front: Tensor, width: Points) -> Colours:
    x, y, z = rest.unbind(-1)
    axis = torch.from_numpy(np.interp(z.numpy(), _LEG_Z, _LEG_Y).astype(np.float32))
    ahead, behind = front.float(), (y > 0.02).float()
    side = band(y - axis, 0.0013, width) * (x.abs() > 0.088)
    pocket = band((x.abs() - 0.068) + 0.8 * (z - 0.578), 0.0012, width) * ((z - 0.578).abs() < 0.024) * ahead
    fly = torch.maximum(
        band(x - 0.012, 0.0009, width) * ((z - 0.572).abs() < 0.03),
        band(x, 0.0008, width) * ((z - 0.56).abs() < 0.05),
    )
    patch = band(_rectangle(x.abs(), z, 0.050, 0.530, 0.024, 0.026), 0.0011, width) * behind
    waistband = band(z - 0.598, 0.0010, width)
    if garment.pattern != "denim":
        lines = torch.stack([0.6 * side, pocket, fly * ahead, 0.6 * patch, 0.6 * waistband]).amax(0)
        return _seam(cloth, lines, 0.30)
    stitches = torch.stack([side, pocket, fly * ahead, patch, waistband]).amax(0)
    thread = (
        torch.tensor(_GOLD)
        if garment.colour in ("blue", "navy", "black", "brown")
        else torch.tensor(garment.rgb)
    )
    return mix(_seam(cloth, stitches, 0.25), thread, 0.55 * stitches)


def _shoe(cloth: Colours, garment: Garment, rest: Tensor, width: Points) -> Colours:
    """Laces over the instep; sneakers have a toe cap of rubber."""
    x, y, z = rest.unbind(-1)
    across = x.abs() - 0.108
    instep = ((y > -0.068) & (y < -0.022) & (z > 0.020)).float()
    bars = band((y / 0.009 - torch.round(y / 0.009)) * 0.009, 0.0022, width) * shape_coverage(
        across.abs() - 0.012, width
    )
    laces = torch.tensor([0.92, 0.91, 0.88] if float(np.mean(garment.rgb)) < 0.62 else [0.22, 0.21, 0.21])
    cloth = _seam(cloth, band(across.abs() - 0.014, 0.0010, width) * instep)
    cloth = mix(cloth, laces, bars * instep)
    if garment.kind == "sneakers":
        cap = shape_coverage(y + 0.102 + 6.0 * across**2, width) * (z < 0.026)
        return mix(
            cloth, torch.tensor([0.90, 0.89, 0.86] if garment.colour != "white" else [0.70, 0.70, 0.71]), cap
        )
    return cloth


def _buckle(cloth: Colours, x: Points, border: Points, front: Tensor, width: Points) -> Colours:
    frame = shape_coverage(x.abs() - 0.018, width) * front
    hole = shape_coverage(x.abs() - 0.011, width) * (border > 0.010) * front
    return mix(mix(cloth, torch.tensor(_METAL), frame), cloth[:1] * 0.8 if len(cloth) else cloth, hole)
