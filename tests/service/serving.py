"""Real gateways with fake workers, and clients that say what they heard."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vitruvian.service.rows import job_key
from vitruvian_protocol import events as e
from vitruvian_protocol.client import Client, ClientKeys
from vitruvian_protocol.scene import MeshArrays, Scene, Settings

HERE = Path(__file__).parent
PATIENCE = 90.0
"""Seconds after which a test gives up; nothing is asserted about time."""
T = TypeVar("T")


def small_scene(shift: float = 0.0) -> Scene:
    """A tetrahedron; another shift is another scene."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1], [0.3, 1, 0.3]], np.float32) + np.float32(shift)
    faces = np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2], [0, 2, 3]], np.int32)
    return Scene(MeshArrays("tetrahedron", vertices, faces))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Served:
    """A gateway process on a state folder. It may be killed and started again."""

    def __init__(self, state: Path, **options: Any) -> None:
        self.state, self.options = state, options
        self.port = free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[str] | None = None

    def start(self, **options: Any) -> dict[str, Any]:
        """What the gateway says of itself once it listens."""
        told = json.dumps({**self.options, **options})
        command = [sys.executable, str(HERE / "fake_gateway.py"), str(self.state), self.address, told]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the gateway did not start"
        return json.loads(line)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def wait(self) -> int:
        """Until it ends by itself."""
        assert self.process is not None
        return self.process.wait(PATIENCE)

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(child) for child in children.split()]

    def signal_workers(self, number: int) -> None:
        """Send a signal to all workers."""
        for child in self.workers():
            os.kill(child, number)

    def result_folder(self, job: str, owner: str = "local") -> Path:
        return self.state / "results" / job_key(owner, job)


@contextmanager
def served(state: Path, **options: Any) -> Iterator[Served]:
    """A gateway for the length of a block."""
    gateway = Served(state, **options)
    gateway.start()
    try:
        yield gateway
    finally:
        if gateway.process is not None and gateway.process.poll() is None:
            gateway.stop()


class Artist:
    """A client and all that it heard, in order."""

    def __init__(self, address: str, keys: ClientKeys | None = None, patience: float = PATIENCE) -> None:
        self.patience = patience
        self.client = Client(address, keys=keys, about={"program": "test"})
        self.heard: list[e.Event] = []

    def __enter__(self) -> Artist:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def submit(self, prompt: str, scene: Scene | None = None, job: str | None = None, **settings: Any) -> str:
        return self.client.submit(scene or small_scene(), Settings(prompt, **settings), job)

    def listen(self) -> None:
        self.heard += self.client.poll()
        self.client.wait(0.05)

    def until(self, found: Callable[[], T]) -> T:
        """Listen until `found` returns something."""
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            if value := found():
                return value
            self.listen()
        raise AssertionError(f"waited in vain; heard {self.heard[-5:]}")

    def of(self, job: str, *kinds: type[e.Event]) -> list[Any]:
        return [x for x in self.heard if getattr(x, "job", None) == job and isinstance(x, kinds or object)]

    def first(self, job: str, *kinds: type[e.Event]) -> Any:
        return self.until(lambda: self.of(job, *kinds))[0]

    def durable(self, job: str) -> list[Any]:
        """Events that the server keeps and tells again: those with a number."""
        return [x for x in self.of(job) if getattr(x, "seq", 0)]

    def end(self, job: str) -> Any:
        """The job's terminal event."""
        return self.first(job, *e.TERMINAL)

    def fetch(self, job: str, name: str, target: Path) -> Path:
        self.client.fetch(job, name, target)
        ended = self.until(lambda: [x for x in self.of(job, e.Fetched, e.FetchFailed) if x.name == name])
        assert isinstance(ended[-1], e.Fetched), ended
        return ended[-1].path


def check_history(artist: Artist, job: str) -> None:
    """What is promised of every job's durable events: numbers 1, 2, 3 ... and one end, at the end."""
    durable = artist.durable(job)
    assert [x.seq for x in durable] == list(range(1, len(durable) + 1))
    assert [isinstance(x, e.TERMINAL) for x in durable] == [False] * (len(durable) - 1) + [True]
