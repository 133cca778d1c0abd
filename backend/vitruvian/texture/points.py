"""Points of the surface, and what a camera makes of them, coordinate by coordinate.

A CPU takes many times longer over rows of three numbers than over three long columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitruvian.core.camera import CameraRig

Rows = slice | Int[Tensor, "B"]
"""Which points of a batch something is about, none twice; a slice where no index is worth its while."""


def at(values: Tensor, rows: Rows) -> Tensor:
    """The values of some points, which the last axis counts. Many times faster than an index in brackets."""
    return values[..., rows] if isinstance(rows, slice) else values.index_select(-1, rows)


def put(values: Tensor, rows: Rows, new: Tensor) -> None:
    """Set the values of some points, which the last axis counts."""
    if isinstance(rows, slice):
        values[..., rows] = new
    else:
        values.index_copy_(-1, rows, new)


@dataclass(frozen=True)
class Points:
    """World, metres."""

    position: Float[Tensor, "3 B"]
    normal: Float[Tensor, "3 B"]
    """Unit."""
    footprint: Float[Tensor, "B"]
    """Edge length of what each point stands for."""

    def __len__(self) -> int:
        return self.position.shape[1]

    def select(self, rows: Int[Tensor, "b"]) -> Points:
        return Points(at(self.position, rows), at(self.normal, rows), at(self.footprint, rows))


@dataclass(frozen=True)
class Camera:
    """One camera, its numbers at hand: reading them off a GPU would wait for it at every look."""

    T_cam_world: Float[Tensor, "3 4"]
    position: Float[Tensor, "3 1"]
    forward: Float[Tensor, "3"]
    K: tuple[tuple[float, ...], ...]
    orthographic: bool
    width: int
    height: int

    def cosine(self, points: Float[Tensor, "3 B"], normals: Float[Tensor, "3 B"]) -> Float[Tensor, "B"]:
        """Between each normal and the direction to the camera."""
        if self.orthographic:
            return -(self.forward @ normals)
        x, y, z = (self.position - points).unbind(0)
        along = (x * normals[0]).addcmul_(y, normals[1]).addcmul_(z, normals[2])
        return along.mul_((x * x).addcmul_(y, y).addcmul_(z, z).clamp_min_(1e-24).rsqrt_())

    def project(
        self, points: Float[Tensor, "3 B"]
    ) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"], Float[Tensor, "B"]]:
        """Pixel x and y, and camera depth, as `core.camera.project`."""
        x, y, z = torch.addmm(self.T_cam_world[:, 3:], self.T_cam_world[:, :3], points).unbind(0)
        (fx, skew, cx), (_, fy, cy), _ = self.K
        if not self.orthographic:
            inverse = torch.where(z.abs() < 1e-9, 1e-9, z).reciprocal_()
            x, y = x * inverse, y * inverse
        across = x * fx + cx
        return across.add_(y, alpha=skew) if skew else across, y * fy + cy, z

    def pixels_per_metre(self, z: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
        focal = (self.K[0][0] * self.K[1][1]) ** 0.5
        return torch.full_like(z, focal) if self.orthographic else focal / z.clamp_min(1e-6)

    def shows(self, x: Float[Tensor, "B"], y: Float[Tensor, "B"], z: Float[Tensor, "B"]) -> Bool[Tensor, "B"]:
        """Whether the points lie within the picture, hidden or not."""
        return (z > 0) & (x > 0) & (y > 0) & (x < self.width) & (y < self.height)


def cameras_of(rig: CameraRig) -> list[Camera]:
    inverse = torch.linalg.inv(rig.T_world_cam)[:, :3].contiguous()
    matrices, parallel = rig.K.tolist(), rig.orthographic.tolist()
    return [
        Camera(
            T_cam_world=inverse[i],
            position=rig.T_world_cam[i, :3, 3:],
            forward=rig.T_world_cam[i, :3, 2],
            K=tuple(tuple(row) for row in matrices[i]),
            orthographic=parallel[i],
            width=rig.width,
            height=rig.height,
        )
        for i in range(len(rig))
    ]


def tolerance(cosine: Float[Tensor, "B"], density: Float[Tensor, "B"]) -> Float[Tensor, "B"]:
    """How far a point may lie from what a pixel shows, metres: by the pixel's size and the surface's
    slope."""
    slope = (1.0 - cosine * cosine).clamp_min_(0.0).sqrt_().div_(cosine.clamp_min(0.2))
    return slope.mul_(1.5).add_(0.5).div_(density).add_(0.001)
