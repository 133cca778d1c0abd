"""Faces, hair and skin as paint: features drawn once in the body's UV layout, tinted per person.

The UV layout is the same for every phenotype and pose, so lips are lips on all bodies. On Anny's head island u
runs from the crown down to the chin and v from the body's right to its left, mirrored about v = 0.483. The
constants below were read off a front and a side rendering of the head with a UV grid painted on it; eye slits,
mouth seam and eyeballs are the islands' own outlines; lips and nails follow the masks that come with the body
(MPFB2, CC0).
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter
from torch import Tensor

from vitruvian.wardrobe.fabrics import Colours, Points, mix, noise, shape_coverage
from vitruvian.wardrobe.records import Geometry, Outfit

MIDDLE = 0.483
"""v of the face's plane of symmetry."""
_HEAD_U, _HEAD_V = (0.640, 1.000), (0.140, 0.830)
_NECK = 0.84
"""Height on the mean body below which the same UV range belongs to an arm."""
_TEXEL = 0.00075
"""UV units, about 0.7 mm on a face."""
_LEVELS = 4
_TEXEL_METRES = 0.0007

CHANNELS = (
    "lips", "seam", "brow", "lash", "lid", "blush", "nostril", "stubble", "moustache", "scalp", "lines", "freckles",
)  # fmt: skip

EYE_CENTRES = ((0.7664, 0.9506), (0.8070, 0.9506))
"""UV of the pole of each eyeball; its front half is a disc of radius 0.0063."""
_IRIS, _PUPIL, _EYE_EDGE = 0.00165, 0.00072, 0.0063
_NAILS = (
    (0.4077, 0.0820), (0.5367, 0.0574), (0.4134, 0.0460), (0.5006, 0.0182), (0.4451, 0.0158),
    (0.7163, 0.0817), (0.5869, 0.0570), (0.7112, 0.0451), (0.6231, 0.0176), (0.6790, 0.0149),
)  # fmt: skip

_LIPS = (
    (0.9067, 0.4627), (0.9028, 0.4634), (0.9005, 0.4653), (0.8984, 0.4680), (0.8968, 0.4707), (0.8955, 0.4736),
    (0.8946, 0.4780), (0.8955, 0.4830), (0.9067, 0.4830), (0.9245, 0.4830), (0.9241, 0.4775), (0.9233, 0.4739),
    (0.9219, 0.4707), (0.9199, 0.4681), (0.9179, 0.4658), (0.9149, 0.4639), (0.9106, 0.4636),
)  # fmt: skip

Outline = tuple[tuple[float, float], ...]

# Outlines and strokes below are (u, distance from the middle in v), drawn on both sides.
_SEAM: Outline = ((0.9072, 0.0), (0.9074, 0.008), (0.9092, 0.016))
_BROW: Outline = (
    (0.8235, 0.0125), (0.8185, 0.0170), (0.8160, 0.0300), (0.8165, 0.0420), (0.8215, 0.0535),
    (0.8200, 0.0440), (0.8205, 0.0300), (0.8245, 0.0180),
)  # fmt: skip
_SLIT: Outline = ((0.8396, 0.0272), (0.8386, 0.0320), (0.8386, 0.0370), (0.8396, 0.0408))
_UPPER_LASH: Outline = ((0.8392, 0.0272), (0.8378, 0.0320), (0.8378, 0.0370), (0.8385, 0.0425))
_LID: Outline = (
    (0.8330, 0.0240),
    (0.8280, 0.0340),
    (0.8320, 0.0450),
    (0.8400, 0.0470),
    (0.8440, 0.0340),
    (0.8400, 0.0230),
)
_BLUSH: Outline = ((0.8580, 0.0330), (0.8550, 0.0550), (0.8660, 0.0700), (0.8780, 0.0560), (0.8740, 0.0350))
_NOSTRIL: Outline = ((0.8800, 0.0045), (0.8812, 0.0095))
_HAIRLINE: Outline = (
    (0.7720, 0.0), (0.7740, 0.040), (0.7800, 0.070), (0.7930, 0.090), (0.8150, 0.104), (0.8350, 0.112),
    (0.8600, 0.116), (0.8620, 0.128), (0.8350, 0.134), (0.8250, 0.150), (0.8300, 0.175), (0.8750, 0.190),
    (0.9000, 0.225), (0.9080, 0.345), (0.6000, 0.345), (0.6000, 0.0),
)  # fmt: skip
_BEARD: Outline = (
    (0.8600, 0.114), (0.8750, 0.096), (0.8900, 0.064), (0.8960, 0.040), (0.9020, 0.028), (0.9120, 0.026),
    (0.9270, 0.014), (0.9280, 0.0), (0.9750, 0.0), (0.9750, 0.060), (0.9400, 0.110), (0.9000, 0.134), (0.8600, 0.130),
)  # fmt: skip
_MOUSTACHE: Outline = (
    (0.8860, 0.0),
    (0.8870, 0.012),
    (0.8980, 0.028),
    (0.9060, 0.027),
    (0.8955, 0.014),
    (0.8945, 0.0),
)
_LINES: tuple[Outline, ...] = (
    ((0.7930, 0.0), (0.7925, 0.020), (0.7950, 0.040)),
    ((0.8010, 0.0), (0.8005, 0.022), (0.8030, 0.042)),
    ((0.8380, 0.0500), (0.8330, 0.0600)),
    ((0.8410, 0.0510), (0.8420, 0.0620)),
    ((0.8480, 0.0260), (0.8505, 0.0330), (0.8490, 0.0430)),
    ((0.8790, 0.0190), (0.8900, 0.0260), (0.9030, 0.0300)),
    ((0.8240, 0.0060), (0.8310, 0.0065)),
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
    rim = mix(iris.expand(len(uv), 3), iris * 0.35, ((radius / _IRIS - 0.62) * 2.2).clamp(0, 1))
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
    head = ((uv[:, 0] > _HEAD_U[0]) & (uv[:, 1] > _HEAD_V[0]) & (rest[:, 2] > _NECK)).nonzero()[:, 0]
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
    colours = mix(colours, base * torch.tensor([0.62, 0.50, 0.46]), 0.75 * outfit.freckles * on["freckles"])
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


def sample_features(uv: Float[Tensor, "P 2"], footprint: Points) -> Float[Tensor, "C P"]:
    """The feature masks at points of the head island, from the atlas level that fits the points' footprint."""
    level = torch.log2((footprint.median() / _TEXEL_METRES).clamp_min(1.0)).round().int()
    atlas = feature_atlas()[min(int(level), _LEVELS - 1)]
    x = (uv[:, 1] - _HEAD_V[0]) / (_HEAD_V[1] - _HEAD_V[0]) * 2.0 - 1.0
    y = (uv[:, 0] - _HEAD_U[0]) / (_HEAD_U[1] - _HEAD_U[0]) * 2.0 - 1.0
    grid = torch.stack([x, y], dim=-1)[None, None]
    return torch.nn.functional.grid_sample(atlas, grid, mode="bilinear", align_corners=False)[0, :, 0]


@functools.cache
def feature_atlas() -> tuple[Float[Tensor, "1 C H W"], ...]:
    """Masks of `CHANNELS` over the head island, rows along u, columns along v; each level half the last one."""
    masks = {
        "lips": _soft(_filled(tuple((u, MIDDLE - v) for u, v in _LIPS)), 1.5),
        "seam": _soft(_stroked(_SEAM, 0.0012), 0.8),
        "brow": _soft(_filled(_BROW), 1.3),
        "lash": np.maximum(
            _soft(_stroked(_UPPER_LASH, 0.0022), 0.9), 0.55 * _soft(_stroked(_SLIT, 0.0016), 0.9)
        ),
        "lid": _soft(_filled(_LID), 5.0),
        "blush": _soft(_filled(_BLUSH), 14.0),
        "nostril": _soft(_stroked(_NOSTRIL, 0.0042), 1.5),
        "stubble": _soft(_filled(_BEARD), 6.0),
        "moustache": _soft(_filled(_MOUSTACHE), 2.0),
        "scalp": _soft(_filled(_HAIRLINE), 4.0),
        "lines": np.max([_soft(_stroked(line, 0.0010), 1.2) for line in _LINES], axis=0),
        "freckles": _freckles(),
    }
    level = torch.from_numpy(np.stack([masks[name] for name in CHANNELS]).astype(np.float32))[None]
    levels = [level]
    for _ in range(_LEVELS - 1):
        levels.append(torch.nn.functional.avg_pool2d(levels[-1], 2))
    return tuple(levels)


_OVERSAMPLE = 2


def _canvas_size() -> tuple[int, int]:
    """Height (u) and width (v) of the atlas in texels, both divisible by 8."""
    height, width = (_HEAD_U[1] - _HEAD_U[0]) / _TEXEL, (_HEAD_V[1] - _HEAD_V[0]) / _TEXEL
    return round(height / 8) * 8, round(width / 8) * 8


def _to_canvas(outline: Outline, side: int) -> list[tuple[float, float]]:
    height, width = _canvas_size()
    u_scale = _OVERSAMPLE * height / (_HEAD_U[1] - _HEAD_U[0])
    v_scale = _OVERSAMPLE * width / (_HEAD_V[1] - _HEAD_V[0])
    return [((MIDDLE + side * d - _HEAD_V[0]) * v_scale, (u - _HEAD_U[0]) * u_scale) for u, d in outline]


def _drawn(outline: Outline, width: float | None) -> Float[ndarray, "H W"]:
    """An outline, filled or stroked, on both sides of the face."""
    height, columns = _canvas_size()
    image = Image.new("L", (columns * _OVERSAMPLE, height * _OVERSAMPLE))
    draw = ImageDraw.Draw(image)
    for side in (-1, 1):
        points = _to_canvas(outline, side)
        if width is None:
            draw.polygon(points, fill=255)
        else:
            draw.line(points, fill=255, width=max(1, round(width / _TEXEL * _OVERSAMPLE)), joint="curve")
    return np.asarray(image.resize((columns, height), Image.Resampling.BOX), dtype=np.float32) / 255.0


def _filled(outline: Outline) -> Float[ndarray, "H W"]:
    return _drawn(outline, None)


def _stroked(outline: Outline, width: float) -> Float[ndarray, "H W"]:
    return _drawn(outline, width)


def _soft(mask: Float[ndarray, "H W"], texels: float) -> Float[ndarray, "H W"]:
    return gaussian_filter(mask, texels)


def _freckles() -> Float[ndarray, "H W"]:
    """Dots of a millimetre or two over cheeks and nose."""
    rng = np.random.default_rng(7)
    height, width = _canvas_size()
    dots = np.zeros((height, width), dtype=np.float32)
    for _ in range(260):
        u, d = rng.normal(0.863, 0.011), rng.normal(0.0, 0.040)
        y = int((u - _HEAD_U[0]) / (_HEAD_U[1] - _HEAD_U[0]) * height)
        x = int((MIDDLE + d - _HEAD_V[0]) / (_HEAD_V[1] - _HEAD_V[0]) * width)
        dots[y, x] += rng.uniform(0.3, 1.0)
    return np.clip(gaussian_filter(dots, 0.9) * 1.6 * math.pi, 0.0, 1.0)
