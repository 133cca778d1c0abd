"""Sidebar panels of what is to be generated. They show what is there and compute nothing that takes time."""

from __future__ import annotations

import bpy

from . import bodies, offers, overlay, presets, repair, runtime
from .panel_parts import SidebarPanel, wrapped
from .proxy import PHENOTYPES
from .rig_export import armature_of
from .scene_export import cameras_of


class VITRUVIAN_PT_body(SidebarPanel, bpy.types.Panel):
    bl_label = "Body"

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.vitruvian
        body = bodies.chosen_body(context)
        row = layout.row(align=True)
        row.prop(settings, "body", text="")
        row.operator("vitruvian.use_active", text="", icon="EYEDROPPER")
        if body is None:
            layout.label(text="Pick a mesh, or add the free body", icon="INFO")
        else:
            if settings.body is None:
                layout.label(text=f"{body.name} (active)", icon="MESH_DATA")
            if len(body.data.uv_layers) > 1 or settings.uv_map:
                layout.prop_search(settings, "uv_map", body.data, "uv_layers", text="UV map")
            armature = armature_of(body)
            if armature is not None and armature.name in context.view_layer.objects:
                label = "Show Rig" if armature.hide_get() else "Hide Rig"
                layout.operator("vitruvian.show_rig", text=label, icon="ARMATURE_DATA")
            for doubt in repair.known_doubts(body, settings.uv_map):
                wrapped(layout, doubt.sentence, icon="INFO" if doubt.button is None else "ERROR")
                if doubt.button is not None:
                    layout.operator(doubt.button[0], text=doubt.button[1])


class VITRUVIAN_PT_proxy(SidebarPanel, bpy.types.Panel):
    bl_label = "Free Body"
    bl_parent_id = "VITRUVIAN_PT_body"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        settings = context.scene.vitruvian
        column = self.layout.column(align=True)
        for name in PHENOTYPES:
            column.prop(settings, name, slider=True)
        self.layout.prop(settings, "proxy_pose")
        self.layout.operator("vitruvian.add_proxy", icon="ARMATURE_DATA")


class VITRUVIAN_PT_cameras(SidebarPanel, bpy.types.Panel):
    bl_label = "Cameras"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.vitruvian
        layout.prop(settings, "camera_mode", text="")
        if settings.camera_mode == "AUTO":
            layout.label(text="8 of the whole body, 8 of the upper body", icon="INFO")
            return
        if settings.camera_mode == "OWN":
            layout.prop(settings, "camera_collection", text="From")
        else:
            column = layout.column(align=True)
            for ring in ("body", "upper"):
                for what in ("views", "distance", "elevation"):
                    column.prop(settings, f"{ring}_{what}")
            layout.operator("vitruvian.add_rig", icon="OUTLINER_OB_CAMERA")
        cameras = cameras_of(settings)
        layout.label(text=f"{len(cameras)} cameras" if cameras else "No camera yet")
        if cameras:
            shown = overlay.coverage_is_shown()
            layout.operator(
                "vitruvian.preview_coverage", text="Hide Coverage" if shown else "Preview Coverage"
            )
        if settings.coverage_text:
            wrapped(layout, settings.coverage_text)


class VITRUVIAN_PT_prompt(SidebarPanel, bpy.types.Panel):
    bl_label = "Prompt"

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.vitruvian
        layout.prop(settings, "prompt", text="")
        layout.prop(settings, "negative", text="Not")
        row = layout.row(align=True)
        row.prop(settings, "seed")
        row.prop(settings, "seed_locked", text="", icon="LOCKED" if settings.seed_locked else "UNLOCKED")
        row.operator("vitruvian.roll_seed", text="", icon="FILE_REFRESH")


class VITRUVIAN_PT_view_prompts(SidebarPanel, bpy.types.Panel):
    bl_label = "Prompt per Camera"
    bl_parent_id = "VITRUVIAN_PT_prompt"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.scene.vitruvian.camera_mode != "AUTO"

    def draw(self, context: bpy.types.Context) -> None:
        for camera in cameras_of(context.scene.vitruvian):
            row = self.layout.row(align=True)
            row.operator("vitruvian.select_camera", text="", icon="CAMERA_DATA").name = camera.name
            row.label(text=camera.name)
            row.prop(camera.vitruvian, "view_kind", text="")
            row.prop(camera.vitruvian, "view_prompt", text="")


class VITRUVIAN_PT_quality(SidebarPanel, bpy.types.Panel):
    bl_label = "Quality"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.vitruvian
        layout.row().prop(settings, "preset", expand=True)
        fitting = presets.preset_of(settings.steps, int(settings.texture_size))
        if fitting == presets.CUSTOM:
            layout.label(text="Changed by hand")
        else:
            preset = presets.PRESETS[fitting]
            layout.label(text=preset.purpose)
            layout.label(text=preset.summary())
        column = layout.column(align=True)
        column.prop(settings, "steps")
        column.prop(settings, "texture_size")
        column.prop(settings, "guidance")
        layout.prop(settings, "reference")
        self._draw_offers(layout, settings)

    def _draw_offers(self, layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
        server = runtime.session().server
        for field, words in offers.WORDS.items():
            wanted = getattr(settings, field)
            shown = wanted or offers.chosen(server, field, "", "the server's first")
            row = layout.split(factor=0.4)
            row.label(text=words.capitalize())
            row.menu(f"VITRUVIAN_MT_{field}", text=shown)
            problem = offers.problem_of(server, field, wanted)
            if problem is not None:
                wrapped(layout, str(problem), icon="ERROR")


def _draw_choices(layout: bpy.types.UILayout, field: str) -> None:
    """The server's first, and all that it offers."""
    names = offers.offered(runtime.session().server, field)
    for name in ("", *names):
        button = layout.operator("vitruvian.choose", text=name or "The server's first")
        button.field, button.name = field, name
    if not names:
        layout.label(text="Connect to see what the server offers")


class VITRUVIAN_MT_method(bpy.types.Menu):
    bl_label = "Method"

    def draw(self, context: bpy.types.Context) -> None:
        _draw_choices(self.layout, "method")


class VITRUVIAN_MT_prior(bpy.types.Menu):
    bl_label = "Image Model"

    def draw(self, context: bpy.types.Context) -> None:
        _draw_choices(self.layout, "prior")


CLASSES = (
    VITRUVIAN_MT_method,
    VITRUVIAN_MT_prior,
    VITRUVIAN_PT_body,
    VITRUVIAN_PT_proxy,
    VITRUVIAN_PT_cameras,
    VITRUVIAN_PT_prompt,
    VITRUVIAN_PT_view_prompts,
    VITRUVIAN_PT_quality,
)
