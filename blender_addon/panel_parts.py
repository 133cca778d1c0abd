"""What the panels share: where they are, sentences over several lines, errors with their button."""

from __future__ import annotations

import bpy

from .problems import Told

CHARACTER_PIXELS = 6.5
"""Of a usual letter in Blender's own font, before the interface's scale."""


class SidebarPanel:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Vitruvian"


def line_width() -> int:
    """Characters that fit into a line of the sidebar as it is now, beside an icon and the box's edges."""
    region = bpy.context.region
    scale = bpy.context.preferences.system.ui_scale
    pixels = region.width / scale if region is not None and region.type == "UI" else 280
    return max(16, int((pixels - 60) / CHARACTER_PIXELS))


def wrapped(layout: bpy.types.UILayout, text: str, icon: str = "NONE") -> None:
    """A sentence over as many lines as it takes: Blender's labels do not wrap."""
    line, column, width = "", layout.column(align=True), line_width()
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            column.label(text=line, icon=icon)
            icon, line = ("BLANK1" if icon != "NONE" else "NONE"), word
        else:
            line = f"{line} {word}".strip()
    if line:
        column.label(text=line, icon=icon)


def draw_error(layout: bpy.types.UILayout, error: Told, job: str = "") -> None:
    """Sentence, remedy, code, and the button that does the remedy where there is one."""
    box = layout.box()
    wrapped(box, f"{error.sentence}.", icon="ERROR")
    wrapped(box, f"{error.remedy}.")
    if error.button is not None and error.button[0] != "vitruvian.copy_report":
        box.operator(error.button[0], text=error.button[1])
    row = box.row(align=True)
    row.label(text=error.code)
    row.operator("vitruvian.copy_report", text="", icon="COPYDOWN").job = job
