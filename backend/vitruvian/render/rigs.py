"""Camera rigs around a body: the default rings, the turntable, and coverage-greedy extra views."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.core.camera import CameraRig, ViewKind
from vitruvian.core.errors import UserError
from vitruvian.core.mesh import Mesh

FOCAL_PER_SIZE = 550 / 512
"""Focal length in image widths, a field of view of 49.9 degrees (MVHuman's release, 550 px at 512)."""
BODY_ELEVATION, UPPER_ELEVATION = 15.0, 16.4
UPPER_DISTANCE, UPPER_RAISE, REFERENCE_HEIGHT = 0.959, 0.5, 1.8
"""Close-up ring of MVHuman's release: metres from and above the centre of a body 1.8 m tall."""
MARGIN = 0.04
"""Free share of the image at each edge, so that crown, hands, feet and thin clothing are not clipped."""
SIZE_RANGE = (16, 4096)


def default_rig(mesh: Mesh, size: int = 256, views_per_ring: int = 8) -> CameraRig:
    """A full-body ring and an upper-body ring at the same azimuths, scaled to the body.

    Angles and close-up framing follow MVHuman's release; the full-body distance is the smallest at which the
    whole body, arms included, fits every view of the ring with a margin of 4 %.

    Raises:
        UserError: if `size` is out of range.
    """
    check_size("size", size)
    azimuths = [360.0 * i / views_per_ring for i in range(views_per_ring)]
    low, high = mesh.vertices.detach().amin(0).cpu(), mesh.vertices.detach().amax(0).cpu()
    centre, height = (low + high) / 2, float(high[2] - low[2])
    body = _ring(mesh, centre, azimuths, BODY_ELEVATION, None, size, "body")
    target = centre + torch.tensor([0.0, 0.0, UPPER_RAISE / REFERENCE_HEIGHT * height])
    # The head and trunk, near the body's axis: only their tops must stay inside a close-up.
    points = mesh.vertices.detach().cpu()
    trunk = points[(points[:, :2] - centre[:2]).norm(dim=1) < 0.12 * height]
    tops = trunk[trunk[:, 2] > target[2]]
    distance = UPPER_DISTANCE / REFERENCE_HEIGHT * height
    if len(tops):
        distance = max(distance, _fitting_distance(tops, target, azimuths, UPPER_ELEVATION))
    upper = _ring(mesh, target, azimuths, UPPER_ELEVATION, distance, size, "upper")
    return join_rigs(body, upper)


def turntable_rig(mesh: Mesh, frames: int = 36, size: int = 256, elevation: float = 8.0) -> CameraRig:
    """`frames` evenly spaced full-body views once around the body.

    Raises:
        UserError: if `size` or `frames` is out of range.
    """
    check_size("size", size)
    if not 1 <= frames <= 1000:
        raise UserError("frames", frames, "is out of range", "Use 1 to 1000 frames")
    low, high = mesh.vertices.detach().amin(0).cpu(), mesh.vertices.detach().amax(0).cpu()
    azimuths = [360.0 * i / frames for i in range(frames)]
    return _ring(mesh, (low + high) / 2, azimuths, elevation, None, size, "body", "turntable")


def look_at(
    position: Float[Tensor, "3"], target: Float[Tensor, "3"], up: Float[Tensor, "3"]
) -> Float[Tensor, "4 4"]:
    """`T_world_cam` of a camera at `position` whose +z points at `target` and whose image top is `up`.

    Raises:
        ValueError: if position and target coincide, or the view direction is parallel to `up`.
    """
    forward = target - position
    right = torch.linalg.cross(forward, up)
    if float(forward.norm()) < 1e-9 or float(right.norm()) < 1e-6 * float(forward.norm() * up.norm()):
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


def _ring(
    mesh: Mesh,
    target: Float[Tensor, "3"],
    azimuths: list[float],
    elevation: float,
    distance: float | None,
    size: int,
    kind: ViewKind,
    prefix: str | None = None,
) -> CameraRig:
    """Cameras around `target`; without a distance, as near as the whole body allows."""
    if distance is None:
        distance = _fitting_distance(mesh.vertices.detach().cpu(), target, azimuths, elevation)
    up = torch.tensor([0.0, 0.0, 1.0])
    poses = [look_at(target + distance * ring_direction(a, elevation), target, up) for a in azimuths]
    n = len(azimuths)
    return CameraRig(
        torch.stack(poses),
        perspective_K(size).expand(n, 3, 3).clone(),
        torch.zeros(n, dtype=torch.bool),
        size,
        size,
        tuple(f"{prefix or kind}_{round(a):03d}" for a in azimuths),
        (kind,) * n,
    )


def _fitting_distance(
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
