"""Malformed scenes by name, each with the code and the field that its refusal names.

Numbers are those of the list of malformed scenes. What is not here belongs to others: 13, 21 to 23 (faces of
other than three corners) and 27, 28, 36, 42 (object scales, layers, clipping) end in the add-on, which sends
triangles in world space; 49 to 70 are in `malformed_files.py` and `malformed_frames.py`, 71 to 74 in
`malformed_settings.py`; 60 and 80 are the server's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from protocol_scenes import ball, body, cameras, rig

from vitruvian_protocol import Scene, limits


def mesh_with(**changes: Any) -> Scene:
    return Scene(dataclasses.replace(body(), rig=None, **changes))


def vertices_with(index: int, value: float) -> Scene:
    vertices = ball()[0]
    vertices[index] = value
    return mesh_with(vertices=vertices)


def faces_with(value: tuple[int, int, int]) -> Scene:
    faces = ball()[1]
    faces[7] = value
    return mesh_with(faces=faces)


def uvs_with(value: float) -> Scene:
    uvs = ball()[2]
    uvs[3, 1, 0] = value
    return mesh_with(corner_uvs=uvs)


def rig_with(**changes: Any) -> Scene:
    return Scene(dataclasses.replace(body(), rig=dataclasses.replace(rig(ball()[0]), **changes)))


def cameras_with(**changes: Any) -> Scene:
    return Scene(body(), dataclasses.replace(cameras(), **changes))


def lens_with(row: int, column: int, value: float) -> Scene:
    K = cameras().K
    K[2, row, column] = value
    return cameras_with(K=K)


def pose_with(change: Callable[[np.ndarray], None]) -> Scene:
    T = cameras().T_world_cam
    change(T[2])
    return cameras_with(T_world_cam=T)


def scaled(matrix: np.ndarray) -> None:
    matrix[:3, :3] *= 1.01


def mirrored(matrix: np.ndarray) -> None:
    matrix[:3, 0] *= -1


def sheared(matrix: np.ndarray) -> None:
    matrix[0, 1] += 0.1


def projective(matrix: np.ndarray) -> None:
    matrix[3] = (0, 0, 1, 0)


def far(matrix: np.ndarray) -> None:
    matrix[0, 3] = 1e6


def unknown(matrix: np.ndarray) -> None:
    matrix[1, 1] = np.nan


V, F = len(ball()[0]), len(ball()[1])
LINE = np.stack([np.linspace(0, 1, V), np.linspace(0, 2, V), np.zeros(V)], 1).astype("f4")
TWO_FAR = np.concatenate([ball()[0], ball()[0] + np.array([9e3, 0, 0], "f4")])

MALFORMED: dict[str, tuple[Scene, str, str]] = {
    "1 no vertices": (mesh_with(vertices=np.zeros((0, 3), "f4")), "BAD_SCENE:EMPTY", "$.mesh.vertices"),
    "2 no faces": (mesh_with(faces=np.zeros((0, 3), "i4")), "BAD_SCENE:EMPTY", "$.mesh.faces"),
    "3 NaN": (vertices_with(11, np.nan), "BAD_SCENE:NOT_FINITE", "$.mesh.vertices[11]"),
    "4 infinite": (vertices_with(12, np.inf), "BAD_SCENE:NOT_FINITE", "$.mesh.vertices[12]"),
    "4 minus infinite": (vertices_with(0, -np.inf), "BAD_SCENE:NOT_FINITE", "$.mesh.vertices[0]"),
    "5 1e38": (vertices_with(3, 1e38), "BAD_SCENE:SIZE", "$.mesh.vertices"),
    "6 denormal": (mesh_with(vertices=ball(1e-40)[0]), "BAD_SCENE:SIZE", "$.mesh.vertices"),
    "7 one point": (mesh_with(vertices=np.ones((V, 3), "f4")), "BAD_SCENE:SIZE", "$.mesh.vertices"),
    "8 a line": (mesh_with(vertices=LINE), "BAD_SCENE:DEGENERATE", "$.mesh.faces"),
    "9 index is the count": (faces_with((0, 1, V)), "BAD_SCENE:INDEX", "$.mesh.faces[7]"),
    "10 index is -1": (faces_with((0, -1, 1)), "BAD_SCENE:INDEX", "$.mesh.faces[7]"),
    "11 index is 2^31-1": (faces_with((2**31 - 1, 0, 1)), "BAD_SCENE:INDEX", "$.mesh.faces[7]"),
    "12 unsigned": (mesh_with(faces=ball()[1].view("u4")), "BAD_SCENE:DTYPE", "$.mesh.faces"),
    "13 two corners": (mesh_with(faces=ball()[1][:, :2]), "BAD_SCENE:SHAPE", "$.mesh.faces"),
    "15 only flat faces": (mesh_with(faces=np.zeros((F, 3), "i4")), "BAD_SCENE:DEGENERATE", "$.mesh.faces"),
    "24 2,000,001 vertices": (
        mesh_with(vertices=np.zeros((limits.VERTICES + 1, 3), "f4")),
        "TOO_LARGE",
        "$.mesh.vertices",
    ),
    "24 4,000,001 faces": (
        mesh_with(faces=np.zeros((limits.FACES + 1, 3), "i4")),
        "TOO_LARGE",
        "$.mesh.faces",
    ),
    "25 two bodies far apart": (mesh_with(vertices=TWO_FAR), "BAD_SCENE:SIZE", "$.mesh.vertices"),
    "26 a thousandth of a millimetre": (
        mesh_with(vertices=ball(5e-7)[0]),
        "BAD_SCENE:SIZE",
        "$.mesh.vertices",
    ),
    "26 ten kilometres": (mesh_with(vertices=ball(5e3)[0]), "BAD_SCENE:SIZE", "$.mesh.vertices"),
    "30 UVs of other faces": (
        mesh_with(corner_uvs=ball()[2][:-1]),
        "BAD_SCENE:SHAPE",
        "$.mesh.corner_uvs",
    ),
    "31 UV is NaN": (uvs_with(np.nan), "BAD_SCENE:NOT_FINITE", "$.mesh.corner_uvs[3]"),
    "31 UV is infinite": (uvs_with(np.inf), "BAD_SCENE:NOT_FINITE", "$.mesh.corner_uvs[3]"),
    "32 UV is a million": (uvs_with(1e6), "BAD_SCENE:UV", "$.mesh.corner_uvs"),
    "37 no cameras": (
        Scene(body(), dataclasses.replace(cameras(1), names=())),
        "BAD_SCENE:CAMERA",
        "$.cameras",
    ),
    "38 65 cameras": (Scene(body(), cameras(65)), "TOO_LARGE", "$.cameras"),
    "39 matrix with NaN": (pose_with(unknown), "BAD_SCENE:NOT_FINITE", "$.cameras.T_world_cam[2]"),
    "39 scaled matrix": (pose_with(scaled), "BAD_SCENE:CAMERA", "$.cameras.T_world_cam[2]"),
    "39 mirrored matrix": (pose_with(mirrored), "BAD_SCENE:CAMERA", "$.cameras.T_world_cam[2]"),
    "39 sheared matrix": (pose_with(sheared), "BAD_SCENE:CAMERA", "$.cameras.T_world_cam[2]"),
    "39 projective matrix": (pose_with(projective), "BAD_SCENE:CAMERA", "$.cameras.T_world_cam[2]"),
    "39 far away": (pose_with(far), "BAD_SCENE:CAMERA", "$.cameras.T_world_cam[2]"),
    "40 lens 0": (lens_with(0, 0, 0), "BAD_SCENE:CAMERA", "$.cameras.K[2]"),
    "40 lens 1e9": (lens_with(1, 1, 1e9), "BAD_SCENE:CAMERA", "$.cameras.K[2]"),
    "40 lens NaN": (lens_with(1, 1, np.nan), "BAD_SCENE:NOT_FINITE", "$.cameras.K[2]"),
    "41 neither flat nor not": (
        cameras_with(orthographic=np.full(4, 2, "u1")),
        "BAD_SCENE:INDEX",
        "$.cameras.orthographic[0]",
    ),
    "44 none sees it": (
        cameras_with(T_world_cam=cameras().T_world_cam @ np.diag([-1, 1, -1, 1]).astype("f4")),
        "BAD_SCENE:CAMERA",
        "$.cameras",
    ),
    "46 no pixels": (cameras_with(width=0), "BAD_SCENE:CAMERA", "$.cameras.width"),
    "46 one pixel": (cameras_with(height=1), "BAD_SCENE:CAMERA", "$.cameras.height"),
    "46 100,000 pixels": (cameras_with(width=100_000), "BAD_SCENE:CAMERA", "$.cameras.width"),
    "46 true pixels": (cameras_with(width=True), "BAD_SCENE:CAMERA", "$.cameras.width"),
    "47 negative sensor": (lens_with(0, 0, -600), "BAD_SCENE:CAMERA", "$.cameras.K[2]"),
    "48 shifted by 1e6": (lens_with(0, 2, 1e6), "BAD_SCENE:CAMERA", "$.cameras.K[2]"),
    "not an intrinsic matrix": (lens_with(2, 2, 2), "BAD_SCENE:CAMERA", "$.cameras.K[2]"),
    "too few kinds": (cameras_with(kinds=("body",)), "BAD_SCENE:SHAPE", "$.cameras.kinds"),
    "too few prompts": (cameras_with(prompts=("x",)), "BAD_SCENE:SHAPE", "$.cameras.kinds"),
    "prompt with NUL": (
        cameras_with(prompts=("", "\0", "", "")),
        "BAD_SCENE:CAMERA",
        "$.cameras.prompts[1]",
    ),
    "72 unknown kind": (
        cameras_with(kinds=("body", "feet", "body", "body")),
        "BAD_SCENE:CAMERA",
        "$.cameras.kinds[1]",
    ),
    "53 big-endian": (mesh_with(vertices=ball()[0].astype(">f4")), "BAD_SCENE:DTYPE", "$.mesh.vertices"),
    "53 objects": (mesh_with(vertices=ball()[0].astype(object)), "BAD_SCENE:DTYPE", "$.mesh.vertices"),
    "54 f8 for f4": (mesh_with(vertices=ball()[0].astype("f8")), "BAD_SCENE:DTYPE", "$.mesh.vertices"),
    "a list": (mesh_with(vertices=ball()[0].tolist()), "BAD_SCENE:DTYPE", "$.mesh.vertices"),
    "long name": (mesh_with(name="x" * 129), "BAD_SCENE:NAME", "$.mesh.name"),
    "name with a bell": (mesh_with(name="\x07"), "BAD_SCENE:NAME", "$.mesh.name"),
    "rig of no joints": (rig_with(joint_names=()), "TOO_LARGE", "$.mesh.rig.joint_names"),
    "joint twice": (rig_with(joint_names=("a", "a")), "BAD_SCENE:RIG", "$.mesh.rig.joint_names"),
    "joint is its own parent": (
        rig_with(joint_parents=np.array([-1, 1], "i4")),
        "BAD_SCENE:RIG",
        "$.mesh.rig.joint_parents[1]",
    ),
    "child before parent": (
        rig_with(joint_parents=np.array([1, -1], "i4")),
        "BAD_SCENE:RIG",
        "$.mesh.rig.joint_parents[0]",
    ),
    "weights do not add up": (
        rig_with(weights=np.full((V, 2), 0.4, "f4")),
        "BAD_SCENE:RIG",
        "$.mesh.rig.weights[0]",
    ),
    "negative weight": (
        rig_with(weights=np.tile(np.array([1.5, -0.5], "f4"), (V, 1))),
        "BAD_SCENE:RIG",
        "$.mesh.rig.weights[0]",
    ),
    "weight of no joint": (
        rig_with(weight_joints=np.full((V, 2), 2, "i4")),
        "BAD_SCENE:INDEX",
        "$.mesh.rig.weight_joints[0]",
    ),
    "weights of other vertices": (
        rig_with(weights=np.ones((V - 1, 2), "f4")),
        "BAD_SCENE:SHAPE",
        "$.mesh.rig.weights",
    ),
    "33 weights a vertex": (
        rig_with(weight_joints=np.zeros((V, 33), "i4")),
        "TOO_LARGE",
        "$.mesh.rig.weight_joints",
    ),
    "joint frame is NaN": (
        rig_with(T_rest_joint=np.full((2, 4, 4), np.nan, "f4")),
        "BAD_SCENE:NOT_FINITE",
        "$.mesh.rig.T_rest_joint[0]",
    ),
}

_NO_FILE = ("53 ", "54 ", "12 ", "a list", "38 ", "long name", "46 true", "72 ", "prompt with NUL")
ONLY_IN_MEMORY = tuple(name for name in MALFORMED if name.startswith(_NO_FILE))
"""Cases that no file can hold, or that are refused by their header in other words."""
