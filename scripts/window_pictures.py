"""Takes the documentation's pictures of Blender from a run of the window tests.

`make window`, then `python scripts/window_pictures.py out/window/3.4 docs/images`: viewport and sidebar.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

VIEWPORT = (0, 28, 1320, 908)
"""Pixels of the tests' screen of 1600 x 1000: left, top, right, bottom."""
NAMES = ("panel", "progress", "result")


def main(source: Path, target: Path) -> None:
    for name in NAMES:
        with Image.open(source / f"{name}.png") as picture:
            cut = picture.convert("RGB").crop(VIEWPORT)
        # 256 colours keep the repository small; dithering would not.
        small = cut.quantize(256, dither=Image.Dither.NONE)
        small.save(target / f"blender_{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
