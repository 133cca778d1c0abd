"""Pictures from files, as tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from vitruvian.core.errors import UserError

MAX_PIXELS = 100_000_000
"""Larger files are refused before they are unpacked."""


def read_picture(field: str, path: Path) -> Float[Tensor, "3 H W"]:
    """An sRGB picture in [0, 1], the right way up; what is transparent is white.

    Args:
        field: whose value it is, for the error.

    Raises:
        UserError: it cannot be read, or is too large.
    """
    try:
        with Image.open(path) as file:
            if file.width * file.height > MAX_PIXELS:
                size = f"{file.width} x {file.height}"
                raise UserError(field, str(path), f"is too large ({size} pixels)", "Make it smaller")
            upright = ImageOps.exif_transpose(file).convert("RGBA")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError, SyntaxError) as error:
        detail = " ".join(str(error).split())[:120]
        raise UserError(
            field, str(path), f"is not a picture that can be read ({detail})", "Use a PNG or JPEG file"
        ) from None
    paper = Image.new("RGBA", upright.size, "white")
    pixels = np.asarray(Image.alpha_composite(paper, upright).convert("RGB"))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255.0
