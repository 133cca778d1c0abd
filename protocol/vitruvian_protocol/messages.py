"""The vocabulary of the wire: one frozen dataclass for each message type, read in one go.

`C` marks what a client sends, `S` what the server sends. Rules stand on the fields as annotations and are
enforced in both directions by `fields.py`; docs/wire.md tells in which order messages travel.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from . import limits
from .errors import ErrorInfo
from .fields import Id, Items, MaybeId, Name, Number, Payload, Plain, Sha256, Text, Whole
from .scene import Settings

Size = Annotated[int, Whole(0, limits.JOB_BYTES)]
Count = Annotated[int, Whole(0, 2**31 - 1)]
Seconds = Annotated[float, Number(0.0, 1e7)]
Words = Annotated[str, Text(300)]
JobState = Literal["queued", "running", "done", "failed", "cancelled", "unknown"]
EventKind = Literal["queued", "started", "stage", "warning"]
PreviewKind = Literal["sheet", "texture"]
ArtifactName = Annotated[str, Text(64, pattern=r"[a-z0-9][a-z0-9_.-]{0,63}")]

BULK = "bulk"
"""Capability of a client: `artifact_chunk` may have `limits.BULK_CHUNK_BYTES`, and no crc32."""


def new_id() -> str:
    """A fresh id for a message or a job: a random UUID in its usual 36 characters."""
    return str(uuid.uuid4())


@dataclass(frozen=True, kw_only=True)
class Message:
    """The envelope that every message carries."""

    t: ClassVar[str]
    mid: Id = field(default_factory=new_id)
    re: MaybeId = ""
    """`mid` of the message that this one answers."""
    ts: Annotated[float, Number(0.0, 1e12)] = field(default_factory=time.time)
    """Sender's clock, seconds since 1970. For logs only: nothing is decided by it."""


@dataclass(frozen=True, kw_only=True)
class JobMessage(Message):
    """A message about one job."""

    job: Id


@dataclass(frozen=True, kw_only=True)
class Durable(JobMessage):
    """S: kept with the job and replayed after `attach`. One job's come in order, without gaps."""

    seq: Annotated[int, Whole(1, 2**31 - 1)]
    run: Id
    """The server's run that sends it; another than in `welcome` is stale."""


@dataclass(frozen=True)
class ArtifactInfo:
    """A file that a job has made."""

    name: ArtifactName
    size: Annotated[int, Whole(0, limits.ARTIFACT_BYTES)]
    sha256: Sha256


# Greeting


@dataclass(frozen=True, kw_only=True)
class Hello(Message):
    """C: the first message on a socket; what comes before it is dropped."""

    t: ClassVar[str] = "hello"
    wire_min: Annotated[int, Whole(1, 99)] = limits.WIRE_MAJOR
    wire_max: Annotated[int, Whole(1, 99)] = limits.WIRE_MAJOR
    about: Annotated[dict[str, Any], Plain(32)]
    """Versions of add-on, Blender and system, for the server's log."""
    caps: Annotated[tuple[str, ...], Items(Text(32), 32)] = ()


@dataclass(frozen=True, kw_only=True)
class Welcome(Message):
    """S: answers `hello`."""

    t: ClassVar[str] = "welcome"
    wire: Annotated[int, Whole(1, 99)] = limits.WIRE_MAJOR
    run: Id
    """Changes when the server restarts: a client then attaches to its jobs."""
    session: Id
    limits: Annotated[dict[str, Any], Plain(32)]
    caps: Annotated[tuple[str, ...], Items(Text(32), 32)] = ()
    about: Annotated[dict[str, Any], Plain(32)]
    """`version`, `devices` (names), `methods`, `priors`: what the panel offers."""


@dataclass(frozen=True, kw_only=True)
class Ping(Message):
    """C: sent after two seconds of silence."""

    t: ClassVar[str] = "ping"


@dataclass(frozen=True, kw_only=True)
class Pong(Message):
    """S"""

    t: ClassVar[str] = "pong"


@dataclass(frozen=True, kw_only=True)
class Bye(Message):
    """C or S: the session ends; jobs go on."""

    t: ClassVar[str] = "bye"


@dataclass(frozen=True, kw_only=True)
class Error(Message):
    """S: answers (`re`) a message that has no refusal of its own; without `re`, about the session."""

    t: ClassVar[str] = "error"
    error: ErrorInfo


# Transfers


@dataclass(frozen=True, kw_only=True)
class PutBegin(Message):
    """C: offers a blob. Its `mid` names the transfer."""

    t: ClassVar[str] = "put_begin"
    sha256: Sha256
    size: Annotated[int, Whole(1, limits.SCENE_BYTES)]


@dataclass(frozen=True, kw_only=True)
class PutReady(Message):
    """S: answers `put_begin`. `offset` = `size`: the blob is there already, nothing to send."""

    t: ClassVar[str] = "put_ready"
    offset: Size
    credit: Size


@dataclass(frozen=True, kw_only=True)
class PutChunk(Message):
    """C: the next bytes of a blob, within credit."""

    t: ClassVar[str] = "put_chunk"
    transfer: Id
    offset: Size
    data: Annotated[memoryview, Payload(limits.CHUNK_BYTES)]


@dataclass(frozen=True, kw_only=True)
class PutDone(Message):
    """S: the blob is whole, its SHA-256 was checked and it is on disk. `re` is the transfer."""

    t: ClassVar[str] = "put_done"
    sha256: Sha256


@dataclass(frozen=True, kw_only=True)
class Credit(Message):
    """C (for an artifact) or S (for a blob): the receiver of `transfer` takes so many bytes more."""

    t: ClassVar[str] = "credit"
    transfer: Id
    size: Annotated[int, Whole(1, limits.WINDOW_BYTES)]


@dataclass(frozen=True, kw_only=True)
class TransferStop(Message):
    """C: ends a transfer of either direction. Not answered; what is still on its way is ignored."""

    t: ClassVar[str] = "transfer_stop"
    transfer: Id


@dataclass(frozen=True, kw_only=True)
class ArtifactGet(JobMessage):
    """C: asks for a file from `offset` on, with its first credit. Its `mid` names the transfer."""

    t: ClassVar[str] = "artifact_get"
    name: ArtifactName
    offset: Size = 0
    credit: Annotated[int, Whole(1, limits.WINDOW_BYTES)] = limits.WINDOW_BYTES


@dataclass(frozen=True, kw_only=True)
class ArtifactBegin(Message):
    """S: answers `artifact_get`."""

    t: ClassVar[str] = "artifact_begin"
    size: Size
    sha256: Sha256
    offset: Size


@dataclass(frozen=True, kw_only=True)
class ArtifactChunk(Message):
    """S: the next bytes, within credit. `re` is the transfer. The last one ends at `size`."""

    t: ClassVar[str] = "artifact_chunk"
    offset: Size
    data: Annotated[memoryview, Payload(limits.BULK_CHUNK_BYTES, covered=True)]


@dataclass(frozen=True, kw_only=True)
class ArtifactAck(JobMessage):
    """C: the file is whole on the client's disk; the server may expire its own early. Not answered."""

    t: ClassVar[str] = "artifact_ack"
    name: ArtifactName
    sha256: Sha256


# Jobs


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


# The server


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


@dataclass(frozen=True, kw_only=True)
class Unknown(Message):
    """A type that this version does not know, kept so that it can be answered with UNSUPPORTED."""

    t: ClassVar[str] = "?"
    type: str


TYPES: dict[str, type[Message]] = {
    kind.t: kind
    for kind in (
        *(Hello, Welcome, Ping, Pong, Bye, Error),
        *(PutBegin, PutReady, PutChunk, PutDone, Credit, TransferStop),
        *(ArtifactGet, ArtifactBegin, ArtifactChunk, ArtifactAck),
        *(Submit, Accepted, Rejected, Event, Progress, Preview, PreviewAck, Done, Failed, Cancelled),
        *(Cancel, CancelAck, Attach, Snapshot, Status, StatusReply, ReleaseMemory, Released),
    )
}
"""Every type by its name on the wire."""
