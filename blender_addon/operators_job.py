"""Buttons of a job's life: Generate Human, Cancel, Apply, and what the history offers."""

import random

import bpy
from bpy.props import BoolProperty, StringProperty

from . import bodies, generation, overlay, previews, pump, report_text, result_import, runtime
from .operators_scene import refuse
from .problems import Problem


class VITRUVIAN_OT_generate(bpy.types.Operator):
    """Send the body as it is posed now and let the backend paint it; Blender stays usable meanwhile"""

    bl_idname = "vitruvian.generate"
    bl_label = "Generate Human"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if bodies.chosen_body(context) is None:
            cls.poll_message_set("Select a body mesh, or add the free body")
            return False
        if not context.scene.vitruvian.prompt.strip():
            cls.poll_message_set("Describe the person in the prompt")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.vitruvian
        if not settings.seed_locked:
            settings.seed = random.randrange(2**31)
        try:
            body = bodies.need_body(context)
            job = generation.generate(body, settings, generation.settings_of(settings))
        except Problem as problem:
            runtime.session().error = problem.told
            return refuse(self, problem)
        pump.wake()
        self.report({"INFO"}, f"{job.target.object_name}: sent")
        return {"FINISHED"}


class _JobOperator:
    """An operator about one job of the list."""

    job: StringProperty(options={"HIDDEN"})

    def known(self) -> bool:
        return self.job in runtime.session().jobs


class VITRUVIAN_OT_cancel(_JobOperator, bpy.types.Operator):
    """Stop this job; nothing of yours is changed"""

    bl_idname = "vitruvian.cancel"
    bl_label = "Cancel"

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not self.known():
            return {"CANCELLED"}
        runtime.session().cancel(self.job)
        overlay.stop(self.job)
        pump.wake()
        return {"FINISHED"}


class VITRUVIAN_OT_apply(_JobOperator, bpy.types.Operator):
    """Put this result on its body; one undo step, and it can be applied again at any time"""

    bl_idname = "vitruvian.apply"
    bl_label = "Apply Result"
    bl_options = {"UNDO", "INTERNAL"}

    force: BoolProperty(name="Although the UVs changed", options={"HIDDEN", "SKIP_SAVE"})
    to_chosen: BoolProperty(name="To the chosen body", options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not self.known():
            return {"CANCELLED"}
        session = runtime.session()
        job = session.jobs[self.job]
        try:
            body = bodies.need_body(context) if self.to_chosen else bodies.find_body(job)
            if body is None:
                raise Problem(
                    "UNCLAIMED",
                    "The body of this result is not in this file",
                    "Choose a body and apply it there",
                )
            if not self.force and not result_import.layout_fits(job, body):
                raise Problem(
                    "LAYOUT",
                    f"Topology or UVs of {body.name} changed since the job was sent",
                    "Generate again, or apply it anyway from the results",
                )
            result_import.apply_result(session, job, body, context)
        except Problem as problem:
            job.warnings.append(problem.told.sentence)
            return refuse(self, problem)
        finally:
            overlay.stop(self.job)
            session.mark_offered(self.job)
        return {"FINISHED"}


class VITRUVIAN_OT_use_settings(_JobOperator, bpy.types.Operator):
    """Take prompt, seed and quality of this job for the next one"""

    bl_idname = "vitruvian.use_settings"
    bl_label = "Use These Settings"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not self.known():
            return {"CANCELLED"}
        generation.take_settings(runtime.session().jobs[self.job], context.scene.vitruvian)
        return {"FINISHED"}


class VITRUVIAN_OT_retry(_JobOperator, bpy.types.Operator):
    """Do it again: fetch the result where the job was done, else send the same settings again"""

    bl_idname = "vitruvian.retry"
    bl_label = "Try Again"

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not self.known():
            return {"CANCELLED"}
        session = runtime.session()
        job = session.jobs[self.job]
        try:
            runtime.connect()
            if job.artifacts:
                session.fetch_again(job.id)
            else:
                body = bodies.find_body(job)
                if body is None:
                    raise Problem("UNCLAIMED", "The body of this job is not in this file", "Open its file")
                generation.generate(body, context.scene.vitruvian, generation.settings_from_job(job))
        except Problem as problem:
            return refuse(self, problem)
        pump.wake()
        return {"FINISHED"}


class VITRUVIAN_OT_forget(_JobOperator, bpy.types.Operator):
    """Remove this job and its files from the list; a texture that is on a body stays"""

    bl_idname = "vitruvian.forget"
    bl_label = "Remove from List"

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not self.known():
            return {"CANCELLED"}
        runtime.session().forget(self.job)
        previews.drop(self.job)
        return {"FINISHED"}


class VITRUVIAN_OT_open_folder(_JobOperator, bpy.types.Operator):
    """Open the folder with this result's files"""

    bl_idname = "vitruvian.open_folder"
    bl_label = "Open Folder"

    def execute(self, context: bpy.types.Context) -> set[str]:
        folder = runtime.session().list.results_folder(self.job)
        if not self.known() or not folder.is_dir():
            self.report({"WARNING"}, "This job has no files on this computer")
            return {"CANCELLED"}
        bpy.ops.wm.path_open(filepath=str(folder))
        return {"FINISHED"}


class VITRUVIAN_OT_copy_report(_JobOperator, bpy.types.Operator):
    """Copy what support needs to know: versions, connection, job, error, the end of the log; no keys"""

    bl_idname = "vitruvian.copy_report"
    bl_label = "Copy Report"

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.window_manager.clipboard = report_text.make_report(self.job)
        self.report({"INFO"}, "The report is on the clipboard")
        return {"FINISHED"}


CLASSES = (
    VITRUVIAN_OT_generate,
    VITRUVIAN_OT_cancel,
    VITRUVIAN_OT_apply,
    VITRUVIAN_OT_use_settings,
    VITRUVIAN_OT_retry,
    VITRUVIAN_OT_forget,
    VITRUVIAN_OT_open_folder,
    VITRUVIAN_OT_copy_report,
)
