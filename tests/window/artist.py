"""What an artist does with the extension, in a real window: `blender --python artist.py -- TASK.json`.

The task names the add-on's module, the backend, and a folder for pictures and for `seen.json`, what was seen.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy  # pyright: ignore[reportMissingImports]  (Blender's own Python)
import numpy as np
from bpy_extras.view3d_utils import location_3d_to_region_2d  # pyright: ignore[reportMissingImports]
from mathutils import Vector  # pyright: ignore[reportMissingImports]

sys.path.insert(0, str(Path(__file__).parent))
import gui
from processor import seconds_of_family

TASK = json.loads(Path(sys.argv[sys.argv.index("--") + 1]).read_text())
OUT = Path(TASK["out"])
seen: dict[str, Any] = {"blender": bpy.app.version_string}


def part(name: str) -> Any:
    """A module of the add-on."""
    return sys.modules[f"{TASK['module']}.{name}"]


def settings() -> Any:
    return bpy.context.scene.vitruvian


def jobs() -> list[Any]:
    return list(part("runtime").session().jobs.values())


def picture(name: str) -> gui.Script[None]:
    """A photograph, with the mouse out of the way."""
    yield from gui.point(gui.viewport().x + 250, gui.window().height - gui.viewport().y - 60)
    gui.viewport().tag_redraw()
    yield 0.8
    gui.photograph(OUT / f"{name}.png")


def prepare() -> None:
    """Before the window shows: no splash, the add-on on, its backend named."""
    preferences = bpy.context.preferences
    preferences.view.show_splash = False
    preferences.view.show_developer_ui = False
    bpy.ops.preferences.addon_enable(module=TASK["module"])
    own = preferences.addons[TASK["module"]].preferences
    for name, value in TASK["backend"].items():
        setattr(own, name, value)


def furnish() -> gui.Script[None]:
    """An empty scene with the free body and a rig, the viewport on the body."""
    for item in list(bpy.data.objects):
        bpy.data.objects.remove(item)
    settings().gender = TASK["gender"]
    with gui.here():
        bpy.ops.vitruvian.add_proxy()
        settings().camera_mode = "RIG"
        settings().body_views, settings().upper_views = TASK["views"]
        bpy.ops.vitruvian.add_rig()
        bpy.ops.object.select_all(action="DESELECT")
    yield 0.5
    with gui.here():
        bpy.ops.view3d.view_axis(type="FRONT")
        bpy.ops.view3d.view_orbit(angle=0.4, type="ORBITRIGHT")
        gui.viewport().spaces.active.region_3d.view_perspective = "PERSP"
        settings().body.select_set(True)
        bpy.ops.view3d.view_selected()
    gui.viewport().spaces.active.overlay.show_bones = False  # they stick out at fingers and toes
    yield 1.0
    settings().preset = TASK["preset"]


def widen() -> gui.Script[None]:
    """Pull the sidebar's edge, so that the prompt can be read."""
    before = gui.region("UI").width
    for inset in (8, 4, 0, 12):
        side = gui.region("UI")
        y = gui.window().height - side.y - side.height + 60
        yield from gui.drag((side.x + inset, y), (side.x + inset - 120, y))
        if gui.region("UI").width > before:
            return
    raise gui.NotSeen("the sidebar's edge")


def type_prompt(prompt: str) -> gui.Script[None]:
    x, y = yield from gui.find("vitruvian.prompt", kind="property")
    yield from gui.press(x, y, times=2)
    yield from gui.key("ctrl+a")
    gui.mouse("type", "--delay", 20, prompt)
    yield 0.8
    yield from gui.key("Return")
    assert settings().prompt == prompt, settings().prompt


def chest() -> tuple[int, int]:
    """Where the body's chest is on the screen."""
    body, region = settings().body, gui.region("WINDOW")
    middle = body.matrix_world @ (sum((Vector(corner) for corner in body.bound_box), Vector()) / 8)
    middle.z += 0.2  # from between the legs
    place = location_3d_to_region_2d(region, gui.viewport().spaces.active.region_3d, middle)
    return region.x + round(place.x), gui.window().height - region.y - round(place.y)


def wait_until_drawn() -> gui.Script[None]:
    """Newer Blenders leave a body out until its shaders are compiled: without a card, a minute or more."""
    for _ in range(150):
        x, y = chest()
        seen_now = gui.pixels().astype(int)
        backdrop = seen_now[y, gui.viewport().x + 250]
        if np.abs(seen_now[y, x] - backdrop).max() > 24:
            return
        gui.viewport().tag_redraw()
        yield 2.0
    raise gui.NotSeen("the textured body in the viewport")


def see_preview_colour() -> gui.Script[None]:
    """How a preview of one colour looks on the body, in the middle of the viewport."""
    body, overlay = settings().body, part("overlay")
    overlay.follow("colour", part("scene_export").take_snapshot(body, settings()).scene.mesh, 1.0)
    side = 8
    pixels = np.tile(np.array([*TASK["colour"], 255], np.float32) / 255, side * side)
    overlay.update("colour", part("pictures").Picture(side, side, pixels))
    area = gui.viewport()
    area.tag_redraw()
    yield 1.0
    x, y = chest()
    seen["preview_colour"] = gui.pixels()[y, x].tolist()
    overlay.stop("colour")
    area.tag_redraw()


class Clock:
    """When things were so for the first time: looked at whenever Blender draws the viewport, so that what is
    noted has been drawn, not only been received."""

    def __init__(self, **things: Callable[[], bool]) -> None:
        self.pressed = 0.0
        """When the button was pressed that brings them about, on the monotonic clock."""
        self.seen: dict[str, tuple[float, dict[str, float]]] = {}
        self._things, self._before = things, spent()
        bpy.types.SpaceView3D.draw_handler_add(self._look, (), "WINDOW", "POST_PIXEL")

    def _look(self) -> None:
        for name, is_so in self._things.items():
            if name not in self.seen and is_so():
                self.seen[name] = (time.monotonic(), spent())

    def figures(self) -> dict[str, dict[str, Any]]:
        """For each thing that was seen, the seconds since the press: passed, and of the processor."""
        told = {}
        for name, (at, now) in self.seen.items():
            processor = {who: round(now[who] - self._before[who], 2) for who in now}
            told[name] = {"passed_s": round(at - self.pressed, 2), "processor_s": processor}
        return told


def spent() -> dict[str, float]:
    """Seconds of the processor that Blender and the backend have had."""
    own = part("runtime").backend().record
    server = TASK["server"] or (own.pid if own is not None else None)
    return {"blender": time.process_time(), "backend": seconds_of_family(server) if server else 0.0}


def generate() -> gui.Script[tuple[Any, Clock]]:
    """Press Generate Human; returns the new job, and the clock of its start, first preview and end."""
    before = {job.id for job in jobs()}
    x, y = yield from gui.find("bpy.ops.vitruvian.generate(")
    new: list[Any] = []
    clock = Clock(
        started=lambda: any(job.state == "running" for job in new),
        first_preview=lambda: any(part("previews").icon_of(job) for job in new),
        applied=lambda: any(settings().body.vitruvian.job == job.id for job in new),
    )
    clock.pressed = yield from gui.press(x, y)
    yield from gui.wait_for("a job", lambda: {job.id for job in jobs()} - before, 30)
    new += [job for job in jobs() if job.id not in before]
    return new[0], clock


def press_cancel(job: Any) -> gui.Script[Clock]:
    """Press the job's X until Blender has taken it, which a busy one may miss; the clock of what follows."""
    beside_its_glyph = (0.885, 0.86, 0.845)
    for _ in range(gui.TRIES):
        x, y = yield from gui.find("bpy.ops.vitruvian.cancel(", columns=beside_its_glyph)
        clock = Clock(taken=lambda: job.cancelling or job.ended, over=lambda: job.ended)
        clock.pressed = yield from gui.press(x, y)
        for _ in range(40):
            if job.cancelling or job.ended:
                return clock
            yield 0.25
    raise gui.NotSeen("the X takes no press")


def cancel_one() -> gui.Script[None]:
    """Start a job and stop it once it paints. It is a long one: a slow window may take minutes to press X."""
    settings().steps, settings().prompt = 200, TASK["long_prompt"]
    job, _ = yield from generate()
    settings().preset, settings().prompt = TASK["preset"], TASK["prompt"]
    yield from gui.wait_for("a preview", lambda: job.preview_number or job.ended, TASK["patience_s"])
    clock = yield from press_cancel(job)
    yield from gui.wait_for("the end of a cancelled job", lambda: "over" in clock.seen, 60)
    assert job.state == "cancelled", (job.state, job.error)
    seen["cancel"] = clock.figures()
    seen["worn_after_cancel"] = settings().body.vitruvian.job
    yield from picture("cancelled")


def finish_one() -> gui.Script[None]:
    """Start a job, watch its previews come, and see the result on the body."""
    job, clock = yield from generate()
    yield from gui.wait_for(
        "a preview", lambda: "first_preview" in clock.seen or job.ended, TASK["patience_s"]
    )
    seen["fraction_at_preview"] = job.fraction
    yield from gui.wait_for("a later preview", lambda: job.fraction > 0.6 or job.ended, TASK["patience_s"])
    yield from picture("progress")
    yield from gui.wait_for("the end", lambda: job.ended, TASK["patience_s"])
    assert job.state == "ready", (job.state, job.error)
    yield from gui.wait_for("the texture on the body", lambda: "applied" in clock.seen, 30)
    seen.update(clock.figures())
    seen["settings"] = job.settings
    seen["previews"] = job.preview_number
    seen["images"] = {image.name: list(image.size) for image in bpy.data.images if image.users}
    seen["shading"] = gui.viewport().spaces.active.shading.type
    yield 4.0
    yield from wait_until_drawn()
    yield from picture("result")


def undo_and_redo() -> gui.Script[None]:
    """One Ctrl-Z takes the texture away, one redo brings it back."""
    worn = settings().body.vitruvian.job
    x = gui.region("UI").x // 2
    yield from gui.point(x, 500)
    yield from gui.key("ctrl+z")
    yield from gui.wait_for("undo", lambda: settings().body.vitruvian.job != worn, 20)
    seen["worn_after_undo"] = settings().body.vitruvian.job
    yield from gui.key("ctrl+shift+z")
    yield from gui.wait_for("redo", lambda: settings().body.vitruvian.job == worn, 20)


def script() -> gui.Script[None]:
    yield from furnish()
    yield from gui.open_tab("Vitruvian")
    yield from widen()
    yield from see_preview_colour()
    yield from type_prompt(TASK["prompt"])
    yield from picture("panel")
    yield from cancel_one()
    yield from finish_one()
    yield from undo_and_redo()
    if "command" in TASK["backend"]:
        part("runtime").backend().stop()
        yield from gui.wait_for("the backend's end", lambda: part("runtime").backend().record is None, 30)
    seen["longest_ticks_ms"] = {what: round(ms, 1) for what, ms in part("pump").longest_ms.items()}
    (OUT / "seen.json").write_text(json.dumps(seen, indent=1))


def on_failure() -> None:
    """What helps to find out why."""
    gui.photograph(OUT / "failure.png")
    for job in jobs():
        print("job", job.id, job.state, job.stage, job.fraction, job.error)
    print("session", part("runtime").session().error)


prepare()
gui.run(script, on_failure)
