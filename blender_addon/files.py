"""Files of the user's folder that several Blenders share. No bpy."""

from __future__ import annotations

import os
import time
from pathlib import Path


def write_atomically(path: Path, text: str, durable: bool = False) -> None:
    """The file is there as it was or as it becomes, never half.

    Args:
        durable: wait until the disk has it, so that it outlives a power cut and not only a crash.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    os.replace(partial, path)


def take_lock(path: Path, stale_s: float) -> bool:
    """Make the lock file; False where somebody has it. One that is older than `stale_s` counts for nothing.

    Raises:
        OSError: the folder cannot be written.
    """
    for _ in range(2):
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            return True
        except FileExistsError:
            try:
                age = time.time() - path.stat().st_mtime
            except FileNotFoundError:
                continue
            if age < stale_s:
                return False
            path.unlink(missing_ok=True)
    return False
