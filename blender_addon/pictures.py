"""Previews from the server as arrays: decoded by Blender, from memory, and no part of the file afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
from numpy.typing import NDArray

from .result_check import check_jpeg


@dataclass(frozen=True)
class Picture:
    """Rows from the bottom up, as Blender keeps them."""

    width: int
    height: int
    pixels: NDArray[np.float32]
    """[height * width * 4] RGBA in 0 to 1, sRGB values"""


def decode_jpeg(jpeg: bytes) -> Picture:
    """A preview, looked at before Blender sees it.

    Raises:
        BadResult: it is no JPEG of a preview's size.
    """
    width, height = check_jpeg(jpeg)
    image = bpy.data.images.new("Vitruvian preview", 1, 1)
    try:
        image.pack(data=jpeg, data_len=len(jpeg))
        image.source = "FILE"
        pixels = np.zeros(width * height * 4, np.float32)
        if tuple(image.size) == (width, height):  # (0, 0) where Blender cannot read it
            image.pixels.foreach_get(pixels)
    finally:
        bpy.data.images.remove(image)
    return Picture(width, height, pixels)
