"""Cameras of the training views: the run-time rig, jittered, and close-ups of heads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.body.body import Body
from vitruvian.core.camera import CameraRig, ViewKind, project
from vitruvian.diffusion.mini_model import IMAGE_SIZE
from vitruvian.render.rigs import default_rig

AZIMUTH_JITTER, ELEVATION_JITTER = 6.0, 3.0
"""Standard deviations in degrees; cut at two of them."""
HEAD_HEIGHT = 0.26
"""Metres from below the chin to the crown, hair included."""


def training_rig(
    body: Body, rng: np.random.Generator, counts: tuple[int, int, int] = (4, 3, 1), size: int = IMAGE_SIZE
) -> CameraRig:
    """`counts` = full-body, upper-body and head views, each near one of the default rig's cameras."""
    base = default_rig(body.mesh, size)
    ring = len(base) // 2
    chosen = [int(i) for i in rng.permutation(ring)[: counts[0]]]
    chosen += [ring + int(i) for i in rng.permutation(ring)[: counts[1]]]
    chosen += [ring + int(i) for i in rng.permutation(ring)[: counts[2]]]
    rig = base.select(chosen)
    poses, intrinsics = rig.T_world_cam.clone(), rig.K.clone()
    for i in range(len(rig)):
        azimuth, elevation = np.deg2rad(rng.normal(size=2).clip(-2, 2) * (AZIMUTH_JITTER, ELEVATION_JITTER))
        poses[i] = orbit(rig.T_world_cam[i], float(azimuth), float(elevation))
        shift = torch.from_numpy(rng.uniform(-0.015, 0.015, 2) * size).float()
        intrinsics[i, :2, :2] *= float(rng.uniform(0.94, 1.03))
        intrinsics[i, :2, 2] += shift
    framings: tuple[ViewKind, ...] = ("body", "upper", "face")
    kinds = [framing for framing, count in zip(framings, counts, strict=True) for _ in range(count)]
    rig = replace(rig, T_world_cam=poses, K=intrinsics, kinds=tuple(kinds))
    for i in range(counts[0] + counts[1], len(rig)):
        intrinsics[i] = _head_intrinsics(body, rig.select([i]), rng)
    names = tuple(
        f"{kind}_{float(azimuth):.0f}" for kind, azimuth in zip(kinds, rig.azimuth_degrees, strict=True)
    )
    return replace(rig, K=intrinsics, names=names)


def orbit(T_world_cam: Float[Tensor, "4 4"], azimuth: float, elevation: float) -> Float[Tensor, "4 4"]:
    """Turn a camera about the world's vertical axis, then up around what it sees of that axis (radians)."""
    position, forward = T_world_cam[:3, 3], T_world_cam[:3, 2]
    horizontal = forward[:2]
    target = position - forward * (position[:2] @ horizontal) / (horizontal @ horizontal).clamp(min=1e-9)
    tilt = _rotation(T_world_cam[:3, 0], -elevation)
    turn = _rotation(torch.tensor([0.0, 0.0, 1.0]), azimuth)
    turned = torch.eye(4)
    turned[:3, :3] = turn @ tilt @ T_world_cam[:3, :3]
    turned[:3, 3] = turn @ (target + tilt @ (position - target))
    return turned


def _rotation(axis: Float[Tensor, "3"], angle: float) -> Float[Tensor, "3 3"]:
    x, y, z = (axis / axis.norm()).tolist()
    skew = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return torch.linalg.matrix_exp(skew * angle)


def _head_intrinsics(body: Body, camera: CameraRig, rng: np.random.Generator) -> Float[Tensor, "3 3"]:
    """Zoom a close-up further in: the head fills about half of the image."""
    points = head_points(body)
    middle = (points.amin(0) + points.amax(0)) / 2
    pixel, z = project(middle[None].to(camera.K.dtype), camera)
    K = camera.K[0].clone()
    focal = float(rng.uniform(0.42, 0.58)) * camera.width * float(z[0, 0]) / HEAD_HEIGHT
    half = camera.width / 2
    offset = (pixel[0, 0] - K[:2, 2]) * focal / K[0, 0]
    wander = torch.from_numpy(rng.uniform(-0.08, 0.08, 2) * camera.width).float()
    K[0, 0] = K[1, 1] = focal
    K[:2, 2] = half - offset + wander
    return K


def head_points(body: Body) -> Float[Tensor, "P 3"]:
    """Vertices of the head, by region labels."""
    from vitruvian.body.regions import REGIONS

    if body.regions is None:
        raise ValueError("the wardrobe's people have region labels")
    return body.mesh.vertices[body.regions == REGIONS.index("head")]
