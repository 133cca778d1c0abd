"""What an artist waits for, measured in Blender: `blender -b --command vitruvian_bench --address ADDRESS`.

`vitruvian bench blender` starts this beside a server whose image model is loaded, and compares. The job goes
the panel's whole way: the free body, Generate Human, the heart's beats, the texture on the body. Without a
window timers do not fire, so the beats are called here, with the pauses that they ask for.

The last line of what is printed is JSON, times in seconds from the press of the button.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bpy

from . import pump, runtime
from .connection import Endpoint
from .jobs import Job
from .problems import Problem

PATIENCE_S = 3600.0
"""A hang ends; a slow machine does not fail."""
LONG_STEPS = 1000
"""Of the job that is cancelled: it must not end before."""
_command: Any = None


def run(arguments: Sequence[str]) -> int:
    """Measure one job and one cancel; 0, or 2 where the job could not be done."""
    asked = _parser().parse_args(list(arguments))
    with tempfile.TemporaryDirectory(prefix="vitruvian-bench-") as folder:
        try:
            runtime.open_session(Path(folder))  # neither jobs nor results go into the artist's own list
            runtime.pinned = Endpoint(asked.address)
            figures = _measure(asked)
        except Problem as problem:
            print(f"error: {problem}", file=sys.stderr)
            return 2
        finally:
            runtime.close()
    print(json.dumps(figures), flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vitruvian_bench", description="Measure a job and a cancel.")
    parser.add_argument("--address", required=True, help="of the server")
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--texture-size", type=int, default=1024, choices=(512, 1024, 2048, 4096))
    parser.add_argument("--views", type=int, nargs=2, metavar=("BODY", "UPPER"), help="a rig of so many")
    return parser


def _measure(asked: argparse.Namespace) -> dict[str, Any]:
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    settings = bpy.context.scene.vitruvian
    settings.prompt, settings.steps = asked.prompt, asked.steps
    settings.texture_size = str(asked.texture_size)
    bpy.ops.vitruvian.add_proxy()
    body = settings.body
    if asked.views is not None:
        settings.body_views, settings.upper_views = asked.views
        bpy.ops.vitruvian.add_rig()
        bpy.context.view_layer.update()
    session = runtime.connect(start=False)
    _beat_until(lambda: session.connection == "ready")

    begin = time.perf_counter()
    job = _press_generate()
    clicked = time.perf_counter() - begin
    _beat_until(lambda: job.ended or (job.preview_number > 0 and not job.previews))
    first_preview, at = time.perf_counter() - begin, job.fraction
    _beat_until(lambda: body.vitruvian.job == job.id or job.state in ("failed", "cancelled"))
    applied = time.perf_counter() - begin
    _must_be(job, "ready")

    settings.steps = LONG_STEPS
    second = _press_generate()
    _beat_until(lambda: second.ended or (second.state == "running" and second.preview_number > 0))
    begin = time.perf_counter()
    bpy.ops.vitruvian.cancel(job=second.id)
    _beat_until(lambda: second.ended)
    _must_be(second, "cancelled")
    return {
        "blender": bpy.app.version_string,
        "click": clicked,
        "first_preview": first_preview,
        "fraction_at_preview": at,
        "applied": applied,
        "cancelled": time.perf_counter() - begin,
        "longest_beats_ms": {what: round(ms, 1) for what, ms in pump.longest_ms.items()},
    }


def _press_generate() -> Job:
    """Press the button; the new job.

    Raises:
        Problem: it was refused.
    """
    session = runtime.session()
    before = set(session.jobs)
    try:
        bpy.ops.vitruvian.generate()
    except RuntimeError as error:  # how Blender tells what a button reported
        raise Problem("REFUSED", " ".join(str(error).split()), "Put it right, then measure again") from error
    return next(job for job in session.jobs.values() if job.id not in before)


def _beat_until(is_so: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not is_so():
        pause = pump.tick()
        error = runtime.session().error
        if error is not None and error.code in ("UNREACHABLE", "LOST", "AUTH"):
            raise Problem(error.code, error.sentence, error.remedy)
        if time.monotonic() > until:
            raise Problem("TIME_LIMIT", "Nothing happened for an hour", "Look into the server's log")
        time.sleep(pause)


def _must_be(job: Job, state: str) -> None:
    if job.state != state:
        error = job.error
        if error is None:
            raise Problem("INTERNAL", f"The job is {job.state}, not {state}", "Measure again")
        raise Problem(error.code, error.sentence, error.remedy)


def register() -> None:
    """`blender --command vitruvian_bench`, where Blender knows commands (4.2 and newer)."""
    global _command
    if hasattr(bpy.utils, "register_cli_command"):
        _command = bpy.utils.register_cli_command("vitruvian_bench", run)


def unregister() -> None:
    global _command
    if _command is not None:
        bpy.utils.unregister_cli_command(_command)
    _command = None
