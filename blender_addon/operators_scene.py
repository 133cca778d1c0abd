"""Buttons that prepare the scene: body, cameras, repairs, seed. Each gathers inputs, calls one function."""

import random

import bpy
from bpy.props import EnumProperty, StringProperty

from . import bodies, body_build, camera_rig, overlay, repair, result_import
from .button import Button
from .offers import WORDS
from .problems import Problem
from .proxy import PHENOTYPES
from .result_check import BadResult
from .rig_export import armature_of

NO_BODY = "Pick a body mesh, or add the free body"


def _not_in_object_mode(context: bpy.types.Context) -> str:
    return "" if context.mode == "OBJECT" else "Leave edit, pose or paint mode first"


class VITRUVIAN_OT_add_proxy(Button, bpy.types.Operator):
    """Add the free body with the phenotype and pose chosen below, rigged and with UVs"""

    bl_idname = "vitruvian.add_proxy"
    bl_label = "Add Body"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return _not_in_object_mode(context)

    def act(self, context: bpy.types.Context) -> None:
        settings = context.scene.vitruvian
        phenotype = {name: getattr(settings, name) for name in PHENOTYPES}
        try:
            settings.body = body_build.add_proxy(phenotype, settings.proxy_pose)
        except BadResult as error:
            raise Problem("CORRUPT", str(error), "Install the add-on again") from error


class VITRUVIAN_OT_show_rig(Button, bpy.types.Operator):
    """Show the body's armature and select it for posing, or hide it so that no bone covers the texture"""

    bl_idname = "vitruvian.show_rig"
    bl_label = "Show or Hide Rig"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        body = bodies.chosen_body(context)
        armature = armature_of(body) if body is not None else None
        if armature is None or armature.name not in context.view_layer.objects:
            return "The body has no armature in this view layer"
        return "" if context.mode in ("OBJECT", "POSE") else "Leave edit or paint mode first"

    def act(self, context: bpy.types.Context) -> None:
        body = bodies.chosen_body(context)
        armature = armature_of(body)
        hiding = not armature.hide_get()
        if context.mode == "POSE":
            bpy.ops.object.mode_set(mode="OBJECT")
        for item in context.selected_objects:
            item.select_set(False)
        active = body if hiding else armature
        armature.hide_set(hiding)
        active.select_set(True)
        context.view_layer.objects.active = active


class VITRUVIAN_OT_use_active(Button, bpy.types.Operator):
    """Make the active mesh the body"""

    bl_idname = "vitruvian.use_active"
    bl_label = "Use Active"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        active = context.view_layer.objects.active
        return "" if active is not None and active.type == "MESH" else "Make a mesh the active object"

    def act(self, context: bpy.types.Context) -> None:
        context.scene.vitruvian.body = context.view_layer.objects.active


class VITRUVIAN_OT_add_rig(Button, bpy.types.Operator):
    """Place a ring of cameras around the body and one around its upper body; an earlier rig is replaced"""

    bl_idname = "vitruvian.add_rig"
    bl_label = "Add Camera Rig"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return "" if bodies.chosen_body(context) is not None else NO_BODY

    def act(self, context: bpy.types.Context) -> str:
        body = bodies.need_body(context)
        collection = camera_rig.add_rig(body, context.scene.vitruvian)
        return f"{len(collection.objects)} cameras around {body.name}"


class VITRUVIAN_OT_preview_coverage(Button, bpy.types.Operator):
    """Show with dots which parts of the body no camera sees (red), one sees (yellow), or more (green)"""

    bl_idname = "vitruvian.preview_coverage"
    bl_label = "Preview Coverage"

    def act(self, context: bpy.types.Context) -> str:
        settings = context.scene.vitruvian
        settings.coverage_text = ""
        if overlay.coverage_is_shown():
            overlay.hide_coverage()
        else:
            coverage = camera_rig.measure_coverage(bodies.need_body(context), settings)
            overlay.show_coverage(coverage)
            shares = f"{coverage.seen:.0%} of the surface is seen, {coverage.seen_twice:.0%} by two or more"
            settings.coverage_text = shares
        return settings.coverage_text


class VITRUVIAN_OT_roll_seed(Button, bpy.types.Operator):
    """Another seed, another person for the same words"""

    bl_idname = "vitruvian.roll_seed"
    bl_label = "Roll Seed"
    bl_options = {"REGISTER", "UNDO"}

    def act(self, context: bpy.types.Context) -> None:
        context.scene.vitruvian.seed = random.randrange(2**31)


class VITRUVIAN_OT_choose(Button, bpy.types.Operator):
    """Use this one for the next jobs"""

    bl_idname = "vitruvian.choose"
    bl_label = "Choose"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    field: EnumProperty(items=[(name, words, "") for name, words in WORDS.items()], options={"HIDDEN"})
    name: StringProperty(options={"HIDDEN"})

    def act(self, context: bpy.types.Context) -> None:
        setattr(context.scene.vitruvian, self.field, self.name)


class Repair(Button):
    """What the repair buttons share: they need object mode and a body."""

    bl_options = {"REGISTER", "UNDO"}
    in_panel = True

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        return _not_in_object_mode(context) or ("" if bodies.chosen_body(context) is not None else NO_BODY)


class VITRUVIAN_OT_repair_uv(Repair, bpy.types.Operator):
    """Unwrap the body into a new UV map; the existing ones stay"""

    bl_idname = "vitruvian.repair_uv"
    bl_label = "Unwrap into a New UV Map"

    def act(self, context: bpy.types.Context) -> str:
        name = repair.new_uv_map(bodies.need_own_mesh(context))
        context.scene.vitruvian.uv_map = name
        return f'The new UV map "{name}" is used from now on'


class VITRUVIAN_OT_repair_scale(Repair, bpy.types.Operator):
    """Apply the body's scale"""

    bl_idname = "vitruvian.repair_scale"
    bl_label = "Apply the Scale"

    def act(self, context: bpy.types.Context) -> str:
        body = bodies.need_own_mesh(context)
        repair.apply_scale(body)
        return f"The scale of {body.name} is applied"


class VITRUVIAN_OT_repair_size(Repair, bpy.types.Operator):
    """Scale the body, with the rig that it hangs on, to the height of a person"""

    bl_idname = "vitruvian.repair_size"
    bl_label = "Scale to a Person's Size"

    def act(self, context: bpy.types.Context) -> str:
        body = bodies.need_body(context)
        factor = repair.to_persons_size(body)
        return f"{body.name} is {factor:.3g} times as large as before"


class VITRUVIAN_OT_repair_mesh(Repair, bpy.types.Operator):
    """Remove invalid positions, loose vertices and faces without area; vertex order of what stays is kept"""

    bl_idname = "vitruvian.repair_mesh"
    bl_label = "Clean the Mesh"

    def act(self, context: bpy.types.Context) -> str:
        return repair.clean(bodies.need_own_mesh(context))


class VITRUVIAN_OT_take_off(Button, bpy.types.Operator):
    """Give the body the materials that it had before its first result"""

    bl_idname = "vitruvian.take_off"
    bl_label = "Restore Materials"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def why_not(cls, context: bpy.types.Context) -> str:
        body = bodies.chosen_body(context)
        return "" if body is not None and body.vitruvian.job else "The body wears no result"

    def act(self, context: bpy.types.Context) -> None:
        result_import.take_off(bodies.need_body(context))


class VITRUVIAN_OT_select_camera(Button, bpy.types.Operator):
    """Look through this camera"""

    bl_idname = "vitruvian.select_camera"
    bl_label = "Look Through"
    bl_options = {"REGISTER", "UNDO"}

    name: StringProperty()

    def act(self, context: bpy.types.Context) -> None:
        camera = context.scene.objects.get(self.name)
        if camera is None or camera.type != "CAMERA":
            raise Problem("BAD_SCENE:CAMERA", f"No camera is called {self.name}", "Choose another")
        context.scene.camera = camera
        for area in context.screen.areas if context.screen else ():
            if area.type == "VIEW_3D":
                area.spaces.active.region_3d.view_perspective = "CAMERA"


CLASSES = (
    VITRUVIAN_OT_add_proxy,
    VITRUVIAN_OT_show_rig,
    VITRUVIAN_OT_use_active,
    VITRUVIAN_OT_add_rig,
    VITRUVIAN_OT_preview_coverage,
    VITRUVIAN_OT_roll_seed,
    VITRUVIAN_OT_choose,
    VITRUVIAN_OT_repair_uv,
    VITRUVIAN_OT_repair_scale,
    VITRUVIAN_OT_repair_size,
    VITRUVIAN_OT_repair_mesh,
    VITRUVIAN_OT_take_off,
    VITRUVIAN_OT_select_camera,
)
