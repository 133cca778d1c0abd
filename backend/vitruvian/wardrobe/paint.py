"""Colour for rendered people: the same pixels, any outfit. Unlit albedo, soft occlusion, white ground."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.wardrobe.details import add_details
from vitruvian.wardrobe.fabrics import Colours, Points, fabric_colour
from vitruvian.wardrobe.face import beard_colour, eye_colour, hair_colour, skin_colour
from vitruvian.wardrobe.records import BEARD, EYES, HAIR, SKIN, Geometry, Outfit
from vitruvian.wardrobe.render import SUPERSAMPLING, DressedPixels

STATURE = 1.7
"""Metres per unit of rest position; people differ, and a pixel's footprint need not be exact."""
OCCLUSION = 0.6
"""How much of the ambient occlusion is kept: folds and armpits read, and colours keep their names."""


def paint(pixels: DressedPixels, outfit: Outfit, geometry: Geometry) -> Float[Tensor, "N 3 H W"]:
    """Pictures of a dressed person.

    Args:
        pixels: `render_dressed` of the person's geometry.
        outfit: paint for it (`sample_outfit(geometry, rng)`).
        geometry: the same geometry.

    Returns:
        sRGB-encoded images in [0, 1] at the rig's size, box-averaged from the supersampled pixels.
    """
    colours = pixel_colours(pixels, outfit, geometry)
    canvas = torch.ones(pixels.views * pixels.height * pixels.width, 3)
    place = pixels.view.astype(np.int64) * (pixels.height * pixels.width) + pixels.pixel
    canvas[torch.from_numpy(place)] = colours
    fine = canvas.reshape(pixels.views, pixels.height, pixels.width, 3)
    k = SUPERSAMPLING
    blocks = [fine[:, row::k, column::k] for row in range(k) for column in range(k)]
    return sum(blocks[1:], blocks[0]).div_(k * k).permute(0, 3, 1, 2).contiguous()


def pixel_colours(pixels: DressedPixels, outfit: Outfit, geometry: Geometry) -> Colours:
    """The colour of each supersampled foreground pixel."""
    uv, rest = torch.from_numpy(pixels.fabric_uv), torch.from_numpy(pixels.rest_position)
    footprint = pixel_footprint(pixels)
    border = torch.from_numpy(pixels.border).float() / 1000.0
    colours = torch.empty(len(pixels.slot), 3)
    for slot in np.flatnonzero(np.bincount(pixels.slot)).tolist():
        here = torch.from_numpy(np.flatnonzero(pixels.slot == slot))
        colours[here] = _slot_colour(
            slot, outfit, geometry, uv[here], rest[here], border[here], footprint[here]
        )
    openness = torch.from_numpy(pixels.ao).float() / 255.0
    return colours.mul_((1.0 - OCCLUSION * (1.0 - openness))[:, None])


def _slot_colour(
    slot: int, outfit: Outfit, geometry: Geometry, uv: Tensor, rest: Tensor, border: Points, footprint: Points
) -> Colours:
    if slot == SKIN:
        return skin_colour(outfit, geometry, uv, rest, footprint)
    if slot == EYES:
        return eye_colour(outfit, uv, footprint)
    if slot == HAIR:
        return hair_colour(outfit, uv, footprint)
    if slot == BEARD:
        return beard_colour(outfit, uv, footprint)
    garment = outfit.garments[slot]
    cloth = fabric_colour(garment, uv, rest, footprint)
    return add_details(cloth, garment, geometry, uv, rest, border, footprint).clamp_(0.0, 1.0)


def pixel_footprint(pixels: DressedPixels) -> Points:
    """Metres of surface that a pixel spans: the median step between neighbours in a row, one value a view."""
    footprint = np.full(pixels.views, 0.002, dtype=np.float32)
    same_view = pixels.view[1:] == pixels.view[:-1]
    neighbours = (
        same_view & (pixels.pixel[1:] == pixels.pixel[:-1] + 1) & (pixels.slot[1:] == pixels.slot[:-1])
    )
    pairs = np.flatnonzero(neighbours)
    pairs = pairs[:: max(1, len(pairs) // (512 * max(pixels.views, 1)))]
    steps = np.linalg.norm(pixels.rest_position[pairs + 1] - pixels.rest_position[pairs], axis=1) * STATURE
    for view in range(pixels.views):
        of_view = steps[pixels.view[pairs] == view]
        if len(of_view):
            # The lower third: surfaces that face the camera; the others are foreshortened.
            footprint[view] = max(1e-5, float(np.quantile(of_view, 0.33)))
    return torch.from_numpy(footprint[pixels.view])
