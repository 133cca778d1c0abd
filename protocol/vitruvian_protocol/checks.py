"""What a scene and settings must be: checked by the client before sending and by the server again.

Everything refused here is named by the path of its field. What only makes a result worse is in `doubts.py`.
"""

from __future__ import annotations

import math
import unicodedata
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from . import limits
from .errors import ProtocolError
from .scene import VIEW_KINDS, CameraArrays, MeshArrays, RigArrays, Scene, Settings

_LEAST_AREA = 1e-6
"""Of the square of the body's extent; a person's skin has about 0.6."""
_AREA_FACES = 2**18
"""So many are measured at once: some 30 MB."""
_BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that turn the direction of writing: text with them reads otherwise than it is."""


def check_scene(scene: Scene) -> None:
    """Refuse a scene that no method can work on.

    Raises:
        ProtocolError: BAD_SCENE:* or TOO_LARGE, with the field's path, the value found and the limit.
    """
    _check_mesh(scene.mesh)
    if scene.mesh.rig is not None:
        _check_rig(scene.mesh.rig, len(scene.mesh.vertices))
    if scene.cameras is not None:
        _check_cameras(scene.cameras)
        _check_something_seen(scene.cameras, scene.mesh.vertices)


def check_settings(settings: Settings) -> None:
    """Refuse settings out of their bounds.

    Raises:
        ProtocolError: BAD_SETTINGS with the field's path.
    """
    if not settings.prompt.strip():
        raise ProtocolError("BAD_SETTINGS", "$.settings.prompt", "is empty")
    for name in ("prompt", "negative"):
        _check_text(getattr(settings, name), "BAD_SETTINGS", f"$.settings.{name}", limits.PROMPT)
    for name in ("method", "prior"):
        value = getattr(settings, name)
        _check_text(value, "BAD_SETTINGS", f"$.settings.{name}", 64)
        if not value or not all(c.isascii() and (c.isalnum() or c in "_-.") for c in value):
            raise ProtocolError("BAD_SETTINGS", f"$.settings.{name}", "is not a name", value)
    _check_number("seed", settings.seed, 0, 2**32 - 1)
    _check_number("steps", settings.steps, 1, 1_000)
    _check_number("texture_size", settings.texture_size, 512, 4_096, step=8)
    if settings.size is not None:
        _check_number("size", settings.size, 128, 2_048, step=8)
    if settings.guidance is not None:
        guidance: Any = settings.guidance
        if isinstance(guidance, bool) or not isinstance(guidance, int | float) or not 1 <= guidance <= 30:
            raise ProtocolError("BAD_SETTINGS", "$.settings.guidance", "is out of range", guidance, "1 to 30")
    reference: Any = settings.reference
    if not isinstance(reference, bool):
        raise ProtocolError("BAD_SETTINGS", "$.settings.reference", "is not true or false", reference)


def clean_prompt(text: str) -> str:
    """What an artist pasted, as one line that `check_settings` takes: NFC, no control or bidi characters."""
    spaced = "".join(" " if c in "\t\n\r\v\f\u2028\u2029" else c for c in unicodedata.normalize("NFC", text))
    return " ".join("".join(c for c in spaced if not _is_hidden(c)).split())


def _is_hidden(character: str) -> bool:
    return character in _BIDI or unicodedata.category(character) in ("Cc", "Cs")


def _check_text(value: Any, code: str, path: str, longest: int) -> None:
    if not isinstance(value, str):
        raise ProtocolError(code, path, "is not text", type(value).__name__)
    if len(value) > longest:
        raise ProtocolError(code, path, "is too long", f"{len(value)} characters", longest)
    if any(_is_hidden(c) for c in value):
        raise ProtocolError(code, path, "has control characters", ascii(value))


def _check_number(name: str, value: Any, low: int, high: int, step: int = 1) -> None:
    path = f"$.settings.{name}"
    if isinstance(value, bool) or not isinstance(value, int):
        raise ProtocolError("BAD_SETTINGS", path, "is not a whole number", value)
    if not low <= value <= high:
        raise ProtocolError("BAD_SETTINGS", path, "is out of range", value, f"{low} to {high}")
    if value % step:
        raise ProtocolError("BAD_SETTINGS", path, f"is not a multiple of {step}", value)


def _check_array(array: Any, path: str, dtype: str, shape: tuple[int | None, ...]) -> None:
    """Type and shape; None stands for any length."""
    if not isinstance(array, np.ndarray):
        raise ProtocolError("BAD_SCENE:DTYPE", path, "is not an array", type(array).__name__)
    found = cast(NDArray[Any], array)
    if found.dtype != np.dtype(dtype):
        raise ProtocolError("BAD_SCENE:DTYPE", path, f"is not {dtype}", found.dtype)
    if found.ndim != len(shape) or any(s not in (None, n) for s, n in zip(shape, found.shape, strict=True)):
        wanted = " x ".join("any" if s is None else str(s) for s in shape)
        got = " x ".join(map(str, found.shape))
        raise ProtocolError("BAD_SCENE:SHAPE", path, f"is not {wanted}", got)


def _check_finite(array: NDArray[Any], path: str) -> None:
    """Names the first bad row and how many there are."""
    with np.errstate(invalid="ignore"):
        # NaN and infinity show in the extremes, which need no memory: a server checks large meshes as well.
        if np.isfinite(array.min()) and np.isfinite(array.max()):
            return
    good = np.isfinite(array).reshape(len(array), math.prod(array.shape[1:])).all(axis=1)
    first = int(np.argmin(good))
    problem = f"is not finite ({int((~good).sum())} of {len(array)} are not)"
    raise ProtocolError(
        "BAD_SCENE:NOT_FINITE", f"{path}[{first}]", problem, array[first].ravel()[:16].tolist()
    )


def _check_indices(indices: NDArray[Any], path: str, low: int, high: int, what: str) -> None:
    """Every entry in [low, high)."""
    if low <= indices.min() and indices.max() < high:
        return
    outside = (indices < low) | (indices >= high)
    first = int(np.argmax(outside.reshape(len(indices), -1).any(axis=1)))
    raise ProtocolError(
        "BAD_SCENE:INDEX", f"{path}[{first}]", f"points outside the {high} {what}", indices[first].tolist()
    )


def _check_mesh(mesh: MeshArrays) -> None:
    path = "$.mesh"
    _check_text(mesh.name, "BAD_SCENE:NAME", f"{path}.name", limits.NAME)
    _check_array(mesh.vertices, f"{path}.vertices", "f4", (None, 3))
    _check_array(mesh.faces, f"{path}.faces", "i4", (None, 3))
    vertices, faces = mesh.vertices, mesh.faces
    for array, name, most in ((vertices, "vertices", limits.VERTICES), (faces, "faces", limits.FACES)):
        if len(array) == 0:
            raise ProtocolError("BAD_SCENE:EMPTY", f"{path}.{name}", f"has no {name}")
        if len(array) > most:
            raise ProtocolError("TOO_LARGE", f"{path}.{name}", f"has too many {name}", len(array), most)
    _check_finite(vertices, f"{path}.vertices")
    _check_indices(faces, f"{path}.faces", 0, len(vertices), "vertices")
    _check_extent(vertices)
    _check_area(vertices, faces)
    if mesh.corner_uvs is not None:
        _check_array(mesh.corner_uvs, f"{path}.corner_uvs", "f4", (len(faces), 3, 2))
        _check_finite(mesh.corner_uvs, f"{path}.corner_uvs")
        furthest = float(max(mesh.corner_uvs.max(), -mesh.corner_uvs.min()))
        if furthest > 1e3:
            raise ProtocolError(
                "BAD_SCENE:UV", f"{path}.corner_uvs", "is far outside the unit square", furthest
            )


def _check_extent(vertices: NDArray[np.float32]) -> None:
    low, high = vertices.min(axis=0).astype(np.float64), vertices.max(axis=0).astype(np.float64)
    furthest, extent = float(np.maximum(np.abs(low), np.abs(high)).max()), float((high - low).max())
    path = "$.mesh.vertices"
    if furthest > limits.METRES:
        raise ProtocolError(
            "BAD_SCENE:SIZE", path, f"is {furthest:.3g} m from the origin", f"{furthest:.3g}", limits.METRES
        )
    if not limits.EXTENT_MIN <= extent <= limits.EXTENT_MAX:
        bounds = f"{limits.EXTENT_MIN:g} to {limits.EXTENT_MAX:g}"
        raise ProtocolError("BAD_SCENE:SIZE", path, f"is {extent:.3g} m across", f"{extent:.3g}", bounds)


def _check_area(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> None:
    """Points, lines and slivers have no surface to paint."""
    scale = float((vertices.max(axis=0) - vertices.min(axis=0)).max())
    area = 0.0
    for start in range(0, len(faces), _AREA_FACES):
        a, b, c = (vertices[faces[start : start + _AREA_FACES, i]] / scale for i in range(3))
        area += float(np.linalg.norm(np.cross(b - a, c - a).astype(np.float64), axis=1).sum()) / 2
    if area < _LEAST_AREA:
        raise ProtocolError(
            "BAD_SCENE:DEGENERATE", "$.mesh.faces", "all faces together have no area", f"{area:.3g}"
        )


def _check_rig(rig: RigArrays, vertices: int) -> None:
    path, joints = "$.mesh.rig", len(rig.joint_names)
    if not 0 < joints <= limits.JOINTS:
        raise ProtocolError("TOO_LARGE", f"{path}.joint_names", "has none or too many", joints, limits.JOINTS)
    for i, name in enumerate(rig.joint_names):
        _check_text(name, "BAD_SCENE:NAME", f"{path}.joint_names[{i}]", limits.NAME)
    if len(set(rig.joint_names)) != joints:
        raise ProtocolError("BAD_SCENE:RIG", f"{path}.joint_names", "has a name twice")
    _check_array(rig.joint_parents, f"{path}.joint_parents", "i4", (joints,))
    if (rig.joint_parents >= np.arange(joints)).any() or (rig.joint_parents < -1).any():
        first = int(np.argmax((rig.joint_parents >= np.arange(joints)) | (rig.joint_parents < -1)))
        got = int(rig.joint_parents[first])
        raise ProtocolError(
            "BAD_SCENE:RIG", f"{path}.joint_parents[{first}]", "is neither -1 nor an earlier joint", got
        )
    for name in ("T_world_joint", "T_rest_joint"):
        _check_array(getattr(rig, name), f"{path}.{name}", "f4", (joints, 4, 4))
        _check_finite(getattr(rig, name), f"{path}.{name}")
    _check_array(rig.rest_vertices, f"{path}.rest_vertices", "f4", (vertices, 3))
    _check_finite(rig.rest_vertices, f"{path}.rest_vertices")
    _check_weights(rig, vertices)


def _check_weights(rig: RigArrays, vertices: int) -> None:
    path = "$.mesh.rig"
    _check_array(rig.weight_joints, f"{path}.weight_joints", "i4", (vertices, None))
    slots = rig.weight_joints.shape[1]
    if not 0 < slots <= limits.WEIGHTS_PER_VERTEX:
        raise ProtocolError(
            "TOO_LARGE",
            f"{path}.weight_joints",
            "has none or too many a vertex",
            slots,
            limits.WEIGHTS_PER_VERTEX,
        )
    _check_array(rig.weights, f"{path}.weights", "f4", (vertices, slots))
    _check_indices(rig.weight_joints, f"{path}.weight_joints", 0, len(rig.joint_names), "joints")
    _check_finite(rig.weights, f"{path}.weights")
    bad = (np.abs(rig.weights.sum(axis=1) - 1) > 0.01) | (rig.weights.min(axis=1) < 0)
    if bad.any():
        first = int(np.argmax(bad))
        problem = f"has weights that are negative or do not add up to 1 ({int(bad.sum())} vertices)"
        raise ProtocolError("BAD_SCENE:RIG", f"{path}.weights[{first}]", problem, rig.weights[first].tolist())


def _check_cameras(cameras: CameraArrays) -> None:
    path, count = "$.cameras", len(cameras.names)
    if count == 0:
        raise ProtocolError("BAD_SCENE:CAMERA", path, "has no camera")
    if count > limits.CAMERAS:
        raise ProtocolError("TOO_LARGE", path, "has too many cameras", count, limits.CAMERAS)
    sides: dict[str, Any] = {"width": cameras.width, "height": cameras.height}
    for name, side in sides.items():
        low, high = limits.IMAGE_SIDE_MIN, limits.IMAGE_SIDE
        if isinstance(side, bool) or not isinstance(side, int) or not low <= side <= high:
            raise ProtocolError(
                "BAD_SCENE:CAMERA", f"{path}.{name}", "is out of range", side, f"{low} to {high}"
            )
    if len(cameras.kinds) != count or len(cameras.prompts) not in (0, count):
        raise ProtocolError("BAD_SCENE:SHAPE", f"{path}.kinds", f"and prompts do not match {count} cameras")
    for i in range(count):
        _check_text(cameras.names[i], "BAD_SCENE:NAME", f"{path}.names[{i}]", limits.NAME)
        if cameras.kinds[i] not in VIEW_KINDS:
            raise ProtocolError("BAD_SCENE:CAMERA", f"{path}.kinds[{i}]", "is unknown", cameras.kinds[i])
        if cameras.prompts:
            _check_text(cameras.prompts[i], "BAD_SCENE:CAMERA", f"{path}.prompts[{i}]", limits.PROMPT)
    _check_array(cameras.T_world_cam, f"{path}.T_world_cam", "f4", (count, 4, 4))
    _check_array(cameras.K, f"{path}.K", "f4", (count, 3, 3))
    _check_array(cameras.orthographic, f"{path}.orthographic", "u1", (count,))
    _check_finite(cameras.T_world_cam, f"{path}.T_world_cam")
    _check_finite(cameras.K, f"{path}.K")
    _check_indices(cameras.orthographic, f"{path}.orthographic", 0, 2, "values 0 and 1")
    for i in range(count):
        _check_pose(cameras.T_world_cam[i].astype(np.float64), f"{path}.T_world_cam[{i}]")
        _check_lens(cameras, i, f"{path}.K[{i}]")


def _check_pose(T: NDArray[np.float64], path: str) -> None:
    R = T[:3, :3]
    if not np.allclose(T[3], (0, 0, 0, 1), atol=1e-4):
        raise ProtocolError("BAD_SCENE:CAMERA", path, "has a last row other than 0 0 0 1", T[3].tolist())
    if not np.allclose(R.T @ R, np.eye(3), atol=1e-3) or np.linalg.det(R) < 0:
        problem = "is not a rotation (it is scaled, sheared or mirrored)"
        raise ProtocolError("BAD_SCENE:CAMERA", path, problem, R.round(3).tolist())
    furthest = float(np.abs(T[:3, 3]).max())
    if furthest > limits.METRES:
        raise ProtocolError("BAD_SCENE:CAMERA", path, "is too far away", f"{furthest:.3g} m", limits.METRES)


def _check_lens(cameras: CameraArrays, index: int, path: str) -> None:
    K = cameras.K[index].astype(np.float64)
    if not np.allclose((K[1, 0], K[2, 0], K[2, 1], K[2, 2]), (0, 0, 0, 1), atol=1e-4):
        raise ProtocolError("BAD_SCENE:CAMERA", path, "is not an intrinsic matrix", K.tolist())
    wide = max(cameras.width, cameras.height)
    low, high = (1e-2, 1e6) if cameras.orthographic[index] else (wide / 100, wide * 1_000)
    for focal in (K[0, 0], K[1, 1]):
        if not low <= focal <= high:
            bounds = f"{low:g} to {high:g}"
            raise ProtocolError(
                "BAD_SCENE:CAMERA", path, "has a focal length out of range", f"{focal:g}", bounds
            )
    off = max(abs(K[0, 1]), abs(K[0, 2]), abs(K[1, 2]))
    if off > 10 * wide:
        raise ProtocolError("BAD_SCENE:CAMERA", path, "is shifted too far", f"{off:g}", f"{10 * wide} pixels")


def seen_counts(cameras: CameraArrays, points: NDArray[np.float32]) -> NDArray[np.int64]:
    """i8 [N]: how many of `points` (f4 [P, 3], world) lie in each camera's image, hidden or not."""
    counts: list[int] = []
    for T, K, flat in zip(cameras.T_world_cam, cameras.K, cameras.orthographic, strict=True):
        p = (points - T[:3, 3]) @ T[:3, :3]
        front = p[:, 2] > 0
        depth = np.ones_like(p[:, 2]) if flat else np.where(front, p[:, 2], 1)
        x = (K[0, 0] * p[:, 0] + K[0, 1] * p[:, 1]) / depth + K[0, 2]
        y = K[1, 1] * p[:, 1] / depth + K[1, 2]
        inside = front & (x >= 0) & (x < cameras.width) & (y >= 0) & (y < cameras.height)
        counts.append(int(inside.sum()))
    return np.array(counts, np.int64)


def some_points(vertices: NDArray[np.float32], most: int = 20_000) -> NDArray[np.float32]:
    """At most about `most` vertices, evenly taken: enough to tell what a camera frames."""
    return vertices[:: math.ceil(len(vertices) / most)]


def _check_something_seen(cameras: CameraArrays, vertices: NDArray[np.float32]) -> None:
    if not seen_counts(cameras, some_points(vertices)).any():
        raise ProtocolError("BAD_SCENE:CAMERA", "$.cameras", "sees nothing of the body with any camera")
