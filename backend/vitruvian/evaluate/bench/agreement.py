"""Do the rasterisers see the same, and are their gradients the slopes of what they draw?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.core.camera import CameraRig
from vitruvian.core.images import GBuffer
from vitruvian.core.mesh import Mesh
from vitruvian.evaluate.protocol import Target
from vitruvian.render import raster_embree, raster_kaolin, silhouette
from vitruvian.render.gbuffer import follow_vertices

BLUR = 1.0
"""Pixels, of the soft silhouettes that are compared."""
INSIDE = 0.05
"""Least weight of a corner at pixels that count as away from the edges of faces."""


@dataclass(frozen=True)
class Rasteriser:
    """One way to G-buffers and soft silhouettes, and where its tensors lie."""

    name: str
    device: torch.device
    rasterize: Callable[[Mesh, CameraRig], GBuffer]
    soft_silhouette: Callable[[Mesh, CameraRig, Tensor, float], Tensor]


def installed(device: torch.device) -> list[Rasteriser]:
    """Embree with torch, which is always there, and Kaolin where `device` and the installation allow it."""
    found = [Rasteriser("Embree", torch.device("cpu"), _embree, silhouette.soft_silhouette)]
    if device.type == "cuda" and raster_kaolin.available():
        found.append(Rasteriser("Kaolin", device, raster_kaolin.rasterize, raster_kaolin.soft_silhouette))
    return found


def agreement(mesh: Mesh, rig: CameraRig, rasterisers: list[Rasteriser]) -> list[Target]:
    """Each one's gradients against finite differences, and every later one against the first."""
    lines: list[Target] = []
    for rasteriser in rasterisers:
        lines += gradients(mesh.to(rasteriser.device), rig.to(rasteriser.device), rasteriser)
    for other in rasterisers[1:]:
        lines += compare(mesh, rig, rasterisers[0], other)
    return lines


def gradients(mesh: Mesh, rig: CameraRig, rasteriser: Rasteriser) -> list[Target]:
    """Derivatives of depth and of the soft silhouette as the body grows along its normals, the worst view."""
    name = rasteriser.name
    pixel = _metres_per_pixel(mesh, rig, rasteriser)
    depth = _depth_error(mesh, rig, rasteriser, step=0.02 * pixel)

    def soft(grown: Mesh) -> Float[Tensor, "N"]:
        covered = rasteriser.rasterize(grown, rig).mask
        return rasteriser.soft_silhouette(grown, rig, covered, BLUR).sum(dim=(1, 2))

    def hard(grown: Mesh) -> Float[Tensor, "N"]:
        return rasteriser.rasterize(grown, rig).mask.sum(dim=(1, 2)).float()

    slope = _slope(mesh, soft)
    error = _worst(slope, _finite_difference(mesh, soft, 0.05 * pixel))
    growth = float((slope / _finite_difference(mesh, hard, 0.5 * pixel)).mean())
    return [
        Target(f"{name}: depth's gradient off finite differences", 100 * depth, "<= 1", depth <= 0.01, "%"),
        Target(
            f"{name}: soft silhouette's gradient off its finite differences",
            100 * error,
            "<= 2",
            error <= 0.02,
            "%",
        ),
        # Near 1: outlines that curve, and gaps as narrow as the blur, make the difference.
        Target(f"{name}: growth of the soft area / of the hard one", growth, "", None),
    ]


def compare(mesh: Mesh, rig: CameraRig, first: Rasteriser, other: Rasteriser) -> list[Target]:
    """What `other` sees, against `first`."""
    here, there = (r.rasterize(mesh.to(r.device), rig.to(r.device)).to("cpu") for r in (first, other))
    both = here.mask & there.mask
    overlap = float(both.sum() / (here.mask | there.mask).sum())
    inner = both & (here.barycentric.amin(dim=-1) > INSIDE)
    same = float((here.face_id == there.face_id)[inner].float().mean())
    depth = 1000 * float((here.depth - there.depth)[both].abs().quantile(0.999))
    slopes = [_depth_gradient(mesh, rig, r) for r in (first, other)]
    soft = [
        r.soft_silhouette(mesh.to(r.device), rig.to(r.device), here.mask.to(r.device), BLUR).cpu()
        for r in (first, other)
    ]
    gap = float((soft[0] - soft[1]).abs().max())
    off = float((slopes[0] - slopes[1]).norm() / slopes[0].norm())
    pair = f"{other.name} / {first.name}"
    return [
        Target(f"{pair}: overlap of the masks (IoU)", 100 * overlap, ">= 99.9", overlap >= 0.999, "%"),
        Target(f"{pair}: same face, away from edges", 100 * same, ">= 99.9", same >= 0.999, "%"),
        Target(f"{pair}: depth, 99.9 % of pixels within", depth, "<= 1", depth <= 1, "mm"),
        Target(f"{pair}: depth's gradient", 100 * off, "<= 2", off <= 0.02, "%"),
        Target(f"{pair}: soft silhouettes, largest difference", gap, "<= 0.01", gap <= 0.01),
    ]


def _embree(mesh: Mesh, rig: CameraRig) -> GBuffer:
    return follow_vertices(raster_embree.rasterize(mesh, rig), mesh, rig)


def _grown(mesh: Mesh, by: Tensor | float) -> Mesh:
    """Moved along the normals of `mesh`, metres."""
    return replace(mesh, vertices=mesh.vertices + by * mesh.vertex_normals.detach())


def _slope(mesh: Mesh, figure: Callable[[Mesh], Float[Tensor, "N"]]) -> Float[Tensor, "N"]:
    """Derivative of each view's figure as the mesh grows, by backpropagation to its vertices."""
    vertices = mesh.vertices.clone().requires_grad_()
    values = figure(replace(mesh, vertices=vertices))
    normals = mesh.vertex_normals
    slopes = [torch.autograd.grad(value, vertices, retain_graph=True)[0] for value in values]
    return torch.stack([(slope * normals).sum() for slope in slopes])


def _finite_difference(
    mesh: Mesh, figure: Callable[[Mesh], Float[Tensor, "N"]], step: float
) -> Float[Tensor, "N"]:
    with torch.no_grad():
        return (figure(_grown(mesh, step)) - figure(_grown(mesh, -step))) / (2 * step)


def _depth_error(mesh: Mesh, rig: CameraRig, rasteriser: Rasteriser, step: float) -> float:
    """Over the pixels that see the same face before and after."""
    before, now, after = (
        rasteriser.rasterize(_grown(mesh, shift), rig).face_id for shift in (-step, 0.0, step)
    )
    kept = (before == now) & (after == now) & (now >= 0)

    def depth(grown: Mesh) -> Float[Tensor, "N"]:
        return (rasteriser.rasterize(grown, rig).depth.double() * kept).sum(dim=(1, 2))

    return _worst(_slope(mesh, depth), _finite_difference(mesh, depth, step))


def _depth_gradient(mesh: Mesh, rig: CameraRig, rasteriser: Rasteriser) -> Float[Tensor, "V 3"]:
    vertices = mesh.vertices.to(rasteriser.device).clone().requires_grad_()
    moved = replace(mesh.to(rasteriser.device), vertices=vertices)
    depth = rasteriser.rasterize(moved, rig.to(rasteriser.device)).depth
    return torch.autograd.grad(depth.sum(), vertices)[0].cpu()


def _metres_per_pixel(mesh: Mesh, rig: CameraRig, rasteriser: Rasteriser) -> float:
    gbuffer = rasteriser.rasterize(mesh, rig)
    return float(gbuffer.depth[gbuffer.mask].mean() / rig.K[:, 0, 0].mean())


def _worst(found: Float[Tensor, "N"], true: Float[Tensor, "N"]) -> float:
    return float(((found - true) / true).abs().max())
