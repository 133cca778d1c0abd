"""The part of each picture that the body fills."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool
from torch import Tensor

from vitruvian.core.camera import CameraRig

_RIM = 2
"""Pixels of background kept around the body, so that every look-up next to it finds some."""


@dataclass(frozen=True)
class Window:
    """Pixels of one picture; ends are exclusive."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)


def windows(mask: Bool[Tensor, "N H W"], multiple: int) -> list[Window | None]:
    """Per view the smallest window around the mask and `_RIM` pixels more; None where the mask is empty.

    Windows begin and end at multiples of `multiple`, or where the image ends.
    """
    ends = [_ends(mask.any(axis), multiple) for axis in (2, 1)]
    # One small copy to the host for all views.
    (rows, columns) = torch.stack(ends).tolist()
    return [
        Window(top, bottom, left, right) if bottom > top else None
        for (top, bottom), (left, right) in zip(rows, columns, strict=True)
    ]


def _ends(line: Bool[Tensor, "N L"], multiple: int) -> Tensor:
    """First and one past the last set entry with the rim, per view; both 0 where nothing is set."""
    length = line.shape[1]
    at = torch.arange(length, device=line.device)
    first = torch.where(line, at, length).amin(1) - _RIM
    last = torch.where(line, at, -1).amax(1) + 1 + _RIM
    first = first.div(multiple, rounding_mode="floor").clamp_min(0) * multiple
    last = (-((-last).div(multiple, rounding_mode="floor")) * multiple).clamp_max(length)
    return torch.stack([first, last], dim=1) * line.any(1, keepdim=True)


def cropped(rig: CameraRig, window: Window) -> CameraRig:
    """The cameras of `rig` with their images cut to the window."""
    shift = rig.K.new_zeros(3, 3)
    shift[0, 2], shift[1, 2] = window.left, window.top
    size = {"width": window.right - window.left, "height": window.bottom - window.top}
    return replace(rig, K=rig.K - shift, **size)
