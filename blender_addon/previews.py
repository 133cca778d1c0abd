"""What a job shows on its way: its contact sheet in the panel, its texture over the body."""

from __future__ import annotations

from typing import Any

import bpy.utils.previews

from . import overlay
from .jobs import Job
from .pictures import Picture, decode_jpeg
from .result_check import BadResult

_icons: Any = None


def icon_of(job: Job) -> int:
    """The icon of the job's latest contact sheet; 0 where there is none yet."""
    if _icons is None or job.id not in _icons:
        return 0
    return int(_icons[job.id].icon_id)


def take(job: Job) -> None:
    """Show one of the job's new pictures."""
    kind, jpeg = job.previews.popitem()
    try:
        picture = decode_jpeg(jpeg)
    except BadResult as error:
        print(f"vitruvian: {error}")
        return
    if kind == "texture":
        overlay.update(job.id, picture)
    elif _icons is not None:
        _show(job.id, picture)


def _show(job_id: str, picture: Picture) -> None:
    icon = _icons[job_id] if job_id in _icons else _icons.new(job_id)
    icon.image_size = (picture.width, picture.height)  # which lets go of the picture before
    icon.image_pixels_float.foreach_set(picture.pixels)


def drop(job: Job) -> None:
    """A job that has ended shows nothing more."""
    job.previews.clear()
    if _icons is not None and job.id in _icons:
        _icons[job.id].image_size = (0, 0)  # a collection can only be freed as a whole


def register() -> None:
    global _icons
    _icons = bpy.utils.previews.new()


def unregister() -> None:
    global _icons
    if _icons is not None:
        bpy.utils.previews.remove(_icons)
    _icons = None
