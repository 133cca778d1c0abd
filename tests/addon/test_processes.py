"""Whether other processes still run."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from vitruvian_addon import processes  # pyright: ignore[reportMissingImports]


def test_a_process_that_runs_is_alive_and_itself() -> None:
    assert processes.is_alive(os.getpid())
    assert processes.is_same(os.getpid(), processes.start_time(os.getpid()))
    assert not processes.is_alive(0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of ended processes by /proc")
def test_an_ended_process_that_nobody_collected_is_not_alive() -> None:
    """Its number and start are still there: jobs of a killed Blender would wait for it for ever."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = processes.start_time(child.pid)
    assert processes.is_same(child.pid, started)
    child.kill()
    for _ in range(500):
        if not processes.is_alive(child.pid):
            break
        time.sleep(0.01)
    assert not processes.is_same(child.pid, started)
    os.kill(child.pid, 0)  # not collected yet
    child.wait()
