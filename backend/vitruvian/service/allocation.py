"""How a process that passes megabytes along asks the system for memory."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's mallopt (malloc.h)."""


def keep_freed_blocks() -> bool:
    """Let blocks of a chunk's size be used again instead of going back to the system; glibc only.

    glibc maps blocks of this size from the system and returns them at once, so that every chunk of a
    transfer is paid for with 256 page faults: a third of the time. Up to 16 MiB stay with the process. For
    processes of our own; an add-on has no business changing this in Blender.

    Returns:
        Whether the system's allocator could be told.
    """
    try:
        tell = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    pairs = ((_MMAP_THRESHOLD, 4 << 20), (_TRIM_THRESHOLD, 16 << 20), (_TOP_PAD, 2 << 20))
    return all(tell(ctypes.c_int(name), ctypes.c_int(value)) == 1 for name, value in pairs)
