"""What a gateway is told when it starts."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vitruvian.core.errors import UserError
from vitruvian_protocol import limits

GIB = limits.GIB


@dataclass(frozen=True)
class ServeConfig:
    """A gateway's settings. Times in seconds."""

    state: Path
    """Folder for queue, uploads and results, on a local disk."""
    listen: str = limits.DEFAULT_ADDRESS
    keys: Path | None = None
    """Folder with the server's key and the list of clients; None: no encryption, loopback only."""
    priors: Mapping[str, str] = field(default_factory=lambda: {"mini": "mini"})
    """Image models that clients may ask for, by the name that they use. The first is kept warm."""
    methods: tuple[str, ...] = ("mvhuman",)
    min_free: int = 5 * GIB
    """Bytes on the state folder's disk below which no job is taken on."""
    idle_release: float = 600.0
    """A device without work for so long gives its memory back; 0: never."""
    keep_days: float = 14.0
    queued: int = limits.QUEUED
    queued_per_user: int = limits.QUEUED_PER_USER
    """For users with keys; without keys there is one user, who has the whole queue."""
    running_per_user: int = limits.RUNNING_PER_USER
    job_seconds: float = limits.JOB_SECONDS
    lease_seconds: float = 180.0
    """A worker that lives but is silent for so long is taken for stuck. A library that works for long without
    letting Python run (unwrapping a large mesh) is silent, too; one that dies is noticed at once."""
    cancel_seconds: float = 10.0
    """A worker that goes on for so long after a cancel is killed."""
    memory_limit: int = GIB
    """Bytes that the gateway may hold; with more it begins anew. 0: any number. What it hands out and takes
    in has bounds of its own far below this; what a hostile client makes the socket keep has none."""

    @property
    def database(self) -> Path:
        return self.state / "jobs.sqlite"

    @property
    def blobs(self) -> Path:
        return self.state / "blobs"

    @property
    def results(self) -> Path:
        return self.state / "results"

    @property
    def logs(self) -> Path:
        return self.state / "logs"


def check_address(address: str, field: str = "address") -> tuple[str, int]:
    """Host and port of `tcp://host:port`.

    Args:
        field: the name of the option, for the error.

    Raises:
        UserError: anything else.
    """
    found = re.fullmatch(r"tcp://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.*-]+):([0-9]{1,5})", address)
    if found is None or not 0 < int(found[2]) < 65536:
        raise UserError(field, address, "is not an address", "Write it like tcp://127.0.0.1:29517")
    return found[1].strip("[]"), int(found[2])


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it; a name other than localhost may resolve to anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
