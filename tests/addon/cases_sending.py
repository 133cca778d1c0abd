"""What leaves Blender, and when: the click's snapshot, and what the beats after it add. For `run_case.py`."""

from typing import Any

import bpy  # pyright: ignore[reportMissingImports]
import numpy as np
from kit import add_body, addon, beat, draw_all, fingerprint, fresh, send, server, settle, whole_scene


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
    mesh = whole_scene(body).mesh
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


def heavy_body(side: int, groups: int) -> Any:
    """A grid of side x side vertices on a chain of bones, each vertex held by four of them or by none."""
    bpy.ops.object.armature_add()
    armature = bpy.context.object
    bpy.ops.object.mode_set(mode="EDIT")
    armature.data.edit_bones.remove(armature.data.edit_bones[0])
    for index in range(groups):
        bone = armature.data.edit_bones.new(f"bone{index}")
        bone.head, bone.tail = (0, 0, 0.03 * index), (0, 0.01, 0.03 * index + 0.03)
        bone.parent = armature.data.edit_bones[f"bone{index - 1}"] if index else None
    bpy.ops.object.mode_set(mode="OBJECT")
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=side - 1, y_subdivisions=side - 1, size=1.7)
    body = bpy.context.object
    numbers = np.arange(len(body.data.vertices))[side:]  # the first row hangs on nothing
    for index in range(groups):
        body.vertex_groups.new(name=f"bone{groups - 1 - index}")
    for rank in range(4):
        owner = (numbers * groups // len(body.data.vertices) + 7 * rank) % groups
        for index in range(groups):
            body.vertex_groups[index].add(numbers[owner == index].tolist(), 0.05 + 0.2 * rank, "REPLACE")
    body.modifiers.new("Armature", "ARMATURE").object = armature
    armature.pose.bones["bone1"].rotation_mode = "XYZ"
    armature.pose.bones["bone1"].rotation_euler = (0.3, 0.1, 0)
    bpy.context.view_layer.update()
    return body


def case_a_heavy_rig_is_read_after_the_click_in_slices() -> None:
    """201,601 vertices and 50 groups, as Blender has them one by one, whatever becomes of body and file."""
    from vitruvian_protocol.scene import Settings

    client = server()
    export, body = addon("rig_export"), heavy_body(449, 50)
    evaluated = body.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    groups = [group.name for group in body.vertex_groups]
    sample = range(0, len(evaluated.vertices), 997)
    wanted = {i: {groups[g.group]: g.weight for g in evaluated.vertices[i].groups} for i in sample}
    posed = np.array([evaluated.vertices[i].co for i in sample])
    rest = np.array([body.data.vertices[i].co for i in sample])
    assert bpy.ops.vitruvian.generate() == {"FINISHED"}
    (job,) = addon("runtime").session().jobs.values()
    assert (job.state, client.submitted) == ("checking", [])
    fresh()  # body, armature and file are gone
    packed: list[Any] = []
    client.pack = lambda scene, settings: packed.append((scene, settings)) or (scene, settings)
    settle()
    assert client.submitted == [job.id]
    (scene, settings) = packed[0]
    assert isinstance(settings, Settings)
    rig = scene.mesh.rig
    assert np.abs(scene.mesh.vertices[list(sample)] - posed).max() < 1e-6
    assert np.abs(rig.rest_vertices[list(sample)] - rest).max() < 1e-5, "unposed by the same weights"
    for index, held in wanted.items():
        total = sum(held.values())
        shares = {name: weight / total for name, weight in held.items()} or {"bone0": 1.0}
        found = zip(rig.weight_joints[index], rig.weights[index], strict=True)
        found = {rig.joint_names[joint]: weight for joint, weight in found if weight > 0}
        assert found.keys() == shares.keys(), index
        assert all(abs(found[name] - shares[name]) < 1e-5 for name in found), index
    body = add_body()
    snapshot = addon("scene_export").take_snapshot(body, bpy.context.scene.vitruvian)
    work = list(snapshot.rig)
    assert max(work) <= export.SLICE
    assert sum(work) == len(body.data.vertices)


def case_a_job_whose_rig_cannot_be_sent_fails_alone() -> None:
    """What the click could not see yet is told in the results, and the next job is fine."""
    from vitruvian_protocol.scene_file import pack_scene

    client = server()
    add_body()
    client.pack = lambda scene, settings: (pack_scene(scene), settings)
    frames = addon("rig_export")._rigid
    addon("rig_export")._rigid = lambda world: np.full_like(world, np.nan)
    assert bpy.ops.vitruvian.generate() == {"FINISHED"}
    settle()
    (bad,) = addon("runtime").session().jobs.values()
    assert (bad.state, bad.error.code) == ("failed", "BAD_SCENE:NOT_FINITE")
    assert client.submitted == []
    addon("rig_export")._rigid = frames
    assert send(client).state == "running"


def case_overlapping_uvs_are_told_soon_after_the_click() -> None:
    """The click itself looks at nothing that takes long; what the beats find ends the job."""
    client = server()
    body = add_body()
    layer = body.data.uv_layers[0]
    uvs = addon("uv_layout").read(layer.data, "uv", np.float32, 2)
    uvs[:, 0] = np.abs(uvs[:, 0] - 0.5)
    layer.data.foreach_set("uv", uvs.ravel())
    assert bpy.ops.vitruvian.generate() == {"FINISHED"}
    (job,) = addon("runtime").session().jobs.values()
    assert job.state == "checking"
    assert "Looking at the UV map" in " ".join(draw_all())
    bpy.data.objects.remove(body)  # its arrays are ours
    assert addon("pump").tick() == addon("pump").HURRIED_S
    settle()
    assert (job.state, job.error.code) == ("failed", "BAD_SCENE:UV")
    assert "overlap" in job.error.sentence
    assert job.error.button[0] == "vitruvian.repair_uv"
    assert client.submitted == []
