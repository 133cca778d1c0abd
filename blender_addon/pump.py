"""The heartbeat: one persistent timer, no thread. Each beat does a little and never raises."""

from __future__ import annotations

import time
import traceback

import bpy

from . import batch_scene, bodies, compat, overlay, previews, repair, result_import, runtime
from .job_events import Change
from .jobs import Job
from .problems import Problem, Told

BUDGET_S = 0.008
HURRIED_S, BUSY_S, IDLE_S = 0.01, 0.05, 1.0
longest_ms: dict[str, float] = {}
"""The longest beat since Blender started of each kind, by what it did: figures for reports."""
_beating = False
_heard = False
"""Whether the last beat was taken up by messages: then the heavy things have their turn first."""
_backend_looked = 0.0
_resumed = False
_backend_state = "stopped"


def backend_state() -> str:
    """The local backend's state as of the last second; cheap enough for a panel."""
    return _backend_state


def tick() -> float:
    """One beat; returns seconds until the next. Never raises: an exception would end a timer for good."""
    global _beating
    began, what, _beating = time.perf_counter(), "events", True
    try:
        what = _beat()
        return _pause(what)
    except Exception:
        traceback.print_exc()
        return IDLE_S
    finally:
        _beating = False
        longest_ms[what] = max(longest_ms.get(what, 0.0), (time.perf_counter() - began) * 1000)


def _pause(what: str) -> float:
    session = runtime.session()
    if _heard or what != "events" or session.hurried or repair.looking():
        return HURRIED_S
    waiting = session.connection in ("connecting", "lost") or session.busy
    return BUSY_S if waiting or _backend_state in ("installing", "starting", "stopping") else IDLE_S


def _beat() -> str:
    """Messages, or one heavy thing where there are none; what waited in the last beat comes first."""
    global _heard
    _look_at_backend()
    _resume()
    if _heard:
        _heard = False
        did = _work()
        if did:
            return did
    session = runtime.session()
    changes = session.tick(BUDGET_S)
    if session.looking:
        did = "a look at what is to be sent"
    else:
        _heard = bool(changes)
        did = "events" if changes else _work() or "events"
    if changes:
        redraw()
    for change in changes:
        _note(change)
    return did


def _work() -> str:
    """One heavy thing, if there is one: a slice of a look at the body, a preview, a picture checked, or a
    result applied. Returns what it was."""
    session = runtime.session()
    if batch_scene.step():
        redraw()
        return "export of a batch body"
    if repair.looking():
        if repair.look(BUDGET_S):
            redraw()
        return "a look at the body"
    seen = next((job for job in session.jobs.values() if job.previews), None)
    if seen is not None and not _is_rendering():
        previews.take(seen)
        redraw()
        return "a preview"
    ready = _next_to_apply()
    if ready is None:
        result_import.forget_checked()
        return ""
    if result_import.check_next(session, ready):
        return "checking a picture"
    apply(ready)
    redraw()
    return "applying a result"


def _look_at_backend() -> None:
    global _backend_looked, _backend_state
    now = time.monotonic()
    if now - _backend_looked > 1.0:
        _backend_looked = now
        backend = runtime.backend()
        backend.tick()
        state = backend.state
        if state != _backend_state:
            _backend_state = state
            redraw()
            if state == "died":
                last = next(iter(backend.tail(1)), "its log is empty")
                runtime.session().error = Told(
                    "BACKEND_DIED", f"The backend on this computer stopped: {last[:200]}", "Its log says more"
                )


def _resume() -> None:
    """Once after Blender starts: hear of the jobs that an earlier Blender left under way."""
    global _resumed
    session = runtime.session()
    if _resumed:
        return
    _resumed = True
    if session.busy and session.connection == "off" and not runtime.missing_packages():
        try:
            runtime.connect(start=False)
        except Problem as problem:
            session.error = problem.told


def _note(change: Change) -> None:
    job = runtime.session().jobs.get(change.job)
    if job is None or not job.ended:
        return
    previews.drop(job)
    if job.state != "ready":
        overlay.stop(job.id)


def _next_to_apply() -> Job | None:
    """A result that may be put on its body by itself, now. Those of other files keep nobody waiting."""
    if not bpy.context.scene.vitruvian.auto_apply:
        return None
    waiting = [job for job in runtime.session().jobs.values() if job.state == "ready" and not job.offered]
    waiting = [job for job in waiting if bodies.may_be_here(job)]
    if not waiting:
        return None
    finder = bodies.Finder()
    found = ((job, finder.find(job)) for job in waiting)
    return next((job for job, body in found if body is not None and not reason_to_wait(body)), None)


def reason_to_wait(body: bpy.types.Object) -> str:
    """Why a result cannot be applied at this moment; "" when it can."""
    if body.mode != "OBJECT":
        return _in_mode(body)
    if _is_rendering():
        return "Blender is rendering"
    manager = bpy.context.window_manager
    for window in manager.windows if manager else ():
        active = window.view_layer.objects.active
        if active is not None and active.mode not in ("OBJECT", "POSE"):
            return _in_mode(active)  # its undo steps are of its own kind: ours would not be among them
        if compat.modal_is_running(window):
            return "a tool is in use"
        if window.screen.is_animation_playing:
            return "the animation is playing"
    return ""


def _in_mode(item: bpy.types.Object) -> str:
    return f"{item.name} is in {item.mode.replace('_', ' ').lower()} mode"


def _is_rendering() -> bool:
    """Another thread reads the file's data: adding to it has to wait."""
    return any(bpy.app.is_job_running(kind) for kind in ("RENDER", "OBJECT_BAKE"))


def apply(job: Job) -> None:
    """Through the operator, so that one Ctrl-Z takes it away."""
    job.offered = True  # whatever happens below is not tried again and again
    manager = bpy.context.window_manager
    window = manager.windows[0] if manager and len(manager.windows) else None
    if window is None:
        bpy.ops.vitruvian.apply("EXEC_DEFAULT", True, job=job.id)
        return
    with bpy.context.temp_override(window=window):
        bpy.ops.vitruvian.apply("EXEC_DEFAULT", True, job=job.id)


def redraw() -> None:
    """Let the sidebars and viewports show what is new."""
    manager = bpy.context.window_manager
    for window in manager.windows if manager else ():
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()


def wake() -> None:
    """Beat soon, although the timer may be idling."""
    if _beating:
        return  # a button pressed by the heart itself
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    bpy.app.timers.register(tick, first_interval=0.01, persistent=True)


def stop() -> None:
    """End the beat; the add-on is disabled or Blender quits."""
    global _resumed
    _resumed = False
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
