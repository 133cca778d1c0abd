"""Submissions on their way to the server: one at a time, first the scene under credit, then the request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import limits
from .errors import ErrorInfo, ProtocolError, explain
from .events import Accepted as AcceptedEvent
from .events import Event, Rejected, Uploading
from .link import Link
from .messages import (
    Accepted,
    Credit,
    Error,
    Message,
    PutBegin,
    PutChunk,
    PutDone,
    PutReady,
    Submit,
    TransferStop,
)
from .messages import Rejected as RejectedMessage

_TRIES = 3
_AGAIN = ("BLOB_MISSING", "SPEC_HASH", "CORRUPT")
"""Refusals that sending all of it again mends."""


@dataclass
class Submission:
    """One job until the server has it; sent again from the start after a loss, which is harmless."""

    request: Submit
    blob: memoryview
    transfer: str = ""
    """`mid` of `put_begin`; "" before it."""
    sent: int = 0
    credit: int = 0
    window: int = 0
    """The first credit: having all of it means that nothing is on its way."""
    asked: str = ""
    """`mid` of `submit`; "" before it."""
    maybe_known: bool = False
    """The request was sent once: the server may have the job, heard of or not."""
    tries: int = 0
    told: int = 0


class Uploads:
    """A queue of submissions, worked from its head."""

    def __init__(self, link: Link, emit: Callable[[Event], None], clock: Callable[[], float]) -> None:
        self._link, self._emit, self._clock = link, emit, clock
        self._queue: list[Submission] = []
        self._moved = clock()
        self._paused_until = clock()

    def add(self, request: Submit, blob: memoryview) -> None:
        if self.find(request.job) is not None:
            raise ProtocolError("ID_CONFLICT", "$.job", "is being submitted already", request.job)
        self._queue.append(Submission(request, blob))
        self._moved = self._clock()

    def find(self, job: str) -> Submission | None:
        return next((s for s in self._queue if s.request.job == job), None)

    def remove(self, submission: Submission) -> None:
        """Stop sending it, in whatever state it is."""
        if submission.transfer and submission.sent < len(submission.blob):
            self._link.send(TransferStop(transfer=submission.transfer))
        self._queue.remove(submission)
        self._moved = self._clock()

    def restart(self) -> None:
        """The connection is new: nothing of what was sent on the old one counts."""
        for submission in self._queue:
            submission.transfer = submission.asked = ""
            submission.sent = submission.credit = 0
        self._moved = self._clock()

    def step(self) -> bool:
        """Send the next piece of the head; False if there is nothing to send now."""
        if not self._queue or not self._link.clear or self._clock() < self._paused_until:
            return False
        head = self._queue[0]
        if not head.transfer:
            offer = PutBegin(sha256=head.request.scene_sha256, size=len(head.blob))
            head.transfer = offer.mid
            self._link.send(offer)
            return True
        size = min(limits.CHUNK_BYTES, head.credit, len(head.blob) - head.sent)
        # Credit in crumbs is saved up: a short chunk goes only as the last one, or where no more credit can
        # come because nothing is on its way (a window smaller than a chunk).
        short = size < limits.CHUNK_BYTES and head.sent + size < len(head.blob)
        if size <= 0 or (short and head.credit < head.window):
            return False
        data = head.blob[head.sent : head.sent + size]
        if not self._link.send_now(PutChunk(transfer=head.transfer, offset=head.sent, data=data)):
            return False
        head.sent, head.credit = head.sent + size, head.credit - size
        self._moved = self._clock()
        return True

    def take(self, message: Message) -> bool:
        """Handle a message if it is about a submission."""
        head = self._queue[0] if self._queue else None
        if head is None:
            return False
        match message:
            case PutReady() if message.re == head.transfer:
                head.sent, head.credit = min(message.offset, len(head.blob)), message.credit
                head.window = message.credit
                if head.sent == len(head.blob):
                    self._ask(head)
            case Credit() if message.transfer == head.transfer:
                head.credit += message.size
            case PutDone() if message.re == head.transfer:
                self._ask(head)
            case Accepted() if message.job == head.request.job:
                self._queue.pop(0)
                self._emit(AcceptedEvent(message.job, message.position, message.duplicate))
            case RejectedMessage() if message.job == head.request.job:
                self._refused(head, message.error)
            case Error() if message.re and message.re in (head.transfer, head.asked):
                self._refused(head, message.error)
            case _:
                return False
        self._moved = self._clock()
        return True

    def _ask(self, head: Submission) -> None:
        if head.asked:
            return
        head.asked, head.maybe_known = head.request.mid, True
        self._link.send(head.request)

    def _refused(self, head: Submission, error: ErrorInfo) -> None:
        if error.code == "RATE":
            self._paused_until = self._clock() + limits.PAUSE_SECONDS
        else:
            head.tries += 1
        if error.code == "RATE" or (error.code in _AGAIN and head.tries < _TRIES):
            head.transfer = head.asked = ""
            head.sent = head.credit = 0
            return
        self._queue.pop(0)
        self._emit(Rejected(head.request.job, error))

    def tell_progress(self) -> None:
        """At most one event a call, and only when something has moved."""
        for head in self._queue[:1]:
            if head.sent not in (0, head.told):
                head.told = head.sent
                self._emit(Uploading(head.request.job, head.sent, len(head.blob)))

    def check_stall(self, seconds: float) -> None:
        """A server that answers pings but not this is not one to wait for."""
        if self._queue and self._link.state == "ready" and self._clock() - self._moved > seconds:
            self._moved = self._clock()
            self._link.drop(explain("LOST"))
