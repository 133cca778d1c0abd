"""What a method writes down about itself: times, memory, versions, cameras."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import torch

from vitruvian.core.camera import CameraRig


@dataclass
class Account:
    """What a run writes down while it goes on."""

    seconds: dict[str, float] = field(default_factory=dict)
    """By stage."""
    memory: dict[str, Any] = field(default_factory=dict)
    """The memory mode, and what was worked on together in the end."""
    notes: list[str] = field(default_factory=list)
    """What a user should be told."""

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds the block's seconds to those of `stage`; a graphics card finishes its work within."""
        begin = time.perf_counter()
        try:
            yield
            if torch.cuda.is_available() and torch.cuda.is_initialized():
                torch.cuda.synchronize()
        finally:
            spent = time.perf_counter() - begin
            self.seconds[stage] = round(self.seconds.get(stage, 0.0) + spent, 3)


def peak_memory_gb(device: torch.device) -> dict[str, float]:
    """The most memory that this process has held so far, GB; also on `device`, if that is a graphics card.

    0 for the process on Windows, which does not tell through Python's standard library.
    """
    peak = {"process": round(_peak_resident_bytes() / 1e9, 2)}
    if device.type == "cuda":
        peak["device"] = round(torch.cuda.max_memory_allocated(device) / 1e9, 2)
    return peak


def _peak_resident_bytes() -> int:
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def versions() -> dict[str, str]:
    """Of everything whose update may change the result."""
    packages = ("vitruvian", "diffusers", "transformers", "numpy")
    # torch's own word for it says what it was built for, as in 2.12.1+cu130; the package's may not.
    own = {"python": platform.python_version(), "torch": torch.__version__}
    return {**own, **{name: version(name) for name in packages}}


def describe_cameras(rig: CameraRig) -> list[dict[str, Any]]:
    """The rig as plain values; matrices row by row."""
    return [
        {
            "name": rig.names[i],
            "kind": rig.kinds[i],
            "orthographic": bool(rig.orthographic[i]),
            "width": rig.width,
            "height": rig.height,
            "T_world_cam": rig.T_world_cam[i].tolist(),
            "K": rig.K[i].tolist(),
        }
        for i in range(len(rig))
    ]
