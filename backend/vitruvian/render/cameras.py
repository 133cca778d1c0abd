"""Making cameras: where they stand, where they look, what they frame."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.core.camera import CameraRig
from vitruvian.core.errors import UserError

FOCAL_PER_SIZE = 550 / 512
"""Focal length in image widths, a field of view of 49.9 degrees (MVHuman's release, 550 px at 512)."""
MARGIN = 0.04
"""Free share of the image at each edge, so that crown, hands, feet and thin clothing are not clipped."""
SIZE_RANGE = (16, 4096)


def look_at(
    position: Float[Tensor, "3"], target: Float[Tensor, "3"], up: Float[Tensor, "3"]
) -> Float[Tensor, "4 4"]:
    """`T_world_cam` of a camera at `position` whose +z points at `target` and whose image top is `up`.

    Raises:
        ValueError: if position and target coincide, or the view direction is parallel to `up`.
    """
    forward = target - position
    right = torch.linalg.cross(forward, up)
    if float(right.norm()) <= 1e-6 * float(forward.norm() * up.norm()):
        raise ValueError("view direction and up vector do not span a camera")
    forward, right = forward / forward.norm(), right / right.norm()
    T_world_cam = torch.eye(4, dtype=position.dtype)
    T_world_cam[:3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=1)
    T_world_cam[:3, 3] = position
    return T_world_cam


def perspective_K(size: int, focal_per_size: float = FOCAL_PER_SIZE) -> Float[Tensor, "3 3"]:
    """Intrinsics of a square image with the principal point in the middle."""
    f = focal_per_size * size
    return torch.tensor([[f, 0.0, size / 2], [0.0, f, size / 2], [0.0, 0.0, 1.0]])


def join_rigs(first: CameraRig, second: CameraRig) -> CameraRig:
    """The cameras of both, which must share an image size."""
    if (first.width, first.height) != (second.width, second.height):
        raise ValueError("rigs of different image sizes cannot be joined")
    return CameraRig(
        torch.cat([first.T_world_cam, second.T_world_cam]),
        torch.cat([first.K, second.K]),
        torch.cat([first.orthographic, second.orthographic]),
        first.width,
        first.height,
        first.names + second.names,
        first.kinds + second.kinds,
    )


def check_size(field: str, size: int) -> None:
    """Refuse image sizes that no later stage can work with."""
    low, high = SIZE_RANGE
    if not low <= size <= high:
        raise UserError(field, size, "is not a usable image size", f"Use {low} to {high} pixels")


def ring_direction(azimuth: float, elevation: float) -> Float[Tensor, "3"]:
    """Unit vector from the body to a camera; azimuth 0 = in front (-Y), 90 = at the body's left (+X)."""
    a, e = math.radians(azimuth), math.radians(elevation)
    return torch.tensor([math.sin(a) * math.cos(e), -math.cos(a) * math.cos(e), math.sin(e)])


def fitting_distance(
    points: Float[Tensor, "P 3"], target: Float[Tensor, "3"], azimuths: list[float], elevation: float
) -> float:
    """The smallest distance from `target` at which `points` project inside the margin in every view.

    A point at (x, y, d + z) in the camera fits when |x|, |y| <= (d + z) tan; so d >= max(|x|, |y|) / tan - z.
    """
    tangent = (0.5 - MARGIN) / FOCAL_PER_SIZE
    up = torch.tensor([0.0, 0.0, 1.0])
    R = torch.stack([look_at(ring_direction(a, elevation), torch.zeros(3), up)[:3, :3] for a in azimuths])
    in_camera = torch.einsum("nji,pj->npi", R, points - target)
    return float((in_camera[..., :2].abs().amax(-1) / tangent - in_camera[..., 2]).max())
