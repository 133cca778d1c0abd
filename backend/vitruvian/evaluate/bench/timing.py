"""Two things timed in turn, so that a machine that slows down slows both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds of repeated runs."""

    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


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
