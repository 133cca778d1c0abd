"""Speed, as ratios against a named alternative in the same run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from vitruvian.body.anny_body import anny_body
from vitruvian.core.report import Report
from vitruvian.diffusion.prior import load_prior
from vitruvian.evaluate.protocol import Target
from vitruvian.methods.inputs import Inputs
from vitruvian.methods.mvhuman import MVHumanSettings, run
from vitruvian.render.raster_embree import box_rays, build_scene, projected_boxes, rasterize
from vitruvian.render.rigs import default_rig

DEMO_PROMPT = "a woman with short black hair in a red striped shirt, blue jeans and white sneakers"


@dataclass(frozen=True)
class Timing:
    """Seconds of repeated runs."""

    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def bench_render(size: int = 256, repeats: int = 9) -> list[Target]:
    """G-buffers of 16 views against embreex casting the very same rays and returning the very same fields.

    The two alternate, so that a machine that slows down slows both.
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
    return [
        Target("embreex alone, the same rays", count / alone.median / 1e6, "", None, "Mrays/s"),
        Target("G-buffer, scene build included", count / ours.median / 1e6, "", None, "Mrays/s"),
        Target("G-buffer rate / embreex alone", 100 * ratio, ">= 50", ratio >= 0.5, "%"),
    ]


def bench_generate(prior_name: str, device: torch.device, report: Report) -> list[Target]:
    """The demo's job, stage by stage, guided and with independent views; 20 steps, 1024 px texture.

    Measured in this process after the prior is loaded: what `vitruvian generate` adds is loading and saving.
    """
    begin = time.perf_counter()
    prior = load_prior(prior_name, device)
    body = anny_body()
    loading = time.perf_counter() - begin
    inputs = Inputs(body, default_rig(body.mesh, prior.image_size), DEMO_PROMPT)
    alone = run(inputs, MVHumanSettings(consistency=None), prior, report).report["seconds"]
    avatar = run(inputs, MVHumanSettings(), prior, report)
    guided = avatar.report["seconds"]
    total = loading + sum(guided.values())
    memory = avatar.report["peak_memory_gb"]["process"]
    stages = [Target(f"stage: {stage}", seconds, "", None, "s") for stage, seconds in guided.items()]
    return [
        Target("loading the prior and the body", loading, "", None, "s"),
        *stages,
        Target("generation, loading included", total, "<= 90 (2 cores, 16 views)", total <= 90, "s"),
        Target("sampling, guided / independent views", guided["sampling"] / alone["sampling"], "", None),
        Target("peak memory of the process", memory, "<= 4", memory <= 4, "GB"),
    ]


def alternate(a: Callable[[], object], b: Callable[[], object], repeats: int) -> tuple[Timing, Timing]:
    """Times of `a` and `b` in turn, after one run of each that is not counted."""
    a()
    b()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for function, seconds in zip((a, b), times, strict=True):
            begin = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - begin)
    return Timing(times[0]), Timing(times[1])
