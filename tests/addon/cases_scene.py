"""What the add-on takes of a scene, and how it prepares one. Cases for `run_case.py`."""

from typing import Any

import bpy  # pyright: ignore[reportMissingImports]
import numpy as np
from kit import (
    add_body,
    addon,
    draw_all,
    fingerprint,
    fresh,
    refused,
    server,
    whole_scene,
)


def case_the_free_body_stands_as_its_pose_says() -> None:
    proxy = addon("proxy")
    for pose in proxy.pose_names():
        fresh()
        body = add_body(proxy_pose=pose, gender=1.0, age=0.9)
        wanted = proxy.make_proxy({"gender": 1.0, "age": 0.9}, pose)
        posed = proxy.skinned(
            wanted.rest_vertices, wanted.weights, wanted.T_world_joint @ np.linalg.inv(wanted.T_rest_joint)
        )
        mesh = whole_scene(body).mesh
        assert np.abs(mesh.vertices - posed).max() < 2e-3, pose
        assert np.abs(mesh.rig.rest_vertices - wanted.rest_vertices).max() < 2e-3, pose
        joints = mesh.rig.joint_names
        order = [joints.index(name) for name in wanted.joint_names]
        heads = mesh.rig.T_world_joint[order, :3, 3]
        assert np.abs(heads - wanted.T_world_joint[:, :3, 3]).max() < 1e-3, pose
        assert len(body.data.polygons) == 13710
        assert not addon("repair").doubts(body, ""), addon("repair").doubts(body, "")


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


def case_the_rig_and_its_coverage() -> None:
    body = add_body()
    panel = bpy.context.scene.vitruvian
    assert bpy.ops.vitruvian.add_rig() == {"FINISHED"}
    assert panel.camera_mode == "RIG"
    bpy.context.view_layer.update()
    cameras = addon("scene_export").take_snapshot(body, panel).scene.cameras
    assert (len(cameras.names), cameras.kinds.count("upper")) == (16, 8)
    rig = bpy.context.scene.collection.children["Vitruvian Cameras"]
    rig.objects["body_000"].vitruvian.view_prompt = "a face"
    rig.objects["upper_090"].vitruvian.view_kind = "face"
    cameras = addon("scene_export").take_snapshot(body, panel).scene.cameras
    assert dict(zip(cameras.names, cameras.prompts, strict=True))["body_000"] == "a face"
    assert [prompt for prompt in cameras.prompts if prompt] == ["a face"], (
        "the others say nothing of their own"
    )
    assert dict(zip(cameras.names, cameras.kinds, strict=True))["upper_090"] == "face"
    rig.objects["body_045"].hide_render = True
    assert "body_045" not in addon("scene_export").take_snapshot(body, panel).scene.cameras.names
    panel.upper_views = 0
    panel.body_views = 4
    bpy.ops.vitruvian.add_rig()
    assert len(addon("scene_export").cameras_of(panel)) == 4
    assert len(bpy.data.cameras) == 4, "an earlier rig is replaced whole"
    bpy.context.view_layer.update()
    four = addon("camera_rig").measure_coverage(body, panel)
    assert 0.5 < four.seen < 1.0
    body.parent.scale.x = -1
    bpy.context.view_layer.update()
    mirrored = addon("camera_rig").measure_coverage(body, panel)
    assert abs(mirrored.seen - four.seen) < 0.03, "a body is as well seen as its mirror image"
    body.parent.scale.x = 1
    bpy.context.view_layer.update()
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


def case_repairs() -> None:
    body = add_body()
    repair = addon("repair")
    while body.data.uv_layers:
        body.data.uv_layers.remove(body.data.uv_layers[0])
    assert [d.code for d in repair.doubts(body, "")] == ["BAD_SCENE:UV"]
    server()
    assert "no UV map" in refused(bpy.ops.vitruvian.generate)
    vertices = addon("uv_layout").read(body.data.vertices, "co", np.float32, 3)
    bpy.ops.vitruvian.repair_uv()
    panel = bpy.context.scene.vitruvian
    assert panel.uv_map == "Vitruvian UV"
    assert not repair.doubts(body, panel.uv_map)
    assert (addon("uv_layout").read(body.data.vertices, "co", np.float32, 3) == vertices).all()
    layer = body.data.uv_layers[panel.uv_map]
    uvs = addon("uv_layout").read(layer.data, "uv", np.float32, 2)
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
    assert "SCALE" in codes
    bpy.ops.vitruvian.repair_scale()
    assert tuple(body.scale) == (1, 1, 1)
    for modifier in list(body.modifiers):
        body.modifiers.remove(modifier)
    assert "NO_RIG" in [d.code for d in repair.doubts(body, "Vitruvian UV")]


def case_a_body_of_another_unit_is_brought_to_a_persons_size() -> None:
    """Modelled in centimetres, or a toy: object and rig are scaled, mesh and pose are not."""
    repair = addon("repair")
    for times in (100.0, 0.02):
        fresh()
        body = add_body()
        armature = body.parent
        before, mesh = whole_scene(body).mesh.vertices, fingerprint(body)["vertices"]
        armature.scale = [times * value for value in armature.scale]
        bpy.context.view_layer.update()
        (doubt,) = repair.doubts(body, "")
        assert (doubt.code, doubt.button[0]) == ("SIZE", "vitruvian.repair_size")
        assert bpy.ops.vitruvian.repair_size() == {"FINISHED"}
        assert not repair.doubts(body, "")
        after = whole_scene(body).mesh.vertices
        assert 1.4 < np.ptp(after, axis=0).max() < 2.0
        ratio = np.ptp(after, axis=0) / np.ptp(before, axis=0)
        assert np.ptp(ratio) < 1e-3, "evenly"
        assert fingerprint(body)["vertices"] == mesh
    assert "a few vertices" not in " ".join(d.sentence for d in repair.doubts(body, ""))
    body.parent.scale = (1, 1, 1)
    body.data.vertices[0].co.x = 1e6
    bpy.context.view_layer.update()
    assert [d.code for d in repair.doubts(body, "")] == ["SIZE"]
    assert "few vertices lie far" in refused(bpy.ops.vitruvian.repair_size)


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
