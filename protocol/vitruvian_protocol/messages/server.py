"""The server's queue and devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from ..fields import Id, Items, Name, Number, Whole
from .envelope import Count, Message, Seconds, Words
from .jobs import JobState


@dataclass(frozen=True)
class JobLine:
    """One of the client's own jobs in `status_reply`."""

    job: Id
    state: JobState
    position: Count = 0
    stage: Words = ""
    fraction: Annotated[float, Number(0.0, 1.0)] = 0.0


@dataclass(frozen=True)
class DeviceLine:
    """A device in `status_reply`."""

    name: Name
    state: Literal["starting", "idle", "busy", "asleep", "gone"]
    """`asleep`: its memory was given back."""
    memory_total: Annotated[int, Whole(0, 2**50)] = 0
    """Bytes; 0 where unknown."""
    why: Words = ""
    """What keeps it from starting."""


@dataclass(frozen=True, kw_only=True)
class Status(Message):
    """C"""

    t: ClassVar[str] = "status"


@dataclass(frozen=True, kw_only=True)
class StatusReply(Message):
    """S"""

    t: ClassVar[str] = "status_reply"
    queued: Count
    """Jobs of all users."""
    running: Count
    jobs: Annotated[tuple[JobLine, ...], Items(JobLine, 100)] = ()
    devices: Annotated[tuple[DeviceLine, ...], Items(DeviceLine, 64)] = ()
    uptime_s: Seconds = 0.0


@dataclass(frozen=True, kw_only=True)
class ReleaseMemory(Message):
    """C: asks idle workers to give their device memory back, so that Blender can render."""

    t: ClassVar[str] = "release_memory"


@dataclass(frozen=True, kw_only=True)
class Released(Message):
    """S: `devices` were put to sleep, `busy` are at work and keep theirs."""

    t: ClassVar[str] = "released"
    devices: Count
    busy: Count = 0
