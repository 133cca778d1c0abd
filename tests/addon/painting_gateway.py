"""A real gateway whose worker paints one colour at once: `python painting_gateway.py STATE ADDRESS [KEYS]`.

Prints the address when it listens. The same file is the worker (`python painting_gateway.py --worker`). What
it does stands in the prompt: "seconds=1.5" works so long, "refuse" finds the mesh unfit, "noisy" makes files
as large as those of a real texture.
"""

from __future__ import annotations

import io
import json
import re
import sys
import time
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from vitruvian.core.errors import UserError
from vitruvian.service.config import ServeConfig
from vitruvian.service.executor import LocalExecutor
from vitruvian.service.gateway import Gateway
from vitruvian.service.pipes import Order
from vitruvian.service.worker import JobProgress, Worker, take_over_pipes


def picture(kind: str, side: int, colour: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(stream, format=kind)
    return stream.getvalue()


def noisy(side: int, seed: int) -> bytes:
    """A PNG that compresses as badly as skin and cloth do: soft colours under a little grain."""
    generator = np.random.default_rng(seed)
    soft = Image.fromarray(generator.integers(0, 255, (64, 64, 3), np.uint8)).resize((side, side))
    grain = generator.integers(0, 6, (side, side, 1), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(np.minimum(np.asarray(soft), 249) + grain).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def paint(order: Order, progress: JobProgress, folder: Path) -> None:
    prompt = order.settings["prompt"]
    if "refuse" in prompt:
        raise UserError("mesh", "x", "cannot be painted", "Choose another")
    found = re.search(r"seconds=([0-9.]+)", prompt)
    for step in range(10):
        progress("painting", step / 10, None)
        if progress.wants_preview():
            progress.previews(
                lambda: {"sheet": picture("JPEG", 64, "red"), "texture": picture("JPEG", 64, "red")}
            )
        time.sleep(float(found[1]) / 10 if found else 0.0)
    side = order.settings["texture_size"]
    for name, size in (("albedo.png", side), ("coverage.png", side), ("contact_sheet.png", 64)):
        (folder / name).write_bytes(picture("PNG", size, "red"))
    if "noisy" in prompt:
        (folder / "albedo.png").write_bytes(noisy(side, zlib.crc32(order.job.encode())))
    (folder / "report.json").write_text(json.dumps({"seed": order.settings["seed"]}))


def work() -> None:
    commands, answers = take_over_pipes()
    Worker(paint, commands, answers).run({"device": "painter", "memory_total": 0})


def serve(state: Path, address: str, keys: Path | None = None) -> None:
    config = ServeConfig(state, address, keys, min_free=0, priors={"mini": "mini"})
    command = [sys.executable, __file__, "--worker"]
    gateway = Gateway(config, lambda: LocalExecutor({"painter": command}, config.logs))
    print(gateway.address, flush=True)
    gateway.run()


if __name__ == "__main__":
    if sys.argv[1] == "--worker":
        work()
    else:
        serve(Path(sys.argv[1]), sys.argv[2], *map(Path, sys.argv[3:]))
