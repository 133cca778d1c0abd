"""One connected client: who it is, what it listens to, and what is on its way to it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import zmq

from vitruvian.service.downloads import Download
from vitruvian_protocol import limits
from vitruvian_protocol.messages import Message, PreviewKind

LOCAL_USER = "local"
"""Everybody on this machine, where there are no keys."""
REPLIES = 64
"""Answers that may wait for a client which does not read; with one more it is taken for lost."""
_BURST = 4.0
"""Seconds' worth of messages that may come at once."""


@dataclass
class Watch:
    """A session's view of one job."""

    name: str
    """The client's own id of the job."""
    told: int = 0
    """Number of the last durable event that was sent."""
    cancel_on_leave: bool = False
    progress: Message | None = None
    """The latest, if it has not been sent."""
    progress_at: float = float("-inf")
    previews: dict[PreviewKind, bytes] = field(default_factory=dict)
    """The latest JPEG of each kind that has not been sent."""
    preview_at: dict[str, float] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    """`mid` of the preview of each kind that was sent and not acknowledged."""


@dataclass
class Session:
    """A client between its `hello` and its last sign of life. Times on the monotonic clock."""

    peer: bytes
    """The ROUTER's own id of the connection."""
    owner: str
    id: str
    heard: float
    bulk: bool = False
    """Whether the client takes large pieces of a file, without checksums of their own."""
    watches: dict[str, Watch] = field(default_factory=dict)
    """By the store's id of the job."""
    fresh: set[str] = field(default_factory=set)
    """Watched jobs that may have events which were not sent."""
    replies: deque[Message] = field(default_factory=deque)
    downloads: dict[str, Download] = field(default_factory=dict)
    """By transfer."""
    blocked: bool = False
    """The last send found no room; tried again with the next turn."""
    sent: deque[tuple[zmq.MessageTracker, int]] = field(default_factory=deque)
    """Pieces of files that the socket was given, with their bytes."""
    full: bool = False
    """So many of them are still there that no more are added for now."""
    lost: bool = False
    """It is gone or does not read; it is forgotten soon."""
    closed: bool = False
    tokens: float = _BURST * limits.MESSAGES_PER_SECOND
    tokens_at: float = 0.0

    def may_ask(self, now: float) -> bool:
        """Whether one more message keeps to the rate; counts it."""
        rate = limits.MESSAGES_PER_SECOND
        self.tokens = min(self.tokens + rate * max(0.0, now - self.tokens_at), _BURST * rate)
        self.tokens_at = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True

    def on_way(self) -> int:
        """Bytes of files that the socket still holds."""
        while self.sent and self.sent[0][0].done:
            self.sent.popleft()
        return sum(size for _, size in self.sent)

    def watch(self, job: str, name: str, after_seq: int = 0) -> Watch:
        """Hear of a job from the event after `after_seq` on."""
        watch = self.watches.setdefault(job, Watch(name))
        watch.told = after_seq
        self.fresh.add(job)
        return watch

    def close(self) -> None:
        """It has ended: nothing more is sent."""
        self.closed = True
        for download in self.downloads.values():
            download.close()
        self.downloads.clear()
