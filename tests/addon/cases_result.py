"""A result on its body: what it changes, who gets it, when it waits. Cases for `run_case.py`."""

import json
from typing import Any

import bmesh  # pyright: ignore[reportMissingImports]
import bpy  # pyright: ignore[reportMissingImports]
import numpy as np
from kit import (
    FILES,
    FOLDER,
    add_body,
    addon,
    beat,
    fingerprint,
    finish,
    fresh,
    png,
    refused,
    send,
    server,
)


def case_a_result_changes_the_material_alone() -> None:
    client = server()
    body = add_body()
    red = bpy.data.materials.new("skin")
    body.data.materials.append(red)
    body.data.materials.append(None)
    extra = body.data.uv_layers.new(name="mine")
    body.data.uv_layers.active = extra
    body.modifiers.new("Subdivision", "SUBSURF")
    before = fingerprint(body)
    job = send(client)
    assert fingerprint(body) == before
    finish(client, job)
    assert job.state == "ready"
    assert body.vitruvian.job == job.id, job.warnings
    assert fingerprint(body) == before
    assert list(body.data.materials) == [red, None], "the mesh keeps its own materials"
    worn = [slot.material for slot in body.material_slots]
    assert worn[0] is worn[1]
    nodes = worn[0].node_tree.nodes
    assert nodes["Albedo"].image.size[:] == (16, 16)
    assert nodes["Albedo"].image.colorspace_settings.name == "sRGB"
    assert nodes["Coverage"].image.colorspace_settings.name == "Non-Color"
    principled = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    assert principled.inputs["Base Color"].links[0].from_node == nodes["Albedo"]
    assert next(node for node in nodes if node.type == "UVMAP").uv_map == "UVMap"
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                assert area.spaces.active.shading.type == "MATERIAL"
    assert json.loads(body.vitruvian.report) == {"seed": 7}
    pixels = np.array(nodes["Albedo"].image.pixels[:4])
    assert np.abs(pixels[0] - 200 / 255) < 0.01
    path = str(FOLDER / "saved.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    body = bpy.data.objects["Body"]
    assert fingerprint(body) == before
    image = body.material_slots[0].material.node_tree.nodes["Albedo"].image
    assert image.packed_file is not None
    assert np.abs(np.array(image.pixels[:4])[0] - 200 / 255) < 0.01
    assert json.loads(body.vitruvian.settings)["seed"] == 0
    assert addon("bodies").find_body(job) == body
    assert bpy.ops.vitruvian.take_off() == {"FINISHED"}
    assert [slot.material for slot in body.material_slots] == [bpy.data.materials["skin"], None]
    assert bpy.ops.vitruvian.apply(job=job.id) == {"FINISHED"}
    assert body.vitruvian.job == job.id


def case_coverage_and_normal_images_are_kept() -> None:
    client = server()
    body = add_body()
    job = send(client)
    finish(client, job, {**FILES, "normal.png": png(8, (128, 128, 255))})
    tree = body.material_slots[0].material.node_tree
    assert {node.name for node in tree.nodes if node.type == "TEX_IMAGE"} == {"Albedo", "Coverage", "Normal"}
    normal = tree.nodes["Normal"]
    assert normal.image.colorspace_settings.name == "Non-Color"
    bend = normal.outputs["Color"].links[0].to_node
    assert (bend.type, bend.uv_map) == ("NORMAL_MAP", "UVMap")
    assert bend.outputs["Normal"].links[0].to_socket.name == "Normal"
    assert not tree.nodes["Coverage"].outputs["Color"].links, "kept beside it"
    assert all(node.image.packed_file for node in tree.nodes if node.type == "TEX_IMAGE")


def case_undo_takes_one_result_away() -> None:
    client = server()
    body = add_body()
    bpy.ops.ed.undo_push(message="start")
    job = send(client)
    finish(client, job)
    assert bpy.data.objects["Body"].vitruvian.job == job.id
    bpy.ops.ed.undo()
    body = bpy.data.objects["Body"]
    assert body.vitruvian.job == ""
    assert not [s for s in body.material_slots if s.material and s.material.name.endswith("Vitruvian")]
    assert addon("bodies").find_body(job) == body, "found although undo took its number away"
    beat(5)
    assert body.vitruvian.job == "", "it is not put back by itself"
    assert bpy.ops.vitruvian.apply(job=job.id) == {"FINISHED"}
    assert bpy.data.objects["Body"].vitruvian.job == job.id


def case_undo_in_an_unsaved_file_leaves_no_result_unclaimed() -> None:
    """With and without Blender's own numbers of objects, which older versions lack."""
    compat, bodies = addon("compat"), addon("bodies")
    for known in (compat.session_uid, lambda item: 0):
        compat.session_uid = known
        fresh()
        client = server()
        body = add_body()
        bpy.ops.ed.undo_push(message="before Generate")
        first = send(client)
        finish(client, first)
        file_id = bodies.file_id()
        bpy.ops.ed.undo()
        body = bpy.data.objects["Body"]
        assert body.vitruvian.job == ""
        assert bodies.find_body(first) == body
        assert (bodies.file_id(), body.vitruvian.uid) == (file_id, first.target.object_uid)
        bpy.ops.ed.redo()
        assert bodies.find_body(first).vitruvian.job == first.id
        bpy.ops.ed.undo()
        second = send(client)
        assert second.target.file_id == first.target.file_id
        assert second.target.object_uid == first.target.object_uid
        path = str(FOLDER / "undone.blend")
        bpy.ops.wm.save_as_mainfile(filepath=path)
        fresh()
        assert bodies.find_body(first) is None
        for message in ("another file", "a change in it"):
            bpy.ops.ed.undo_push(message=message)
        bpy.ops.ed.undo()
        assert bodies.file_id() == "", "another file does not inherit the number"
        bpy.ops.wm.open_mainfile(filepath=path)
        body = bpy.data.objects["Body"]
        assert bodies.find_body(first) == bodies.find_body(second) == body
        bpy.data.objects.remove(body)
        add_body()
        assert bodies.find_body(first) is None, "a namesake is somebody else"


def case_the_body_is_found_again_or_its_result_waits() -> None:
    client = server()
    body = add_body()
    job = send(client)
    body.name = "Somebody"
    copy = body.copy()
    copy.data = body.data.copy()
    bpy.context.scene.collection.objects.link(copy)
    finish(client, job)
    assert body.vitruvian.job == job.id
    assert copy.vitruvian.job == ""
    bpy.context.scene.vitruvian.body = copy
    second = send(client)
    assert second.target.object_uid != job.target.object_uid, "a copy is somebody else"
    bpy.data.objects.remove(copy)
    finish(client, second)
    assert second.state == "ready"
    assert addon("bodies").find_body(second) is None
    beat(5)
    assert "not in this file" in refused(lambda: bpy.ops.vitruvian.apply(job=second.id))
    bpy.context.scene.vitruvian.body = body
    assert bpy.ops.vitruvian.apply(job=second.id, to_chosen=True) == {"FINISHED"}
    assert body.vitruvian.job == second.id


def case_a_result_of_another_file_keeps_nobody_waiting() -> None:
    client = server()
    elsewhere, deleted = [], []
    for jobs in (elsewhere, deleted):
        fresh()
        body = add_body()
        jobs.append(send(client))
    bpy.data.objects.remove(body)
    body = add_body()
    job = send(client)
    for done in (*elsewhere, *deleted, job):
        finish(client, done)
    beat(3)
    assert body.vitruvian.job == job.id
    assert not elsewhere[0].offered


def case_it_waits_while_the_artist_works() -> None:
    client = server()
    body = add_body()
    job = send(client)
    for mode in ("EDIT", "SCULPT", "WEIGHT_PAINT"):
        bpy.ops.object.mode_set(mode=mode)
        if job.state != "ready":
            finish(client, job)
        beat(5)
        assert body.vitruvian.job == ""
        assert "mode" in addon("pump").reason_to_wait(body)
    bpy.ops.object.mode_set(mode="OBJECT")
    beat(4)
    assert body.vitruvian.job == job.id


def case_a_changed_layout_is_not_painted_over() -> None:
    client = server()
    body = add_body()
    job = send(client)
    body.data.uv_layers[0].data[0].uv = (0.123, 0.456)
    finish(client, job)
    assert body.vitruvian.job == ""
    assert "changed since" in job.warnings[-1]
    assert bpy.ops.vitruvian.apply(job=job.id, force=True) == {"FINISHED"}
    assert body.vitruvian.job == job.id


def case_a_job_from_the_middle_of_an_edit_is_put_on_afterwards() -> None:
    """In edit mode Blender hides the UVs from scripts; what was edited so far is what is sent."""
    client = server()
    body = add_body()
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.transform.translate(value=(0.5, 0, 0))
    snapshot = addon("scene_export").take_snapshot(body, bpy.context.scene.vitruvian)
    assert len(snapshot.layout.uvs) == len(body.data.loops)
    assert abs(snapshot.scene.mesh.vertices[:, 0].mean() - 0.5) < 0.05
    job = send(client)
    finish(client, job)
    assert body.vitruvian.job == "", "not in the middle of it"
    bpy.ops.object.mode_set(mode="OBJECT")
    beat(4)
    assert body.vitruvian.job == job.id, job.warnings
    bpy.ops.object.mode_set(mode="EDIT")
    uvs = bmesh.from_edit_mesh(body.data)
    uvs.faces.ensure_lookup_table()
    uvs.faces[0].loops[0][uvs.loops.layers.uv.active].uv = (0.9, 0.9)
    bmesh.update_edit_mesh(body.data)
    assert not addon("result_import").layout_fits(job, body)


def case_a_library_override_wears_its_result() -> None:
    """Object overridden, mesh linked: the way characters come into a shot."""
    bpy.context.scene.vitruvian.body = None
    add_body().data.materials.append(bpy.data.materials.new("skin"))
    library = str(FOLDER / "characters.blend")
    bpy.ops.wm.save_as_mainfile(filepath=library)
    fresh()
    client = server()
    with bpy.data.libraries.load(library, link=True) as (_, wanted):
        wanted.objects = ["Body"]
    linked: Any = wanted.objects[0]
    bpy.context.scene.collection.objects.link(linked)
    panel = bpy.context.scene.vitruvian
    panel.body = linked
    assert "library override" in refused(bpy.ops.vitruvian.generate)
    body = linked.override_create(remap_local_usages=True)
    panel.body = body
    assert body.data.library is not None
    assert "is linked" in refused(bpy.ops.vitruvian.repair_uv)
    job = send(client)
    path = str(FOLDER / "shot.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    fresh()
    finish(client, job)
    bpy.ops.wm.open_mainfile(filepath=path)
    beat(5)
    body = next(item for item in bpy.data.objects if item.override_library)
    assert body.vitruvian.job == job.id, "it kept its number through saving"
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=path)
    body = next(item for item in bpy.data.objects if item.override_library)
    assert body.vitruvian.job == job.id
    assert body.material_slots[0].material.name == "Body Vitruvian"


def case_damaged_files_never_reach_blender() -> None:
    client = server()
    body = add_body()
    for bad in (b"", png()[:-8], png().replace(b"IDAT", b"JDAT"), b"GIF89a"):
        images = len(bpy.data.images)
        job = send(client)
        finish(client, job, {"albedo.png": bad})
        assert body.vitruvian.job == ""
        assert len(bpy.data.images) == images
        assert "damaged" in job.warnings[-1]
    other = send(client)
    finish(client, other, {"albedo.png": png(), "corner_uvs.npy": b""})
    assert "made one of its own" in other.warnings[-1]
    assert body.vitruvian.job == ""
    job = send(client)
    finish(client, job, {"albedo.png": png(), "coverage.png": b"x"})
    assert body.vitruvian.job == job.id, "a lesser picture does not spoil it"
