"""Sidebar panels of jobs: Generate, what is going on, and what came of it."""

from __future__ import annotations

import bpy

from . import bodies, compat, previews, pump, runtime
from .job_words import describe, time_left
from .jobs import Job
from .panel_parts import SidebarPanel, draw_error, wrapped

HISTORY = 8
"""Results that the panel lists; older ones stay in the job list."""


class VITRUVIAN_PT_generate(SidebarPanel, bpy.types.Panel):
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
        if session.refusal is not None:
            draw_error(layout, session.refusal)

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


class VITRUVIAN_PT_progress(SidebarPanel, bpy.types.Panel):
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


class VITRUVIAN_PT_results(SidebarPanel, bpy.types.Panel):
    bl_label = "Results"

    def draw(self, context: bpy.types.Context) -> None:
        finder = bodies.Finder()
        here: list[Job] = []
        unclaimed: list[Job] = []
        for job in reversed(runtime.session().jobs.values()):
            if job.ended:
                lost = job.state == "ready" and finder.find(job) is None
                (unclaimed if lost else here).append(job)
        if not here and not unclaimed:
            self.layout.label(text="None yet")
        for job in here[:HISTORY]:
            self._draw_job(job, finder.find(job))
        if unclaimed:
            self.layout.label(text="Unclaimed: their file or body is not here", icon="QUESTION")
        for job in unclaimed[:HISTORY]:
            self._draw_unclaimed(job)
        self.layout.operator("vitruvian.take_off")

    def _draw_job(self, job: Job, body: bpy.types.Object | None) -> None:
        box = self.layout.box()
        row = box.row(align=True)
        worn = job.state == "ready" and body is not None and body.vitruvian.job == job.id
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


CLASSES = (VITRUVIAN_PT_generate, VITRUVIAN_PT_progress, VITRUVIAN_PT_results)
