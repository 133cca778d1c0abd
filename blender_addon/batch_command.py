"""The batch without a window: `blender -b file.blend --command vitruvian ...`, or in bpy as a module.

Timers do not fire there, so this polls by itself. Exit codes: 0 all bodies done, 1 some failed, 2 bad input,
3 no backend, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy

from . import bodies, result_import, runtime
from .batch import Batch, Item, Runner, read_csv_file, resumed, summary
from .batch_scene import items_of, send
from .connection import Endpoint
from .jobs import Job
from .problems import Problem
from .session import Session

DONE, SOME_FAILED, BAD_INPUT, NO_BACKEND, INTERRUPTED = 0, 1, 2, 3, 130
_command: Any = None


def run(arguments: Sequence[str]) -> int:
    """One batch over the open file; returns the exit code."""
    try:
        asked = _parser().parse_args(list(arguments))
    except SystemExit as leaving:
        return BAD_INPUT if leaving.code else DONE
    try:
        return _run(asked)
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return (
            NO_BACKEND
            if problem.told.code in ("UNREACHABLE", "NO_BACKEND", "OFFLINE", "PACKAGES")
            else BAD_INPUT
        )
    except KeyboardInterrupt:
        print("interrupted: what is done is saved, the rest goes on at the next run", file=sys.stderr)
        return INTERRUPTED
    finally:
        runtime.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vitruvian", description="Texture the bodies of the open .blend, one after the other; resumable."
    )
    which = parser.add_argument_group("which bodies (default: the file's own batch list)")
    which.add_argument("--csv", type=Path, help="columns body, prompt and optionally seed")
    which.add_argument("--collection", help="all meshes of this collection")
    which.add_argument("--body", action="append", default=[], help="a mesh by name; may be repeated")
    parser.add_argument("--prompt", default="", help="for bodies that have none of their own")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--texture-size", type=int, default=None, choices=(512, 1024, 2048, 4096))
    parser.add_argument("--address", default="", help="of the backend; default: as the preferences say")
    parser.add_argument("--output", type=Path, help="save the result there instead of over the file")
    parser.add_argument("--state", type=Path, help="the queue's file; default: beside the output")
    parser.add_argument("--retry-failed", action="store_true")
    parser.add_argument(
        "--wait", type=float, default=30.0, help="seconds to wait for a backend that does not answer"
    )
    return parser


def _run(asked: argparse.Namespace) -> int:
    if not bpy.data.filepath:
        raise Problem("FILE", "No .blend is open", "Give one: blender -b file.blend --command vitruvian")
    output = (asked.output or Path(bpy.data.filepath)).absolute()
    state = (asked.state or output.with_suffix(".batch.json")).absolute()
    settings = bpy.context.scene.vitruvian
    if asked.steps is not None:
        settings.steps = asked.steps
    if asked.texture_size is not None:
        settings.texture_size = str(asked.texture_size)
    settings.live_preview = False
    batch = resumed(state, _items(asked, settings), asked.retry_failed)
    _wear_again(batch)
    session = _connect(asked.address)
    bodies.ensure_file_id()
    _wait_for_backend(session, asked.wait)

    def take(item: Item, job: Job) -> bool:
        _apply(session, item, job)
        bpy.ops.wm.save_as_mainfile(filepath=str(output), check_existing=False)
        return True

    runner = Runner(batch, session, lambda item: send(batch, item), take, time.monotonic)
    batch.save()
    _loop(runner, session)
    print(summary(batch))
    return DONE if all(item.state == "done" for item in batch.items) else SOME_FAILED


def _items(asked: argparse.Namespace, settings: bpy.types.PropertyGroup) -> list[Item]:
    """Who is wanted, with words and seed.

    Raises:
        Problem: nobody, an unknown name, or no words for somebody.
    """
    if asked.csv is not None:
        return read_csv_file(asked.csv, asked.prompt)
    names = list(asked.body)
    if asked.collection is not None:
        collection = bpy.data.collections.get(asked.collection)
        if collection is None:
            raise Problem(
                "BATCH", f"There is no collection {asked.collection!r}", "Use its name in the outliner"
            )
        names += [item.name for item in collection.all_objects if item.type == "MESH"]
    if not names:
        return items_of(settings)
    prompt = asked.prompt.strip() or settings.prompt.strip()
    seed = settings.seed if asked.seed is None else asked.seed
    return [Item(name, prompt, seed) for name in dict.fromkeys(names)]


def _wear_again(batch: Batch) -> None:
    """A crash between saving the queue and the file left a body done but bare: it is applied again."""
    for item in batch.items:
        body = bpy.data.objects.get(item.body)
        if item.state == "done" and body is not None and body.vitruvian.job != item.job:
            item.state = "sent"


def _connect(address: str) -> Session:
    if address:
        runtime.pinned = Endpoint(address)
    return runtime.connect()


def _wait_for_backend(session: Session, seconds: float) -> None:
    until = time.monotonic() + seconds
    while session.connection != "ready":
        session.tick(0.05)
        if session.connection == "refused" or time.monotonic() > until:
            error = session.error
            where = session.endpoint.address if session.endpoint else ""
            sentence = error.sentence if error else f"No server answers at {where}"
            raise Problem("UNREACHABLE", sentence, error.remedy if error else "Start it: vitruvian serve")
        time.sleep(0.02)


def _loop(runner: Runner, session: Session) -> None:
    """Poll until every body has ended; each change is a line."""
    said: dict[str, str] = {}
    while not runner.batch.finished:
        session.tick(0.05)
        runner.step()
        for item in runner.batch.items:
            line = f"{item.body}: {item.state}"
            if said.get(item.body) != line:
                said[item.body] = line
                print(line, flush=True)
        time.sleep(0.02)


def _apply(session: Session, item: Item, job: Job) -> None:
    body = bpy.data.objects.get(item.body)
    if body is None:
        raise Problem("BAD_SCENE:EMPTY", f"There is no mesh called {item.body!r}", "Rename it back")
    result_import.apply_result(session, job, body, bpy.context)
    session.mark_offered(job.id)


def register() -> None:
    """`blender --command vitruvian`, where Blender knows commands (4.2 and newer)."""
    global _command
    if hasattr(bpy.utils, "register_cli_command"):
        _command = bpy.utils.register_cli_command("vitruvian", run)


def unregister() -> None:
    global _command
    if _command is not None:
        bpy.utils.unregister_cli_command(_command)
    _command = None
