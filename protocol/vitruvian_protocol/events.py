"""What `Client.poll` tells: frozen values, each with the job it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .errors import ErrorInfo
from .messages import ArtifactInfo, DeviceLine, JobLine, PreviewKind, Welcome


@dataclass(frozen=True)
class Connected:
    """The server has greeted; `restarted` tells that it is another run than last time."""

    welcome: Welcome
    restarted: bool = False


@dataclass(frozen=True)
class Lost:
    """The connection is gone, or there is none yet. `Client.state` says whether it is tried again."""

    error: ErrorInfo


@dataclass(frozen=True)
class Uploading:
    """`sent` of `total` bytes of the job's scene have been confirmed or are on their way."""

    job: str
    sent: int
    total: int


@dataclass(frozen=True)
class Accepted:
    """The server has the job on its disk."""

    job: str
    position: int
    duplicate: bool = False


@dataclass(frozen=True)
class Rejected:
    """Nothing is stored: correct and submit again."""

    job: str
    error: ErrorInfo


@dataclass(frozen=True)
class Queued:
    """The job waits; `why` is set where it waits again after its worker was lost."""

    job: str
    position: int
    why: str = ""
    seq: int = 0


@dataclass(frozen=True)
class Started:
    job: str
    attempt: int
    seq: int = 0


@dataclass(frozen=True)
class Stage:
    """The job has entered a stage."""

    job: str
    stage: str
    seq: int = 0


@dataclass(frozen=True)
class Progress:
    """`fraction` of the whole job in [0, 1]; `eta_s` seconds left, where known; `position` while it waits."""

    job: str
    stage: str
    fraction: float
    eta_s: float | None
    attempt: int
    position: int = 0


@dataclass(frozen=True)
class Preview:
    """A JPEG whose header was checked: at most 512 px a side."""

    job: str
    jpeg: bytes
    kind: PreviewKind


@dataclass(frozen=True)
class Warned:
    """Something the artist should know; the job goes on."""

    job: str
    text: str
    seq: int = 0


@dataclass(frozen=True)
class Done:
    job: str
    artifacts: tuple[ArtifactInfo, ...]
    seq: int = 0


@dataclass(frozen=True)
class Failed:
    job: str
    error: ErrorInfo
    seq: int = 0


@dataclass(frozen=True)
class Cancelled:
    job: str
    seq: int = 0


@dataclass(frozen=True)
class CancelAcked:
    """The server's answer to `cancel`: dequeued, stopping, already_terminal or unknown."""

    job: str
    outcome: str


@dataclass(frozen=True)
class FetchProgress:
    """`received` of `size` bytes are on the disk."""

    job: str
    name: str
    received: int
    size: int


@dataclass(frozen=True)
class Fetched:
    """The file is whole at `path`, its SHA-256 checked."""

    job: str
    name: str
    path: Path


@dataclass(frozen=True)
class FetchFailed:
    """The file could not be had; `fetch` again to retry, it resumes where it stopped."""

    job: str
    name: str
    error: ErrorInfo


@dataclass(frozen=True)
class Status:
    """The server's queue, the own jobs, the devices."""

    queued: int
    running: int
    jobs: tuple[JobLine, ...]
    devices: tuple[DeviceLine, ...]
    uptime_s: float


@dataclass(frozen=True)
class MemoryReleased:
    """`devices` gave their memory back; `busy` are at work and keep theirs."""

    devices: int
    busy: int


Event = (
    Connected
    | Lost
    | Uploading
    | Accepted
    | Rejected
    | Queued
    | Started
    | Stage
    | Progress
    | Preview
    | Warned
    | Done
    | Failed
    | Cancelled
    | CancelAcked
    | FetchProgress
    | Fetched
    | FetchFailed
    | Status
    | MemoryReleased
)
TERMINAL = (Done, Failed, Cancelled)
"""Exactly one of these ends a job (a `Rejected` one never began)."""
