"""What the renderer sees, what the models are shown, what they paint, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vitruvian.core.camera import CameraRig
from vitruvian.core.mesh import Mesh


@dataclass(frozen=True)
class GBuffer:
    """Per pixel of N views: which face is seen, where on it, and how far away."""

    face_id: Int[Tensor, "N H W"]
    """Index into `Mesh.faces`; -1 where nothing is hit."""
    barycentric: Float[Tensor, "N H W 3"]
    """Weights of the three corners, sum 1; 0 on the background. Perspective-correct."""
    depth: Float[Tensor, "N H W"]
    """Camera z in metres; 0 on the background."""

    @property
    def mask(self) -> Bool[Tensor, "N H W"]:
        return self.face_id >= 0

    def select(self, indices: list[int]) -> GBuffer:
        return GBuffer(self.face_id[indices], self.barycentric[indices], self.depth[indices])

    def to(self, device: torch.device | str) -> GBuffer:
        return GBuffer(self.face_id.to(device), self.barycentric.to(device), self.depth.to(device))


@dataclass(frozen=True)
class Conditions:
    """ControlNet images, RGB in [0, 1]. Conventions: DESIGN.md section 5."""

    depth: Float[Tensor, "N 3 H W"]
    """Inverse depth over the foreground, near = 1, background 0."""
    normal: Float[Tensor, "N 3 H W"]
    """Camera space left/up/back, (n + 1) / 2; background (0.5, 0.5, 1)."""
    mask: Bool[Tensor, "N H W"]
    pose: Float[Tensor, "N 3 H W"] | None = None
    """OpenPose drawing without hidden points; None where the body has no skeleton."""

    def select(self, indices: list[int]) -> Conditions:
        return Conditions(
            self.depth[indices],
            self.normal[indices],
            self.mask[indices],
            self.pose[indices] if self.pose is not None else None,
        )


@dataclass(frozen=True)
class ViewSet:
    """Pictures of one subject from N cameras."""

    images: Float[Tensor, "N 3 H W"]
    """RGB, sRGB-encoded, in [0, 1]."""
    rig: CameraRig
    gbuffer: GBuffer

    def with_images(self, images: Float[Tensor, "N 3 H W"]) -> ViewSet:
        return replace(self, images=images)


@dataclass(frozen=True)
class Texture:
    """A UV map. Row 0 is the top of the image (v = 1)."""

    albedo: Float[Tensor, "3 S S"]
    """sRGB-encoded, in [0, 1]; padded beyond the islands."""
    coverage: Float[Tensor, "S S"]
    """How well each texel was seen, 0 (filled in) to 1 (face-on in a sharp view)."""
    inside: Bool[Tensor, "S S"]
    """Texels that belong to a UV island."""


@dataclass(frozen=True)
class Avatar:
    """What a method returns: the proxy as it came, with a texture."""

    mesh: Mesh
    texture: Texture
    views: ViewSet
    report: dict[str, Any]
    """Settings, seeds, hashes, cameras, figures and times; JSON-serialisable."""
