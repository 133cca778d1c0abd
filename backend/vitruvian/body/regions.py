"""Which part of the body each vertex belongs to, from its skinning weights."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vitruvian.body.joint_names import region_of_joint
from vitruvian.body.skeleton import face_vertices, head_vertices
from vitruvian.core.mesh import Rig

REGIONS = ("head", "hair", "torso", "arms", "hands", "legs", "feet")
"""The neck belongs to the head, shoulders and hips to the torso; hair is the scalp."""

_HAIRLINE = ((0.1, 0.7), (0.5, 0.4), (0.7, -0.1), (1.0, -0.45))
"""From forehead to nape: (way back from the tip of the nose, height between nose (0) and crown (1))."""
_EAR_SHARE = 0.87
"""What lies further out than this share of the ears' width is ear."""


def label_regions(rig: Rig) -> Int[Tensor, "V"]:
    """Index into `REGIONS` per vertex: the region whose joints have most of its weight."""
    region_of = torch.tensor([REGIONS.index(region_of_joint(n, rig.joint_names)) for n in rig.joint_names])
    share = torch.zeros(len(rig.weights), len(REGIONS), dtype=rig.weights.dtype)
    share.scatter_add_(1, region_of[rig.weight_joints], rig.weights)
    labels = share.argmax(dim=1)
    labels[scalp_vertices(rig)] = REGIONS.index("hair")
    return labels


def scalp_vertices(rig: Rig) -> Bool[Tensor, "V"]:
    """Head vertices above a hairline that falls from the forehead over the ears to the nape, at rest."""
    head = head_vertices(rig)
    face = face_vertices(rig)
    if not face:
        return torch.zeros_like(head)
    x, y, z = rig.rest_vertices.unbind(-1)
    nose, left_ear, right_ear = (rig.rest_vertices[face[name]] for name in ("nose", "left_ear", "right_ear"))
    back = (y - nose[1]) / (y[head].max() - nose[1])
    height = (z - nose[2]) / (z[head].max() - nose[2])
    hairline = torch.full_like(height, _HAIRLINE[0][1])
    for (start, high), (end, low) in pairwise(_HAIRLINE):
        hairline = hairline + (low - high) * ((back - start) / (end - start)).clamp(0.0, 1.0)
    middle, half_width = (left_ear[0] + right_ear[0]) / 2, (left_ear[0] - right_ear[0]) / 2
    ear = (x - middle).abs() > _EAR_SHARE * half_width
    return head & (height > hairline) & ~ear
