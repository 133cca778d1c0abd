"""Work in chunks that shrink when memory runs out, and say that they did."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from vitruvian.core.errors import UserError

Item = TypeVar("Item")

_SAYS_NO_MEMORY = ("not enough memory", "DefaultCPUAllocator", "CUDA out of memory", "ALLOC_FAILED")
_logger = logging.getLogger(__name__)


class ChunkSize:
    """How many of something are worked on together: what fits, as far as is known by now.

    One belongs to one job: what one learns the next job finds out again, because by then other programs may
    have left the card.

    Args:
        what: in a user's words, for notes: "views painted together".
        size: to begin with, at least 1.
        tile: side in pixels of the tiles that single pictures may be cut into as a last resort; None for
            what cannot be cut.
    """

    def __init__(self, what: str, size: int, tile: int | None = None) -> None:
        self.what = what
        self.size = size
        self.tiled = False
        self.notes: list[str] = []
        self._tile = tile

    @property
    def tile(self) -> int | None:
        """Side of the tiles that pictures are cut into now; None: they are whole."""
        return self._tile if self.tiled else None

    def shrink(self, tried: int) -> None:
        """Make less of it fit, after `tried` did not.

        Raises:
            UserError: there is nothing left to shrink.
        """
        if tried > 1:
            self.size = max(1, tried // 2)
            note = f"memory ran out: {self.what}, {tried} before, {self.size} from now on"
        elif self._tile is not None and not self.tiled:
            self.tiled = True
            note = f"memory ran out: {self.what}, now in tiles of {self._tile} px"
        else:
            raise UserError(
                "memory",
                f"{self.what}: {self.size}",
                "ran out with the smallest chunk there is",
                "Use --memory low or offload, a smaller --size, or close other programs that use the card",
            )
        self.notes.append(note)
        _logger.warning(note)


def in_chunks(items: Sequence[Item], size: ChunkSize, work: Callable[[Sequence[Item]], None]) -> None:
    """Call `work` on `items`, in order, as many at once as fit; what ran out of memory is done anew, smaller.

    Raises:
        UserError: one alone does not fit.
    """
    start = 0
    while start < len(items):
        part = items[start : start + size.size]
        if _fits(part, work):
            start += len(part)
        else:
            free_cached()
            size.shrink(len(part))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says so; on a CPU torch raises a plain RuntimeError."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAYS_NO_MEMORY)


def free_cached() -> None:
    """Give back what torch holds for later."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _fits(part: Sequence[Item], work: Callable[[Sequence[Item]], None]) -> bool:
    """In a function of its own: what it holds is let go of before anything is freed."""
    try:
        work(part)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True
