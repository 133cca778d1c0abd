"""The sidebar. Panels show what is there and compute nothing that takes time."""

from __future__ import annotations

import bpy

from . import bodies, compat, offers, overlay, presets, previews, pump, repair, runtime
from .job_words import describe, time_left
from .jobs import Job
from .problems import Told
from .proxy import PHENOTYPES
from .rig_export import armature_of
from .scene_export import cameras_of

CHARACTER_PIXELS = 6.5
"""Of a usual letter in Blender's own font, before the interface's scale."""
HISTORY = 8
"""Results that the panel lists; older ones stay in the job list."""


class _Panel:
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


class VITRUVIAN_PT_body(_Panel, bpy.types.Panel):
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


class VITRUVIAN_PT_proxy(_Panel, bpy.types.Panel):
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


class VITRUVIAN_PT_cameras(_Panel, bpy.types.Panel):
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


class VITRUVIAN_PT_prompt(_Panel, bpy.types.Panel):
    bl_label = "Prompt"

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.vitruvian
        layout.prop(settings, "prompt", text="")
        layout.prop(settings, "negative", text="Not")
        row = layout.row(align=True)
        row.prop(settings, "seed")
        row.prop(settings, "seed_locked", text="", icon="LOCKED" if settings.seed_locked else "UNLOCKED")
        row.operator("vitruvian.roll_seed", text="", icon="FILE_REFRESH")


class VITRUVIAN_PT_view_prompts(_Panel, bpy.types.Panel):
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


class VITRUVIAN_PT_quality(_Panel, bpy.types.Panel):
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


class VITRUVIAN_PT_generate(_Panel, bpy.types.Panel):
    bl_label = "Generate"

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, context.scene.vitruvian
        missing = runtime.missing_packages()
        if missing:
            wrapped(
                layout, f"This Blender lacks {', '.join(missing)}; install the add-on's zip", icon="ERROR"
            )
            return
        big = layout.row()
        big.scale_y = 1.6
        big.operator("vitruvian.generate", icon="SHADERFX")
        column = layout.column(align=True)
        column.prop(settings, "live_preview")
        column.prop(settings, "auto_apply")
        self._draw_backend(layout)
        session = runtime.session()
        waking = session.error is not None and session.error.code == "UNREACHABLE"
        if session.error is not None and not (waking and pump.backend_state() == "starting"):
            draw_error(layout, session.error)

    def _draw_backend(self, layout: bpy.types.UILayout) -> None:
        session, state = runtime.session(), pump.backend_state()
        connected = session.connection == "ready"
        words = {"ready": "Connected", "off": "Not connected"}
        said = words.get(session.connection, session.connection.capitalize())
        if not connected and state in ("installing", "starting", "stopping"):
            said = f"Backend {state}"
        row = layout.row(align=True)
        row.label(text=said, icon="LINKED" if connected else "UNLINKED")
        if state in ("running", "starting", "installing"):
            row.operator("vitruvian.backend_stop", text="", icon="PAUSE")
        elif not connected:
            row.operator("vitruvian.backend_start", text="", icon="PLAY")
        if connected:
            row.operator("vitruvian.release_memory", text="", icon="MEMORY")
        row.operator("vitruvian.open_preferences", text="", icon="PREFERENCES")
        if session.notice:
            wrapped(layout, session.notice, icon="INFO")


class VITRUVIAN_PT_progress(_Panel, bpy.types.Panel):
    bl_label = "Progress"

    def draw(self, context: bpy.types.Context) -> None:
        session = runtime.session()
        going = [job for job in session.jobs.values() if not job.ended]
        if not going:
            self.layout.label(text="Nothing is running")
        for job in going:
            self._draw_job(job)

    def _draw_job(self, job: Job) -> None:
        box = self.layout.box()
        row = box.row()
        row.label(text=f"{job.target.object_name}: {job.prompt[:32]}")
        row.operator("vitruvian.cancel", text="", icon="X").job = job.id
        compat.draw_progress(box, job.fraction, f"{describe(job)}  {job.fraction:.0%}")
        left = time_left(job.eta_s)
        if left:
            box.label(text=left, icon="TIME")
        icon = previews.icon_of(job)
        if icon:
            box.template_icon(icon_value=icon, scale=9.0)
        for text in job.warnings[-2:]:
            wrapped(box, text, icon="INFO")


class VITRUVIAN_PT_results(_Panel, bpy.types.Panel):
    bl_label = "Results"

    def draw(self, context: bpy.types.Context) -> None:
        ended = [job for job in runtime.session().jobs.values() if job.ended]
        if not ended:
            self.layout.label(text="None yet")
        here = [job for job in reversed(ended) if job.state != "ready" or bodies.find_body(job) is not None]
        for job in here[:HISTORY]:
            self._draw_job(job)
        unclaimed = [job for job in reversed(ended) if job.state == "ready" and bodies.find_body(job) is None]
        if unclaimed:
            self.layout.label(text="Unclaimed: their file or body is not here", icon="QUESTION")
        for job in unclaimed[:HISTORY]:
            self._draw_unclaimed(job)
        self.layout.operator("vitruvian.take_off")

    def _draw_job(self, job: Job) -> None:
        box = self.layout.box()
        row = box.row(align=True)
        worn = job.state == "ready" and bodies.is_worn(job)
        icon = {"ready": "CHECKMARK", "failed": "ERROR"}.get(job.state, "X")
        row.label(text=f"{job.target.object_name}: {job.prompt[:28]}", icon="MATERIAL" if worn else icon)
        if job.state == "ready":
            row.operator("vitruvian.apply", text="Apply").job = job.id
            row.operator("vitruvian.open_folder", text="", icon="FILE_FOLDER").job = job.id
        else:
            row.operator("vitruvian.retry", text="", icon="FILE_REFRESH").job = job.id
        row.operator("vitruvian.use_settings", text="", icon="EYEDROPPER").job = job.id
        row.operator("vitruvian.forget", text="", icon="TRASH").job = job.id
        if job.error is not None:
            draw_error(box, job.error, job.id)
        elif job.state == "cancelled":
            box.label(text="Cancelled")
        body = bodies.find_body(job)
        if job.state == "ready" and not job.offered and body is not None:
            reason = pump.reason_to_wait(body)
            wrapped(box, f"Waiting: {reason}" if reason else "Ready to apply", icon="TIME")
        for text in job.warnings[-2:]:
            wrapped(box, text, icon="INFO")
        if job.warnings and job.state == "ready" and not worn:
            forced = box.operator("vitruvian.apply", text="Apply Anyway")
            forced.job, forced.force = job.id, True

    def _draw_unclaimed(self, job: Job) -> None:
        row = self.layout.row(align=True)
        row.label(text=f"{job.target.object_name} ({job.target.file_name}): {job.prompt[:20]}")
        button = row.operator("vitruvian.apply", text="", icon="IMPORT")
        button.job, button.to_chosen = job.id, True
        row.operator("vitruvian.open_folder", text="", icon="FILE_FOLDER").job = job.id
        row.operator("vitruvian.forget", text="", icon="TRASH").job = job.id


CLASSES = (
    VITRUVIAN_MT_method,
    VITRUVIAN_MT_prior,
    VITRUVIAN_PT_body,
    VITRUVIAN_PT_proxy,
    VITRUVIAN_PT_cameras,
    VITRUVIAN_PT_prompt,
    VITRUVIAN_PT_view_prompts,
    VITRUVIAN_PT_quality,
    VITRUVIAN_PT_generate,
    VITRUVIAN_PT_progress,
    VITRUVIAN_PT_results,
)
