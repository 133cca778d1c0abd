"""Which part of the body each vertex belongs to."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from vitruvian.core.mesh import Rig

REGIONS = ("head", "hair", "torso", "arms", "hands", "legs", "feet")


def label_regions(rig: Rig) -> Int[Tensor, "V"]:
    return torch.full((len(rig.rest_vertices),), 2)
