"""Time and memory against views, pixels and texture: each curve, and how steep it is."""

from __future__ import annotations

import json
import math
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vitruvian.core.report import Report
from vitruvian.evaluate.bench.scaling_point import STAGES, Cost, Point
from vitruvian.evaluate.protocol import Target
from vitruvian.methods.record import versions
from vitruvian.texture.texels import LARGEST

STEEPEST = 1.1
"""Largest exponent that counts as linear."""


@dataclass(frozen=True)
class Sample:
    """A measured point of one axis."""

    axis: str
    """views, pixels or texture: what changes along the curve."""
    point: Point
    cost: Cost

    @property
    def size(self) -> int:
        """Pixels of all views together; on the texture's axis, texels."""
        return self.point.texture**2 if self.axis == "texture" else self.point.views * self.point.pixels**2


@dataclass(frozen=True)
class Curve:
    """One stage's time or memory along one axis."""

    axis: str
    stage: str
    quantity: str
    """seconds or memory_gb."""
    sizes: list[int]
    values: list[float]

    @property
    def exponent(self) -> float:
        """b of the least-squares fit of a * size^b; 1 is linear."""
        return slope([math.log(size) for size in self.sizes], [math.log(value) for value in self.values])


def plan(full: bool) -> list[tuple[str, Point]]:
    """The points of each axis, smallest first; the axis that takes most comes last."""
    small = Point(views=4, pixels=256, texture=512, steps=2 if full else 1, repeats=3 if full else 1)
    textures = [size for size in (512, 1024, 2048, 4096, 8192) if size <= (LARGEST if full else 4096)]
    pixels = (256, 384, 512, 768, 1024) if full else (256, 512, 1024)
    views = (4, 8, 16, 32, 64) if full else (4, 16, 64)
    return [
        *(("texture", replace(small, texture=texture, steps=1)) for texture in textures),
        *(("pixels", replace(small, pixels=count)) for count in pixels),
        *(("views", replace(small, views=count)) for count in views),
    ]


def bench_scaling(prior: str, device: torch.device, out: Path, full: bool, report: Report) -> list[Target]:
    """Measure every point, write scaling.json and scaling.png into `out`, and return the exponents.

    Both files are written again after every point, so that a run that is stopped leaves what it found.

    Raises:
        UserError: matplotlib is missing.
    """
    from vitruvian.evaluate.bench.scaling_plot import load_matplotlib, plot

    load_matplotlib()
    out.mkdir(parents=True, exist_ok=True)
    points = plan(full)
    samples: list[Sample] = []
    curves: list[Curve] = []
    for index, (axis, point) in enumerate(points):
        report("scaling", index, len(points))
        samples.append(Sample(axis, point, _in_a_process(point, prior, device)))
        curves = find_curves(samples)
        (out / "scaling.json").write_text(
            json.dumps(_as_json(samples, curves, prior, device, full), indent=1)
        )
        plot(curves, out / "scaling.png")
    report("scaling", len(points), len(points))
    return [
        Target(
            f"{curve.stage}: {curve.quantity.partition('_')[0]} against {curve.axis}",
            curve.exponent,
            f"<= {STEEPEST}",
            curve.exponent <= STEEPEST,
            "exponent",
        )
        for curve in curves
    ]


def find_curves(samples: Sequence[Sample]) -> list[Curve]:
    """Conditions and sampling against views and pixels; fusion against all three."""
    curves = []
    for axis in ("views", "pixels", "texture"):
        along = [sample for sample in samples if sample.axis == axis]
        for stage in STAGES if axis != "texture" else ("fusion",):
            for quantity in ("seconds", "memory_gb"):
                costs = [getattr(sample.cost, quantity) for sample in along]
                if len(costs) > 1 and all(cost.get(stage, 0.0) > 0.0 for cost in costs):
                    values = [cost[stage] for cost in costs]
                    curves.append(Curve(axis, stage, quantity, [sample.size for sample in along], values))
    return curves


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Of the least-squares line."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - mean_x) ** 2 for a in x)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread


def _in_a_process(point: Point, prior: str, device: torch.device) -> Cost:
    command = [sys.executable, "-m", "vitruvian.evaluate.bench.scaling_point"]
    arguments = [json.dumps(asdict(point)), prior, str(device)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{point} failed:\n{done.stderr[-4000:]}")
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def _as_json(
    samples: Sequence[Sample], curves: Sequence[Curve], prior: str, device: torch.device, full: bool
) -> dict[str, Any]:
    name = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "processor"
    )
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "prior": prior,
        "versions": versions(),
        "full": full,
        "points": [asdict(sample) for sample in samples],
        "curves": [{**asdict(curve), "exponent": curve.exponent} for curve in curves],
    }
