"""A textured human in five lines of Python: `python examples/five_lines.py [folder]`."""

import sys

import vitruvian

out = sys.argv[1] if len(sys.argv) > 1 else "out/five_lines"
avatar = vitruvian.generate(
    "a man with grey hair in a blue shirt and black trousers", pose="relaxed", out=out
)
print(f"{out}/human.glb", tuple(avatar.texture.albedo.shape), avatar.report["seconds"])
