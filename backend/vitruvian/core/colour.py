"""Colour spaces and colour difference: sRGB (encoded, D65), CIELAB, CIEDE2000."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

# IEC 61966-2-1, and CIE 15 with the D65 white of the 2 degree observer.
_XYZ_FROM_RGB = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
_WHITE = (0.95047, 1.0, 1.08883)
_DELTA = 6 / 29


def srgb_to_linear(rgb: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """Decodes sRGB values in [0, 1]."""
    return torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp_min(0.0) + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(rgb: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """Encodes linear values in [0, 1]."""
    return torch.where(rgb <= 0.0031308, rgb * 12.92, 1.055 * rgb.clamp_min(1e-8) ** (1 / 2.4) - 0.055)


def srgb_to_lab(rgb: Float[Tensor, "*S 3"]) -> Float[Tensor, "*S 3"]:
    """sRGB-encoded colours in [0, 1] to CIELAB (L in [0, 100]); channels last."""
    xyz = srgb_to_linear(rgb) @ rgb.new_tensor(_XYZ_FROM_RGB).T / rgb.new_tensor(_WHITE)
    f = torch.where(xyz > _DELTA**3, xyz.clamp_min(1e-8) ** (1 / 3), xyz / (3 * _DELTA**2) + 4 / 29)
    x, y, z = f.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-1)


def lab_to_srgb(lab: Float[Tensor, "*S 3"]) -> Float[Tensor, "*S 3"]:
    """CIELAB to sRGB-encoded colours, clipped to [0, 1]; channels last."""
    L, a, b = lab.unbind(-1)
    y = (L + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200], dim=-1)
    xyz = torch.where(f > _DELTA, f**3, 3 * _DELTA**2 * (f - 4 / 29)) * lab.new_tensor(_WHITE)
    linear = xyz @ torch.linalg.inv(lab.new_tensor(_XYZ_FROM_RGB)).T
    return linear_to_srgb(linear.clamp(0.0, 1.0)).clamp(0.0, 1.0)


def ciede2000(lab1: Float[Tensor, "*S 3"], lab2: Float[Tensor, "*S 3"]) -> Float[Tensor, "*S"]:
    """Colour difference of CIELAB colours (broadcast); about 1 is just noticeable.

    Sharma, Wu, Dalal (2005), "The CIEDE2000 color-difference formula", with kL = kC = kH = 1.
    """
    L1, a1, b1 = lab1.unbind(-1)
    L2, a2, b2 = lab2.unbind(-1)
    chroma_mean = (torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2
    G = 0.5 * (1 - torch.sqrt(chroma_mean**7 / (chroma_mean**7 + 25.0**7)))
    a1, a2 = (1 + G) * a1, (1 + G) * a2
    C1, C2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    h1 = torch.rad2deg(torch.atan2(b1, a1)) % 360
    h2 = torch.rad2deg(torch.atan2(b2, a2)) % 360
    grey = C1 * C2 < 1e-12
    dh = torch.where(grey, torch.zeros_like(h1), (h2 - h1 + 180) % 360 - 180)
    # The mean hue lies on the shorter arc; for a grey the sum of both hues stands for it.
    h_mean = torch.where(grey, h1 + h2, (h1 + dh / 2) % 360)
    dL, dC = L2 - L1, C2 - C1
    dH = 2 * torch.sqrt((C1 * C2).clamp_min(0)) * torch.sin(torch.deg2rad(dh / 2))
    L_mean, C_mean = (L1 + L2) / 2, (C1 + C2) / 2
    T = (
        1
        - 0.17 * torch.cos(torch.deg2rad(h_mean - 30))
        + 0.24 * torch.cos(torch.deg2rad(2 * h_mean))
        + 0.32 * torch.cos(torch.deg2rad(3 * h_mean + 6))
        - 0.20 * torch.cos(torch.deg2rad(4 * h_mean - 63))
    )
    S_L = 1 + 0.015 * (L_mean - 50) ** 2 / torch.sqrt(20 + (L_mean - 50) ** 2)
    S_C, S_H = 1 + 0.045 * C_mean, 1 + 0.015 * C_mean * T
    R_C = 2 * torch.sqrt(C_mean**7 / (C_mean**7 + 25.0**7))
    R_T = -R_C * torch.sin(torch.deg2rad(60 * torch.exp(-(((h_mean - 275) / 25) ** 2))))
    l, c, h = dL / S_L, dC / S_C, dH / S_H
    return torch.sqrt((l**2 + c**2 + h**2 + R_T * c * h).clamp_min(0))
