"""Weighted means over the views that see a point."""

from __future__ import annotations

import warnings

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitruvian.core.camera import CameraRig
from vitruvian.texture.project import POOR, RANK, Sightings
from vitruvian.texture.surface import SurfaceViews, smoothstep


class Shares:
    """How much each sighting counts at its point."""

    def __init__(self, sightings: Sightings, rig: CameraRig) -> None:
        self._sightings = sightings
        self.quality = sightings.clear * smoothstep((sightings.cosine - 0.17) / 0.2)
        """Trust in each sighting, 0 to 1; cut off between 80 and 68 degrees."""
        density = sightings.density / sightings.density.max().clamp_min(1e-6) if len(sightings.view) else 1.0
        self._fixed = self.quality.clamp_min(POOR) * self._left_by_closeups(rig) * density**2

    def __call__(self, power: float) -> Float[Tensor, "S"]:
        """Shares that sum to 1 at each point."""
        s = self._sightings
        weight = self._fixed * s.cosine**power
        total = torch.zeros(s.points, device=weight.device).index_add_(0, s.point, weight)
        return weight / total[s.point].clamp_min(1e-30)

    def count_good(self) -> Int[Tensor, "P"]:
        """Number of views that see each point well; at least 1 where any view sees it at all."""
        s = self._sightings
        good = torch.zeros(s.points, dtype=torch.long, device=s.point.device)
        seen = good.clone()
        seen[s.point] = 1
        return good.index_add_(0, s.point, (self.quality > 0.05).long()).maximum(seen)

    def coverage(self) -> Float[Tensor, "P"]:
        """How well the best view sees each point: 1 face-on and clear, barely above 0 at worst, 0 unseen."""
        s = self._sightings
        best = torch.zeros(s.points, device=s.cosine.device)
        return best.scatter_reduce_(0, s.point, (self.quality * s.cosine).clamp_min(POOR), "amax")

    def _left_by_closeups(self, rig: CameraRig) -> Float[Tensor, "S"]:
        """What views of a higher rank leave to each sighting: 1 where there are none, fading in between."""
        s = self._sightings
        rank = torch.tensor([RANK[kind] for kind in rig.kinds], device=s.view.device)[s.view]
        claim = s.clear * smoothstep((s.cosine - 0.25) / 0.3)
        left = torch.ones_like(claim)
        for higher in sorted(set(rank.tolist()))[1:]:
            strongest = torch.zeros(s.points, device=claim.device)
            strongest.scatter_reduce_(0, s.point, claim * (rank == higher), "amax")
            left = torch.where(rank < higher, left * (1.0 - strongest[s.point]), left)
        return left.clamp_min(POOR)


class Gather:
    """The sparse matrix that takes pixels to points; its pattern is fixed, its values are the shares."""

    def __init__(self, sightings: Sightings, chain: list[SurfaceViews]) -> None:
        per_point = torch.bincount(sightings.point, minlength=sightings.points) * sightings.taps.shape[1]
        zero = torch.zeros(1, dtype=torch.long, device=per_point.device)
        self._rows = torch.cat([zero, per_point.cumsum(0)]).int()
        self._columns = sightings.taps.reshape(-1).int()
        self._tap_weights = sightings.tap_weights
        self._shape = (sightings.points, sum(views.pixels for views in chain))

    def __call__(self, pixels: Float[Tensor, "Q C"], shares: Float[Tensor, "S"]) -> Float[Tensor, "P C"]:
        values = (self._tap_weights * shares[:, None]).reshape(-1)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            matrix = torch.sparse_csr_tensor(
                self._rows, self._columns, values, self._shape, check_invariants=False
            )
        return matrix @ pixels
