"""Progress: how a stage tells its caller where it is, and how the caller stops it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Preview:
    """What there is to see before a job is done."""

    views: Float[Tensor, "N 3 H W"]
    """The views so far, RGB in [0, 1]."""
    texture: Callable[[], Float[Tensor, "3 S S"]]
    """Makes the texture so far, small, grey where nothing is known yet. Costs time only when it is called."""


class Report(Protocol):
    """Called between steps. May raise `Cancelled`; stages leave nothing half-written when it does."""

    def __call__(self, stage: str, step: int, total: int, preview: Preview | None = None) -> None:
        """`step` of `total` of `stage` is done."""
        ...


def silent(stage: str, step: int, total: int, preview: Preview | None = None) -> None:
    """The report of callers that do not care."""
