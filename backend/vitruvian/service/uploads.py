"""Scenes on their way in: chunks under credit into files that are named by their owner and their SHA-256."""

from __future__ import annotations

import hashlib
import mmap
from dataclasses import dataclass
from pathlib import Path

from vitruvian.service.files import PartFile
from vitruvian_protocol import limits
from vitruvian_protocol.codec import unpack_scene
from vitruvian_protocol.scene import Scene

STALE_SECONDS = 600.0
"""A broken upload can be gone on with for so long."""


def blob_path(folder: Path, owner: str, sha256: str) -> Path:
    """Where an owner's blob is; the owner's name itself may hold anything."""
    return folder / owner_folder(owner) / sha256[:2] / sha256


def has_blob(path: Path, size: int) -> bool:
    """Whether a blob is there, whole as far as its size tells."""
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def read_scene(path: Path) -> Scene:
    """The scene in a blob, every rule checked. The file is mapped, not read into memory.

    Raises:
        ProtocolError: BAD_SCENE or TOO_LARGE with the field's path.
    """
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    # The arrays are views on the mapping: it is closed when the last of them is gone.
    return unpack_scene(memoryview(data))


def owner_folder(owner: str) -> str:
    """A folder name for an owner."""
    return hashlib.sha256(owner.encode()).hexdigest()[:16]


@dataclass
class Upload:
    """A blob that is not whole yet. It outlives the connection, so that the next one can go on with it."""

    owner: str
    sha256: str
    total: int
    file: PartFile
    touched: float = 0.0
    """When bytes came last, on the monotonic clock."""
    peer: bytes = b""
    """The connection that feeds it; none where that is gone."""
    allowed: int = 0
    """Offset up to which credit was given."""

    @property
    def on_credit(self) -> int:
        """Bytes that were granted and have not come."""
        return max(self.allowed - self.file.size, 0)

    def open_window(self, window: int) -> int:
        """The credit for a transfer that begins now; `window` is bytes, whole chunks."""
        self.allowed = min(self.file.size + window, self.total)
        return self.on_credit

    def close_window(self) -> None:
        """Nobody feeds it: what was granted does not count any more."""
        self.allowed = self.file.size

    def new_credit(self, window: int) -> int:
        """Bytes to grant now that more is on the disk; 0 while it is too little to be worth a message."""
        reach = min(self.file.size + window, self.total)
        grant = reach - self.allowed
        if grant <= 0 or (grant < min(limits.GRANT_BYTES, window) and reach < self.total):
            return 0
        self.allowed = reach
        return grant

    def takes(self, offset: int, size: int) -> bool:
        """Whether a chunk is the next one and within credit."""
        return offset == self.file.size and offset + size <= self.allowed

    @property
    def whole(self) -> bool:
        return self.file.size == self.total
