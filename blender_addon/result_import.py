"""A fetched result onto its body: a material, images, a report. Mesh, UVs, weights and modifiers stay."""

from __future__ import annotations

import json
from pathlib import Path

import bpy

from . import compat
from .jobs import ESSENTIAL, Job
from .problems import Problem
from .result_check import BadResult, read_png, read_report
from .session import Session
from .uv_layout import read_layout

COLOURS = {"albedo.png": "sRGB", "coverage.png": "Non-Color", "normal.png": "Non-Color"}
"""Images that a material keeps, and how Blender must read them."""
_checked: tuple[str, dict[str, bytes | Exception]] = ("", {})
"""A job, and its pictures as they passed the check, or what was wrong with them: for whoever applies it."""
NEW_UVS = "corner_uvs.npy"
"""Made by the backend where the UVs that were sent cannot carry a texture."""


def layout_fits(job: Job, body: bpy.types.Object) -> bool:
    """Whether topology and UVs are what the texture was made for."""
    return read_layout(body, job.target.uv_map).sha256 == job.target.layout_sha256


def apply_result(
    session: Session, job: Job, body: bpy.types.Object, context: bpy.types.Context
) -> bpy.types.Material:
    """Give the body the job's texture and show it. The caller makes one undo step of it.

    Raises:
        Problem: files missing or damaged; nothing was changed.
    """
    if NEW_UVS in job.artifacts:
        raise Problem(
            "BAD_SCENE:UV",
            "The backend could not paint on the UV map and made one of its own",
            "Unwrap into a new UV map, then generate again",
        )
    if not body.material_slots and body.data.library is not None:
        raise Problem(
            "LINKED",
            f'The mesh of "{body.name}" is linked from another file and has no material slot',
            "Give it one in its own file, or make the mesh local (Object > Relations)",
        )
    try:
        images = _load_images(session, job)
    finally:
        forget_checked()
    report = read_report(session.list.path_of(job, "report.json"))
    material = _make_material(job, images)
    _wear(body, material)
    body.vitruvian.job = job.id
    body.vitruvian.report = json.dumps(report)
    body.vitruvian.settings = json.dumps(job.settings)
    show_material(context)
    return material


def take_off(body: bpy.types.Object) -> None:
    """The materials that the body had before its first result."""
    try:
        names = json.loads(body.vitruvian.replaced_materials or "[]")
    except ValueError:
        names = []
    for slot, entry in zip(body.material_slots, names, strict=False):
        slot.link = entry["link"]
        if entry["link"] == "OBJECT":
            slot.material = bpy.data.materials.get(entry["material"] or "")
    for _ in range(len(body.material_slots) - len(names)):
        body.data.materials.pop(index=len(body.material_slots) - 1)
    for name in ("job", "report", "settings", "replaced_materials"):
        setattr(body.vitruvian, name, "")


def check_next(session: Session, job: Job) -> bool:
    """Read and check one more of the job's pictures, so that applying it finds them; False where all are."""
    global _checked
    if _checked[0] != job.id:
        _checked = (job.id, {})
    for name in COLOURS:
        path = session.list.path_of(job, name)
        if path is not None and name not in _checked[1]:
            try:
                _checked[1][name] = read_png(path)
            except (BadResult, OSError) as error:
                _checked[1][name] = error
            return True
    return False


def forget_checked() -> None:
    """Nothing is to be applied soon: let go of what was read."""
    global _checked
    _checked = ("", {})


def _load_images(session: Session, job: Job) -> dict[str, bpy.types.Image]:
    """The result's pictures, checked, packed into the .blend so that the file stays whole."""
    while check_next(session, job):
        pass
    pictures: dict[str, bytes] = {}
    for name, found in _checked[1].items():
        if isinstance(found, bytes):
            pictures[name] = found
        elif name == ESSENTIAL:
            raise Problem("CORRUPT", f"The result is damaged: {found}", "Fetch it again") from found
        else:
            job.warnings.append(str(found))
    if ESSENTIAL not in pictures:
        raise Problem("CORRUPT", "The result's texture is not on this computer", "Fetch it again")
    return {
        name: _packed(data, f"{job.target.object_name} {Path(name).stem}", COLOURS[name])
        for name, data in pictures.items()
    }


def _packed(data: bytes, name: str, colours: str) -> bpy.types.Image:
    """The file's own bytes inside the .blend. Blender decodes them when it first draws, not in this tick."""
    image = bpy.data.images.new(name, 1, 1)
    image.colorspace_settings.name = colours  # before the bytes: changing it later would decode them again
    image.pack(data=data, data_len=len(data))
    image.source = "FILE"
    image.filepath_raw = f"//{name}.png"
    return image


def _make_material(job: Job, images: dict[str, bpy.types.Image]) -> bpy.types.Material:
    """Principled with the albedo; coverage is kept beside it, unconnected."""
    material = compat.material_with_nodes(f"{job.target.object_name} Vitruvian")
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    output = nodes.new("ShaderNodeOutputMaterial")
    output.location = (620, 0)
    principled = nodes.new("ShaderNodeBsdfPrincipled")
    principled.location = (300, 0)
    principled.inputs["Roughness"].default_value = 0.6
    links.new(principled.outputs["BSDF"], output.inputs["Surface"])
    uv = nodes.new("ShaderNodeUVMap")
    uv.location = (-560, 0)
    uv.uv_map = job.target.uv_map
    for row, (name, image) in enumerate(images.items()):
        node = nodes.new("ShaderNodeTexImage")
        node.location = (-300, -300 * row)
        node.image = image
        node.name = node.label = Path(name).stem.capitalize()
        links.new(uv.outputs["UV"], node.inputs["Vector"])
        if name == ESSENTIAL:
            links.new(node.outputs["Color"], principled.inputs["Base Color"])
            nodes.active = node
        elif name == "normal.png":
            bend = nodes.new("ShaderNodeNormalMap")
            bend.location = (20, -300 * row)
            bend.uv_map = job.target.uv_map
            links.new(node.outputs["Color"], bend.inputs["Color"])
            links.new(bend.outputs["Normal"], principled.inputs["Normal"])
    material["vitruvian_job"] = job.id
    return material


def _wear(body: bpy.types.Object, material: bpy.types.Material) -> None:
    """Put the material into every slot of the object; the mesh's own materials stay in the mesh."""
    if not body.vitruvian.replaced_materials:
        before = [
            {"link": slot.link, "material": slot.material.name if slot.material else None}
            for slot in body.material_slots
        ]
        body.vitruvian.replaced_materials = json.dumps(before)
    if not body.material_slots:
        body.data.materials.append(None)
    for slot in body.material_slots:
        slot.link = "OBJECT"
        slot.material = material


def show_material(context: bpy.types.Context) -> None:
    """Solid and wireframe viewports show no texture: switch those to Material Preview."""
    for window in context.window_manager.windows:
        for area in window.screen.areas:
            if area.type != "VIEW_3D":
                continue
            shading = area.spaces.active.shading
            if shading.type in ("SOLID", "WIREFRAME"):
                shading.type = "MATERIAL"
