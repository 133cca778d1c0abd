"""What differs between Blender 3.4 and 5.2, in one place."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

import bpy

VERSION: tuple[int, int, int] = tuple(bpy.app.version)  # pyright: ignore[reportAssignmentType]
PACKAGE = __package__ or "vitruvian"


@lru_cache(maxsize=1)
def user_folder() -> Path:
    """The only folder that the add-on writes to: the extension's own, which survives updates."""
    if hasattr(bpy.utils, "extension_path_user"):
        try:
            return Path(bpy.utils.extension_path_user(PACKAGE, create=True))
        except ValueError:
            pass  # run from source or installed as a legacy add-on: not an extension
    path = bpy.utils.user_resource("CONFIG", path="vitruvian", create=True)
    return Path(path or tempfile.mkdtemp(prefix="vitruvian-"))


def online_access() -> bool:
    """Whether the user lets Blender reach the network; older Blenders have no such switch."""
    return bool(getattr(bpy.app, "online_access", True))


def session_uid(item: bpy.types.ID) -> int:
    """A number that a datablock keeps through renames and undo until the file is closed; 0 before 4.2."""
    return int(getattr(item, "session_uid", 0))


def draw_progress(layout: bpy.types.UILayout, fraction: float, text: str) -> None:
    """A progress bar; before 4.0 the same in characters."""
    if hasattr(layout, "progress"):
        layout.progress(factor=fraction, text=text)
        return
    filled = round(16 * fraction)
    layout.label(text=f"[{'=' * filled}{'.' * (16 - filled)}] {text}")


def material_with_nodes(name: str) -> bpy.types.Material:
    """A new material whose node tree is there (5.0 always has one and warns when asked)."""
    material = bpy.data.materials.new(name)
    if VERSION < (5, 0, 0):
        material.use_nodes = True
    return material


def image_shader() -> str:
    """Name of the built-in shader that draws a texture in 3D."""
    return "3D_IMAGE" if VERSION < (4, 0, 0) else "IMAGE"


def draws_linear() -> bool:
    """Whether `image_shader` takes linear values of a texture that is drawn over the viewport; from 5.0 on it
    takes them as they are to be seen (sRGB), whatever the file's working colour space is."""
    return VERSION < (5, 0, 0)


def colour_shader() -> str:
    """Name of the built-in shader that draws coloured points in 3D."""
    return "3D_FLAT_COLOR" if VERSION < (4, 0, 0) else "FLAT_COLOR"


def modal_is_running(window: bpy.types.Window | None) -> bool:
    """Whether the user is in the middle of a tool (moving, sculpting a stroke); unknown before 4.2."""
    return bool(window is not None and len(getattr(window, "modal_operators", ())))
