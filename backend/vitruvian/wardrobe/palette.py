"""The named colours that the wardrobe's people wear, and that prompts and metrics speak of.

Garment colours are at least 15 CIEDE2000 apart from one another (a test holds them there), so that naming
the colour of a pixel is a fair question.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.core.colour import ciede2000, lab_to_srgb, srgb_to_lab

RGB = tuple[float, float, float]
"""sRGB-encoded, in [0, 1]."""


def _hex(code: str) -> RGB:
    return (int(code[0:2], 16) / 255, int(code[2:4], 16) / 255, int(code[4:6], 16) / 255)


GARMENT_COLOURS: dict[str, RGB] = {
    "white": _hex("f0f0ee"),
    "black": _hex("1a1a1d"),
    "grey": _hex("86888c"),
    "red": _hex("c61c26"),
    "orange": _hex("f07a18"),
    "yellow": _hex("f4d130"),
    "green": _hex("288c3e"),
    "olive": _hex("6a6a26"),
    "teal": _hex("169296"),
    "blue": _hex("2c5ccd"),
    "navy": _hex("1a2458"),
    "purple": _hex("74349c"),
    "pink": _hex("f08cb6"),
    "brown": _hex("6a4228"),
    "beige": _hex("d6be96"),
}

HAIR_COLOURS: dict[str, RGB] = {
    "black": _hex("1b1817"),
    "brown": _hex("583722"),
    "blonde": _hex("d3ac63"),
    "red": _hex("a8461d"),
    "grey": _hex("8f8d8b"),
    "white": _hex("e2dfda"),
}

SKIN_TONES: dict[str, RGB] = {
    "pale": _hex("f1cfba"),
    "light": _hex("e3b28e"),
    "tan": _hex("c68e66"),
    "brown": _hex("96613f"),
    "dark": _hex("61402c"),
    "very dark": _hex("3f2a20"),
}

EYE_COLOURS: dict[str, RGB] = {
    "brown": _hex("65401f"),
    "blue": _hex("3f74ad"),
    "green": _hex("4d7a3c"),
    "grey": _hex("7c8a92"),
    "hazel": _hex("84612c"),
}


def jittered(rgb: RGB, rng: np.random.Generator, difference: float = 3.0) -> RGB:
    """A colour near `rgb`: at most `difference` CIEDE2000 away, most often about half of that."""
    variants = _variants(rgb, difference)
    r, g, b = variants[int(rng.integers(len(variants)))].tolist()
    return (r, g, b)


@functools.cache
def _variants(rgb: RGB, difference: float, count: int = 512) -> Float[Tensor, "N 3"]:
    """Colours around `rgb`, drawn once: the difference formula is too slow for one colour at a time."""
    rng = np.random.default_rng(0)
    lab = srgb_to_lab(torch.tensor(rgb, dtype=torch.float64))
    offset = torch.from_numpy(rng.normal(size=(count, 3)) * difference * np.array([1.0, 2.0, 2.0]))
    target = torch.from_numpy(difference * rng.beta(2.0, 2.0, size=(count, 1)))
    for _ in range(4):  # CIEDE2000 is not linear in CIELAB: rescale until the difference is right
        measured = ciede2000(lab, srgb_to_lab(lab_to_srgb(lab + offset)))[:, None]
        offset = offset * (target / measured.clamp_min(1e-6)).clamp_max(1.0)
    return lab_to_srgb(lab + offset)


def nearest_colour(rgb: Float[Tensor, "P 3"], palette: Mapping[str, RGB] = GARMENT_COLOURS) -> list[str]:
    """The name of the palette colour closest to each sRGB colour, by CIEDE2000."""
    names = list(palette)
    differences = colour_differences(rgb, palette)
    return [names[i] for i in differences.argmin(dim=1).tolist()]


def colour_differences(
    rgb: Float[Tensor, "P 3"], palette: Mapping[str, RGB] = GARMENT_COLOURS
) -> Float[Tensor, "P C"]:
    """CIEDE2000 between sRGB colours and the palette's, in the palette's order."""
    anchors = torch.tensor(list(palette.values()), dtype=torch.float64)
    return ciede2000(srgb_to_lab(rgb.double())[:, None], srgb_to_lab(anchors)[None]).to(rgb.dtype)
