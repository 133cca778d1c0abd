"""Rasterising, against the bare ray caster; soft silhouettes; and whether the rasterisers agree."""

from __future__ import annotations

import statistics
from dataclasses import replace

import torch

from vitruvian.body.anny_body import anny_body
from vitruvian.core.camera import CameraRig
from vitruvian.core.mesh import Mesh
from vitruvian.evaluate.bench.agreement import BLUR, Rasteriser, agreement, installed
from vitruvian.evaluate.bench.timing import alternate
from vitruvian.evaluate.protocol import Target
from vitruvian.render.raster_embree import box_rays, build_scene, projected_boxes, rasterize
from vitruvian.render.rigs import default_rig

COMPARED_VIEWS = [0, 3, 8, 11]
"""Front and side, whole body and upper body: what agreement is measured on."""


def bench_render(device: torch.device, size: int = 256, repeats: int = 9) -> list[Target]:
    """G-buffers of 16 views against embreex casting the very same rays and returning the very same fields.

    The two alternate, so that a machine that slows down slows both. Soft silhouettes with their gradient, and
    Kaolin where it is installed and `device` is a CUDA device, alternate with Embree's G-buffers in the same
    way.
    """
    mesh = anny_body().mesh
    rig = default_rig(mesh, size)
    scene = build_scene(mesh)
    rays = [box_rays(rig, view, *box) for view, box in enumerate(projected_boxes(mesh, rig).tolist())]
    count = sum(len(origins) for origins, _ in rays)

    def bare() -> None:
        for origins, directions in rays:
            scene.run(origins, directions, query="INTERSECT", output=True)

    ours, alone = alternate(lambda: rasterize(mesh, rig), bare, repeats)
    ratio = statistics.median(b / a for a, b in zip(ours.seconds, alone.seconds, strict=True))
    rasterisers = installed(device)
    return [
        Target("embreex alone, the same rays", count / alone.median / 1e6, "", None, "Mrays/s"),
        Target("G-buffer, scene build included", count / ours.median / 1e6, "", None, "Mrays/s"),
        Target("G-buffer rate / embreex alone", 100 * ratio, ">= 50", ratio >= 0.5, "%"),
        *(line for r in rasterisers for line in _times(mesh, rig, r)),
        *agreement(mesh, rig.select(COMPARED_VIEWS), rasterisers),
    ]


def _times(mesh: Mesh, rig: CameraRig, rasteriser: Rasteriser, repeats: int = 3) -> list[Target]:
    """Soft silhouettes there and back, and Kaolin's G-buffers, each in turn with Embree's G-buffers."""
    here, its_rig = mesh.to(rasteriser.device), rig.to(rasteriser.device)
    covered = rasteriser.rasterize(here, its_rig).mask

    def gbuffers() -> None:
        rasteriser.rasterize(here, its_rig)
        _wait(rasteriser.device)

    def silhouettes() -> None:
        vertices = here.vertices.clone().requires_grad_()
        moved = replace(here, vertices=vertices)
        rasteriser.soft_silhouette(moved, its_rig, covered, BLUR).sum().backward()
        _wait(rasteriser.device)

    soft, plain = alternate(silhouettes, lambda: rasterize(mesh, rig), repeats)
    name = rasteriser.name
    lines = [Target(f"{name}: soft silhouettes and gradient", soft.median, "", None, "s")]
    if rasteriser.device.type == "cuda":
        fast, plain = alternate(gbuffers, lambda: rasterize(mesh, rig), repeats)
        lines.append(Target(f"{name}: G-buffers", fast.median, "", None, "s"))
        lines.append(Target(f"{name}: G-buffers, Embree / {name}", plain.median / fast.median, "", None, "x"))
    return lines


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
