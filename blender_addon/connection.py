"""Where a backend is, and what the add-on needs of a connection to it. No bpy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .problems import Told

if TYPE_CHECKING:
    from vitruvian_protocol.scene import Scene, Settings


@dataclass(frozen=True)
class Endpoint:
    """Where the backend is. Keys are Z85 text; empty for an unencrypted local one."""

    address: str
    public_key: str = ""
    secret_key: str = ""
    server_key: str = ""
    name: str = ""
    """What jobs remember the server by, where its address may change; empty takes the address."""

    @property
    def server(self) -> str:
        return self.name or self.address


def unreachable(endpoint: Endpoint) -> Told:
    """What is told where nobody answers."""
    sentence = f"No server answers at {endpoint.address}"
    return Told("UNREACHABLE", sentence, "Start the backend, or check address and port", "auto")


class ClientLike(Protocol):
    """What the session needs of `vitruvian_protocol.client.Client`; tests bring a scripted one."""

    @property
    def state(self) -> str: ...
    def poll(self, budget_s: float = 0.005) -> list[Any]: ...
    def pack(self, scene: Scene, settings: Settings) -> Any: ...
    def submit_packed(self, packed: Any, job_id: str | None = None) -> str: ...
    def cancel(self, job_id: str) -> None: ...
    def attach(self, job_id: str, after_seq: int = 0) -> None: ...
    def fetch(self, job_id: str, name: str, target: Path) -> None: ...
    def stop_fetching(self, job_id: str) -> None: ...
    def release_memory(self) -> None: ...
    def close(self) -> None: ...
