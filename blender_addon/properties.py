"""What the add-on keeps in a .blend: settings on the scene, identity and prompts on objects."""

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from .presets import PRESETS
from .proxy import pose_names

_POSE_ITEMS = [(name, name.capitalize() if len(name) > 1 else f"{name}-pose", "") for name in pose_names()]
_TEXTURE_SIZES = [(str(n), f"{n} px", f"{n} x {n} pixels") for n in (512, 1024, 2048, 4096)]


def _preset_chosen(self: "VitruvianScene", _: bpy.types.Context) -> None:
    preset = PRESETS.get(self.preset)
    if preset is not None:
        self.steps, self.texture_size = preset.steps, str(preset.texture_size)


def _is_mesh(_: object, item: bpy.types.Object) -> bool:
    return item.type == "MESH"


class VitruvianBatchLine(bpy.types.PropertyGroup):
    """One body of a batch as the list shows it."""

    body: PointerProperty(name="Body", type=bpy.types.Object, poll=_is_mesh)
    prompt: StringProperty(name="Prompt", description="Who this body is", maxlen=2000)
    seed: IntProperty(name="Seed", min=0, default=0)


class VitruvianScene(bpy.types.PropertyGroup):
    """Settings of the next job."""

    file_id: StringProperty(options={"HIDDEN"})
    body: PointerProperty(
        name="Body",
        description="The mesh that gets the texture; empty takes the active object",
        type=bpy.types.Object,
        poll=_is_mesh,
    )
    proxy_pose: EnumProperty(name="Pose", description="Pose of a new body", items=_POSE_ITEMS)
    gender: FloatProperty(name="Gender", description="0 male, 1 female", min=0, max=1, default=0.5)
    age: FloatProperty(
        name="Age", description="0 baby, 0.33 child, 0.67 young adult, 1 old", min=0, max=1, default=0.67
    )
    muscle: FloatProperty(name="Muscle", min=0, max=1, default=0.5)
    weight: FloatProperty(name="Weight", min=0, max=1, default=0.5)
    height: FloatProperty(name="Height", min=0, max=1, default=0.5)
    proportions: FloatProperty(
        name="Proportions", description="0 ideal, 1 uncommon", min=0, max=1, default=0.5
    )
    uv_map: StringProperty(
        name="UV map",
        description="The UV map that the texture is made for; empty takes the one active for rendering",
    )

    camera_mode: EnumProperty(
        name="Cameras",
        items=[
            ("AUTO", "Automatic", "The backend places a ring around the body and one around the upper body"),
            ("RIG", "Camera rig", "The rig that the add-on made in this scene"),
            ("OWN", "My cameras", "All cameras of a collection, or of the scene"),
        ],
    )
    camera_collection: PointerProperty(
        name="Collection", description="Cameras to use; empty takes the scene's", type=bpy.types.Collection
    )
    body_views: IntProperty(name="Body views", min=1, max=32, default=8)
    upper_views: IntProperty(name="Upper-body views", min=0, max=32, default=8)
    body_distance: FloatProperty(
        name="Body distance", description="1 frames the whole body tightly", min=0.5, max=4, default=1
    )
    upper_distance: FloatProperty(
        name="Upper distance", description="1 frames head and chest", min=0.5, max=4, default=1
    )
    body_elevation: FloatProperty(
        name="Body elevation", subtype="ANGLE", min=-1.2, max=1.2, default=0.2617994
    )
    upper_elevation: FloatProperty(
        name="Upper elevation", subtype="ANGLE", min=-1.2, max=1.2, default=0.2862340
    )
    coverage_text: StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    prompt: StringProperty(
        name="Prompt",
        description="The person in your own words: who, hair, each garment with its colour",
        maxlen=2000,
        default="a woman with short black hair in a red striped shirt, blue jeans and white sneakers",
    )
    negative: StringProperty(name="Negative", description="What you do not want to see", maxlen=2000)
    seed: IntProperty(
        name="Seed", description="Another number gives another person for the same words", min=0, default=0
    )
    seed_locked: BoolProperty(
        name="Lock seed", description="Keep the seed; unlocked, each Generate rolls a new one", default=True
    )

    preset: EnumProperty(
        name="Preset",
        items=[(key, p.label, f"{p.purpose}: {p.summary()}") for key, p in PRESETS.items()],
        default="STANDARD",
        update=_preset_chosen,
    )
    steps: IntProperty(
        name="Steps", description="Fewer are quicker, more are cleaner", min=1, max=1000, default=20
    )
    texture_size: EnumProperty(name="Texture", items=_TEXTURE_SIZES, default="1024")
    guidance: FloatProperty(
        name="Guidance",
        description="How strictly to follow the words; 0 takes the method's own",
        min=0,
        max=30,
    )
    method: StringProperty(
        name="Method", description="How views become a texture; empty takes the server's first", maxlen=64
    )
    prior: StringProperty(
        name="Image model", description="What paints the views; empty takes the server's first", maxlen=64
    )
    reference: BoolProperty(
        name="One person", description="Let every view look at the front close-up", default=True
    )
    live_preview: BoolProperty(
        name="Preview on the body", description="Draw the growing texture over the body", default=True
    )
    auto_apply: BoolProperty(
        name="Apply when ready",
        description="Put the texture on the body as soon as it is there",
        default=True,
    )

    batch: CollectionProperty(type=VitruvianBatchLine)
    batch_index: IntProperty()
    batch_collection: PointerProperty(name="Collection", type=bpy.types.Collection)


_HIDDEN = {"options": {"HIDDEN"}, "override": {"LIBRARY_OVERRIDABLE"}}
"""Nobody edits it, and a library override of a body keeps its own."""


class VitruvianObject(bpy.types.PropertyGroup):
    """What the add-on knows of an object."""

    uid: StringProperty(**_HIDDEN)
    view_prompt: StringProperty(
        name="Prompt of this view", description="What this camera sees beside the prompt", maxlen=2000
    )
    view_kind: EnumProperty(
        name="Framing",
        items=[
            ("body", "Whole body", ""),
            ("upper", "Upper body", "Closer views win over whole-body ones"),
            ("face", "Face", "Closer views win over whole-body ones"),
            ("extra", "Extra", "Fills what others do not see"),
        ],
    )
    job: StringProperty(**_HIDDEN)
    """The job whose result the object wears."""
    report: StringProperty(**_HIDDEN)
    """That result's report, JSON."""
    settings: StringProperty(**_HIDDEN)
    """What that job was asked with, JSON."""
    replaced_materials: StringProperty(**_HIDDEN)
    """Slots before the first result, JSON, so that they can be given back."""


CLASSES = (VitruvianBatchLine, VitruvianScene, VitruvianObject)


def register() -> None:
    for kind in CLASSES:
        bpy.utils.register_class(kind)
    bpy.types.Scene.vitruvian = PointerProperty(type=VitruvianScene)
    bpy.types.Object.vitruvian = PointerProperty(type=VitruvianObject, override={"LIBRARY_OVERRIDABLE"})


def unregister() -> None:
    del bpy.types.Object.vitruvian
    del bpy.types.Scene.vitruvian
    for kind in reversed(CLASSES):
        bpy.utils.unregister_class(kind)
