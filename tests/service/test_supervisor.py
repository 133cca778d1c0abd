"""Gateways that are started again: by `vitruvian serve`'s own process, with fake workers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_gateway import WORKER
from serving import PATIENCE, Artist, check_history, free_port

from vitruvian.service.config import ServeConfig
from vitruvian.service.process import EXIT_REFUSED, read_settings, settings_line
from vitruvian.service.supervisor import Supervisor
from vitruvian_protocol import events as e
from vitruvian_protocol.limits import CHUNK_BYTES, MIB

WORKERS = {"fake0": [sys.executable, str(WORKER), "fake0"]}
SUPERVISE = """
import signal, sys
from vitruvian.service.supervisor import Supervisor
supervisor = Supervisor(sys.stdin.buffer.readline())
signal.signal(signal.SIGTERM, lambda *_: supervisor.stop())
sys.exit(supervisor.run())
"""


class Watched:
    """A supervisor in a process of its own."""

    def __init__(self, config: ServeConfig) -> None:
        self.address = config.listen
        command = [sys.executable, "-c", SUPERVISE]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin is not None
        self.process.stdin.write(settings_line(config, WORKERS))
        self.process.stdin.flush()
        self.await_gateway()

    def await_gateway(self) -> None:
        assert self.process.stdout is not None
        assert b"listening on" in self.process.stdout.readline()

    @property
    def gateway(self) -> int:
        """Its process id."""
        pid = self.process.pid
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(child)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE)


@contextmanager
def watched(state: Path, memory_limit: int = 0) -> Iterator[Watched]:
    address = f"tcp://127.0.0.1:{free_port()}"
    one = Watched(ServeConfig(state, address, min_free=0, memory_limit=memory_limit))
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.stop()


def until_gone(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in status_of(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def status_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return "\nState:\tZ"


def test_settings_travel_unchanged(tmp_path: Path) -> None:
    for keys in (None, tmp_path / "keys"):
        config = ServeConfig(tmp_path, keys=keys, priors={"a": "b"}, methods=("x", "y"), memory_limit=5)
        back, workers = read_settings(settings_line(config, WORKERS))
        assert (back.state, back.keys, dict(back.priors)) == (config.state, keys, {"a": "b"})
        assert (tuple(back.methods), back.memory_limit, workers) == (("x", "y"), 5, WORKERS)


def test_a_gateway_that_is_killed_is_back_and_its_job_is_done(tmp_path: Path) -> None:
    with watched(tmp_path / "state") as served, Artist(served.address) as artist:
        job, waiting = artist.submit("steps=40 seconds=0.05"), artist.submit("waits")
        artist.first(job, e.Started)
        artist.first(waiting, e.Accepted)
        first = served.gateway
        os.kill(first, signal.SIGKILL)
        for one in (job, waiting):
            assert isinstance(artist.end(one), e.Done)
            check_history(artist, one)
        assert artist.of(job, e.Started)[-1].attempt == 2
        assert served.gateway != first
        assert served.stop() == 0


def test_stopping_stops_both_and_so_does_the_supervisors_death(tmp_path: Path) -> None:
    with watched(tmp_path / "state") as served:
        gateway = served.gateway
        assert served.stop() == 0
        until_gone(gateway)
    with watched(tmp_path / "state") as served:
        gateway = served.gateway
        served.process.kill()
        served.process.wait()
        until_gone(gateway)


def test_a_gateway_that_is_stopped_by_itself_is_not_started_again(tmp_path: Path) -> None:
    with watched(tmp_path / "state") as served:
        os.kill(served.gateway, signal.SIGTERM)
        assert served.process.wait(PATIENCE) == 0


def test_settings_that_are_refused_are_not_tried_again(tmp_path: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        config = ServeConfig(tmp_path / "state", f"tcp://127.0.0.1:{port}")
        assert Supervisor(settings_line(config, WORKERS)).run() == EXIT_REFUSED


def test_what_never_gets_far_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("vitruvian.service.supervisor._WAITS", (0.0, 0.0))
    note = (
        f"import pathlib; pathlib.Path({str(tmp_path / 'lives')!r}).open('a').write('x'); raise SystemExit(3)"
    )
    assert Supervisor(b"{}\n", [sys.executable, "-c", note]).run() == 3
    assert (tmp_path / "lives").read_text() == "xxx"


def zmtp_peer(port: int) -> socket.socket:
    """A connection that speaks ZMTP as far as it takes to send messages."""
    peer = socket.create_connection(("127.0.0.1", port))
    peer.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32))
    ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"
    peer.sendall(b"\x04" + bytes([len(ready)]) + ready)
    return peer


def flood(peer: socket.socket, most: int) -> None:
    """Frames of one message, each with more to follow, until the other side hangs up."""
    frame = b"\x03" + CHUNK_BYTES.to_bytes(8, "big") + bytes(CHUNK_BYTES)
    with contextlib.suppress(OSError):
        for _ in range(most // CHUNK_BYTES):
            peer.sendall(frame)
            time.sleep(0.002)


def test_memory_that_a_hostile_client_fills_is_had_back(tmp_path: Path) -> None:
    """Frames of a message that never ends are kept by the socket, where no high-water mark counts them."""
    limit = 160 * MIB
    with watched(tmp_path / "state", limit) as served, Artist(served.address) as artist:
        job = artist.submit("steps=100 seconds=0.05")
        artist.first(job, e.Started)
        with zmtp_peer(int(served.address.rpartition(":")[2])) as peer:
            flood(peer, 4 * limit)
        served.await_gateway()
        assert isinstance(artist.end(job), e.Done)
        check_history(artist, job)


_GROWN = """
from vitruvian.service.gateway import private_bytes
before = private_bytes()
held = bytearray(b"x") * (64 << 20)
print(private_bytes() - before)
"""


def test_memory_is_measured() -> None:
    # In a process of its own: this one may have as much to spare from earlier tests.
    grown = subprocess.run([sys.executable, "-c", _GROWN], capture_output=True, text=True, check=True)
    assert int(grown.stdout) > 32 * MIB
