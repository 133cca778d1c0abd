"""OpenPose-18 keypoints from a rig."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from vitruvian.core.mesh import Mesh


def keypoints_of(mesh: Mesh) -> Float[Tensor, "18 3"] | None:
    return None
