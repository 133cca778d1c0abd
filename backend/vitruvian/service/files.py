"""Files that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

PART_SUFFIX = ".part"


@dataclass(frozen=True)
class StoredFile:
    """A finished file: its name within its folder, bytes, and SHA-256 in hex."""

    name: str
    size: int
    sha256: str


class PartFile:
    """A file that grows under a passing name and gets its own with `finish`.

    Args:
        beside: goes into the passing name, where several may grow towards the same one.
    """

    def __init__(self, path: Path, beside: str = "") -> None:
        self.path = path
        self.size = 0
        self._part = path.with_name(path.name + beside + PART_SUFFIX)
        self._hash = hashlib.sha256()
        self._file = self._part.open("wb")

    def write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    @property
    def sha256(self) -> str:
        """Of what was written so far, in hex."""
        return self._hash.hexdigest()

    def finish(self) -> StoredFile:
        """Make it last: file flushed to disk, renamed, folder flushed."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self.path)
        sync_folder(self.path.parent)
        return StoredFile(self.path.name, self.size, self.sha256)

    def discard(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(OSError):  # what was not written yet does not fit on a full disk
            self._file.close()
        self._part.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries. Windows has no such call; its rename is durable by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
