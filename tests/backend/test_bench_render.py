"""The agreement that `vitruvian bench render` prints: it holds for what is right and finds what is wrong."""

from __future__ import annotations

from dataclasses import replace

import kaolin_twin
import pytest
import torch
from shapes import mixed_rig, pebble
from torch import Tensor

from vitruvian.core.camera import CameraRig
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh
from vitruvian.evaluate.bench.agreement import Rasteriser, agreement, installed
from vitruvian.evaluate.protocol import Target
from vitruvian.render import raster_kaolin

CPU = torch.device("cpu")


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> Rasteriser:
    """Kaolin's side on the brute-force twins of its kernels."""
    monkeypatch.setattr(raster_kaolin, "_kernels", lambda: kaolin_twin.TWIN)
    return Rasteriser("twin", CPU, raster_kaolin.rasterize, raster_kaolin.soft_silhouette)


def _lines(other: Rasteriser) -> dict[str, Target]:
    found = agreement(pebble(1), mixed_rig(32, 28).select([0, 3]), [*installed(CPU), other])
    return {line.what: line for line in found}


def test_kaolins_side_agrees_with_embree(twin: Rasteriser) -> None:
    lines = _lines(twin)
    assert len(lines) == 11
    missed = [(line.what, line.value) for line in lines.values() if line.met is False]
    # 32 pixels are few for the finite differences of a whole silhouette, so only the comparison is judged.
    assert [what for what, _ in missed if "twin / Embree" in what] == []
    assert 0.8 < lines["twin: growth of the soft area / of the hard one"].value < 1.3
    assert lines["twin: depth's gradient off finite differences"].value < 2


def test_a_shifted_image_another_order_and_a_wrong_gradient_are_found(twin: Rasteriser) -> None:
    def shifted(mesh: Mesh, rig: CameraRig) -> GBuffer:
        seen = twin.rasterize(mesh, rig)
        return GBuffer(seen.face_id.roll(1, 2), seen.barycentric.roll(1, 2), seen.depth.roll(1, 2))

    lines = _lines(replace(twin, rasterize=shifted))
    for what in (
        "overlap of the masks (IoU)",
        "same face, away from edges",
        "depth, 99.9 % of pixels within",
    ):
        assert lines[f"twin / Embree: {what}"].met is False, what

    def halved(mesh: Mesh, rig: CameraRig) -> GBuffer:
        seen = twin.rasterize(mesh, rig)
        return replace(seen, depth=0.5 * (seen.depth + seen.depth.detach()))

    def doubled(mesh: Mesh, rig: CameraRig, covered: Tensor, blur: float) -> Tensor:
        return twin.soft_silhouette(mesh, rig, covered, 2 * blur)

    lines = _lines(replace(twin, rasterize=halved, soft_silhouette=doubled))
    assert lines["twin / Embree: overlap of the masks (IoU)"].met is True
    assert lines["twin / Embree: depth's gradient"].met is False
    assert lines["twin: depth's gradient off finite differences"].value == pytest.approx(50, abs=2)
    assert lines["twin / Embree: soft silhouettes, largest difference"].met is False
