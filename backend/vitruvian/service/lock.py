"""One gateway per state folder, held by a lock that the system drops when the process dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType

from vitruvian.core.errors import UserError

LOCK_NAME = "gateway.lock"


class FolderLock:
    """Exclusive use of a state folder. Held from `__init__` to `close`, or to the end of the process.

    Raises:
        UserError: another process holds it.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / LOCK_NAME
        self._file = path.open("a+", encoding="utf-8")
        try:
            _lock(self._file.fileno())
        except OSError:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise UserError(
                "state",
                str(folder),
                f"is in use by another `vitruvian serve` (process {holder})",
                "Use that one, stop it, or give this one another folder with --state",
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


if sys.platform == "win32":
    import msvcrt

    # A byte far beyond the text, so that others can still read which process holds the lock.
    _LOCKED_BYTE = 1 << 20

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
