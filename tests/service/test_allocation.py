"""Memory of processes that pass megabytes along."""

from __future__ import annotations

import subprocess
import sys

import pytest

_CHUNKS = """
import resource
from vitruvian.service.allocation import keep_freed_blocks
told = keep_freed_blocks() if {tell} else True
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
bytes(b"x" * 1_000_000)
before = faults()
for _ in range(200):
    bytearray(1_000_000)[::4096] = bytes(245)
print(int(told), faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is told, of which only Linux has one")
def test_chunks_use_memory_again_that_was_theirs() -> None:
    def run(tell: bool) -> tuple[int, int]:
        script = _CHUNKS.format(tell=tell)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        told, faults = map(int, done.stdout.split())
        return told, faults

    told, faults = run(tell=True)
    assert told
    assert faults < 2_000  # 245 pages each time would be 49,000
