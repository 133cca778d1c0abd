"""Jobs that the server has: their events in order and without gaps, previews, and cancelling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import events, limits
from . import messages as m
from .errors import explain
from .images import jpeg_size
from .link import Link

_HEAL_SECONDS = 2.0
"""A gap is asked about at most so often."""
_ANSWER_SECONDS = 5.0
"""What was not answered for so long, or was refused for coming too quickly, is asked again."""
_SILENCE_SECONDS = 30.0
"""A job that nothing was heard of for so long is asked about: its last event may be what was lost."""


@dataclass
class Live:
    """A job that is heard of."""

    last_seq: int = 0
    """Of the last durable event that was told."""
    attaching: str = ""
    """`mid` of an `attach` that was not answered yet."""
    asked: float = -1e9
    """When that was sent."""
    heard: float = 0.0
    """When anything was last heard of the job."""


class Jobs:
    """All jobs of one client that have not ended."""

    def __init__(self, link: Link, emit: Callable[[events.Event], None], clock: Callable[[], float]) -> None:
        self._link, self._emit, self._clock = link, emit, clock
        self._live: dict[str, Live] = {}
        self._cancels: dict[str, float] = {}
        """Jobs whose `cancel` was not answered yet, and when it was sent."""

    def add(self, job: str, after_seq: int = 0, attach: bool = True) -> None:
        """Hear of a job. Without `attach` the server tells of it anyway."""
        live = self._live.setdefault(job, Live(after_seq, heard=self._clock()))
        if attach:
            self._attach(job, live)

    def remove(self, job: str) -> None:
        self._live.pop(job, None)

    def cancel(self, job: str) -> None:
        """Ask until it is answered, on whatever connection."""
        self._cancels[job] = self._clock()
        self._link.send(m.Cancel(job=job))

    def restart(self) -> None:
        """The connection is new: attach to all, and repeat what was not answered."""
        for job, live in self._live.items():
            self._attach(job, live)
        for job in self._cancels:
            self.cancel(job)

    def upkeep(self) -> None:
        """Repeat what was not answered."""
        if self._link.state != "ready":
            return
        late = self._clock() - _ANSWER_SECONDS
        for job, live in self._live.items():
            silent = self._clock() - live.heard > _SILENCE_SECONDS
            if silent or (live.attaching and live.asked < late):
                self._attach(job, live)
        for job in [job for job, sent in self._cancels.items() if sent < late]:
            self.cancel(job)

    def _attach(self, job: str, live: Live) -> None:
        request = m.Attach(job=job, after_seq=live.last_seq)
        live.attaching, live.asked = request.mid, self._clock()
        live.heard = live.asked
        self._link.send(request)

    def take(self, message: m.Message) -> bool:
        """Handle a message if it is about a job."""
        if isinstance(message, m.JobMessage) and message.job in self._live:
            self._live[message.job].heard = self._clock()
        match message:
            case m.Durable():
                self._durable(message)
            case m.Progress() if message.job in self._live:
                progress = (message.fraction, message.eta_s, message.attempt, message.position)
                self._emit(events.Progress(message.job, message.stage, *progress))
            case m.Preview():
                self._preview(message)
            case m.Snapshot():
                self._snapshot(message)
            case m.CancelAck():
                self._cancel_acked(message)
            case _:
                return False
        return True

    def _durable(self, message: m.Durable) -> None:
        live = self._live.get(message.job)
        welcome = self._link.welcome
        if live is None or welcome is None or message.run != welcome.run or message.seq <= live.last_seq:
            return
        if message.seq > live.last_seq + 1:
            # Something between was lost: what follows will come again with it.
            if not live.attaching and self._clock() - live.asked > _HEAL_SECONDS:
                self._attach(message.job, live)
            return
        live.last_seq = message.seq
        event = _told(message)
        if event is not None:
            self._emit(event)
        if isinstance(message, m.Done | m.Failed | m.Cancelled):
            self.remove(message.job)

    def _preview(self, preview: m.Preview) -> None:
        # Answered in any case: an unanswered one would be the last.
        self._link.send(m.PreviewAck(re=preview.mid, job=preview.job, kind=preview.kind))
        size = jpeg_size(preview.jpeg)
        if preview.job in self._live and size is not None and max(size) <= limits.PREVIEW_SIDE:
            self._emit(events.Preview(preview.job, bytes(preview.jpeg), preview.kind))

    def _snapshot(self, snapshot: m.Snapshot) -> None:
        live = self._live.get(snapshot.job)
        if live is None or live.attaching != snapshot.re:
            return
        live.attaching = ""
        if snapshot.state == "unknown":
            self.remove(snapshot.job)
            # Where it was to be cancelled anyway, nothing failed: the server never had it.
            gone = events.Failed(snapshot.job, explain("UNKNOWN_JOB"))
            self._emit(events.Cancelled(snapshot.job) if snapshot.job in self._cancels else gone)
        elif snapshot.state == "queued":
            waiting = events.Progress(snapshot.job, "", 0.0, None, snapshot.attempt, snapshot.position)
            self._emit(waiting)

    def _cancel_acked(self, ack: m.CancelAck) -> None:
        self._cancels.pop(ack.job, None)
        self._emit(events.CancelAcked(ack.job, ack.outcome))
        if ack.outcome == "unknown" and ack.job in self._live:
            # The server never had it, or has it no more: nothing runs.
            self.remove(ack.job)
            self._emit(events.Cancelled(ack.job))


def _told(message: m.Durable) -> events.Event | None:
    """The event for the caller; None for a kind that this version does not know."""
    job, seq = message.job, message.seq
    match message:
        case m.Done():
            return events.Done(job, message.artifacts, seq)
        case m.Failed():
            return events.Failed(job, message.error, seq)
        case m.Cancelled():
            return events.Cancelled(job, seq)
        case m.Event(kind="queued"):
            return events.Queued(job, message.position, message.text, seq)
        case m.Event(kind="started"):
            return events.Started(job, message.attempt, seq)
        case m.Event(kind="stage"):
            return events.Stage(job, message.text, seq)
        case m.Event(kind="warning"):
            return events.Warned(job, message.text, seq)
        case _:
            return None
