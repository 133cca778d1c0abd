"""How much memory a piece of work needs on top of what is held before it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

Result = TypeVar("Result")
_STATUS = Path("/proc/self/status")
_EVERY = 0.005
"""Seconds between two looks at the process."""


def peak_growth(work: Callable[[], Result], device: torch.device) -> tuple[Result, float]:
    """The result of `work`, and by how many GB memory rose at its highest above where it began.

    On a graphics card what torch has allocated there; on a CPU what the process holds, looked at every few
    milliseconds, NaN where the system does not tell.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        result = work()
        return result, (torch.cuda.max_memory_allocated(device) - before) / 1e9
    before, highest, done = _resident_gb(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(_EVERY):
            highest[0] = max(highest[0], _resident_gb())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        result = work()
    finally:
        done.set()
        watcher.join()
    return result, max(highest[0], _resident_gb()) - before


def _resident_gb() -> float:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return math.nan
    return next((int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("VmRSS")), math.nan)
