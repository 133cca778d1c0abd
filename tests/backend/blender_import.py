"""Runs in Blender's own environment: imports a GLB and writes what Blender makes of it.

python blender_import.py FILE.glb RESULT.npz
"""

import sys

import bpy  # pyright: ignore[reportMissingImports]  (Blender's own environment)
import numpy as np

source, result = sys.argv[1:3]
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_scene.gltf(filepath=source)
armatures = [item for item in bpy.data.objects if item.type == "ARMATURE"]
body = next(item for item in bpy.data.objects if item.type == "MESH" and item.data.materials)
evaluated = body.evaluated_get(bpy.context.evaluated_depsgraph_get())
mesh = evaluated.to_mesh()
np.savez(
    result,
    vertices=np.array([evaluated.matrix_world @ vertex.co for vertex in mesh.vertices]),
    bones=np.array([bone.name for armature in armatures for bone in armature.data.bones]),
    uv=np.array([loop.uv for loop in mesh.uv_layers[0].data]),
    image_size=np.array(next(image.size for image in bpy.data.images if image.size[0] > 0)),
)
