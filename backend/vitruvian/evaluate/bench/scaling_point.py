"""One point of the scaling curves, in a process of its own: what one job of a given size takes.

`python -m vitruvian.evaluate.bench.scaling_point '{"views": 8, ...}'` prints one line of JSON. A process that
has painted a large job keeps memory and warm caches, which would show in the next point.
"""

from __future__ import annotations

import ctypes
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from vitruvian.body.anny_body import anny_body
from vitruvian.core.report import Preview, silent
from vitruvian.diffusion.loading import load_prior
from vitruvian.diffusion.prior import Prior
from vitruvian.methods.inputs import Inputs
from vitruvian.methods.mvhuman import MVHumanSettings, paint_views
from vitruvian.render.rigs import default_rig
from vitruvian.texture.fuse import fuse

STAGES = ("conditions", "sampling", "fusion")
PROMPT = "a woman with short black hair in a red striped shirt, blue jeans and white sneakers"


@dataclass(frozen=True)
class Point:
    """The size of a job."""

    views: int
    """Even: half of them of the whole body, half of the upper body."""
    pixels: int
    """Across one view."""
    texture: int
    """Texels across the texture."""
    steps: int = 2
    repeats: int = 1


@dataclass(frozen=True)
class Cost:
    """What it took, by stage."""

    seconds: dict[str, float]
    """Medians of the repeats: on a card as the clock says; on a processor the time that it worked, all
    threads together, which a machine that is busy with other things does not change."""
    memory_gb: dict[str, float]
    """Peaks above what the loaded model takes, of one run; empty where the system does not tell."""


def measure(point: Point, prior: Prior) -> Cost:
    """Paint and fuse as `vitruvian generate` does, after a small job that is not counted."""
    _paint(Point(2, 256, 512, steps=1), prior, Meter(prior.device))
    meters = [Meter(prior.device) for _ in range(point.repeats)]
    for meter in meters:
        _paint(point, prior, meter)
    seconds = {stage: statistics.median(meter.seconds[stage] for meter in meters) for stage in STAGES}
    # Of the first run: what it has freed may be taken up again without being counted.
    return Cost(seconds, meters[0].peaks)


def _paint(point: Point, prior: Prior, meter: Meter) -> None:
    body = anny_body()
    inputs = Inputs(body, default_rig(body.mesh, point.pixels, point.views // 2), PROMPT)

    def report(stage: str, step: int, total: int, preview: Preview | None = None) -> None:
        if (stage, step) == ("sampling", 0):
            meter.end("conditions")

    meter.begin()
    views = paint_views(inputs, MVHumanSettings(steps=point.steps), prior, report)
    meter.end("sampling")
    fuse(views, body.mesh.to(prior.device), point.texture, report=silent)
    meter.end("fusion")


class Meter:
    """Time and peak memory of each stage. Memory is the card's, or on Linux the process's, above what was
    held before the job."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._held = 0.0
        self._since = 0.0
        self.seconds: dict[str, float] = {}
        self.peaks: dict[str, float] = {}

    def begin(self) -> None:
        """The first stage begins; what is held from here on counts."""
        self._held = self._now()
        self._reset()
        self._since = self._clock()

    def end(self, stage: str) -> None:
        """`stage` is over, and the next one begins."""
        self.seconds[stage] = self._clock() - self._since
        peak = self._peak()
        if peak is not None:
            self.peaks[stage] = peak - self._held
        self._reset()
        self._since = self._clock()

    def _clock(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            return time.perf_counter()
        return time.process_time()

    def _now(self) -> float:
        if self._device.type == "cuda":
            return torch.cuda.memory_allocated(self._device) / 1e9
        if sys.platform == "linux":
            # Memory that was freed and kept for reuse would hide what the job takes.
            ctypes.CDLL(None).malloc_trim(0)
        return _status_gb("VmRSS") or 0.0

    def _peak(self) -> float | None:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 1e9
        return _status_gb("VmHWM")

    def _reset(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        elif sys.platform == "linux":
            Path("/proc/self/clear_refs").write_text("5")  # sets the peak to what is held now; man 5 proc


def _status_gb(field: str) -> float | None:
    """A line of /proc/self/status."""
    if sys.platform != "linux":
        return None
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e9
    return None


def main() -> None:
    """`python -m vitruvian.evaluate.bench.scaling_point POINT PRIOR DEVICE`"""
    point, prior, device = sys.argv[1:]
    cost = measure(Point(**json.loads(point)), load_prior(prior, torch.device(device)))
    print(json.dumps(asdict(cost)))


if __name__ == "__main__":
    main()
