"""A job: asked for, told of, cancelled, ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from .. import limits
from ..errors import ErrorInfo
from ..fields import Items, Number, Payload, Sha256, Whole
from ..scene import Settings
from .envelope import Count, Durable, JobMessage, Seconds, Words
from .transfers import ArtifactInfo

JobState = Literal["queued", "running", "done", "failed", "cancelled", "unknown"]
EventKind = Literal["queued", "started", "stage", "warning"]
PreviewKind = Literal["sheet", "texture"]


@dataclass(frozen=True, kw_only=True)
class Submit(JobMessage):
    """C: asks for a job. The same `job` and `spec_sha256` again is harmless (`accepted`, `duplicate`)."""

    t: ClassVar[str] = "submit"
    settings: Settings
    scene_sha256: Sha256
    """The scene's blob, put before."""
    scene_size: Annotated[int, Whole(1, limits.SCENE_BYTES)]
    spec_sha256: Sha256
    """`codec.spec_sha256(settings, scene_sha256)`"""
    priority: Annotated[int, Whole(-10, 10)] = 0
    """Among the jobs of one user; higher is sooner."""
    on_disconnect: Literal["keep", "cancel"] = "keep"


@dataclass(frozen=True, kw_only=True)
class Accepted(JobMessage):
    """S: the job is on disk and survives kill -9 and power cuts."""

    t: ClassVar[str] = "accepted"
    state: JobState
    position: Count = 0
    """Jobs before this one; 0 when it runs or has ended."""
    duplicate: bool = False


@dataclass(frozen=True, kw_only=True)
class Rejected(JobMessage):
    """S: answers `submit`; nothing is stored, it is safe to correct and send again."""

    t: ClassVar[str] = "rejected"
    error: ErrorInfo


@dataclass(frozen=True, kw_only=True)
class Event(Durable):
    """S: a step in a job's life."""

    t: ClassVar[str] = "event"
    kind: EventKind
    text: Words = ""
    """`stage`: its name. `warning`: the sentence. `queued` after a worker was lost: why."""
    position: Count = 0
    attempt: Annotated[int, Whole(0, 100)] = 0


@dataclass(frozen=True, kw_only=True)
class Progress(JobMessage):
    """S: at most four a second; the latest wins; may be dropped."""

    t: ClassVar[str] = "progress"
    stage: Words
    fraction: Annotated[float, Number(0.0, 1.0)]
    """Of the whole job."""
    eta_s: Seconds | None = None
    attempt: Annotated[int, Whole(0, 100)] = 1
    position: Count = 0
    """Jobs before this one while it waits."""


@dataclass(frozen=True, kw_only=True)
class Preview(JobMessage):
    """S: a JPEG of at most 512 px a side, at most one a second; the latest wins; may be dropped.

    The next one of a job and kind is sent only after `preview_ack` of the last, so that a client which does
    not read never piles them up.
    """

    t: ClassVar[str] = "preview"
    kind: PreviewKind
    jpeg: Annotated[memoryview, Payload(limits.PREVIEW_BYTES)]


@dataclass(frozen=True, kw_only=True)
class PreviewAck(JobMessage):
    """C: `re` is the preview's `mid`."""

    t: ClassVar[str] = "preview_ack"
    kind: PreviewKind


@dataclass(frozen=True, kw_only=True)
class Done(Durable):
    """S: the end of a job that went well."""

    t: ClassVar[str] = "done"
    artifacts: Annotated[tuple[ArtifactInfo, ...], Items(ArtifactInfo, limits.ARTIFACTS)]


@dataclass(frozen=True, kw_only=True)
class Failed(Durable):
    """S: the end of a job that went wrong."""

    t: ClassVar[str] = "failed"
    error: ErrorInfo
    stage: Words = ""


@dataclass(frozen=True, kw_only=True)
class Cancelled(Durable):
    """S: the end of a job that was cancelled."""

    t: ClassVar[str] = "cancelled"


@dataclass(frozen=True, kw_only=True)
class Cancel(JobMessage):
    """C: stops this job, no other. May be repeated."""

    t: ClassVar[str] = "cancel"


@dataclass(frozen=True, kw_only=True)
class CancelAck(JobMessage):
    """S: within a second."""

    t: ClassVar[str] = "cancel_ack"
    outcome: Literal["dequeued", "stopping", "already_terminal", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Attach(JobMessage):
    """C: hears of this job from now on, and again of all after `after_seq`."""

    t: ClassVar[str] = "attach"
    after_seq: Count = 0


@dataclass(frozen=True, kw_only=True)
class Snapshot(JobMessage):
    """S: answers `attach`; the missed events follow it. Another user's job is `unknown`."""

    t: ClassVar[str] = "snapshot"
    state: JobState
    last_seq: Count = 0
    position: Count = 0
    attempt: Annotated[int, Whole(0, 100)] = 0
