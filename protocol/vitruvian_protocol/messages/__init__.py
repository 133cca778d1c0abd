"""The vocabulary of the wire: one frozen dataclass for each message type.

`C` marks what a client sends, `S` what the server sends. Rules stand on the fields as annotations and are
enforced in both directions by `fields.py`; docs/wire.md tells in which order messages travel.
"""

from __future__ import annotations

from .envelope import Durable as Durable
from .envelope import JobMessage as JobMessage
from .envelope import Message as Message
from .envelope import Unknown as Unknown
from .envelope import new_id as new_id
from .greeting import BULK as BULK
from .greeting import Bye as Bye
from .greeting import Error as Error
from .greeting import Hello as Hello
from .greeting import Ping as Ping
from .greeting import Pong as Pong
from .greeting import Welcome as Welcome
from .jobs import Accepted as Accepted
from .jobs import Attach as Attach
from .jobs import Cancel as Cancel
from .jobs import CancelAck as CancelAck
from .jobs import Cancelled as Cancelled
from .jobs import Done as Done
from .jobs import Event as Event
from .jobs import EventKind as EventKind
from .jobs import Failed as Failed
from .jobs import JobState as JobState
from .jobs import Preview as Preview
from .jobs import PreviewAck as PreviewAck
from .jobs import PreviewKind as PreviewKind
from .jobs import Progress as Progress
from .jobs import Rejected as Rejected
from .jobs import Snapshot as Snapshot
from .jobs import Submit as Submit
from .server import DeviceLine as DeviceLine
from .server import JobLine as JobLine
from .server import Released as Released
from .server import ReleaseMemory as ReleaseMemory
from .server import Status as Status
from .server import StatusReply as StatusReply
from .transfers import ArtifactAck as ArtifactAck
from .transfers import ArtifactBegin as ArtifactBegin
from .transfers import ArtifactChunk as ArtifactChunk
from .transfers import ArtifactGet as ArtifactGet
from .transfers import ArtifactInfo as ArtifactInfo
from .transfers import Credit as Credit
from .transfers import PutBegin as PutBegin
from .transfers import PutChunk as PutChunk
from .transfers import PutDone as PutDone
from .transfers import PutReady as PutReady
from .transfers import TransferStop as TransferStop

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
