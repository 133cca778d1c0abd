"""Room on the state folder's disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

LOOK_SECONDS = 5.0
"""How often it is looked at again."""


class Disk:
    """How much room there is, looked at now and then.

    Args:
        folder: on the disk in question.
        keep_free: bytes that are never promised to anybody.
        clock: monotonic seconds.
    """

    def __init__(self, folder: Path, keep_free: int, clock: Callable[[], float]) -> None:
        self._folder, self._keep_free, self._clock = folder, keep_free, clock
        self._looked_at = float("-inf")
        self._room = 0

    def has_room(self, size: int = 0) -> bool:
        """Whether `size` bytes more may be written."""
        now = self._clock()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._room = shutil.disk_usage(self._folder).free - self._keep_free
        return self._room >= size

    def ran_full(self) -> None:
        """A write has failed: there is no room until the next look."""
        self._looked_at, self._room = self._clock(), -1
