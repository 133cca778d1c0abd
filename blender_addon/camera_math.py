"""Cameras in numpy: rings around a body, Blender's lens as pixel intrinsics. No bpy.

OpenCV axes (x right, y down, z forward), pixel centres at +0.5; Blender's cameras look down -Z with +Y up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FOCAL_PER_SIZE = 550 / 512
"""Focal length in image widths of the default rings: a field of view of 49.9 degrees."""
MARGIN = 0.04
"""Free share of the image at each edge, so that crown, hands and feet are not clipped."""
UPPER_DISTANCE, UPPER_RAISE, REFERENCE_HEIGHT = 0.959, 0.5, 1.8
"""Close-up ring: metres from and above the centre of a body 1.8 m tall."""
BLENDER_TO_CV = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class RingCamera:
    """One camera of a ring, ready to become an object."""

    name: str
    kind: str
    T_world_cam: Array
    """[4, 4], OpenCV axes, metres"""


@dataclass(frozen=True)
class Rings:
    """How many cameras, how far and how high. Distances are factors of what frames the body."""

    body_views: int = 8
    upper_views: int = 8
    body_distance: float = 1.0
    upper_distance: float = 1.0
    body_elevation: float = 15.0
    """Degrees above the horizon."""
    upper_elevation: float = 16.4


def look_at(position: Array, target: Array) -> Array:
    """`T_world_cam` with the image's top towards +Z."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    T = np.eye(4)
    T[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    T[:3, 3] = position
    return T


def ring_direction(azimuth: float, elevation: float) -> Array:
    """Unit vector from the body to a camera; degrees; azimuth 0 is in front (-Y), 90 at its left (+X)."""
    a, e = math.radians(azimuth), math.radians(elevation)
    return np.array([math.sin(a) * math.cos(e), -math.cos(a) * math.cos(e), math.sin(e)])


def fitting_distance(points: Array, target: Array, azimuths: list[float], elevation: float) -> float:
    """The smallest distance at which `points` [P, 3] project inside the margin in every view."""
    tangent = (0.5 - MARGIN) / FOCAL_PER_SIZE
    nearest = 0.0
    for azimuth in azimuths:
        R = look_at(ring_direction(azimuth, elevation), np.zeros(3))[:3, :3]
        seen = (points - target) @ R
        nearest = max(nearest, float((np.abs(seen[:, :2]).max(axis=1) / tangent - seen[:, 2]).max()))
    return nearest


def make_rings(vertices: Array, rings: Rings) -> list[RingCamera]:
    """A whole-body ring and an upper-body ring at even azimuths, framed as the backend frames its own."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    centre, height = (low + high) / 2, float(high[2] - low[2])
    around = _azimuths(rings.body_views)
    distance = rings.body_distance * fitting_distance(vertices, centre, around, rings.body_elevation)
    cameras = _ring("body", centre, around, rings.body_elevation, distance)
    target = centre + np.array([0.0, 0.0, UPPER_RAISE / REFERENCE_HEIGHT * height])
    above = vertices[vertices[:, 2] > target[2]]
    if len(above):
        # Somebody who sits has head and trunk behind the middle of the whole body.
        target[:2] = np.sort(above[:, :2], axis=0)[(len(above) - 1) // 2]
    # Near the trunk's axis: of hands held high and spread arms nothing need stay inside a close-up.
    tops = above[np.linalg.norm(above[:, :2] - target[:2], axis=1) < 0.12 * height]
    around = _azimuths(rings.upper_views)
    near = UPPER_DISTANCE / REFERENCE_HEIGHT * height
    if len(tops) and around:
        near = max(near, fitting_distance(tops, target, around, rings.upper_elevation))
    return cameras + _ring("upper", target, around, rings.upper_elevation, rings.upper_distance * near)


def intrinsics(
    lens_mm: float,
    sensor_width_mm: float,
    sensor_height_mm: float,
    sensor_fit: str,
    shift: tuple[float, float],
    size: int,
) -> Array:
    """`K` [3, 3] of a Blender perspective camera in a square image of `size` pixels."""
    sensor = sensor_height_mm if sensor_fit == "VERTICAL" else sensor_width_mm
    f = lens_mm * size / sensor
    return _K(f, shift, size)


def orthographic_intrinsics(ortho_scale: float, shift: tuple[float, float], size: int) -> Array:
    """`K` of an orthographic camera `ortho_scale` metres across: pixels per metre on the diagonal."""
    return _K(size / ortho_scale, shift, size)


def camera_pose(matrix_world: Array) -> Array:
    """`T_world_cam` from a Blender camera's world matrix; its scale is left out, as Blender's renderers do.

    Raises:
        ValueError: a matrix without volume, or mirrored.
    """
    columns = matrix_world[:3, :3]
    lengths = np.linalg.norm(columns, axis=0)
    if not np.isfinite(matrix_world).all() or lengths.min() < 1e-9:
        raise ValueError("has a scale of zero")
    R = columns / lengths
    if np.linalg.det(R) < 0.5:
        raise ValueError("is mirrored or sheared")
    U, _, Vh = np.linalg.svd(R)
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = U @ Vh, matrix_world[:3, 3]
    return T @ BLENDER_TO_CV


def project(points: Array, T_world_cam: Array, K: Array, orthographic: bool) -> tuple[Array, Array]:
    """World points [P, 3] to pixels [P, 2] and depth [P]."""
    local = (points - T_world_cam[:3, 3]) @ T_world_cam[:3, :3]
    z = local[:, 2]
    plane = local[:, :2] if orthographic else local[:, :2] / np.where(np.abs(z) < 1e-9, 1e-9, z)[:, None]
    return plane * K[[0, 1], [0, 1]] + K[:2, 2], z


def _K(f: float, shift: tuple[float, float], size: int) -> Array:
    return np.array(
        [[f, 0.0, size / 2 - shift[0] * size], [0.0, f, size / 2 + shift[1] * size], [0.0, 0.0, 1.0]]
    )


def _azimuths(count: int) -> list[float]:
    return [360.0 * i / count for i in range(count)]


def _ring(
    kind: str, target: Array, azimuths: list[float], elevation: float, distance: float
) -> list[RingCamera]:
    return [
        RingCamera(
            f"{kind}_{round(a):03d}", kind, look_at(target + distance * ring_direction(a, elevation), target)
        )
        for a in azimuths
    ]
