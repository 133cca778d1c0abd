"""What an artist does with the extension, in a real window: `blender --python artist.py -- TASK.json`.

The task names the add-on's module, the backend, and a folder for pictures and for `seen.json`, what was seen.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import bpy  # pyright: ignore[reportMissingImports]  (Blender's own Python)

sys.path.insert(0, str(Path(__file__).parent))
import gui

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


def generate() -> gui.Script[Any]:
    """Press Generate Human; returns the new job."""
    before = {job.id for job in jobs()}
    x, y = yield from gui.find("bpy.ops.vitruvian.generate(")
    yield from gui.press(x, y)
    yield from gui.wait_for("a job", lambda: {job.id for job in jobs()} - before, 30)
    return next(job for job in jobs() if job.id not in before)


def press_cancel(job: Any) -> gui.Script[float]:
    """Press the job's X until Blender has taken it, which a busy one may miss; when that was."""
    for _ in range(gui.TRIES):
        x, y = yield from gui.find("bpy.ops.vitruvian.cancel(", columns=(0.9, 0.92, 0.86))
        pressed = time.monotonic()
        yield from gui.press(x, y)
        for _ in range(40):
            if job.cancelling or job.ended:
                return pressed
            yield 0.25
    raise gui.NotSeen("the X takes no press")


def cancel_one() -> gui.Script[None]:
    """Start a job and stop it once it paints. It is a long one: a slow window may take minutes to press X."""
    settings().steps, settings().prompt = 200, TASK["long_prompt"]
    job = yield from generate()
    settings().preset, settings().prompt = TASK["preset"], TASK["prompt"]
    yield from gui.wait_for(
        "painting", lambda: job.state == "running" and job.fraction > 0, TASK["patience_s"]
    )
    pressed = yield from press_cancel(job)
    yield from gui.wait_for("the end of a cancelled job", lambda: job.state == "cancelled", 60)
    seen["cancelled_after_s"] = round(time.monotonic() - pressed, 2)
    seen["worn_after_cancel"] = settings().body.vitruvian.job
    yield from picture("cancelled")


def finish_one() -> gui.Script[None]:
    """Start a job, watch its previews come, and see the result on the body."""
    job = yield from generate()
    pressed = time.monotonic()
    yield from gui.wait_for("a preview", lambda: job.preview_number or job.ended, TASK["patience_s"])
    seen["first_preview_s"] = round(time.monotonic() - pressed, 2)
    seen["fraction_at_preview"] = job.fraction
    yield from picture("progress")
    yield from gui.wait_for("the end", lambda: job.ended, TASK["patience_s"])
    assert job.state == "ready", (job.state, job.error)
    yield from gui.wait_for("the texture on the body", lambda: settings().body.vitruvian.job == job.id, 30)
    seen["done_s"] = round(time.monotonic() - pressed, 2)
    seen["previews"] = job.preview_number
    seen["images"] = {image.name: list(image.size) for image in bpy.data.images if image.users}
    seen["shading"] = gui.viewport().spaces.active.shading.type
    yield 4.0  # shaders are compiled
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
