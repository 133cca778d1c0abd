"""What every message carries, and bounds that messages share."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from .. import limits
from ..fields import Id, MaybeId, Number, Text, Whole

Size = Annotated[int, Whole(0, limits.JOB_BYTES)]
Count = Annotated[int, Whole(0, 2**31 - 1)]
Seconds = Annotated[float, Number(0.0, 1e7)]
Words = Annotated[str, Text(300)]


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


@dataclass(frozen=True, kw_only=True)
class Unknown(Message):
    """A type that this version does not know, kept so that it can be answered with UNSUPPORTED."""

    t: ClassVar[str] = "?"
    type: str
