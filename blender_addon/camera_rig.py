"""The camera rig as Blender objects, and how much of the body the cameras see."""

from __future__ import annotations

import math
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix, Vector
from mathutils.bvhtree import BVHTree
from numpy.typing import NDArray

from . import camera_math
from .problems import Problem
from .scene_export import RIG_COLLECTION, VIEW_SIZE, camera_arrays_of, cameras_of
from .uv_layout import read

SAMPLES = 3000
"""Faces that are tested for coverage, chosen by area."""
SENSOR_MM = 36.0
MIN_COSINE = 0.15
"""A face seen more slantingly than this counts as unseen."""


@dataclass(frozen=True)
class Coverage:
    """What the cameras see of the body's surface."""

    points: NDArray[np.float32]
    """[S, 3] world positions of the samples"""
    views: NDArray[np.int32]
    """[S]: how many cameras see each"""

    @property
    def seen(self) -> float:
        return float((self.views > 0).mean())

    @property
    def seen_twice(self) -> float:
        return float((self.views > 1).mean())


def add_rig(body: bpy.types.Object, settings: bpy.types.PropertyGroup) -> bpy.types.Collection:
    """Cameras around the body as it is posed now; an earlier rig of ours is replaced."""
    triangles = _world_triangles(body)
    rings = camera_math.Rings(
        settings.body_views,
        settings.upper_views,
        settings.body_distance,
        settings.upper_distance,
        math.degrees(settings.body_elevation),
        math.degrees(settings.upper_elevation),
    )
    cameras = camera_math.make_rings(triangles.reshape(-1, 3).astype(np.float64), rings)
    collection = _fresh_collection()
    height = float(np.ptp(triangles[..., 2]))
    for made in cameras:
        data = bpy.data.cameras.new(made.name)
        data.sensor_fit, data.sensor_width = "AUTO", SENSOR_MM
        data.lens = camera_math.FOCAL_PER_SIZE * SENSOR_MM
        data.display_size = 0.08 * height
        camera = bpy.data.objects.new(made.name, data)
        camera.matrix_world = Matrix((made.T_world_cam @ camera_math.BLENDER_TO_CV).tolist())
        camera.vitruvian.view_kind = made.kind
        collection.objects.link(camera)
    settings.camera_mode = "RIG"
    return collection


def _fresh_collection() -> bpy.types.Collection:
    collection = bpy.data.collections.get(RIG_COLLECTION)
    if collection is None:
        collection = bpy.data.collections.new(RIG_COLLECTION)
    if collection.name not in bpy.context.scene.collection.children:
        bpy.context.scene.collection.children.link(collection)
    for item in list(collection.objects):
        data = item.data if item.type == "CAMERA" else None
        bpy.data.objects.remove(item)
        if data is not None and data.users == 0:
            bpy.data.cameras.remove(data)
    return collection


def measure_coverage(body: bpy.types.Object, settings: bpy.types.PropertyGroup) -> Coverage:
    """Cast rays from a sample of the surface to each camera.

    Raises:
        Problem: no cameras to test.
    """
    cameras = cameras_of(settings)
    if not cameras:
        raise Problem(
            "BAD_SCENE:CAMERA", "There is no camera to preview", "Add the camera rig, or choose My cameras"
        )
    triangles = _world_triangles(body).astype(np.float64)
    centres, normals = _samples(triangles)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    tree = BVHTree.FromObject(body, depsgraph)
    T_body_world = np.linalg.inv(np.array(body.evaluated_get(depsgraph).matrix_world, dtype=np.float64))
    size = float(np.ptp(triangles.reshape(-1, 3), axis=0).max())
    views = np.zeros(len(centres), np.int32)
    for camera in cameras:
        T, K = camera_arrays_of(camera, depsgraph)
        flat = camera.data.type == "ORTHO"
        pixels, z = camera_math.project(centres, T, K, flat)
        towards = np.broadcast_to(-T[:3, 2], centres.shape) if flat else T[:3, 3] - centres
        distance = np.linalg.norm(towards, axis=1)
        towards = towards / distance[:, None]
        framed = (z > 0) & (pixels >= 0).all(axis=1) & (pixels < VIEW_SIZE).all(axis=1)
        framed &= (towards * normals).sum(axis=1) > MIN_COSINE
        begin = centres + normals * size * 1e-4
        end = centres + towards * (2 * size if flat else distance[:, None])
        begin, end = (points @ T_body_world[:3, :3].T + T_body_world[:3, 3] for points in (begin, end))
        for index in np.flatnonzero(framed):
            along = Vector(end[index] - begin[index])
            hit = tree.ray_cast(Vector(begin[index]), along, along.length)
            views[index] += hit[0] is None
    return Coverage(centres.astype(np.float32), views)


def _samples(triangles: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres and unit normals of faces drawn by area, the same ones every time."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    doubled = np.linalg.norm(normals, axis=1)
    if not doubled.sum() > 0:
        raise Problem("BAD_SCENE:DEGENERATE", "The body has no surface", "Choose a body mesh with volume")
    chosen = np.random.default_rng(0).choice(len(triangles), SAMPLES, p=doubled / doubled.sum())
    return triangles[chosen].mean(axis=1), normals[chosen] / doubled[chosen, None]


def _world_triangles(body: bpy.types.Object) -> NDArray[np.float32]:
    """[F, 3, 3] of the evaluated body, Blender units, counter-clockwise from outside."""
    evaluated = body.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = evaluated.to_mesh()
    try:
        if mesh is None or not len(mesh.polygons):
            raise Problem("BAD_SCENE:EMPTY", f'"{body.name}" has no faces', "Choose a body mesh")
        mesh.calc_loop_triangles()
        matrix = np.array(evaluated.matrix_world, dtype=np.float32)
        vertices = read(mesh.vertices, "co", np.float32, 3) @ matrix[:3, :3].T + matrix[:3, 3]
        triangles = vertices[read(mesh.loop_triangles, "vertices", np.int32, 3)]
        return triangles[:, ::-1] if np.linalg.det(matrix[:3, :3]) < 0 else triangles
    finally:
        evaluated.to_mesh_clear()
