"""OpenPose-18 keypoints from a rig."""
from __future__ import annotations
import torch
from torch import Tensor
from jaxtyping import Float
from vitruvian.core.mesh import Mesh


def keypoints_of(mesh: Mesh) -> Float[Tensor, "18 3"] | None:
    return None
