"""Buttons of the batch."""

from pathlib import Path

import bpy
from bpy.props import BoolProperty, StringProperty

from . import batch, batch_scene
from .button import Button
from .problems import Problem


def _add_line(
    context: bpy.types.Context, body: bpy.types.Object, prompt: str = "", seed: int | None = None
) -> None:
    settings = context.scene.vitruvian
    line = next((line for line in settings.batch if line.body == body), None)
    if line is None:
        line = settings.batch.add()
        line.body, line.seed = body, settings.seed
    line.prompt = prompt or line.prompt or settings.prompt
    if seed is not None:
        line.seed = seed


class VITRUVIAN_OT_batch_add(Button, bpy.types.Operator):
    """Add the selected meshes, or all of a collection, each with the prompt above until you change it"""

    bl_idname = "vitruvian.batch_add"
    bl_label = "Add Selected"
    bl_options = {"REGISTER", "UNDO"}

    whole_collection: BoolProperty(options={"HIDDEN", "SKIP_SAVE"})

    def act(self, context: bpy.types.Context) -> str:
        settings = context.scene.vitruvian
        if self.whole_collection:
            found = settings.batch_collection.all_objects if settings.batch_collection else ()
        else:
            found = context.selected_objects
        meshes = [item for item in found if item.type == "MESH"]
        if not meshes:
            raise Problem("BATCH", "There is no mesh among them", "Select bodies, or choose a collection")
        for body in meshes:
            _add_line(context, body)
        return f"{len(meshes)} bodies"


class VITRUVIAN_OT_batch_csv(Button, bpy.types.Operator):
    """Read bodies and prompts from a CSV with the columns body, prompt and, if you like, seed"""

    bl_idname = "vitruvian.batch_csv"
    bl_label = "Load CSV"
    bl_options = {"REGISTER", "UNDO"}

    filepath: StringProperty(subtype="FILE_PATH")
    filter_glob: StringProperty(default="*.csv", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, _: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def act(self, context: bpy.types.Context) -> str:
        items = batch.read_csv_file(Path(bpy.path.abspath(self.filepath)), context.scene.vitruvian.prompt)
        missing = [i.body for i in items if getattr(bpy.data.objects.get(i.body), "type", "") != "MESH"]
        if missing:
            raise Problem(
                "CSV", f"No mesh is called {', '.join(missing[:3])}", "Use the names in the outliner"
            )
        for item in items:
            _add_line(context, bpy.data.objects[item.body], item.prompt, item.seed)
        return f"{len(items)} bodies"


class VITRUVIAN_OT_batch_remove(Button, bpy.types.Operator):
    """Remove the chosen line, or all"""

    bl_idname = "vitruvian.batch_remove"
    bl_label = "Remove"
    bl_options = {"REGISTER", "UNDO"}

    everything: BoolProperty(options={"HIDDEN", "SKIP_SAVE"})

    def act(self, context: bpy.types.Context) -> None:
        settings = context.scene.vitruvian
        if self.everything:
            settings.batch.clear()
        else:
            settings.batch.remove(settings.batch_index)
            settings.batch_index = max(0, settings.batch_index - 1)


class VITRUVIAN_OT_batch_start(Button, bpy.types.Operator):
    """Send all bodies of the list one after the other; what is done already is not done again"""

    bl_idname = "vitruvian.batch_start"
    bl_label = "Start Batch"
    in_panel = True

    retry_failed: BoolProperty(options={"HIDDEN", "SKIP_SAVE"})

    def act(self, context: bpy.types.Context) -> None:
        batch_scene.start(context.scene.vitruvian, self.retry_failed)


class VITRUVIAN_OT_batch_cancel(Button, bpy.types.Operator):
    """Stop the batch; what is done stays"""

    bl_idname = "vitruvian.batch_cancel"
    bl_label = "Stop Batch"

    def act(self, context: bpy.types.Context) -> None:
        batch_scene.cancel()


CLASSES = (
    VITRUVIAN_OT_batch_add,
    VITRUVIAN_OT_batch_csv,
    VITRUVIAN_OT_batch_remove,
    VITRUVIAN_OT_batch_start,
    VITRUVIAN_OT_batch_cancel,
)
