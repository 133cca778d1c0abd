"""A client whose server is the test: it records what the session asks and says what the test tells it to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from vitruvian_protocol import events
from vitruvian_protocol.errors import explain
from vitruvian_protocol.messages import ArtifactInfo
from vitruvian_protocol.scene import MeshArrays, Scene

SHA = "0" * 64


class ScriptedClient:
    """Fits `session.ClientLike`."""

    def __init__(self) -> None:
        self.state = "connecting"
        self.waiting: list[Any] = []
        self.submitted: list[str] = []
        self.cancelled: list[str] = []
        self.attached: list[tuple[str, int]] = []
        self.fetched: list[tuple[str, str, Path]] = []
        self.refuse: Exception | None = None
        self.closed = False

    def poll(self, budget_s: float = 0.005) -> list[Any]:
        told, self.waiting = self.waiting, []
        return told

    def pack(self, scene: Scene, settings: Any) -> Any:
        if self.refuse is not None:
            raise self.refuse
        return scene, settings

    def submit_packed(self, packed: Any, job_id: str | None = None) -> str:
        assert packed
        assert job_id is not None
        self.submitted.append(job_id)
        return job_id

    def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)

    def attach(self, job_id: str, after_seq: int = 0) -> None:
        self.attached.append((job_id, after_seq))

    def fetch(self, job_id: str, name: str, target: Path) -> None:
        self.fetched.append((job_id, name, target))

    def stop_fetching(self, job_id: str) -> None:
        self.fetched = [entry for entry in self.fetched if entry[0] != job_id]

    def release_memory(self) -> None:
        self.waiting.append(events.MemoryReleased(1, 0))

    def close(self) -> None:
        self.closed = True

    # ---- what the test lets the server say ----

    def greet(self, **offers: list[str]) -> None:
        self.state = "ready"
        welcome: Any = SimpleNamespace(about={"version": "1", **offers})
        self.waiting.append(events.Connected(welcome))

    def lose(self) -> None:
        self.state = "lost"
        self.waiting.append(events.Lost(explain("LOST")))

    def say(self, *told: Any) -> None:
        self.waiting.extend(told)

    def finish(self, job: str, *names: str, seq: int = 9) -> None:
        infos = tuple(ArtifactInfo(name, 10, SHA) for name in names or ("albedo.png", "report.json"))
        self.waiting.append(events.Done(job, infos, seq=seq))

    def deliver(self, job: str) -> None:
        """Write what was asked for, and say so."""
        for asked, name, target in self.fetched:
            if asked == job:
                target.write_bytes(b"0123456789")
                self.waiting.append(events.Fetched(job, name, target))
        self.fetched = [entry for entry in self.fetched if entry[0] != job]


def small_scene() -> Scene:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    return Scene(MeshArrays("body", vertices, np.array([[0, 1, 2]], np.int32)))
