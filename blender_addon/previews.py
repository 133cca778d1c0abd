"""Pictures in the panel: a job's contact sheet as an icon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import bpy.utils.previews

from . import compat, overlay
from .jobs import Job
from .result_check import BadResult, check_jpeg

_icons: Any = None
_shown: dict[str, int] = {}
"""Which preview of a job its icon shows."""


def icon_of(job: Job) -> int:
    """The icon of the job's latest contact sheet; 0 where there is none yet."""
    if _icons is None or job.id not in _icons:
        return 0
    return int(_icons[job.id].icon_id)


def take(job: Job) -> bool:
    """Show the job's newest pictures, one at a time; False when there was nothing new.

    Writes a JPEG to the user's folder, because Blender decodes pictures from files only.
    """
    if _icons is None or _shown.get(job.id) == job.preview_number:
        return False
    _shown[job.id] = job.preview_number
    for kind, jpeg in list(job.previews.items()):
        try:
            check_jpeg(jpeg)
        except BadResult as error:
            print(f"vitruvian: {error}")
            continue
        path = _path(job.id, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg)
        if kind == "sheet":
            _load(job.id, path)
        else:
            overlay.update(job.id, path)
    job.previews.clear()
    return True


def show_file(job: Job, picture: Path) -> None:
    """The final contact sheet, once it is on the disk."""
    if _icons is not None:
        _load(job.id, picture)


def _load(job_id: str, path: Path) -> None:
    if job_id in _icons:
        del _icons[job_id]
    _icons.load(job_id, str(path), "IMAGE")


def _path(job_id: str, kind: str) -> Path:
    return compat.user_folder() / "previews" / f"{job_id}-{kind}.jpg"


def drop(job_id: str) -> None:
    """Remove the files of a job that has ended."""
    for kind in ("sheet", "texture"):
        _path(job_id, kind).unlink(missing_ok=True)


def register() -> None:
    global _icons
    _icons = bpy.utils.previews.new()


def unregister() -> None:
    global _icons
    if _icons is not None:
        bpy.utils.previews.remove(_icons)
    _icons = None
    _shown.clear()
