"""What an artist sends: a posed body, cameras, and the settings of a job.

World space is in metres, right-handed, +Z up; the body faces -Y. Arrays are C-ordered, little-endian and are
never written to after a scene is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ViewKind = Literal["body", "upper", "face", "extra"]
VIEW_KINDS: tuple[ViewKind, ...] = ("body", "upper", "face", "extra")

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
UInt8 = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class RigArrays:
    """A skeleton with linear-blend-skinning weights: J joints, V vertices, K weights a vertex."""

    joint_names: tuple[str, ...]
    joint_parents: Int32
    """i4 [J]: index of the parent joint, -1 for a root. Parents come before children."""
    T_world_joint: Float32
    """f4 [J, 4, 4]: joint frames in the pose of `MeshArrays.vertices`."""
    T_rest_joint: Float32
    """f4 [J, 4, 4]: joint frames in the rest pose of `rest_vertices`."""
    rest_vertices: Float32
    """f4 [V, 3]"""
    weight_joints: Int32
    """i4 [V, K]: which joints move each vertex."""
    weights: Float32
    """f4 [V, K]: by how much; rows sum to 1, unused slots are 0."""


@dataclass(frozen=True, eq=False)
class MeshArrays:
    """A triangle mesh, evaluated and posed: V vertices, F faces."""

    name: str
    vertices: Float32
    """f4 [V, 3]"""
    faces: Int32
    """i4 [F, 3]: counter-clockwise seen from outside."""
    corner_uvs: Float32 | None = None
    """f4 [F, 3, 2]: texture coordinates of each face's corners in [0, 1], origin bottom-left."""
    rig: RigArrays | None = None


@dataclass(frozen=True, eq=False)
class CameraArrays:
    """N cameras of one image size, OpenCV axes (x right, y down, z forward), pixel centres at +0.5."""

    names: tuple[str, ...]
    kinds: tuple[ViewKind, ...]
    """What each frames; close-ups ("upper", "face") override "body" views where both see a point."""
    T_world_cam: Float32
    """f4 [N, 4, 4]: camera to world; a rotation and a position, no scale."""
    K: Float32
    """f4 [N, 3, 3]: intrinsics in pixels. For an orthographic camera fx and fy are pixels per metre."""
    orthographic: UInt8
    """u1 [N]: 1 for orthographic, 0 for perspective."""
    width: int
    height: int
    prompts: tuple[str, ...] = ()
    """What one view shows beside the job's prompt; "" for none. Empty: none for any camera."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A body and the cameras to paint it from."""

    mesh: MeshArrays
    cameras: CameraArrays | None = None
    """None: the backend's own two rings."""


@dataclass(frozen=True)
class Settings:
    """What to make. Bounds are in `checks.check_settings`."""

    prompt: str
    negative: str = ""
    seed: int = 0
    """0 to 2^32 - 1"""
    steps: int = 20
    """1 to 1000"""
    guidance: float | None = None
    """1 to 30; None takes the method's own."""
    size: int | None = None
    """Pixels of a view's larger side, 128 to 2048, a multiple of 8; None takes the prior's own."""
    texture_size: int = 1024
    """512 to 4096, a multiple of 8"""
    method: str = "mvhuman"
    prior: str = "mini"
    """A name that the server's administrator has given to a prior; never a path."""
    reference: bool = True
    """Let every view look at the front close-up while it is painted."""
