"""Makes the README's picture from a result: `python scripts/readme_picture.py out/demo docs/images/demo.png`.

Once around the textured body, and the front close-up as it was painted.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageChops, ImageSequence

HEIGHT = 512
TURNS = (0.0, 0.125, 0.375, 0.5, 0.75)
"""Shares of the turntable's full circle."""


def readme_picture(result: Path) -> Image.Image:
    """The pictures side by side, without the empty columns at their sides."""
    with Image.open(result / "turntable.gif") as turntable:
        frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(turntable)]
    with Image.open(result / "views" / "upper_000.png") as closeup:
        pictures = [closeup.convert("RGB"), *(frames[round(turn * len(frames))] for turn in TURNS)]
    cut = [_without_sides(picture.resize((HEIGHT, HEIGHT), Image.Resampling.LANCZOS)) for picture in pictures]
    sheet = Image.new("RGB", (sum(picture.width for picture in cut), HEIGHT))
    x = 0
    for picture in cut:
        sheet.paste(picture, (x, 0))
        x += picture.width
    return sheet


def _without_sides(picture: Image.Image, margin: int = 12) -> Image.Image:
    background = Image.new("RGB", picture.size, picture.getpixel((0, 0)))
    difference = ImageChops.difference(picture, background).convert("L")
    body = difference.point([255 * (value > 8) for value in range(256)]).getbbox()
    left, right = (body[0], body[2]) if body else (0, picture.width)
    return picture.crop((max(0, left - margin), 0, min(picture.width, right + margin), picture.height))


if __name__ == "__main__":
    readme_picture(Path(sys.argv[1])).save(sys.argv[2], optimize=True)
