"""The local executor by itself, with workers that are a few lines of Python."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from serving import PATIENCE

from vitruvian.core.errors import UserError
from vitruvian.service import executor as module
from vitruvian.service.devices import local_workers
from vitruvian.service.executor import LocalExecutor, Slot, WorkerReport
from vitruvian.service.pipes import Order

BEGIN = """
import os, sys, time
from vitruvian.service.pipes import read_message, write_message
def say(**message):
    write_message(sys.stdout.buffer, message)
def hear():
    return read_message(sys.stdin.buffer)
"""
READY = "say(t='ready', device='fake', memory_total=7)\n"
ORDER = Order("job", 1, {}, "scene", "folder")


class Watched:
    """An executor with one slot, and all that its worker said."""

    def __init__(self, script: str, logs: Path) -> None:
        self.now = 0.0
        command = [sys.executable, "-c", BEGIN + script]
        self.executor = LocalExecutor({"one": command}, logs, lambda: self.now)
        self.heard: list[WorkerReport] = []

    @property
    def slot(self) -> Slot:
        return self.executor.slots()[0]

    def until(self, found: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not found():
            assert time.monotonic() < deadline, self.heard
            self.heard += self.executor.reports()
            time.sleep(0.01)

    def until_said(self, kind: str) -> WorkerReport:
        self.until(lambda: [report for report in self.heard if report.kind == kind])
        return next(report for report in self.heard if report.kind == kind)


@contextmanager
def watched(script: str, logs: Path) -> Iterator[Watched]:
    one = Watched(script, logs)
    one.executor.wake("one")
    try:
        yield one
    finally:
        one.executor.close()


def test_a_worker_is_started_and_told_what_to_do(tmp_path: Path) -> None:
    script = READY + "say(t='order', job=hear()['job'], attempt=1)\nhear()"
    with watched(script, tmp_path) as one:
        assert one.slot.state == "starting"
        one.until_said("ready")
        assert (one.slot.state, one.slot.device, one.slot.memory_total) == ("idle", "fake", 7)
        one.executor.start("one", ORDER)
        assert (one.slot.state, one.slot.job) == ("busy", "job")
        assert one.until_said("order").job == "job"
        assert not one.executor.sleep("one"), "never from under a job"


def test_a_worker_that_is_put_to_sleep_gets_no_work_while_it_ends(tmp_path: Path) -> None:
    """Else that job would lose an attempt through no fault of its own."""
    with watched(READY + "hear()", tmp_path) as one:
        one.until_said("ready")
        assert one.executor.sleep("one")
        assert one.slot.state == "asleep"
        one.executor.wake("one")
        assert one.slot.state == "asleep", "not before the old process is gone"
        assert one.until_said("lost").job is None
        one.executor.wake("one")
        assert one.slot.state == "starting"


def test_a_worker_whose_card_is_lost_gets_no_more_work(tmp_path: Path) -> None:
    script = READY + "hear()\nsay(t='failed', job='job', attempt=1, last=True)\ntime.sleep(60)"
    with watched(script, tmp_path) as one:
        one.until_said("ready")
        one.executor.start("one", ORDER)
        one.until_said("failed")
        assert one.slot.state == "asleep"


def test_a_worker_that_closes_its_pipe_and_stays_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_END_SECONDS", 0.2)
    with watched(READY + "hear()\nos.close(1)\ntime.sleep(600)", tmp_path) as one:
        one.until_said("ready")
        one.executor.start("one", ORDER)
        lost = one.until_said("lost")
        assert (lost.job, lost.body["why"]) == ("job", "signal 9")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("say(t='unfit', why='no such model')\nsys.exit(1)", "no such model"),
        ("sys.exit(3)", "ended while starting (exit code 3), see worker-one.log"),
        ("sys.stdout.buffer.write(b'hello, this is no message at all')\nsys.stdout.flush()", "signal 9"),
    ],
)
def test_what_does_not_start_is_told_and_tried_again_later(tmp_path: Path, script: str, why: str) -> None:
    with watched(script, tmp_path) as one:
        one.until_said("lost")
        assert one.slot.state == "gone"
        assert why in one.slot.why
        one.executor.wake("one")
        assert one.slot.state == "gone"
        one.now += 1.5
        assert one.slot.state == "asleep"
        one.executor.wake("one")
        assert one.slot.state == "starting"


def test_a_worker_that_never_gets_ready_is_killed(tmp_path: Path) -> None:
    with watched("hear()", tmp_path) as one:
        one.now += module.START_SECONDS + 1.0
        one.until_said("lost")
        assert one.slot.state == "gone"


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    executor = LocalExecutor({"one": [str(tmp_path / "none")]}, tmp_path)
    executor.wake("one")
    (slot,) = executor.slots()
    assert slot.state == "gone"
    assert "cannot be started" in slot.why
    executor.close()


def test_devices_have_names() -> None:
    workers = local_workers(["cuda:0", "cuda:1"], {"mini": "mini", "suits": "/models/suits"})
    assert list(workers) == ["cuda0", "cuda1"]
    assert workers["cuda1"][-4:] == ["cuda:1", "auto", "mini=mini", "suits=/models/suits"]
    assert local_workers(["cpu"], {"mini": "mini"}, "low")["cpu"][-3:] == ["cpu", "low", "mini=mini"]
    for wrong in (["toaster"], ["cuda:"], ["cuda:0", "cuda:0"], ["cpu:1"], [""]):
        with pytest.raises(UserError, match="device"):
            local_workers(wrong, {})
