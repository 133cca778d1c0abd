"""The sidebar panel of the batch."""

from __future__ import annotations

import bpy

from . import batch, batch_scene, bodies, runtime
from .panel_parts import SidebarPanel


class VITRUVIAN_UL_batch(bpy.types.UIList):
    """Body, prompt, seed and state of each line."""

    def draw_item(self, context, layout, data, item, icon, active_data, active_property, index=0, flag=0):
        row = layout.row(align=True)
        row.prop(item, "body", text="")
        row.prop(item, "prompt", text="", emboss=False)
        queue = batch_scene.current()
        entry = (
            next((i for i in queue.items if item.body and i.body == item.body.name), None) if queue else None
        )
        if entry is not None:
            row.label(text=batch.status_of(entry, runtime.session()))
        else:
            row.prop(item, "seed", text="")


class VITRUVIAN_PT_batch(SidebarPanel, bpy.types.Panel):
    bl_label = "Batch"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.vitruvian
        layout.template_list("VITRUVIAN_UL_batch", "", settings, "batch", settings, "batch_index", rows=3)
        row = layout.row(align=True)
        row.operator("vitruvian.batch_add", icon="ADD")
        row.operator("vitruvian.batch_csv", icon="FILE")
        row.operator("vitruvian.batch_remove", text="", icon="REMOVE")
        row.operator("vitruvian.batch_remove", text="", icon="TRASH").everything = True
        row = layout.row(align=True)
        row.prop(settings, "batch_collection", text="")
        row.operator("vitruvian.batch_add", text="Add All").whole_collection = True
        queue = batch_scene.current()
        if queue is not None:
            counts = ", ".join(f"{number} {state}" for state, number in sorted(queue.counts().items()))
            layout.label(text=counts)
            layout.operator("vitruvian.batch_cancel", icon="X")
            return
        row = layout.row(align=True)
        row.operator("vitruvian.batch_start", icon="PLAY")
        row.operator("vitruvian.batch_start", text="Retry Failed").retry_failed = True
        if bodies.file_id() and settings.batch and batch_scene.queue_path().exists():
            layout.label(text="What was done before stays done", icon="INFO")


CLASSES = (VITRUVIAN_UL_batch, VITRUVIAN_PT_batch)
