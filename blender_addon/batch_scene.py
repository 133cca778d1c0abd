"""The batch of the open file: its list becomes a queue, and the heartbeat takes it along."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import bpy

from . import bodies, compat, generation, runtime
from .batch import Batch, Item, Runner, resumed
from .jobs import Job
from .problems import Problem

_runner: Runner | None = None
_epoch = -1


def queue_path() -> Path:
    """Where the open file's queue is kept."""
    return compat.user_folder() / "batches" / f"{bodies.file_id() or 'unsaved'}.json"


def current() -> Batch | None:
    """The queue that runs, if one does."""
    return _runner.batch if _runner is not None and _epoch == runtime.epoch else None


def items_of(settings: bpy.types.PropertyGroup) -> list[Item]:
    """The list as it stands.

    Raises:
        Problem: empty, or a line without a body.
    """
    lines = list(settings.batch)
    if not lines:
        raise Problem("BATCH", "The batch is empty", "Select bodies and press Add Selected, or load a CSV")
    for line in lines:
        if line.body is None:
            raise Problem("BATCH", "A line of the batch has no body", "Choose one, or remove the line")
    return [Item(line.body.name, line.prompt.strip() or settings.prompt.strip(), line.seed) for line in lines]


def start(settings: bpy.types.PropertyGroup, retry_failed: bool = False) -> Batch:
    """Begin, or go on where an earlier run stopped.

    Raises:
        Problem: nothing to do, no backend, or no room for the queue.
    """
    global _runner, _epoch
    items = items_of(settings)
    session = runtime.connect()
    bodies.ensure_file_id()
    batch = resumed(queue_path(), items, retry_failed)
    runner = Runner(batch, session, lambda item: send(batch, item), _leave_to_the_heartbeat, time.monotonic)
    try:
        batch.save()
    except OSError as error:
        raise Problem("DISK", f"The queue cannot be saved: {error}", "Make room on the disk") from error
    _runner, _epoch = runner, runtime.epoch
    return batch


def send(batch: Batch, item: Item) -> Job:
    """Export one body with the scene's settings and the item's words.

    Raises:
        Problem: the body is gone or cannot be sent.
    """
    settings = bpy.context.scene.vitruvian
    body = bpy.data.objects.get(item.body)
    if body is None or body.type != "MESH":
        raise Problem(
            "BAD_SCENE:EMPTY", f"There is no mesh called {item.body!r}", "Rename it back, or correct the list"
        )
    asked = replace(generation.settings_of(settings), prompt=item.prompt, seed=item.seed)
    return generation.generate(body, settings, asked, batch.tag(item))


def _leave_to_the_heartbeat(_: Item, job: Job) -> bool:
    """In a window the heartbeat applies results, when the artist is not in the middle of something."""
    return True


def step() -> bool:
    """Called by the heartbeat; True when a body was exported."""
    global _runner
    if _runner is None:
        return False
    if _epoch != runtime.epoch:
        _runner = None  # another file is open: the queue waits in its file
        return False
    if runtime.session().connection != "ready":
        return False
    did = _runner.step()
    if _runner.batch.finished:
        _runner = None
    return did


def cancel() -> None:
    global _runner
    if _runner is not None:
        _runner.cancel()
    _runner = None


def forget() -> None:
    """The add-on is disabled: the queue stays in its file."""
    global _runner
    _runner = None
