"""The client of the wire: one DEALER socket, no thread, no Blender."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import zmq

from .events import Event
from .limits import DEFAULT_ADDRESS
from .scene import Scene, Settings

State = Literal["connecting", "ready", "lost", "refused"]


@dataclass(frozen=True)
class ClientKeys:
    """CURVE keys in Z85 (40 characters each)."""

    public: str
    secret: str
    server: str
    """The server's public key."""


class Client:
    """Talks to one server. Nothing happens outside the caller's own calls."""

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        keys: ClientKeys | None = None,
        about: dict[str, str],
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        raise NotImplementedError

    @property
    def state(self) -> State:
        raise NotImplementedError

    def poll(self, budget_s: float = 0.005) -> list[Event]:
        """Do what is waiting, for about `budget_s` at most; returns at once where nothing waits."""
        raise NotImplementedError

    def wait(self, timeout_s: float) -> None:
        """Sleep until a message arrives or `timeout_s` has passed (command line only, never in a UI)."""
        raise NotImplementedError

    def submit(self, scene: Scene, settings: Settings, job_id: str | None = None) -> str:
        """Check, pack, upload under credit, ask. Survives reconnects. Save the id before calling.

        Raises:
            ProtocolError: BAD_SCENE, BAD_SETTINGS or TOO_LARGE, with the field's path; nothing was sent.
        """
        raise NotImplementedError

    def cancel(self, job_id: str) -> None:
        """Idempotent; answered by `CancelAcked`, and by `Cancelled` once the job has ended."""
        raise NotImplementedError

    def attach(self, job_id: str, after_seq: int = 0) -> None:
        """Hear of a job of an earlier session; what came after `after_seq` is told again, in order."""
        raise NotImplementedError

    def fetch(self, job_id: str, name: str, target: Path) -> None:
        """Pull a file: to `target` with `.part` behind it, checked, then renamed. Resumes a `.part`."""
        raise NotImplementedError

    def status(self) -> None:
        raise NotImplementedError

    def release_memory(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Say goodbye and close the socket at once (linger 0); jobs go on."""
        raise NotImplementedError
