"""How strongly something steers, over the time of sampling."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ControlWeight:
    """How strongly a ControlNet steers; linear from the first sampling step to the last."""

    start: float
    end: float

    def at(self, progress: float) -> float:
        return self.start * (1.0 - progress) + self.end * progress
