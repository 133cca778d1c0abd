"""Cameras: OpenCV axes (x right, y down, z forward), pixel centres at +0.5, intrinsics in pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

ViewKind = Literal["body", "upper", "face", "extra"]


@dataclass(frozen=True)
class CameraRig:
    """N cameras that share one image size."""

    T_world_cam: Float[Tensor, "N 4 4"]
    """Camera to world, metres."""
    K: Float[Tensor, "N 3 3"]
    """Intrinsics in pixels. For an orthographic camera fx and fy are pixels per metre."""
    orthographic: Bool[Tensor, "N"]
    width: int
    height: int
    names: tuple[str, ...]
    kinds: tuple[ViewKind, ...]
    """What a view frames; close-ups ("upper", "face") override "body" views where both see a point."""

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device | str) -> CameraRig:
        return replace(
            self,
            T_world_cam=self.T_world_cam.to(device),
            K=self.K.to(device),
            orthographic=self.orthographic.to(device),
        )

    def select(self, indices: list[int]) -> CameraRig:
        """The cameras at `indices`, in that order."""
        return replace(
            self,
            T_world_cam=self.T_world_cam[indices],
            K=self.K[indices],
            orthographic=self.orthographic[indices],
            names=tuple(self.names[i] for i in indices),
            kinds=tuple(self.kinds[i] for i in indices),
        )

    def resized(self, width: int, height: int) -> CameraRig:
        """The same cameras at another image size."""
        scale = torch.tensor(
            [width / self.width, height / self.height, 1.0], dtype=self.K.dtype, device=self.K.device
        )
        return replace(self, K=self.K * scale[None, :, None], width=width, height=height)

    @property
    def positions(self) -> Float[Tensor, "N 3"]:
        return self.T_world_cam[:, :3, 3]

    @property
    def azimuth_degrees(self) -> Float[Tensor, "N"]:
        """0 = camera in front of the body (at -Y), +90 = at the body's left side (+X), in (-180, 180]."""
        forward = self.T_world_cam[:, :3, 2]
        return torch.rad2deg(torch.atan2(-forward[:, 0], forward[:, 1]))


def world_to_camera(points: Float[Tensor, "P 3"], rig: CameraRig) -> Float[Tensor, "N P 3"]:
    """World points in each camera's frame, metres."""
    T_cam_world = torch.linalg.inv(rig.T_world_cam)
    return torch.einsum("nij,pj->npi", T_cam_world[:, :3, :3], points) + T_cam_world[:, None, :3, 3]


def project(
    points: Float[Tensor, "P 3"], rig: CameraRig
) -> tuple[Float[Tensor, "N P 2"], Float[Tensor, "N P"]]:
    """World points to pixels (x right, y down, centres at +0.5) and camera depth z in metres.

    Points at or behind a perspective camera get pixel coordinates that mean nothing: test `z > 0`.
    """
    in_camera = world_to_camera(points, rig)
    z = in_camera[..., 2]
    safe = torch.where(z.abs() < 1e-9, torch.full_like(z, 1e-9), z)
    divisor = torch.where(rig.orthographic[:, None], torch.ones_like(z), safe)
    x, y = in_camera[..., 0] / divisor, in_camera[..., 1] / divisor
    K = rig.K
    pixel_x = K[:, 0, 0, None] * x + K[:, 0, 1, None] * y + K[:, 0, 2, None]
    pixel_y = K[:, 1, 1, None] * y + K[:, 1, 2, None]
    return torch.stack([pixel_x, pixel_y], dim=-1), z


def pixel_rays(rig: CameraRig) -> tuple[Float[Tensor, "N H W 3"], Float[Tensor, "N H W 3"]]:
    """Origins and directions of the rays through the pixel centres, in the world.

    Directions have camera depth 1 per unit of ray length (not unit norm), so a hit at ray parameter t
    lies at depth z = t.
    """
    device, dtype = rig.K.device, rig.K.dtype
    ys = torch.arange(rig.height, device=device, dtype=dtype) + 0.5
    xs = torch.arange(rig.width, device=device, dtype=dtype) + 0.5
    y, x = torch.meshgrid(ys, xs, indexing="ij")
    K = rig.K[:, :, :, None, None]
    y_cam = (y - K[:, 1, 2]) / K[:, 1, 1]
    x_cam = (x - K[:, 0, 2] - K[:, 0, 1] * y_cam) / K[:, 0, 0]
    offset = torch.stack([x_cam, y_cam, torch.zeros_like(x_cam)], dim=-1)
    forward = torch.zeros_like(offset)
    forward[..., 2] = 1.0
    ortho = rig.orthographic[:, None, None, None]
    origin_cam = torch.where(ortho, offset, torch.zeros_like(offset))
    direction_cam = torch.where(ortho, forward, offset + forward)
    R = rig.T_world_cam[:, :3, :3]
    origins = torch.einsum("nij,nhwj->nhwi", R, origin_cam) + rig.positions[:, None, None, :]
    return origins, torch.einsum("nij,nhwj->nhwi", R, direction_cam)
