"""What the add-on does when files are loaded, undone, or Blender quits. The artist's data stays.

The only thing written into the file are the hidden numbers that jobs know it and its bodies by.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from typing import Any

import bpy
from bpy.app.handlers import persistent

from . import bodies, overlay, pump, repair, runtime


@persistent
def _before_load(*_: Any) -> None:
    """Forget everything about the file that is going; jobs and connection go on."""
    runtime.epoch += 1
    runtime.session().refusal = None  # of a body that is going
    overlay.clear()
    repair.forget()


@persistent
def _after_load(*_: Any) -> None:
    """A file is open: the beat goes on (a result for it may be waiting)."""
    repair.forget()
    pump.wake()


@persistent
def _before_undo(*_: Any) -> None:
    """Undo and redo go to a state that may know nothing of the jobs."""
    bodies.note_numbers()


@persistent
def _after_undo(*_: Any) -> None:
    """A result may be on its body or off it now: the panels show which."""
    bodies.give_numbers_back()
    pump.redraw()


@persistent
def _before_exit(*_: Any) -> None:
    _close()


def _close() -> None:
    pump.stop()
    overlay.clear()
    runtime.close()


_HANDLERS: dict[str, Callable[..., None]] = {
    "load_pre": _before_load,
    "load_post": _after_load,
    "load_post_fail": _after_load,
    "undo_pre": _before_undo,
    "redo_pre": _before_undo,
    "undo_post": _after_undo,
    "redo_post": _after_undo,
    "exit_pre": _before_exit,
}
"""`load_post_fail` and `exit_pre` are missing in older versions."""


def register() -> None:
    for name, handler in _HANDLERS.items():
        if hasattr(bpy.app.handlers, name):
            getattr(bpy.app.handlers, name).append(handler)
    atexit.register(_close)


def unregister() -> None:
    atexit.unregister(_close)
    for name, handler in _HANDLERS.items():
        handlers = getattr(bpy.app.handlers, name, [])
        if handler in handlers:
            handlers.remove(handler)
