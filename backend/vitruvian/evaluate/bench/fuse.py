"""Fusion of many views into a large texture, part by part, against a plain back-projection of the same
views."""

from __future__ import annotations

import math
import time
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from vitruvian.body.anny_body import anny_body
from vitruvian.core.camera import CameraRig, project
from vitruvian.core.images import Texture, ViewSet
from vitruvian.core.mesh import Mesh
from vitruvian.core.report import Preview
from vitruvian.evaluate.bench.memory import peak_growth
from vitruvian.evaluate.protocol import Target
from vitruvian.render.gbuffer import interpolate_foreground
from vitruvian.render.raster import rasterize
from vitruvian.render.rigs import default_rig
from vitruvian.texture.fuse import fuse
from vitruvian.texture.texels import texel_map

_Plain = tuple[Float[Tensor, "3 P"], Float[Tensor, "P"]]
SIZES = (512, 1024, 2048, 4096)
_GOAL = {"cpu": 15.0, "cuda": 0.5}
_PARTS = ("texel map", "what the views see", "bake", "sharpening", "hole filling", "seams", "padding")
"""What runs between one report of `fuse` and the next."""


def bench_fuse(
    device: torch.device, sizes: tuple[int, ...] = SIZES, view_size: int = 1024, repeats: int = 1
) -> list[Target]:
    """Sixteen views of the built-in body, painted with a known pattern, fused at each size of texture.

    The alternative reads the same views at the same texels, one view after the other over all of them, with
    torch's own `grid_sample`. Both are timed with their texel maps.
    """
    mesh = anny_body().mesh
    views = photographed(mesh, default_rig(mesh, view_size), device)
    mesh = mesh.to(device)
    fuse(views, mesh, sizes[0])
    back_project(views, mesh, sizes[0])
    lines: list[Target] = []
    totals: dict[int, float] = {}
    for size in sizes:
        runs = [_fused(views, mesh, size) for _ in range(repeats)]
        texture, parts, busy, grown = min(runs, key=lambda run: sum(run[1].values()))
        plain, plain_seconds, plain_busy, plain_grown = _plain(views, mesh, size)
        total = totals[size] = sum(parts.values())
        goal = _GOAL[device.type] if size == 4096 else None
        wanted = "" if goal is None else f"<= {goal:g}"
        lines.append(Target(f"{size} px", total, wanted, None if goal is None else total <= goal, "s"))
        lines += [Target(f"{size} px: {part}", seconds, "", None, "s") for part, seconds in parts.items()]
        lines += [
            Target(f"{size} px: all cores' time", busy, "", None, "core s"),
            Target(f"{size} px: memory on top of the views", grown, "", None, "GB"),
            Target(f"{size} px: back-projection with grid_sample", plain_seconds, "", None, "s"),
            Target(f"{size} px: its cores' time", plain_busy, "", None, "core s"),
            Target(f"{size} px: its memory", plain_grown, "", None, "GB"),
            Target(f"{size} px: time against it", total / plain_seconds, "", None),
        ]
        lines += _quality(mesh, texture, plain, size)
    return lines + _growth(totals)


def _fused(views: ViewSet, mesh: Mesh, size: int) -> tuple[Texture, dict[str, float], float, float]:
    """The texture, the seconds of each part, those of all cores together, and the memory it took."""
    marks: list[float] = []

    def report(stage: str, step: int, total: int, preview: Preview | None = None) -> None:
        _wait(views.images.device)
        marks.append(time.perf_counter())

    def work() -> Texture:
        texture = fuse(views, mesh, size, report=report)
        report("texture", 1, 1)
        return texture

    busy = time.process_time()
    texture, grown = peak_growth(work, views.images.device)
    busy = time.process_time() - busy
    seconds = [after - before for before, after in pairwise(marks)]
    return texture, dict(zip(_PARTS, seconds, strict=True)), busy, grown


def _plain(views: ViewSet, mesh: Mesh, size: int) -> tuple[_Plain, float, float, float]:
    """What the alternative makes, its seconds, those of all cores together, and the memory it took."""
    _wait(views.images.device)
    begin, busy = time.perf_counter(), time.process_time()
    made, grown = peak_growth(lambda: back_project(views, mesh, size), views.images.device)
    _wait(views.images.device)
    return made, time.perf_counter() - begin, time.process_time() - busy, grown


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@torch.no_grad()
def back_project(views: ViewSet, mesh: Mesh, size: int) -> _Plain:
    """The alternative: each texel's mean over the views that see it, weighted by the cosine.

    A view sees a texel where the depth found there with `grid_sample` is its own to a centimetre. No trust,
    no close-ups first, nothing sharpened, filled or padded.

    Returns:
        Colours, and the sum of the weights: 0 where no view sees the texel.
    """
    texels = texel_map(mesh, size)
    position, normal = texels.position, texels.normal
    colours = torch.zeros(3, len(position), device=position.device)
    weights = torch.zeros(len(position), device=position.device)
    for view in range(len(views.rig)):
        rig = views.rig.select([view])
        (pixel,), (z,) = project(position, rig)
        grid = (pixel / pixel.new_tensor([rig.width, rig.height]) * 2.0 - 1.0)[None, None]
        shown = torch.cat([views.images[view], views.gbuffer.depth[view][None].float()])[None]
        found = grid_sample(shown, grid, align_corners=False)[0, :, 0]
        cosine = (torch.nn.functional.normalize(rig.positions[0] - position, dim=-1) * normal).sum(-1)
        weight = cosine.clamp_min(0.0) * ((found[3] - z).abs() < 0.01) * (z > 0)
        colours += found[:3] * weight
        weights += weight
    return colours / weights.clamp_min(1e-12), weights


def photographed(mesh: Mesh, rig: CameraRig, device: torch.device) -> ViewSet:
    """Pictures of the body painted with `pattern` on white, each pixel the mean of four."""
    gbuffer = rasterize(mesh, rig)
    fine = rig.resized(2 * rig.width, 2 * rig.height)
    images = torch.ones(len(rig), 3, rig.height, rig.width)
    for view in range(len(rig)):
        seen = rasterize(mesh, fine.select([view]))
        pixels, position = interpolate_foreground(seen, mesh.faces, mesh.vertices)
        picture = torch.ones(3, fine.height * fine.width)
        picture[:, pixels] = pattern(position.T)
        images[view] = avg_pool2d(picture.reshape(1, 3, fine.height, fine.width), 2)[0]
    return ViewSet(images.to(device), rig.to(device), gbuffer.to(device))


def pattern(points: Float[Tensor, "3 P"]) -> Float[Tensor, "3 P"]:
    """A colour for every point of space, 0.1 to 0.9: waves of 50, 10 and 3 cm, no two sides of a body
    alike."""
    mixed = torch.tensor([[1.0, 0.3, 0.2], [-0.2, 1.0, 0.4], [0.5, -0.3, 1.0]], device=points.device) @ points
    phase = torch.tensor([[0.0], [1.0], [2.0]], device=points.device)
    colours = torch.full_like(mixed, 0.5)
    for length, amplitude in ((0.5, 0.2), (0.1, 0.12), (0.03, 0.08)):
        colours += amplitude * torch.sin(mixed * (2.0 * math.pi / length) + phase)
    return colours


def _quality(mesh: Mesh, texture: Texture, plain: _Plain, size: int) -> list[Target]:
    """How near both come to the pattern, on the texels that they saw."""
    texels = texel_map(mesh, size)
    truth = pattern(texels.position.T)
    ours = texture.albedo.reshape(3, -1)[:, texels.index]
    coverage = texture.coverage.reshape(-1)[texels.index]
    both, well = (coverage > 0) & (plain[1] > 0), (coverage > 0.3) & (plain[1] > 0)
    return [
        Target(
            f"{size} px: against the pattern, where seen", _psnr(ours, truth, coverage > 0), "", None, "dB"
        ),
        Target(f"{size} px: the same where both see", _psnr(ours, truth, both), "", None, "dB"),
        Target(f"{size} px: back-projection, where both see", _psnr(plain[0], truth, both), "", None, "dB"),
        Target(f"{size} px: where coverage is above 0.3", _psnr(ours, truth, well), "", None, "dB"),
        Target(f"{size} px: back-projection there", _psnr(plain[0], truth, well), "", None, "dB"),
    ]


def _psnr(made: Float[Tensor, "3 P"], truth: Float[Tensor, "3 P"], where: Bool[Tensor, "P"]) -> float:
    return -10.0 * math.log10(float((made - truth)[:, where].square().mean()) + 1e-12)


def _growth(totals: dict[int, float]) -> list[Target]:
    """Exponent of time against pixels between the two largest sizes; 1 is linear."""
    if len(totals) < 2:
        return []
    (small, before), (large, after) = sorted(totals.items())[-2:]
    exponent = math.log(after / before) / math.log((large / small) ** 2)
    what = f"time against pixels, {small} to {large} px: exponent"
    return [Target(what, exponent, "<= 1", exponent <= 1.0)]
