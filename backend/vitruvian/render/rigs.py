"""Camera rigs around a body: the default rings, the turntable, and coverage-greedy extra views."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.core.camera import CameraRig, ViewKind
from vitruvian.core.errors import UserError
from vitruvian.core.mesh import Mesh
from vitruvian.render.cameras import (
    check_size,
    fitting_distance,
    join_rigs,
    look_at,
    perspective_K,
    ring_direction,
)
from vitruvian.render.coverage import cover_greedily
from vitruvian.render.rig_json import rig_from_json, rig_to_json

__all__ = ["cover_greedily", "default_rig", "rig_from_json", "rig_to_json", "turntable_rig"]

BODY_ELEVATION, UPPER_ELEVATION = 15.0, 16.4
UPPER_DISTANCE, UPPER_RAISE, REFERENCE_HEIGHT = 0.959, 0.5, 1.8
"""Close-up ring of MVHuman's release: metres from and above the centre of a body 1.8 m tall."""


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
    above = mesh.vertices.detach().cpu()
    above = above[above[:, 2] > target[2]]
    if len(above):
        # Somebody who sits has head and trunk behind the middle of the whole body.
        target[:2] = above[:, :2].median(dim=0).values
    # Near the trunk's axis: of hands held high and spread arms nothing need stay inside a close-up.
    tops = above[(above[:, :2] - target[:2]).norm(dim=1) < 0.12 * height]
    distance = UPPER_DISTANCE / REFERENCE_HEIGHT * height
    if len(tops):
        distance = max(distance, fitting_distance(tops, target, azimuths, UPPER_ELEVATION))
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
        distance = fitting_distance(mesh.vertices.detach().cpu(), target, azimuths, elevation)
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
