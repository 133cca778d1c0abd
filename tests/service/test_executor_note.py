"""What workers find out about their machine reaches whoever runs the server, once."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

import pytest

from vitruvian.service.executor import LocalExecutor

WORKER = """
import sys
from vitruvian.service.pipes import read_message, write_message
ready = {"t": "ready", "device": "card", "memory_total": 1, "note": "something is slow"}
write_message(sys.stdout.buffer, ready)
read_message(sys.stdin.buffer)
"""


def test_a_workers_note_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    command = [sys.executable, "-c", WORKER]
    executor = LocalExecutor({"a": command, "b": command}, tmp_path)
    try:
        for slot in ("a", "b"):
            executor.wake(slot)
        ready: set[str] = set()
        end = time.monotonic() + 60
        while ready != {"a", "b"} and time.monotonic() < end:
            ready |= {report.slot for report in executor.reports() if report.kind == "ready"}
            time.sleep(0.02)
        assert ready == {"a", "b"}
    finally:
        executor.close()
    assert [record.getMessage() for record in caplog.records].count("something is slow") == 1
