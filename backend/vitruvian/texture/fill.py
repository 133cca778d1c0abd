"""Colours for texels no view saw, and for the space between the islands."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree
from torch import Tensor

_NEIGHBOURS = 32
_MOST_SEEDS = 150_000
"""Seen texels that a hole may take its colour from; more only cost time."""


def fill_holes(
    colours: Float[Tensor, "P 3"],
    coverage: Float[Tensor, "P"],
    position: Float[Tensor, "P 3"],
    normal: Float[Tensor, "P 3"],
) -> Float[Tensor, "P 3"]:
    """Colour unseen points from seen ones that lie near them on the surface.

    Weights are 1/distance, times how far the normals agree, so that a colour does not jump across a thin part
    (MVPaint; research 4.1), and times how well the seen point was seen. Nothing is taken from UV neighbours,
    which need not be neighbours on the body.
    Grey where nothing at all was seen.
    """
    seen = coverage > 0
    if bool(seen.all()):
        return colours
    filled = colours.clone()
    if not bool(seen.any()):
        filled[:] = 0.5
        return filled
    seeds = seen.nonzero().squeeze(1)
    seeds = seeds[:: max(1, len(seeds) // _MOST_SEEDS)]
    holes = (~seen).nonzero().squeeze(1)
    tree = KDTree(position[seeds].cpu().numpy())
    k = min(_NEIGHBOURS, len(seeds))
    distance, nearest = tree.query(position[holes].cpu().numpy(), k=k, workers=-1)
    near = seeds[torch.from_numpy(np.asarray(nearest).reshape(-1, k)).to(seeds.device)]
    distance = torch.from_numpy(np.asarray(distance, dtype=np.float32).reshape(-1, k)).to(colours.device)
    agreement = (normal[near] * normal[holes][:, None]).sum(-1)
    weight = (0.02 + agreement.clamp_min(0.0) ** 2) / (distance + 1e-3) * (0.02 + coverage[near])
    filled[holes] = (colours[near] * weight[..., None]).sum(1) / weight.sum(1, keepdim=True)
    return filled


def pad_islands(image: Float[Tensor, "C S S"], known: Bool[Tensor, "S S"]) -> Float[Tensor, "C S S"]:
    """Continue the islands' colours outwards by the nearest known texel, so that no lookup reads the gaps."""
    if not bool(known.any()) or bool(known.all()):
        return image
    nearest = distance_transform_edt(~known.cpu().numpy(), return_distances=False, return_indices=True)
    rows, columns = torch.from_numpy(np.asarray(nearest, dtype=np.int64)).to(image.device)
    return image[:, rows, columns]
