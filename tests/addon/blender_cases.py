"""Runs in Blender's own environment: one case in one process, with the add-on installed from its zip.

python blender_cases.py ZIP FOLDER CASE

Leaves with 0, or prints what went wrong and leaves with 1. Timers do not fire here, so cases beat the
add-on's heart themselves.
"""

import hashlib
import importlib
import json
import os
import struct
import sys
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy  # pyright: ignore[reportMissingImports]
import numpy as np

MODULE = "bl_ext.user_default.vitruvian"
FOLDER = Path(sys.argv[2])
sys.path.insert(0, str(Path(__file__).parent))


def addon(name: str) -> Any:
    """A module of the installed add-on."""
    return importlib.import_module(f"{MODULE}.{name}")


def install() -> None:
    bpy.ops.extensions.package_install_files(
        filepath=sys.argv[1], repo="user_default", enable_on_install=True
    )


def fresh() -> None:
    """An empty file; add-ons stay."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)


def add_body(**settings: Any) -> Any:
    panel = bpy.context.scene.vitruvian
    for name, value in settings.items():
        setattr(panel, name, value)
    bpy.ops.vitruvian.add_proxy()
    return panel.body


def server() -> Any:
    """A scripted server in place of the connection."""
    from scripted import ScriptedClient

    client = ScriptedClient()
    runtime = addon("runtime")
    runtime.close()
    runtime._connect = lambda _: client
    preferences = addon("preferences").get()
    preferences.backend, preferences.use_keys = "REMOTE", False
    preferences.address = "tcp://127.0.0.1:1"
    client.greet()
    return client


def beat(times: int = 3) -> None:
    pump = addon("pump")
    for _ in range(times):
        pump.tick()


def refused(call: Callable[[], Any]) -> str:
    """What an artist is told; the call must not go through."""
    try:
        call()
    except (RuntimeError, addon("problems").Problem) as error:
        return str(error)
    raise AssertionError("it was not refused")


def png(side: int = 16, colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    rows = b"".join(b"\0" + bytes(colour) * side for _ in range(side))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


FILES = {"albedo.png": png(), "coverage.png": png(8), "report.json": b'{"seed": 7}'}


def send(client: Any) -> Any:
    """Press Generate Human; the job as the session has it."""
    from vitruvian_protocol import events

    assert bpy.ops.vitruvian.generate() == {"FINISHED"}
    job_id = client.submitted[-1]
    client.say(events.Accepted(job_id, 0), events.Started(job_id, 1, seq=1))
    beat()
    return addon("runtime").session().jobs[job_id]


def finish(client: Any, job: Any, files: dict[str, bytes] = FILES) -> None:
    """The server finishes the job and everything is fetched."""
    from vitruvian_protocol import events

    client.finish(job.id, *files, seq=job.seq + 1)
    beat()
    for asked, name, target in client.fetched:
        if asked == job.id:
            target.write_bytes(files[name])
            client.say(events.Fetched(asked, name, target))
    client.fetched = [entry for entry in client.fetched if entry[0] != job.id]
    beat()


def fingerprint(body: Any) -> dict[str, str]:
    """Everything of the artist's that must come back bit for bit."""
    mesh = body.data
    read = addon("scene_export").read
    weights = [[(g.group, g.weight) for g in v.groups] for v in mesh.vertices]
    modifiers = [
        {p.identifier: repr(getattr(m, p.identifier)) for p in m.bl_rna.properties} for m in body.modifiers
    ]
    parts = {
        "vertices": read(mesh.vertices, "co", np.float32, 3).tobytes(),
        "corners": read(mesh.loops, "vertex_index", np.int32, 1).tobytes(),
        "polygons": read(mesh.polygons, "loop_start", np.int32, 1).tobytes(),
        "slots": read(mesh.polygons, "material_index", np.int32, 1).tobytes(),
        "uvs": b"".join(
            layer.name.encode() + read(layer.data, "uv", np.float32, 2).tobytes() for layer in mesh.uv_layers
        ),
        "active uv": str((mesh.uv_layers.active_index, [u.active_render for u in mesh.uv_layers])).encode(),
        "weights": json.dumps(weights).encode(),
        "modifiers": json.dumps(modifiers, sort_keys=True).encode(),
        "matrix": np.array(body.matrix_world).tobytes(),
        "scene": str(
            (bpy.context.scene.frame_current, bpy.context.scene.render.engine, bpy.context.scene.camera)
        ).encode(),
    }
    return {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}


# ---- cases ----


def case_register_and_leave() -> None:
    """Everything comes and everything goes, twice."""
    for _ in range(2):
        assert hasattr(bpy.types, "VITRUVIAN_PT_generate")
        assert hasattr(bpy.context.scene, "vitruvian")
        pump = addon("pump")
        assert bpy.app.timers.is_registered(pump.tick)
        bpy.ops.preferences.addon_disable(module=MODULE)
        assert not bpy.app.timers.is_registered(pump.tick)
        assert not hasattr(bpy.context.scene, "vitruvian")
        assert not [name for name in dir(bpy.types) if name.startswith("VITRUVIAN_")]
        handlers = [
            h for name in ("load_pre", "load_post", "undo_post") for h in getattr(bpy.app.handlers, name)
        ]
        assert not [h for h in handlers if h.__module__.startswith(MODULE)]
        bpy.ops.preferences.addon_enable(module=MODULE)


def case_the_free_body_stands_as_its_pose_says() -> None:
    proxy = addon("proxy")
    for pose in proxy.pose_names():
        fresh()
        body = add_body(proxy_pose=pose, gender=1.0, age=0.9)
        wanted = proxy.make_proxy({"gender": 1.0, "age": 0.9}, pose)
        posed = proxy.skinned(
            wanted.rest_vertices, wanted.weights, wanted.T_world_joint @ np.linalg.inv(wanted.T_rest_joint)
        )
        snapshot = addon("scene_export").take_snapshot(body, bpy.context.scene.vitruvian)
        mesh = snapshot.scene.mesh
        assert np.abs(mesh.vertices - posed).max() < 2e-3, pose
        assert np.abs(mesh.rig.rest_vertices - wanted.rest_vertices).max() < 2e-3, pose
        joints = mesh.rig.joint_names
        order = [joints.index(name) for name in wanted.joint_names]
        heads = mesh.rig.T_world_joint[order, :3, 3]
        assert np.abs(heads - wanted.T_world_joint[:, :3, 3]).max() < 1e-3, pose
        assert len(body.data.polygons) == 13710
        assert not addon("repair").doubts(body, ""), addon("repair").doubts(body, "")


def case_the_snapshot_is_what_blender_evaluates() -> None:
    """A posed, keyed, scaled, mirrored, subdivided body in a file whose unit is the centimetre."""
    body = add_body(proxy_pose="walking")
    scene = bpy.context.scene
    armature = body.parent
    armature.scale = (-1.2, 1.2, 1.2)
    armature.location = (0.3, -0.2, 0.1)
    armature.rotation_euler = (0.1, 0.2, 0.7)
    bone = armature.pose.bones["upperarm01.L"]
    bone.rotation_mode = "XYZ"
    for frame, angle in ((1, 0.0), (10, 0.9)):
        bone.rotation_euler = (angle, 0, 0)
        bone.keyframe_insert("rotation_euler", frame=frame)
    body.modifiers.new("Subdivision", "SUBSURF").levels = 1
    scene.unit_settings.scale_length = 0.01
    scene.frame_set(7)
    before = fingerprint(body)
    snapshot = addon("scene_export").take_snapshot(body, scene.vitruvian)
    mesh = snapshot.scene.mesh
    assert fingerprint(body) == before
    evaluated = body.evaluated_get(bpy.context.evaluated_depsgraph_get())
    theirs = evaluated.to_mesh()
    assert len(mesh.vertices) == len(theirs.vertices) > 50_000
    matrix = evaluated.matrix_world
    for index in range(0, len(theirs.vertices), 997):
        wanted = np.array(matrix @ theirs.vertices[index].co) * 0.01
        assert np.abs(mesh.vertices[index] - wanted).max() < 1e-6
    theirs.calc_loop_triangles()
    uvs = theirs.uv_layers[0].data
    for index in range(0, len(theirs.loop_triangles), 997):
        triangle = theirs.loop_triangles[index]
        # Mirrored by the negative scale: corners run the other way round.
        assert list(triangle.vertices)[::-1] == mesh.faces[index].tolist()
        wanted = [tuple(uvs[loop].uv) for loop in triangle.loops][::-1]
        assert np.allclose(mesh.corner_uvs[index], wanted)
    evaluated.to_mesh_clear()
    a, b, c = (mesh.vertices[mesh.faces[:, i]].astype(np.float64) for i in range(3))
    volume = np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6
    assert volume > 0, "faces must be counter-clockwise from outside"
    rig = mesh.rig
    assert np.allclose(rig.weights.sum(axis=1), 1, atol=1e-5)
    assert len(rig.weights) == len(mesh.vertices)
    assert (rig.joint_parents < np.arange(len(rig.joint_parents))).all()


def case_cameras_are_blenders() -> None:
    from bpy_extras.object_utils import world_to_camera_view  # pyright: ignore[reportMissingImports]
    from mathutils import Vector  # pyright: ignore[reportMissingImports]

    export, math = addon("scene_export"), addon("camera_math")
    scene = bpy.context.scene
    render = scene.render
    render.resolution_x = render.resolution_y = 512
    points = np.random.default_rng(0).normal(size=(20, 3))
    kinds: list[dict[str, Any]] = [
        {"lens": 35},
        {"lens": 85, "shift_x": 0.2, "shift_y": -0.1},
        {"sensor_fit": "VERTICAL", "sensor_height": 20},
        {"sensor_fit": "HORIZONTAL", "sensor_width": 30},
        {"type": "ORTHO", "ortho_scale": 3.0, "shift_y": 0.15},
    ]
    for values in kinds:
        data = bpy.data.cameras.new("c")
        for name, value in values.items():
            setattr(data, name, value)
        camera = bpy.data.objects.new("c", data)
        scene.collection.objects.link(camera)
        camera.location, camera.rotation_euler = (2, -6, 1.5), (1.4, 0.1, 0.3)
        camera.scale = (2, 2, 2)
        bpy.context.view_layer.update()
        T, K = export.camera_arrays_of(camera, bpy.context.evaluated_depsgraph_get(), 512)
        pixels, depth = math.project(points, T, K, data.type == "ORTHO")
        camera.scale = (1, 1, 1)  # renderers ignore it, Blender's helper does not
        bpy.context.view_layer.update()
        for point, pixel, z in zip(points, pixels, depth, strict=True):
            u, v, d = world_to_camera_view(scene, camera, Vector(point))
            assert abs(pixel[0] - u * 512) < 0.01, (values, pixel, u * 512)
            assert abs(pixel[1] - (1 - v) * 512) < 0.01, (values, pixel, v)
            assert abs(z - d) < 1e-4


def case_a_large_body_is_looked_at_in_slices() -> None:
    """201,601 vertices: a beat ends as soon as its time is over, and what is found is the same."""
    repair, pump = addon("repair"), addon("pump")
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=448, y_subdivisions=448, size=1.7)
    body = bpy.context.object
    assert len(body.data.vertices) > 200_000
    repair.forget()
    assert repair.known_doubts(body, "") == ()
    looks = 1
    while not repair.look(0.0):
        looks += 1
        repair.known_doubts(body, "")  # a panel that is drawn meanwhile does not begin it anew
    assert 10 < looks < 200
    assert not repair.looking()
    assert repair.known_doubts(body, "") == repair.doubts(body, "") != ()
    repair.forget()
    repair.known_doubts(body, "")
    times = iter(range(100))
    assert not repair.look(3.0, lambda: next(times))
    assert next(times) == 4, "three slices in three seconds of a second each"
    assert pump.tick() == pump.HURRIED_S
    bpy.ops.object.mode_set(mode="EDIT")
    assert repair.look(1.0), "a body that is being edited is not looked at"
    bpy.ops.object.mode_set(mode="OBJECT")
    repair.known_doubts(body, "")
    repair.look(0.0)
    bpy.data.objects.remove(body)
    assert repair.look(1.0)
    assert not repair.looking()
    small = add_body()
    repair.known_doubts(small, "")
    beat(100)
    assert repair._known, "the heartbeat brings it to its end"


def case_the_rig_and_its_coverage() -> None:
    body = add_body()
    panel = bpy.context.scene.vitruvian
    assert bpy.ops.vitruvian.add_rig() == {"FINISHED"}
    assert panel.camera_mode == "RIG"
    bpy.context.view_layer.update()
    cameras = addon("scene_export").take_snapshot(body, panel).scene.cameras
    assert (len(cameras.names), cameras.kinds.count("upper")) == (16, 8)
    bpy.context.scene.collection.children["Vitruvian Cameras"].objects[
        "body_000"
    ].vitruvian.view_prompt = "a face"
    panel.upper_views = 0
    panel.body_views = 4
    bpy.ops.vitruvian.add_rig()
    assert len(addon("scene_export").cameras_of(panel)) == 4
    assert len(bpy.data.cameras) == 4, "an earlier rig is replaced whole"
    bpy.context.view_layer.update()
    four = addon("camera_rig").measure_coverage(body, panel)
    assert 0.5 < four.seen < 1.0
    for camera in addon("scene_export").cameras_of(panel)[1:]:
        camera.hide_render = True
    one = addon("camera_rig").measure_coverage(body, panel)
    assert one.seen < 0.6 < four.seen
    assert one.views.max() == 1
    front = body.evaluated_get(bpy.context.evaluated_depsgraph_get())
    assert front is not None
    assert one.points[one.views == 1][:, 1].mean() < one.points[one.views == 0][:, 1].mean()
    own = bpy.data.collections.new("mine")
    panel.camera_mode, panel.camera_collection = "OWN", own
    assert bpy.ops.vitruvian.preview_coverage.poll()
    assert "There is no camera" in refused(lambda: addon("scene_export").take_snapshot(body, panel))


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
    assert json.loads(body["vitruvian_settings"])["seed"] == 0
    assert addon("bodies").find_body(job) == body
    assert bpy.ops.vitruvian.take_off() == {"FINISHED"}
    assert [slot.material for slot in body.material_slots] == [bpy.data.materials["skin"], None]
    assert bpy.ops.vitruvian.apply(job=job.id) == {"FINISHED"}
    assert body.vitruvian.job == job.id


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
        assert bodies.is_worn(first)
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


def case_another_file_is_opened_at_each_phase() -> None:
    """In whatever phase: the result waits for its own file and never enters another."""
    from vitruvian_protocol import events

    client = server()
    for phase in ("sent", "running", "previewed", "fetching"):
        fresh()
        body = add_body()
        assert bpy.ops.vitruvian.generate() == {"FINISHED"}
        path = str(FOLDER / f"{phase}.blend")
        bpy.ops.wm.save_as_mainfile(filepath=path)
        job = addon("runtime").session().jobs[client.submitted[-1]]
        if phase != "sent":
            client.say(events.Accepted(job.id, 0), events.Started(job.id, 1, seq=1))
        if phase == "previewed":
            client.say(events.Preview(job.id, jpeg(), "sheet"), events.Preview(job.id, jpeg(), "texture"))
            beat()
            assert job.id in addon("previews")._icons
            assert not job.previews
        if phase == "fetching":
            client.finish(job.id, *FILES, seq=2)
        beat()
        fresh()
        add_body()
        finish(client, job)
        beat(5)
        assert job.state == "ready"
        assert not bpy.data.objects["Body"].vitruvian.job
        assert addon("bodies").find_body(job) is None
        bpy.ops.wm.open_mainfile(filepath=path)
        beat(5)
        body = bpy.data.objects["Body"]
        assert body.vitruvian.job == job.id, phase


def jpeg() -> bytes:
    """What a scripted server sends as a preview, made by Blender itself."""
    image = bpy.data.images.new("preview", 32, 32)
    image.file_format = "JPEG"
    image.filepath_raw = str(FOLDER / "preview.jpg")
    image.save()
    bpy.data.images.remove(image)
    return (FOLDER / "preview.jpg").read_bytes()


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
    beat(2)
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


def case_cancel_and_errors() -> None:
    from vitruvian_protocol import events
    from vitruvian_protocol.errors import explain

    client = server()
    body = add_body()
    job = send(client)
    bpy.ops.vitruvian.cancel(job=job.id)
    assert client.cancelled == [job.id]
    client.say(events.CancelAcked(job.id, "stopping"), events.Cancelled(job.id, seq=2))
    beat()
    assert job.state == "cancelled"
    failing = send(client)
    client.say(events.Failed(failing.id, explain("OUT_OF_VRAM", problem="12 GB"), seq=2))
    beat()
    draw_all()
    assert bpy.ops.vitruvian.retry(job=failing.id) == {"FINISHED"}
    assert len(client.submitted) == 3
    text = addon("report_text").make_report(failing.id)
    assert "OUT_OF_VRAM" in text
    assert bpy.ops.vitruvian.copy_report(job=failing.id) == {"FINISHED"}
    bpy.ops.vitruvian.use_settings(job=failing.id)
    bpy.ops.vitruvian.forget(job=failing.id)
    assert failing.id not in addon("runtime").session().jobs
    bpy.context.scene.vitruvian.prompt = "  "
    assert not bpy.ops.vitruvian.generate.poll()
    bpy.context.scene.vitruvian.prompt = "a man"
    body.data.vertices[3].co.x = float("nan")
    jobs = len(addon("runtime").session().jobs)
    from vitruvian_protocol.scene_file import pack_scene

    client.submit = lambda scene, *_, **__: pack_scene(scene)  # the real client checks before it sends
    assert "invalid numbers" in refused(bpy.ops.vitruvian.generate)
    assert addon("runtime").session().error.button[0] == "vitruvian.repair_mesh"
    assert len(addon("runtime").session().jobs) == jobs
    draw_all()
    bpy.ops.vitruvian.repair_mesh()
    assert np.isfinite(addon("scene_export").read(body.data.vertices, "co", np.float32, 3)).all()


def case_no_bone_covers_the_result_and_the_rig_can_be_posed() -> None:
    body = add_body()
    armature, export = body.parent, addon("scene_export")
    assert armature.hide_get()
    assert bpy.context.view_layer.objects.active == body
    before = export.take_snapshot(body, bpy.context.scene.vitruvian).scene.mesh.vertices
    bone = armature.pose.bones["upperarm01.L"]
    bone.rotation_mode = "XYZ"
    bone.rotation_euler.x += 0.5
    bpy.context.view_layer.update()
    hidden = export.take_snapshot(body, bpy.context.scene.vitruvian).scene.mesh.vertices
    assert np.abs(hidden - before).max() > 0.05, "a hidden armature still poses the body"
    assert "Show Rig" in draw_all()
    assert bpy.ops.vitruvian.show_rig() == {"FINISHED"}
    assert not armature.hide_get()
    assert bpy.context.view_layer.objects.active == armature
    bpy.ops.object.mode_set(mode="POSE")
    assert bpy.ops.vitruvian.show_rig() == {"FINISHED"}
    assert armature.hide_get()
    assert (bpy.context.mode, bpy.context.view_layer.objects.active) == ("OBJECT", body)
    bpy.context.scene.vitruvian.body = None
    body.parent = None
    body.modifiers.clear()
    assert not bpy.ops.vitruvian.show_rig.poll()


def case_method_and_image_model_are_the_artists_choice() -> None:
    client = server()
    add_body()
    panel, session = bpy.context.scene.vitruvian, addon("runtime").session()
    assert "Connect to see what the server offers" in draw_all()
    assert send(client).settings["prior"] == "mini", "as long as the server has said nothing"
    client.greet(priors=["studio", "mini"], methods=["mvhuman"])
    beat()
    assert send(client).settings["prior"] == "studio", "the server's first"
    assert bpy.ops.vitruvian.choose(field="prior", name="mini") == {"FINISHED"}
    job = send(client)
    assert (job.settings["prior"], job.settings["method"]) == ("mini", "mvhuman")
    client.greet(priors=["studio"], methods=["other"])
    beat()
    sent = len(client.submitted)
    told = refused(bpy.ops.vitruvian.generate)
    assert 'does not offer the image model "mini"' in told
    assert "studio" in told
    assert len(client.submitted) == sent == len(session.jobs)
    assert any("does not offer" in label for label in draw_all())
    bpy.ops.vitruvian.choose(field="prior", name="")
    assert bpy.ops.vitruvian.generate() == {"FINISHED"}
    bpy.ops.vitruvian.use_settings(job=job.id)
    assert panel.prior == "mini"


class Layout:
    """Takes every call that a panel makes, and remembers the labels."""

    def __init__(self, labels: list[str]) -> None:
        self.labels = labels

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            if name == "prop":
                getattr(arguments[0], arguments[1])
            if name == "operator":
                self.labels.append(named.get("text", ""))
                assert (
                    hasattr(bpy.types, arguments[0].replace("vitruvian.", "VITRUVIAN_OT_"))
                    or "." in arguments[0]
                )
                module, operator = arguments[0].split(".")
                getattr(getattr(bpy.ops, module), operator).get_rna_type()
                return SimpleNamespace()
            if "text" in named:
                self.labels.append(named["text"])
            return Layout(self.labels)

        return call


def draw_all() -> list[str]:
    """Draw every panel of the add-on; returns what they say."""
    labels: list[str] = []
    for kind in addon("panels").CLASSES + addon("operators_batch").CLASSES[-1:]:
        if not hasattr(kind, "poll") or kind.poll(bpy.context):
            methods = {n: getattr(kind, n) for n in dir(kind) if n.startswith("_draw")}
            panel = SimpleNamespace(layout=Layout(labels))
            for name, method in methods.items():
                setattr(panel, name, method.__get__(panel))
            kind.draw(panel, bpy.context)
    preferences = addon("preferences").get()
    addon("preferences").VitruvianPreferences.draw(
        SimpleNamespace(
            layout=Layout(labels),
            backend=preferences.backend,
            command=preferences.command,
            use_keys=preferences.use_keys,
            _draw_local=lambda layout: None,
            _draw_remote=lambda layout: None,
        ),
        bpy.context,
    )
    return labels


def case_panels_draw_in_every_state() -> None:
    from vitruvian_protocol import events

    draw_all()
    client = server()
    body = add_body()
    for mode in ("AUTO", "RIG", "OWN"):
        bpy.context.scene.vitruvian.camera_mode = mode
        draw_all()
    bpy.ops.vitruvian.add_rig()
    bpy.context.scene.vitruvian.steps = 33
    assert "Changed by hand" in draw_all()
    bpy.context.scene.vitruvian.preset = "HIGH"
    assert bpy.context.scene.vitruvian.texture_size == "2048"
    job = send(client)
    client.say(
        events.Progress(job.id, "painting", 0.25, 40.0, 1),
        events.Preview(job.id, jpeg(), "sheet"),
        events.Warned(job.id, "UVs overlap", seq=2),
    )
    beat()
    said = draw_all()
    assert "Painting  25%" in " ".join(said) or any("25%" in text for text in said)
    assert "about 40 s left" in said
    finish(client, job)
    draw_all()
    body.name = "Another"
    bpy.data.objects.remove(body)
    assert any("Unclaimed" in text for text in draw_all())
    client.lose()
    beat()
    assert any("connection is lost" in text for text in draw_all())
    empty = bpy.data.objects.new("empty", bpy.data.meshes.new("empty"))
    bpy.context.scene.collection.objects.link(empty)
    bpy.context.scene.vitruvian.body = empty
    draw_all()
    beat()
    assert any("no faces" in text for text in draw_all())


def case_repairs() -> None:
    body = add_body()
    repair = addon("repair")
    while body.data.uv_layers:
        body.data.uv_layers.remove(body.data.uv_layers[0])
    assert [d.code for d in repair.doubts(body, "")] == ["BAD_SCENE:UV"]
    server()
    assert "no UV map" in refused(bpy.ops.vitruvian.generate)
    vertices = addon("scene_export").read(body.data.vertices, "co", np.float32, 3)
    bpy.ops.vitruvian.repair_uv()
    panel = bpy.context.scene.vitruvian
    assert panel.uv_map == "Vitruvian UV"
    assert not repair.doubts(body, panel.uv_map)
    assert (addon("scene_export").read(body.data.vertices, "co", np.float32, 3) == vertices).all()
    layer = body.data.uv_layers[panel.uv_map]
    uvs = addon("scene_export").read(layer.data, "uv", np.float32, 2)
    layer.data.foreach_set("uv", np.ascontiguousarray(uvs * 3).ravel())
    assert "outside" in repair.doubts(body, panel.uv_map)[0].sentence
    folded = uvs.copy()
    folded[:, 0] = np.abs(folded[:, 0] - 0.5)
    layer.data.foreach_set("uv", folded.ravel())
    assert "overlap" in repair.doubts(body, panel.uv_map)[0].sentence
    panel.uv_map = "gone"
    assert "no UV map called" in repair.doubts(body, panel.uv_map)[0].sentence
    body.parent = None
    body.scale = (1, 2, -1)
    codes = [d.code for d in repair.doubts(body, "Vitruvian UV")]
    assert "BAD_SCENE:SIZE" in codes
    bpy.ops.vitruvian.repair_scale()
    assert tuple(body.scale) == (1, 1, 1)
    for modifier in list(body.modifiers):
        body.modifiers.remove(modifier)
    assert "NO_RIG" in [d.code for d in repair.doubts(body, "Vitruvian UV")]


def case_a_batch_in_the_window() -> None:
    client = server()
    panel = bpy.context.scene.vitruvian
    for index in range(3):
        body = add_body()
        body.name = f"Person {index}"
    for item in bpy.context.scene.objects:
        item.select_set(item.type == "MESH")
    assert bpy.ops.vitruvian.batch_add() == {"FINISHED"}
    assert len(panel.batch) == 3
    table = FOLDER / "prompts.csv"
    table.write_text("body,prompt,seed\nPerson 1,a king,5\n")
    assert bpy.ops.vitruvian.batch_csv(filepath=str(table)) == {"FINISHED"}
    assert [line.prompt for line in panel.batch if line.body.name == "Person 1"] == ["a king"]
    assert bpy.ops.vitruvian.batch_start() == {"FINISHED"}
    beat(8)
    assert len(client.submitted) == 3
    jobs = addon("runtime").session().jobs
    assert sorted(job.prompt == "a king" for job in jobs.values()) == [False, False, True]
    draw_all()
    for job in list(jobs.values()):
        finish(client, job)
    beat(8)
    assert all(bpy.data.objects[f"Person {i}"].vitruvian.job in jobs for i in range(3))
    assert addon("batch_scene").current() is None
    assert bpy.ops.vitruvian.batch_start() == {"FINISHED"}
    beat(5)
    assert len(client.submitted) == 3, "what is done is not done again"
    bpy.ops.vitruvian.batch_remove(everything=True)
    assert len(panel.batch) == 0


def main() -> None:
    case = globals()[f"case_{sys.argv[3]}"]
    install()
    fresh()
    case()


if __name__ == "__main__":
    code = 1
    try:
        main()
        code = 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    if code:
        os._exit(code)
    # An add-on that stays enabled at exit crashes or hangs some versions: leave as Blender's own quit does.
    bpy.ops.preferences.addon_disable(module=MODULE)
    os._exit(0)
