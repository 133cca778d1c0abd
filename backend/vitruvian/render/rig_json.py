"""Camera rigs as JSON files; docs/cameras.md describes the format for users."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.core.camera import CameraRig, ViewKind
from vitruvian.core.errors import UserError
from vitruvian.render.cameras import check_size, look_at

MAX_CAMERAS = 256
TOP_KEYS = {"width", "height", "cameras"}
POSE_KEYS = {"T_world_cam", "position", "look_at", "up"}
LENS_KEYS = {"K", "fov", "ortho_scale", "orthographic", "principal_point"}
CAMERA_KEYS = {"name", "kind"} | POSE_KEYS | LENS_KEYS
DOCS = "docs/cameras.md describes the format"


def rig_from_json(path: str | Path, size: int | None = 256) -> CameraRig:
    """The rig in a JSON file, its larger image side scaled to `size` pixels (None: as the file says).

    Raises:
        UserError: naming the field, as in `cameras[3].fov`.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise UserError(
            "cameras", str(path), f"cannot be read ({reason})", "Give a JSON file that exists"
        ) from error
    except ValueError as error:
        raise UserError(
            "cameras", str(path), f"is not valid JSON ({error})", f"Repair the file; {DOCS}"
        ) from error
    rig = parse_rig(data, default_size=size or 256)
    if size is None:
        return rig
    check_size("size", size)
    scale = size / max(rig.width, rig.height)
    return rig.resized(max(1, round(rig.width * scale)), max(1, round(rig.height * scale)))


def parse_rig(data: object, default_size: int = 256) -> CameraRig:
    """A rig from parsed JSON. Raises `UserError` as `rig_from_json` does."""
    if not isinstance(data, Mapping):
        raise UserError("cameras", type(data).__name__, "is not an object with a list `cameras`", DOCS)
    _refuse_unknown(data, TOP_KEYS, "")
    width = _integer(data.get("width", default_size), "width")
    height = _integer(data.get("height", default_size), "height")
    check_size("width", width)
    check_size("height", height)
    cameras = data.get("cameras")
    if not isinstance(cameras, list) or not 1 <= len(cameras) <= MAX_CAMERAS:
        shown = len(cameras) if isinstance(cameras, list) else cameras
        raise UserError("cameras", shown, f"is not a list of 1 to {MAX_CAMERAS} cameras", DOCS)
    poses, Ks, flat, names, kinds = [], [], [], [], []
    for index, camera in enumerate(cameras):
        field = f"cameras[{index}]"
        if not isinstance(camera, Mapping):
            raise UserError(field, camera, "is not an object", DOCS)
        _refuse_unknown(camera, CAMERA_KEYS, field + ".")
        poses.append(_pose(camera, field))
        K, is_orthographic = _intrinsics(camera, field, width, height, "width" in data and "height" in data)
        Ks.append(K)
        flat.append(is_orthographic)
        names.append(_name(camera, field, index, names))
        kinds.append(_kind(camera, field))
    return CameraRig(
        torch.stack(poses).float(),
        torch.stack(Ks).float(),
        torch.tensor(flat),
        width,
        height,
        tuple(names),
        tuple(kinds),
    )


def rig_to_json(rig: CameraRig) -> dict[str, Any]:
    """A JSON-serialisable rig that `rig_from_json` reads back as it was."""
    return {
        "width": rig.width,
        "height": rig.height,
        "cameras": [
            {
                "name": rig.names[i],
                "kind": rig.kinds[i],
                "orthographic": bool(rig.orthographic[i]),
                "K": rig.K[i].tolist(),
                "T_world_cam": rig.T_world_cam[i].tolist(),
            }
            for i in range(len(rig))
        ],
    }


def _pose(camera: Mapping[str, Any], field: str) -> Float[Tensor, "4 4"]:
    """`T_world_cam`, given as such or as position, look_at and up."""
    if "T_world_cam" in camera:
        clash = sorted((POSE_KEYS - {"T_world_cam"}) & set(camera))
        if clash:
            raise UserError(
                f"{field}.{clash[0]}", camera[clash[0]], "is given beside T_world_cam", "Give one of them"
            )
        T = _numbers(camera["T_world_cam"], (4, 4), f"{field}.T_world_cam")
        R = T[:3, :3]
        is_rigid = torch.allclose(R.T @ R, torch.eye(3, dtype=R.dtype), atol=1e-3) and float(torch.det(R)) > 0
        if not is_rigid or not torch.allclose(T[3], torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=T.dtype)):
            raise UserError(
                f"{field}.T_world_cam",
                camera["T_world_cam"],
                "is not a rotation and a translation with last row 0 0 0 1",
                "Remove scale and mirroring; axes are x right, y down, z forward",
            )
        return T
    for key in ("position", "look_at"):
        if key not in camera:
            raise UserError(
                f"{field}.{key}", None, "is missing", f"Give position and look_at, or T_world_cam; {DOCS}"
            )
    position = _numbers(camera["position"], (3,), f"{field}.position")
    target = _numbers(camera["look_at"], (3,), f"{field}.look_at")
    up = _numbers(camera.get("up", [0.0, 0.0, 1.0]), (3,), f"{field}.up")
    try:
        return look_at(position, target, up)
    except ValueError as error:
        if torch.allclose(position, target):
            raise UserError(
                f"{field}.look_at", camera["look_at"], "is the camera's own position", "Look at another point"
            ) from error
        raise UserError(
            f"{field}.up", up.tolist(), "is zero or parallel to the view direction", "Give another up vector"
        ) from error


def _intrinsics(
    camera: Mapping[str, Any], field: str, width: int, height: int, has_size: bool
) -> tuple[Float[Tensor, "3 3"], bool]:
    """K in pixels, and whether the camera is orthographic."""
    lens = [key for key in ("K", "fov", "ortho_scale") if key in camera]
    if len(lens) != 1:
        shown = lens or None
        raise UserError(f"{field}.fov", shown, "does not have exactly one of fov, ortho_scale and K", DOCS)
    orthographic = camera.get("orthographic", lens == ["ortho_scale"])
    if not isinstance(orthographic, bool):
        raise UserError(f"{field}.orthographic", orthographic, "is not true or false", DOCS)
    if lens == ["K"]:
        return _matrix_K(camera, field, has_size), orthographic
    if orthographic != (lens == ["ortho_scale"]):
        wanted = "ortho_scale" if orthographic else "fov"
        raise UserError(
            f"{field}.{lens[0]}", camera[lens[0]], "does not go with orthographic", f"Give {wanted}"
        )
    value = float(_numbers(camera[lens[0]], (), f"{field}.{lens[0]}"))
    if lens == ["fov"]:
        if not 1.0 <= value <= 170.0:
            raise UserError(
                f"{field}.fov", value, "is out of range", "Give 1 to 170 degrees across the width"
            )
        focal = width / (2 * math.tan(math.radians(value) / 2))
    else:
        if not 1e-3 <= value <= 1e3:
            raise UserError(
                f"{field}.ortho_scale", value, "is out of range", "Give the metres across the width"
            )
        focal = width / value
    centre = _numbers(camera.get("principal_point", [0.5, 0.5]), (2,), f"{field}.principal_point")
    K = torch.eye(3, dtype=torch.float64)
    K[0, 0] = K[1, 1] = focal
    K[0, 2], K[1, 2] = centre[0] * width, centre[1] * height
    return K, orthographic


def _matrix_K(camera: Mapping[str, Any], field: str, has_size: bool) -> Float[Tensor, "3 3"]:
    if "principal_point" in camera:
        raise UserError(
            f"{field}.principal_point",
            camera["principal_point"],
            "is given beside K",
            "Write it into K, in pixels",
        )
    if not has_size:
        raise UserError("width", None, f"is missing, but {field}.K is in pixels", "Give width and height too")
    K = _numbers(camera["K"], (3, 3), f"{field}.K")
    below = torch.stack([K[1, 0], K[2, 0], K[2, 1], K[2, 2] - 1])
    if K[0, 0] <= 0 or K[1, 1] <= 0 or bool(below.abs().max() > 1e-6):
        raise UserError(
            f"{field}.K", camera["K"], "is not [[fx, s, cx], [0, fy, cy], [0, 0, 1]] with fx, fy > 0", DOCS
        )
    return K


def _name(camera: Mapping[str, Any], field: str, index: int, taken: list[str]) -> str:
    name = camera.get("name", f"camera_{index:03d}")
    # Views are saved under their names.
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}", name):
        raise UserError(
            f"{field}.name", name, "cannot be a file name", "Use up to 64 letters, digits, _ . + -"
        )
    if name in taken:
        raise UserError(
            f"{field}.name", name, "is taken by an earlier camera", "Give every camera its own name"
        )
    return name


def _kind(camera: Mapping[str, Any], field: str) -> ViewKind:
    kind = camera.get("kind", "body")
    if kind not in get_args(ViewKind):
        raise UserError(f"{field}.kind", kind, "is unknown", f"Use one of {', '.join(get_args(ViewKind))}")
    return cast(ViewKind, kind)


def _refuse_unknown(data: Mapping[str, Any], known: set[str], prefix: str) -> None:
    unknown = sorted(set(data) - known)
    if unknown:
        raise UserError(
            f"{prefix}{unknown[0]}",
            data[unknown[0]],
            "is an unknown field",
            f"Known: {', '.join(sorted(known))}",
        )


def _integer(value: object, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UserError(field, value, "is not a whole number", "Give pixels")
    return value


def _numbers(value: object, shape: tuple[int, ...], field: str) -> Float[Tensor, "..."]:
    """A float64 tensor of the wanted shape, all finite."""
    try:
        tensor = torch.tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        tensor = None
    what = " x ".join(str(n) for n in shape) + " numbers" if shape else "a number"
    is_boolean = isinstance(value, bool)
    if tensor is None or is_boolean or tuple(tensor.shape) != shape or not bool(torch.isfinite(tensor).all()):
        raise UserError(field, value, f"is not {what}", f"Give {what}, all finite")
    return tensor
