"""Ground truth from Blender: renders a mesh with Cycles from given cameras. Runs in bpy's own environment.

    .venv-blender/bin/python cycles_render.py scene.npz result.npz

scene.npz: vertices [V, 3], faces [F, 3], T_world_cam [N, 4, 4], K [N, 3, 3], orthographic [N], size (width,
height).
result.npz: mask [N, H, W], depth [N, H, W] (camera z, metres), normal [N, H, W, 3] (world, smooth).
Knows nothing of the backend: it shares with it only the conventions of its arguments.
"""

import sys
import tempfile
from pathlib import Path

import bpy  # pyright: ignore[reportMissingImports]  (Blender's own environment)
import numpy as np
from mathutils import Matrix  # pyright: ignore[reportMissingImports]

SENSOR = 36.0


def main(scene_path: str, result_path: str) -> None:
    scene = np.load(scene_path)
    width, height = (int(n) for n in scene["size"])
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    add_mesh(scene["vertices"], scene["faces"])
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    with tempfile.TemporaryDirectory() as folder:
        set_up_render(width, height, folder)
        views = []
        for T, K, orthographic in zip(scene["T_world_cam"], scene["K"], scene["orthographic"], strict=True):
            place_camera(camera, T, K, bool(orthographic), width, height)
            bpy.ops.render.render()
            views.append({name: read_pass(folder, name) for name in ("Depth", "Normal", "IndexOB")})
    depth = np.stack([view["Depth"][..., 0] for view in views])
    normal = np.stack([view["Normal"] for view in views])
    mask = np.stack([view["IndexOB"][..., 0] > 0.5 for view in views])
    np.savez(result_path, mask=mask, depth=depth, normal=normal)


def add_mesh(vertices: np.ndarray, faces: np.ndarray) -> None:
    mesh = bpy.data.meshes.new("body")
    mesh.from_pydata(vertices.tolist(), [], faces.tolist())
    mesh.shade_smooth()
    body = bpy.data.objects.new("body", mesh)
    body.pass_index = 1
    bpy.context.scene.collection.objects.link(body)


def set_up_render(width: int, height: int, folder: str) -> None:
    """One ray through the middle of every pixel; passes written as float EXR files into `folder`."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.render.resolution_x, scene.render.resolution_y = width, height
    scene.render.resolution_percentage = 100
    scene.render.threads_mode, scene.render.threads = "FIXED", 2
    scene.cycles.samples = 1
    scene.cycles.use_adaptive_sampling = False
    scene.cycles.use_denoising = False
    # Cycles jitters a sample by the filter's width: the smallest filter samples the pixel's centre.
    scene.cycles.pixel_filter_type = "BLACKMAN_HARRIS"
    scene.cycles.filter_width = 0.01
    layer = bpy.context.view_layer
    layer.use_pass_z = layer.use_pass_normal = layer.use_pass_object_index = True
    scene.use_nodes = True
    tree = scene.node_tree
    tree.nodes.clear()
    source = tree.nodes.new("CompositorNodeRLayers")
    sink = tree.nodes.new("CompositorNodeOutputFile")
    sink.base_path = folder
    sink.format.file_format = "OPEN_EXR"
    sink.format.color_depth = "32"
    sink.file_slots.clear()
    for name in ("Depth", "Normal", "IndexOB"):
        sink.file_slots.new(name)
        tree.links.new(source.outputs[name], sink.inputs[name])


def place_camera(
    camera: bpy.types.Object, T: np.ndarray, K: np.ndarray, orthographic: bool, width: int, height: int
) -> None:
    """Blender's camera from OpenCV axes and pixel intrinsics (square pixels, no skew)."""
    assert abs(K[0, 0] - K[1, 1]) < 1e-3 * K[0, 0]
    assert abs(K[0, 1]) < 1e-9
    camera.matrix_world = Matrix((T @ np.diag([1.0, -1.0, -1.0, 1.0])).tolist())
    data = camera.data
    data.sensor_fit, data.sensor_width = "HORIZONTAL", SENSOR
    data.clip_start, data.clip_end = 0.01, 100.0
    data.type = "ORTHO" if orthographic else "PERSP"
    if orthographic:
        data.ortho_scale = width / float(K[0, 0])
    else:
        data.lens = float(K[0, 0]) * SENSOR / width
    data.shift_x = (width / 2 - float(K[0, 2])) / width
    data.shift_y = (float(K[1, 2]) - height / 2) / width


def read_pass(folder: str, name: str) -> np.ndarray:
    """The first three channels of a pass just written, row 0 at the top; the file is removed."""
    path = next(Path(folder).glob(f"{name}*.exr"))
    image = bpy.data.images.load(str(path))
    image.colorspace_settings.name = "Non-Color"
    width, height = image.size
    pixels = np.empty(width * height * image.channels, dtype=np.float32)
    image.pixels.foreach_get(pixels)
    pixels = pixels.reshape(height, width, image.channels)[::-1, :, :3].copy()
    bpy.data.images.remove(image)
    path.unlink()
    return pixels


if __name__ == "__main__":
    main(*sys.argv[1:])
