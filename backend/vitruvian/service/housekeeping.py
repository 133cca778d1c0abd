"""What the state folder need not keep: old results, uploads that nobody used, what crashes left behind."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from vitruvian.service.config import ServeConfig
from vitruvian.service.files import PART_SUFFIX
from vitruvian.service.store import Store
from vitruvian.service.uploads import blob_path

DAY = 86_400.0
_FETCHED_DAYS = 1.0
"""Results that the client has are kept for so long."""
_UNUSED_SECONDS = 3_600.0
"""A blob may wait for its job for so long."""


def clear_partial(config: ServeConfig) -> None:
    """At start: remove files that were being written when the last gateway ended."""
    for path in config.blobs.glob(f"*/*/*{PART_SUFFIX}"):
        path.unlink(missing_ok=True)


def clear_old(config: ServeConfig, store: Store, wall: float | None = None) -> list[str]:
    """Remove what is too old or belongs to no job; returns the jobs that were forgotten.

    Args:
        wall: seconds since 1970; None asks the clock.
    """
    now = time.time() if wall is None else wall
    gone = store.finished_before(now - config.keep_days * DAY, now - _FETCHED_DAYS * DAY)
    store.forget(gone)
    wanted = store.attempts()
    for folder in _entries(config.results):
        if folder.name not in wanted:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        for attempt in _entries(folder):
            if attempt.name.removesuffix(PART_SUFFIX) not in {str(n) for n in wanted[folder.name]}:
                shutil.rmtree(attempt, ignore_errors=True)
    used = {blob_path(config.blobs, owner, sha) for owner, sha in store.blobs_in_use()}
    for path in config.blobs.glob("*/*/*"):
        if path not in used and path.suffix != PART_SUFFIX and now - path.stat().st_mtime > _UNUSED_SECONDS:
            path.unlink(missing_ok=True)
    return gone


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
