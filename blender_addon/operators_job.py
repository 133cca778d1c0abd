"""Buttons of a job's life: Generate Human, Cancel, Apply, and what the history offers."""

import random

import bpy
from bpy.props import BoolProperty, StringProperty

from . import bodies, generation, overlay, report_text, result_import, runtime
from .button import Button
from .jobs import Job
from .problems import Problem


class VITRUVIAN_OT_generate(Button, bpy.types.Operator):
    """Send the body as it is posed now and let the backend paint it; Blender stays usable meanwhile"""

    bl_idname = "vitruvian.generate"
    bl_label = "Generate Human"
    in_panel = True

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        if bodies.chosen_body(context) is None:
            return "Select a body mesh, or add the free body"
        return "" if context.scene.vitruvian.prompt.strip() else "Describe the person in the prompt"

    def act(self, context: bpy.types.Context) -> str:
        settings = context.scene.vitruvian
        if not settings.seed_locked:
            settings.seed = random.randrange(2**31)
        body = bodies.need_body(context)
        job = generation.generate(body, settings, generation.settings_of(settings))
        return f"{job.target.object_name}: on its way"


class JobButton(Button):
    """A button about one job of the list."""

    job: StringProperty(options={"HIDDEN"})

    def find(self) -> Job:
        """The job.

        Raises:
            Problem: it was removed meanwhile.
        """
        job = runtime.session().jobs.get(self.job)
        if job is None:
            raise Problem("UNKNOWN_JOB", "This job is no longer in the list", "Choose another")
        return job


class VITRUVIAN_OT_cancel(JobButton, bpy.types.Operator):
    """Stop this job; nothing of yours is changed"""

    bl_idname = "vitruvian.cancel"
    bl_label = "Cancel"

    def act(self, context: bpy.types.Context) -> None:
        runtime.session().cancel(self.find().id)
        overlay.stop(self.job)


class VITRUVIAN_OT_apply(JobButton, bpy.types.Operator):
    """Put this result on its body; one undo step, and it can be applied again at any time"""

    bl_idname = "vitruvian.apply"
    bl_label = "Apply Result"
    bl_options = {"UNDO", "INTERNAL"}

    force: BoolProperty(name="Although the UVs changed", options={"HIDDEN", "SKIP_SAVE"})
    to_chosen: BoolProperty(name="To the chosen body", options={"HIDDEN", "SKIP_SAVE"})

    def act(self, context: bpy.types.Context) -> None:
        session, job = runtime.session(), self.find()
        try:
            result_import.apply_result(session, job, self.body_for(job, context), context)
        except Problem as problem:
            job.warnings.append(problem.told.sentence)
            raise
        finally:
            overlay.stop(job.id)
            session.mark_offered(job.id)

    def body_for(self, job: Job, context: bpy.types.Context) -> bpy.types.Object:
        """Whose result it becomes.

        Raises:
            Problem: nobody here, or somebody whose layout is another.
        """
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
        return body


class VITRUVIAN_OT_use_settings(JobButton, bpy.types.Operator):
    """Take prompt, seed and quality of this job for the next one"""

    bl_idname = "vitruvian.use_settings"
    bl_label = "Use These Settings"
    bl_options = {"REGISTER", "UNDO"}

    def act(self, context: bpy.types.Context) -> None:
        generation.take_settings(self.find(), context.scene.vitruvian)


class VITRUVIAN_OT_retry(JobButton, bpy.types.Operator):
    """Do it again: fetch the result where the job was done, else send the same settings again"""

    bl_idname = "vitruvian.retry"
    bl_label = "Try Again"

    def act(self, context: bpy.types.Context) -> None:
        job = self.find()
        session = runtime.connect()
        if job.artifacts:
            session.fetch_again(job.id)
            return
        body = bodies.find_body(job)
        if body is None:
            raise Problem("UNCLAIMED", "The body of this job is not in this file", "Open its file")
        generation.generate(body, context.scene.vitruvian, generation.settings_from_job(job))


class VITRUVIAN_OT_forget(JobButton, bpy.types.Operator):
    """Remove this job and its files from the list; a texture that is on a body stays"""

    bl_idname = "vitruvian.forget"
    bl_label = "Remove from List"

    def act(self, context: bpy.types.Context) -> None:
        runtime.session().forget(self.find().id)


class VITRUVIAN_OT_open_folder(JobButton, bpy.types.Operator):
    """Open the folder with this result's files"""

    bl_idname = "vitruvian.open_folder"
    bl_label = "Open Folder"

    def act(self, context: bpy.types.Context) -> None:
        folder = runtime.session().list.results_folder(self.find().id)
        if not folder.is_dir():
            raise Problem("NO_FILES", "This job has no files on this computer", "Fetch or generate it again")
        bpy.ops.wm.path_open(filepath=str(folder))


class VITRUVIAN_OT_copy_report(JobButton, bpy.types.Operator):
    """Copy what support needs to know: versions, connection, job, error, the end of the log; no keys"""

    bl_idname = "vitruvian.copy_report"
    bl_label = "Copy Report"

    def act(self, context: bpy.types.Context) -> str:
        context.window_manager.clipboard = report_text.make_report(self.job)
        return "The report is on the clipboard"


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
