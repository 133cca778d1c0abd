"""A body as the methods get it: the proxy mesh and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitruvian.core.mesh import Mesh


@dataclass(frozen=True)
class Body:
    """A proxy mesh (with its rig, where it has one) and what its skeleton says about it."""

    mesh: Mesh
    """Posed; metres, +Z up, facing -Y. `mesh.rig` holds the rest pose, the joints and the weights."""
    keypoints: Float[Tensor, "18 3"] | None = None
    """World positions in OpenPose-18 order (`skeleton.KEYPOINT_NAMES`), metres; NaN where unknown.
    None without a skeleton."""
    regions: Int[Tensor, "V"] | None = None
    """Index into `regions.REGIONS` per vertex; None without a rig."""
    uv_report: list[str] = field(default_factory=list)
    """What was found wrong with the file's axes, units or UVs and what was done about it; one line each."""

    def to(self, device: torch.device | str) -> Body:
        return replace(
            self,
            mesh=self.mesh.to(device),
            keypoints=None if self.keypoints is None else self.keypoints.to(device),
            regions=None if self.regions is None else self.regions.to(device),
        )
