"""Colours for texels no view saw, and for the space between the islands."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree
from torch import Tensor

from vitruvian.texture.texels import TexelMap

_NEIGHBOURS, _FINE_NEIGHBOURS = 32, 6
_COARSE, _FINE = 20_000, 150_000
"""Points of the coarse and the fine pass over the holes; more only cost time."""
_SEAM = 2.0
"""Width of the band along island borders that is smoothed, texels."""
_SEAM_NEIGHBOURS = 16


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
    seeds, holes = seen.nonzero().squeeze(1), (~seen).nonzero().squeeze(1)
    coarse_seeds, coarse = _thinned(seeds, _COARSE), _thinned(holes, _COARSE)
    near, distance = _nearest(position[coarse_seeds], position[coarse], min(_NEIGHBOURS, len(coarse_seeds)))
    filled[coarse] = _surface_mean(colours, coverage, normal, coarse_seeds[near], distance, coarse)
    # The rest: between the coarse holes, now filled, and the seen texels around.
    known = torch.cat([_thinned(seeds, _FINE), coarse])
    trust = coverage.clone()
    trust[coarse] = 0.3
    near, distance = _nearest(position[known], position[holes], min(_FINE_NEIGHBOURS, len(known)))
    filled[holes] = _surface_mean(filled, trust, normal, known[near], distance, holes)
    return filled


def _thinned(indices: Int[Tensor, "A"], most: int) -> Int[Tensor, "B"]:
    """At most `most` of the indices, evenly spread."""
    return indices[:: max(1, -(-len(indices) // most))]


def _surface_mean(
    colours: Float[Tensor, "P 3"],
    trust: Float[Tensor, "P"],
    normal: Float[Tensor, "P 3"],
    near: Int[Tensor, "H k"],
    distance: Float[Tensor, "H k"],
    holes: Int[Tensor, "H"],
) -> Float[Tensor, "H 3"]:
    """Weighted mean of the near points' colours for each hole."""
    agreement = (normal[near] * normal[holes][:, None]).sum(-1)
    weight = (0.02 + agreement.clamp_min(0.0) ** 2) / (distance + 1e-3) * (0.02 + trust[near])
    return (colours[near] * weight[..., None]).sum(1) / weight.sum(1, keepdim=True)


def smooth_seams(colours: Float[Tensor, "P 3"], texels: TexelMap) -> Float[Tensor, "P 3"]:
    """Let the two sides of every cut of the UV layout agree.

    Texels within `_SEAM` of an island's border move to the mean of the surface within about a texel around
    them, whichever island it lies on; fully at the border, not at all at the band's inner edge.
    """
    depth = distance_transform_edt(texels.inside_image.cpu().numpy())
    depth = torch.from_numpy(np.asarray(depth, dtype=np.float32)).reshape(-1).to(colours.device)[texels.index]
    band = (depth <= _SEAM).nonzero().squeeze(1)
    around = (depth <= 2.0 * _SEAM).nonzero().squeeze(1)
    if len(band) == 0:
        return colours
    k = min(_SEAM_NEIGHBOURS, len(around))
    near, distance = _nearest(texels.position[around], texels.position[band], k)
    near = around[near]
    agreement = (texels.normal[near] * texels.normal[band][:, None]).sum(-1)
    reach = distance / texels.footprint[band].clamp_min(1e-6)[:, None]
    weight = torch.exp(-0.5 * reach**2) * (agreement > 0.5) + 1e-6 * (distance == 0)
    mean = (colours[near] * weight[..., None]).sum(1) / weight.sum(1, keepdim=True).clamp_min(1e-12)
    keep = (depth[band] / _SEAM).clamp(0.0, 1.0)
    keep = torch.where(weight.sum(1) > 1e-9, keep, torch.ones_like(keep))
    smoothed = colours.clone()
    smoothed[band] = torch.lerp(mean, colours[band], keep[:, None])
    return smoothed


def _nearest(
    points: Float[Tensor, "A 3"], queries: Float[Tensor, "B 3"], k: int
) -> tuple[Int[Tensor, "B k"], Float[Tensor, "B k"]]:
    """Indices of and distances to the `k` points nearest to each query."""
    distance, nearest = KDTree(points.cpu().numpy()).query(queries.cpu().numpy(), k=k, workers=-1)
    nearest = np.asarray(nearest, dtype=np.int64).reshape(-1, k)
    distance = np.asarray(distance, dtype=np.float32).reshape(-1, k)
    return torch.from_numpy(nearest).to(points.device), torch.from_numpy(distance).to(points.device)


def pad_islands(image: Float[Tensor, "C S S"], known: Bool[Tensor, "S S"]) -> Float[Tensor, "C S S"]:
    """Continue the islands' colours outwards by the nearest known texel, so that no lookup reads the gaps."""
    if not bool(known.any()) or bool(known.all()):
        return image
    nearest = distance_transform_edt(~known.cpu().numpy(), return_distances=False, return_indices=True)
    rows, columns = torch.from_numpy(np.asarray(nearest, dtype=np.int64)).to(image.device)
    return image[:, rows, columns]
