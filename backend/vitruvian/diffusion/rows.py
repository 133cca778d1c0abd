"""Rows of tensors by view, without the graphics card being waited for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor


def rows_of(views: Sequence[int], device: torch.device) -> slice | Tensor:
    """An index that picks `views`: a slice where they follow one another, else a tensor on `device`.

    A list as an index is copied to the device every time, and the copy is waited for.
    """
    return _rows_of(tuple(views), device)


def pick(values: Tensor, views: Sequence[int]) -> Tensor:
    """The rows `views` of `values`."""
    return values[rows_of(views, values.device)]


@lru_cache(maxsize=512)
def _rows_of(views: tuple[int, ...], device: torch.device) -> slice | Tensor:
    if views == tuple(range(views[0], views[0] + len(views))):
        return slice(views[0], views[0] + len(views))
    return torch.tensor(views, device=device)
