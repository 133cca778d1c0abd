"""How long the add-on holds Blender up while five textures of 4096 px come. A case for `run_case.py`.

Prints one line of JSON: what was measured is not asserted, because a busy machine measures itself. Beside the
time that passed stands the processor's time of Blender's own thread, which other programs cannot stretch.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import bpy  # pyright: ignore[reportMissingImports]
import numpy as np
from kit import add_body, addon, settle

BODIES = 5
SIDE = 4096


class Timed:
    """A function of the add-on that notes how long it was at work, in milliseconds: what passed, and the
    processor's time of this thread."""

    def __init__(self, module: str, name: str) -> None:
        self.taken: list[float] = []
        self.processor: list[float] = []
        self.function: Callable[..., Any] = getattr(addon(module), name)
        setattr(addon(module), name, self)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        began, spent = time.perf_counter(), time.thread_time()
        try:
            return self.function(*arguments, **named)
        finally:
            self.taken.append((time.perf_counter() - began) * 1000)
            self.processor.append((time.thread_time() - spent) * 1000)


class TimedBeats:
    """The heart's beats: the longest of each kind, by the processor's time of this thread."""

    def __init__(self) -> None:
        self.longest: dict[str, float] = {}
        self.beat: Callable[[], str] = addon("pump")._beat
        addon("pump")._beat = self

    def __call__(self) -> str:
        began = time.thread_time()
        what = self.beat()
        self.longest[what] = max(self.longest.get(what, 0.0), (time.thread_time() - began) * 1000)
        return what


def decoding_ms(image: Any) -> float:
    """What Blender itself needs before it first draws the picture, or anybody asks for its size."""
    began = time.perf_counter()
    assert tuple(image.size) == (SIDE, SIDE)
    return (time.perf_counter() - began) * 1000


def case_five_large_textures() -> None:
    pump, session = addon("pump"), addon("runtime").session()
    beats = TimedBeats()
    loads, snapshots = Timed("result_import", "_load_images"), Timed("generation", "take_snapshot")
    applies = Timed("pump", "apply")
    panel = bpy.context.scene.vitruvian
    panel.texture_size, panel.prompt = str(SIDE), "noisy seconds=2"
    bodies = []
    for index in range(BODIES):
        panel.body = None
        body = add_body(gender=index / BODIES)
        body.name = f"Person {index}"
        bodies.append(body.name)
        panel.body = body
        assert bpy.ops.vitruvian.generate() == {"FINISHED"}
        settle()
    applying: list[float] = []
    for _ in range(60_000):
        worn = sum(bool(bpy.data.objects[name].vitruvian.job) for name in bodies)
        began = time.perf_counter()
        pause = pump.tick()
        took = (time.perf_counter() - began) * 1000
        if sum(bool(bpy.data.objects[name].vitruvian.job) for name in bodies) > worn:
            applying.append(took)
        if all(job.offered for job in session.jobs.values()):
            break
        time.sleep(min(pause, 0.02))
    assert len(applying) == BODIES, [vars(job) for job in session.jobs.values()]
    images = [image for image in bpy.data.images if image.name.endswith("albedo")]
    decoding = [decoding_ms(image) for image in images]
    assert len({np.array(image.pixels[:300]).tobytes() for image in images}) == BODIES
    sizes = [sum(job.artifacts.values()) / 2**20 for job in session.jobs.values()]
    figures = {
        "blender": bpy.app.version_string,
        "longest_ms": {what: round(ms, 1) for what, ms in pump.longest_ms.items()},
        "longest_processor_ms": {what: round(ms, 1) for what, ms in beats.longest.items()},
        "applying_ms": [round(ms, 1) for ms in applying],
        "of_it_image_load_ms": [round(ms, 1) for ms in loads.taken],
        "applying_processor_ms": [round(ms, 1) for ms in applies.processor],
        "of_it_image_load_processor_ms": [round(ms, 1) for ms in loads.processor],
        "snapshot_in_the_click_ms": [round(ms, 1) for ms in snapshots.taken],
        "snapshot_in_the_click_processor_ms": [round(ms, 1) for ms in snapshots.processor],
        "decoding_at_first_draw_ms": [round(ms, 1) for ms in decoding],
        "result_mib": [round(size, 1) for size in sizes],
    }
    print("TICKS", json.dumps(figures), file=sys.stdout, flush=True)
