"""OpenPose drawings of the skeleton, without the points that the body hides.

Hidden points are what keeps a text model from painting a face on the back of the head (MVHuman).
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vitruvian.core.camera import CameraRig, project
from vitruvian.core.errors import UserError
from vitruvian.core.images import GBuffer

NOSE, NECK, RIGHT_EYE, LEFT_EYE, RIGHT_EAR, LEFT_EAR = 0, 1, 14, 15, 16, 17
FACE = (NOSE, RIGHT_EYE, LEFT_EYE)
TRUNK = (NECK, 2, 5, 8, 11)
"""Neck, shoulders, hips: as deep in the body as the trunk is wide to its side."""
DEPTH_BEHIND_SURFACE = {"face": 0.03, "ears": 0.06, "trunk": 0.24, "limbs": 0.10}
"""Metres that a visible point may lie behind the surface in front of it: joints sit inside the body."""
DRAWING_SIZE = 512
"""The short side at which the drawing's fixed line widths have the look that ControlNets were trained on."""


def draw_poses(
    keypoints: Float[Tensor, "18 3"], rig: CameraRig, gbuffer: GBuffer
) -> Float[Tensor, "N 3 H W"]:
    """The OpenPose drawing of every view, RGB in [0, 1] on black.

    Raises:
        UserError: if controlnet-aux, whose drawing this is, is not installed.
    """
    drawing = _controlnet_aux_drawing()
    pixels, _ = project(keypoints.to(rig.K), rig)
    visible = visible_keypoints(keypoints, rig, gbuffer)
    size = torch.tensor([rig.width, rig.height], dtype=pixels.dtype, device=pixels.device)
    relative = (pixels / size).cpu().tolist()
    pictures = [
        _draw_view(drawing, points, seen, rig.width, rig.height)
        for points, seen in zip(relative, visible.cpu().tolist(), strict=True)
    ]
    return torch.stack(pictures).to(gbuffer.depth.device)


def visible_keypoints(
    keypoints: Float[Tensor, "18 3"], rig: CameraRig, gbuffer: GBuffer
) -> Bool[Tensor, "N 18"]:
    """Which points each camera sees: known, in front of it, inside the image, and not behind the body.

    Nose and eyes also have to be on the side of the head that faces the camera. Tolerances are an adult's,
    and generous for a child.
    """
    keypoints = keypoints.to(rig.K)
    known = torch.isfinite(keypoints).all(dim=-1)
    pixels, z = project(torch.nan_to_num(keypoints), rig)
    column, row = pixels[..., 0].floor().long(), pixels[..., 1].floor().long()
    inside = (z > 0) & (column >= 0) & (column < rig.width) & (row >= 0) & (row < rig.height)
    views = torch.arange(len(rig), device=z.device)[:, None]
    surface = gbuffer.depth[views, row.clamp(0, rig.height - 1), column.clamp(0, rig.width - 1)]
    behind = z - surface
    unhidden = (surface == 0) | (behind <= _tolerances().to(z))
    visible = known & inside & unhidden
    visible[:, list(FACE)] &= _faces_camera(keypoints, rig)[:, None]
    return visible


def _tolerances() -> Float[Tensor, "18"]:
    tolerance = torch.full((18,), DEPTH_BEHIND_SURFACE["limbs"])
    tolerance[list(TRUNK)] = DEPTH_BEHIND_SURFACE["trunk"]
    tolerance[list(FACE)] = DEPTH_BEHIND_SURFACE["face"]
    tolerance[[RIGHT_EAR, LEFT_EAR]] = DEPTH_BEHIND_SURFACE["ears"]
    return tolerance


def _faces_camera(keypoints: Float[Tensor, "18 3"], rig: CameraRig) -> Bool[Tensor, "N"]:
    """Whether the camera is in front of the face: the plane through the ears, with the nose on its front."""
    middle = (keypoints[RIGHT_EAR] + keypoints[LEFT_EAR]) / 2
    forward = keypoints[NOSE] - middle
    forward = forward / forward.norm().clamp(min=1e-9)
    to_camera = torch.where(
        rig.orthographic[:, None], -rig.T_world_cam[:, :3, 2], rig.positions - keypoints[NOSE]
    )
    to_camera = to_camera / to_camera.norm(dim=-1, keepdim=True).clamp(min=1e-9)
    # The nose sits below the ears, so a profile seen from above has a negative cosine. Unknown ears give
    # NaN, and a face whose direction is unknown is left out.
    return to_camera @ forward > -0.3


def _draw_view(
    drawing: ModuleType, points: list[list[float]], seen: list[bool], width: int, height: int
) -> Float[Tensor, "3 H W"]:
    """One picture, drawn large and shrunk so that lines keep their share of the image at any size."""
    import cv2

    scale = max(DRAWING_SIZE / min(width, height), 1.0)
    canvas = np.zeros((round(height * scale), round(width * scale), 3), dtype=np.uint8)
    keypoints = [
        drawing.Keypoint(x=x, y=y) if shown else None for (x, y), shown in zip(points, seen, strict=True)
    ]
    drawn = drawing.draw_bodypose(canvas, keypoints)
    if drawn.shape[:2] != (height, width):
        drawn = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(np.ascontiguousarray(drawn)).permute(2, 0, 1).float() / 255


@cache
def _controlnet_aux_drawing() -> ModuleType:
    """controlnet-aux's `open_pose.util`, loaded without running the package's `__init__` files.

    Those import every detector, and with them torchvision, timm and mediapipe, which a drawing does not need.
    A module object with the folder as its search path stands in for the package; the files are its own.
    """
    spec = importlib.util.find_spec("controlnet_aux")
    has_opencv = importlib.util.find_spec("cv2") is not None
    if spec is None or not spec.submodule_search_locations or not has_opencv:
        raise UserError(
            "pose",
            "OpenPose drawing",
            "needs controlnet-aux and OpenCV, which are not installed",
            "Run: pip install --no-deps controlnet-aux opencv-python-headless",
        )
    package = ModuleType("_controlnet_aux_open_pose")
    package.__path__ = [str(Path(spec.submodule_search_locations[0]) / "open_pose")]
    sys.modules[package.__name__] = package
    with warnings.catch_warnings():
        # Its detector, imported on the way, takes a SciPy function by a deprecated name.
        warnings.simplefilter("ignore", DeprecationWarning)
        return importlib.import_module(f"{package.__name__}.util")
