"""A worker that paints seeded noise, by the gateway's own worker loop. What it does stands in the prompt:

"steps=5 seconds=0.01 size=1000 files=2"       five steps, each so long; two files of so many bytes
"crash=step_3 crashes=1"                       dies there, in the first attempt only
"starts=1 seals=1"                             takes so long before it begins, and to make its results last
"stubborn"                                     does not look whether it was cancelled
"broken", "out of memory", "refuse", "disk"    fails in these ways
"CUDA error"                                   fails so that no later job could be done by the same process
"""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vitruvian.core.errors import UserError
from vitruvian.service import worker
from vitruvian.service.pipes import Order
from vitruvian.service.uploads import read_scene
from vitruvian.service.worker import JobProgress, Worker, take_over_pipes

CRASH_POINTS = (
    "ordered",
    "started",
    "scene_read",
    "step_0",
    "step_2",
    "step_4",
    "first_file",
    "part_written",
    "before_rename",
    "after_rename",
    "before_finished",
    "after_finished",
)
"""In the order in which a job passes them. The last one is after the result was reported."""


def jpeg() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(stream, format="JPEG")
    return stream.getvalue()


JPEG = jpeg()


class OutOfMemoryError(Exception):
    """Named like torch's."""


def option(prompt: str, name: str, default: float) -> float:
    found = re.search(rf"\b{name}=([0-9.]+)", prompt)
    return float(found[1]) if found else default


def crash_at(point: str, prompt: str, attempt: int) -> None:
    found = re.search(r"\bcrash=(\w+)", prompt)
    if found and found[1] == point and attempt <= option(prompt, "crashes", 99):
        os.kill(os.getpid(), signal.SIGKILL)


def paint(order: Order, progress: JobProgress, folder: Path) -> None:
    prompt = order.settings["prompt"]

    def here(point: str) -> None:
        crash_at(point, prompt, order.attempt)

    here("started")
    scene = read_scene(Path(order.scene))
    here("scene_read")
    fail_as(prompt)
    steps = int(option(prompt, "steps", 5))
    for step in range(steps):
        here(f"step_{step}")
        if "stubborn" not in prompt:
            progress("sampling", step / steps, 1.0)
        if progress.wants_preview():
            progress.previews(lambda: {"sheet": JPEG, "texture": JPEG})
        time.sleep(option(prompt, "seconds", 0.0))
    generator = np.random.default_rng(order.settings["seed"] + len(scene.mesh.vertices))
    size = int(option(prompt, "size", 1000))
    for index in range(int(option(prompt, "files", 2))):
        (folder / f"noise_{index}.bin").write_bytes(generator.bytes(size))
        here("first_file")
    here("part_written")
    if "seals=" in prompt:
        progress("sealing", 1.0)


def fail_as(prompt: str) -> None:
    if "broken" in prompt:
        raise RuntimeError("a fault that nobody foresaw")
    if "CUDA error" in prompt:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    if "out of memory" in prompt:
        raise OutOfMemoryError("tried to allocate 40 GiB")
    if "refuse" in prompt:
        raise UserError("mesh", "x", "cannot be painted", "Choose another")
    if "disk" in prompt:
        raise OSError(errno.ENOSPC, "no space left")


def crash_in_the_loop() -> None:
    """Crash points that lie in the worker's own code, before and after what it calls."""
    now: dict[str, Any] = {"prompt": "", "attempt": 0}
    from_message, seal, send = Order.from_message, worker.seal, Worker.send

    def remember(message: dict[str, Any]) -> Order:
        order = from_message(message)
        now.update(prompt=order.settings["prompt"], attempt=order.attempt)
        crash_at("ordered", **now)
        time.sleep(option(now["prompt"], "starts", 0.0))
        return order

    def sealed(part: Path, folder: Path) -> Any:
        crash_at("before_rename", **now)
        time.sleep(option(now["prompt"], "seals", 0.0))
        files = seal(part, folder)
        crash_at("after_rename", **now)
        return files

    def told(self: Worker, message: dict[str, Any]) -> None:
        around = message["t"] == "finished"
        if around:
            crash_at("before_finished", **now)
        send(self, message)
        if around:
            crash_at("after_finished", **now)

    replacements: list[tuple[Any, str, Callable[..., Any]]] = [
        (Order, "from_message", staticmethod(remember)),
        (worker, "seal", sealed),
        (Worker, "send", told),
    ]
    for owner, name, function in replacements:
        setattr(owner, name, function)


def main() -> None:
    commands, answers = take_over_pipes()
    crash_in_the_loop()
    Worker(paint, commands, answers).run({"device": f"fake {sys.argv[1]}", "memory_total": 0})


if __name__ == "__main__":
    main()
