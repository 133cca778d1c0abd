"""Bytes on their way under credit: scenes to the server, a job's files back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from .. import limits
from ..fields import Id, Payload, Sha256, Text, Whole
from .envelope import JobMessage, Message, Size

ArtifactName = Annotated[str, Text(64, pattern=r"[a-z0-9][a-z0-9_.-]{0,63}")]


@dataclass(frozen=True)
class ArtifactInfo:
    """A file that a job has made."""

    name: ArtifactName
    size: Annotated[int, Whole(0, limits.ARTIFACT_BYTES)]
    sha256: Sha256


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
