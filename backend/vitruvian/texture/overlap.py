"""How far views agree where they see the same points."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitruvian.core.camera import CameraRig
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh
from vitruvian.texture.project import find_pixel_sightings
from vitruvian.texture.surface import SurfaceViews, flatten_pyramid, pixel_footprints, pyramid, surface_views

WELL_SEEN = 0.35
"""Cosine from which a difference between views says something about the pictures rather than the angle."""
CLEAR = 0.9
"""Trust from which a pixel's colour is its surface's own; leaves out silhouettes and depth edges."""


@dataclass(frozen=True)
class Overlap:
    """Pixels whose surface another view sees well too, and where that view shows it."""

    chain: list[SurfaceViews]
    pixel: Int[Tensor, "S"]
    """Flat pixel index (view, row, column)."""
    other_taps: Int[Tensor, "S 4"]
    """Pixels of the other view's image pyramid."""
    other_weights: Float[Tensor, "S 4"]


@torch.no_grad()
def find_overlap(mesh: Mesh, rig: CameraRig, gbuffer: GBuffer) -> Overlap:
    """Pairs (pixel, other view) that see the same point with a cosine above `WELL_SEEN` on both sides: all of
    them up to 16 views, of more those that look most nearly the same way (`project.find_pixel_sightings`).

    A pixel of a distant view is compared with the mean of a close-up's pixels below it; the reverse, a
    close-up's pixel against a coarser one, is left out, for its detail cannot be there.
    """
    chain = pyramid(surface_views(mesh, rig, gbuffer))
    views, mask = chain[0], gbuffer.mask
    footprints = pixel_footprints(views)
    sightings = find_pixel_sightings(chain, mask, footprints)
    footprint = footprints[mask]
    owner = mask.reshape(-1).nonzero().squeeze(1)
    own_view = torch.div(owner, mask[0].numel(), rounding_mode="floor")[sightings.point]
    good = (sightings.cosine > WELL_SEEN) & (sightings.clear > CLEAR)
    own = good & (sightings.view == own_view)
    target_good = torch.zeros(sightings.points, dtype=torch.bool, device=mask.device)
    target_good[sightings.point[own]] = True
    fine_enough = sightings.density * footprint[sightings.point] > 0.7
    pairs = good & (sightings.view != own_view) & target_good[sightings.point] & fine_enough
    return Overlap(chain, owner[sightings.point[pairs]], sightings.taps[pairs], sightings.tap_weights[pairs])


@torch.no_grad()
def overlap_psnr(images: Float[Tensor, "N 3 H W"], overlap: Overlap) -> float:
    """PSNR in dB of each pixel against the same point in the other views, images in [0, 1].

    NaN when no two views overlap; at most 100.
    """
    if len(overlap.pixel) == 0:
        return math.nan
    pixels = flatten_pyramid(images.float(), overlap.chain)
    other = (pixels[overlap.other_taps] * overlap.other_weights[..., None]).sum(1)
    error = float((pixels[overlap.pixel] - other).square().mean(dtype=torch.float64))
    return -10.0 * math.log10(max(error, 1e-10))
