"""Progress: how a stage tells its caller where it is, and how the caller stops it."""

from __future__ import annotations

from typing import Protocol

from jaxtyping import Float
from torch import Tensor


class Report(Protocol):
    """Called between steps. May raise `Cancelled`; stages leave nothing half-written when it does."""

    def __call__(
        self, stage: str, step: int, total: int, preview: Float[Tensor, "N 3 H W"] | None = None
    ) -> None:
        """`step` of `total` of `stage` is done; `preview` holds the views so far, RGB in [0, 1]."""
        ...


def silent(stage: str, step: int, total: int, preview: Tensor | None = None) -> None:
    """The report of callers that do not care."""
