"""A small body with UVs, a rig and cameras, for the tests of the protocol."""

from __future__ import annotations

import numpy as np

from vitruvian_protocol import CameraArrays, MeshArrays, RigArrays, Scene
from vitruvian_protocol.scene import Float32, Int32, ViewKind

RINGS, SIDES = 12, 16


def ball(radius: float = 1.0) -> tuple[Float32, Int32, Float32]:
    """Vertices, faces (outward) and corner UVs of a globe whose map unrolls it once over the unit square."""
    latitude = np.linspace(0, np.pi, RINGS)[1:-1]
    longitude = np.linspace(0, 2 * np.pi, SIDES, endpoint=False)
    sin, cos = np.sin(latitude)[:, None], np.cos(latitude)[:, None]
    rows = np.stack([sin * np.cos(longitude), sin * np.sin(longitude), cos + 0 * longitude], -1)
    vertices = np.concatenate([[[0, 0, 1]], rows.reshape(-1, 3), [[0, 0, -1]]]) * radius
    faces: list[tuple[int, int, int]] = []
    uvs: list[list[tuple[float, float]]] = []
    for row in range(RINGS - 1):
        high, low = 1 - row / (RINGS - 1), 1 - (row + 1) / (RINGS - 1)
        for side in range(SIDES):
            left, right = side / SIDES, (side + 1) / SIDES
            a, b = _at(row, side), _at(row, side + 1)
            c, d = _at(row + 1, side), _at(row + 1, side + 1)
            if row > 0:
                faces.append((a, c, b))
                uvs.append([(left, high), (left, low), (right, high)])
            if row < RINGS - 2:
                faces.append((b, c, d))
                uvs.append([(right, high), (left, low), (right, low)])
    return vertices.astype("f4"), np.array(faces, "i4"), np.array(uvs, "f4")


def _at(row: int, side: int) -> int:
    if row == 0:
        return 0
    if row == RINGS - 1:
        return 1 + (RINGS - 2) * SIDES
    return 1 + (row - 1) * SIDES + side % SIDES


def rig(vertices: Float32) -> RigArrays:
    """Two joints, each with a half."""
    upper = vertices[:, 2] > 0
    weights = np.stack([~upper, upper], 1).astype("f4")
    joints = np.tile(np.eye(4, dtype="f4"), (2, 1, 1))
    return RigArrays(
        joint_names=("root", "spine"),
        joint_parents=np.array([-1, 0], "i4"),
        T_world_joint=joints,
        T_rest_joint=joints.copy(),
        rest_vertices=vertices.copy(),
        weight_joints=np.tile(np.array([0, 1], "i4"), (len(vertices), 1)),
        weights=weights,
    )


def cameras(count: int = 4, distance: float = 4.0) -> CameraArrays:
    """A ring of cameras that look at the origin, each turned by the same angle."""
    poses: list[Float32] = []
    for i in range(count):
        angle = 2 * np.pi * i / count
        forward = np.array([np.sin(angle), np.cos(angle), 0])
        right = np.array([np.cos(angle), -np.sin(angle), 0])
        T = np.eye(4, dtype="f4")
        T[:3, :3] = np.stack([right, np.array([0, 0, -1]), forward], 1)
        T[:3, 3] = -distance * forward
        poses.append(T)
    K = np.array([[600, 0, 256], [0, 600, 256], [0, 0, 1]], "f4")
    kinds: tuple[ViewKind, ...] = ("body",) * count
    return CameraArrays(
        names=tuple(f"camera {i}" for i in range(count)),
        kinds=kinds,
        T_world_cam=np.stack(poses),
        K=np.tile(K, (count, 1, 1)),
        orthographic=np.zeros(count, "u1"),
        width=512,
        height=512,
        prompts=tuple(f"view {i}" for i in range(count)),
    )


def body() -> MeshArrays:
    vertices, faces, uvs = ball()
    return MeshArrays("Körper", vertices, faces, uvs, rig(vertices))


def scene() -> Scene:
    return Scene(body(), cameras())
