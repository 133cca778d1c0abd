"""The local backend's process and environment, with a small program in the backend's place."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

local_backend = import_module("vitruvian_addon.local_backend")
problems = import_module("vitruvian_addon.problems")
processes = import_module("vitruvian_addon.processes")

FAKE = str(Path(__file__).with_name("fake_serve.py"))
COMMAND = [sys.executable, FAKE]


def until(condition: Callable[[], bool]) -> None:
    """Wait for another process; a failing test ends after a minute."""
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never happened")


@pytest.fixture(autouse=True)
def own_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ports that no other test has just let go of."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        monkeypatch.setattr(local_backend, "FIRST_PORT", probe.getsockname()[1])


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Any]:
    made = local_backend.LocalBackend(tmp_path / "backend")
    yield made
    record = made.record
    if record is not None:
        os.kill(record.pid, 9)


def test_start_find_again_and_stop(backend: Any, tmp_path: Path) -> None:
    assert backend.state == "absent"
    record = backend.start(COMMAND)
    until(lambda: backend.state == "running")
    assert backend.address == f"tcp://127.0.0.1:{record.port}"
    assert backend.tail() == [f"listening on {record.port}"]
    other = local_backend.LocalBackend(tmp_path / "backend")  # as another Blender would
    assert other.start(COMMAND) == record
    backend.stop()
    assert backend.state == "stopping"

    def gone() -> bool:
        backend.tick()
        return backend.state == "absent"

    until(gone)
    assert not processes.is_alive(record.pid)
    assert other.record is None


def test_a_stubborn_one_is_ended(backend: Any) -> None:
    now = [0.0]
    backend._clock = lambda: now[0]
    record = backend.start([*COMMAND, "--stubborn"])
    until(lambda: backend.state == "running")
    backend.stop()
    backend.tick()
    assert processes.is_alive(record.pid)
    now[0] += local_backend.STOP_S + 1

    def gone() -> bool:
        backend.tick()
        return backend.record is None

    until(gone)


def test_one_that_dies_at_once_leaves_its_reason_in_the_log(backend: Any) -> None:
    backend.start([*COMMAND, "--broken"])

    def died() -> bool:
        backend.tick()
        return backend.state == "died"

    until(died)
    assert backend.tail() == ["no such model"]
    backend.start(COMMAND)
    until(lambda: backend.state == "running")
    assert (backend.folder / "serve.log.1").read_text() == "no such model\n"


def test_a_taken_port_is_passed_over(backend: Any) -> None:
    with socket.create_server(("127.0.0.1", local_backend.FIRST_PORT)):
        record = backend.start(COMMAND)
    assert record.port == local_backend.FIRST_PORT + 1


@pytest.mark.parametrize("text", ["", "{}", '{"pid": 0, "port": 1, "started": 0}', '{"pid": "x"}'])
def test_a_damaged_or_stale_record_is_no_backend(backend: Any, text: str) -> None:
    backend.folder.mkdir(parents=True)
    (backend.folder / "backend.json").write_text(text)
    assert backend.record is None


@pytest.mark.skipif(not Path("/proc").exists(), reason="start times are known on Linux only")
def test_a_recycled_pid_is_not_taken_for_it(backend: Any) -> None:
    backend.folder.mkdir(parents=True)
    record = {"pid": os.getpid(), "port": 1, "started": 1.0}
    (backend.folder / "backend.json").write_text(json.dumps(record))
    assert backend.record is None


def test_two_starts_at_once_are_one(backend: Any) -> None:
    backend.folder.mkdir(parents=True)
    lock = backend.folder / "backend.lock"
    lock.touch()
    with pytest.raises(problems.Problem, match="Another Blender"):
        backend.start(COMMAND)
    os.utime(lock, (1, 1))  # whoever held it is long gone
    assert backend.start(COMMAND).pid > 0
    assert not lock.exists()


def test_another_blender_that_was_quicker_keeps_its_backend(
    backend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts one after this Blender has looked, and before it has the lock."""
    theirs, take_lock = [], local_backend.take_lock

    def slowly(path: Path, stale_s: float) -> bool:
        monkeypatch.setattr(local_backend, "take_lock", take_lock)
        theirs.append(local_backend.LocalBackend(tmp_path / "backend").start(COMMAND))
        return take_lock(path, stale_s)

    monkeypatch.setattr(local_backend, "take_lock", slowly)
    assert [backend.start(COMMAND)] == theirs
    assert not (backend.folder / "backend.lock").exists()


def test_without_a_program_the_remedy_is_to_install(backend: Any) -> None:
    with pytest.raises(problems.Problem) as caught:
        backend.start()
    assert caught.value.told.button[0] == "vitruvian.backend_install"


@pytest.mark.slow
def test_install_runs_its_steps_and_logs_them(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")  # Blender's own settings must not reach it
    backend.install(sys.executable, str(backend.folder / "no-such-wheel.whl"))
    assert backend.state == "installing"
    with pytest.raises(problems.Problem, match="already"):
        backend.install(sys.executable, "x")

    def ended() -> bool:
        backend.tick()
        return backend.state != "installing"

    until(ended)
    assert backend.install_failed
    log = backend.install_log.read_text()
    assert "-m venv" in log
    assert "no-such-wheel.whl" in backend.tail(3)[-1] or "no-such-wheel.whl" in log


def test_install_needs_a_python(backend: Any) -> None:
    with pytest.raises(problems.Problem, match="No Python at"):
        backend.install("/no/python", "vitruvian")
