"""A server in memory for the tests of the client: frames in, frames out, and a clock that only they move."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from typing import TypeVar

from protocol_samples import RUN
from protocol_scenes import scene

from vitruvian_protocol import Settings, events, limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.client import Client
from vitruvian_protocol.codec import BytesLike, decode, encode
from vitruvian_protocol.errors import explain

M = TypeVar("M", bound=m.Message)
E = TypeVar("E")
SESSION = "55555555-0000-4000-8000-000000000000"
OTHER_RUN = "66666666-0000-4000-8000-000000000000"
SETTINGS = Settings("a man in a blue suit")


class Wire:
    """One socket of the client, seen from both its ends."""

    def __init__(self) -> None:
        self.sent: list[m.Message] = []
        self.waiting: deque[list[memoryview]] = deque()
        self.failed: str | None = None
        self.full = self.closed = False

    def send(self, frames: Sequence[BytesLike]) -> bool:
        assert not self.closed
        if not self.full:
            self.sent.append(decode([bytes(frame) for frame in frames]))
        return not self.full

    def receive(self) -> list[memoryview] | None:
        assert not self.closed
        return self.waiting.popleft() if self.waiting else None

    def failure(self) -> str | None:
        return self.failed

    def wait(self, timeout_s: float) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def answer(self, *messages: m.Message) -> None:
        for message in messages:
            self.waiting.append([memoryview(bytes(frame)) for frame in encode(message)])

    def taken(self, kind: type[M]) -> list[M]:
        """What the client has sent of one type; each is handed out once."""
        found = [message for message in self.sent if isinstance(message, kind)]
        self.sent = [message for message in self.sent if not isinstance(message, kind)]
        return found

    def one(self, kind: type[M]) -> M:
        found = self.taken(kind)
        assert len(found) == 1, (kind, found, self.sent)
        return found[0]


class Desk:
    """A client, its clock, and all sockets that it has made."""

    def __init__(self) -> None:
        self.now = 100.0
        self.wires: list[Wire] = []
        self.client = Client(
            "tcp://127.0.0.1:1", about={"addon": "test"}, connect=self._connect, clock=self._clock
        )

    def _connect(self) -> Wire:
        self.wires.append(Wire())
        return self.wires[-1]

    def _clock(self) -> float:
        self.now += 1e-6  # so that a budget is used up in the end
        return self.now

    @property
    def wire(self) -> Wire:
        return self.wires[-1]

    def poll(self, seconds: float = 0.0) -> list[events.Event]:
        """Let time pass, then poll until nothing is left to do."""
        self.now += seconds
        told = self.client.poll(1.0)
        while self.client.busy:
            told += self.client.poll(1.0)
        return told

    def only(self, kind: type[E], seconds: float = 0.0) -> E:
        """Poll, and expect exactly one event of this type."""
        told = self.poll(seconds)
        found = [event for event in told if isinstance(event, kind)]
        assert len(found) == 1, told
        return found[0]

    def greet(self, run: str = RUN) -> events.Connected:
        """The socket's first exchange."""
        self.poll()
        hello = self.wire.one(m.Hello)
        about = {"version": "0.1.0"}
        self.wire.answer(m.Welcome(re=hello.mid, run=run, session=SESSION, limits={}, about=about))
        return self.only(events.Connected)

    def lose(self) -> events.Lost:
        """The connection breaks; the client has a new socket afterwards."""
        self.wire.failed = "LOST"
        lost = self.only(events.Lost)
        self.poll(60.0)
        return lost

    def answer(self, *messages: m.Message) -> list[events.Event]:
        self.wire.answer(*messages)
        return self.poll()

    def event(self, job: str, seq: int, kind: m.EventKind = "stage", text: str = "views") -> m.Event:
        return m.Event(job=job, seq=seq, run=RUN, kind=kind, text=text)

    def error(self, re: str, code: str) -> m.Error:
        return m.Error(re=re, error=explain(code))


def upload(desk: Desk) -> m.Submit:
    """Let the first submission through to its request; the server has nothing of its scene."""
    desk.poll()
    offer = desk.wire.one(m.PutBegin)
    desk.answer(m.PutReady(re=offer.mid, offset=0, credit=limits.WINDOW_BYTES))
    data = b"".join(bytes(chunk.data) for chunk in desk.wire.taken(m.PutChunk))
    assert hashlib.sha256(data).hexdigest() == offer.sha256
    desk.answer(m.PutDone(re=offer.mid, sha256=offer.sha256))
    return desk.wire.one(m.Submit)


def accept(desk: Desk, submit: m.Submit, duplicate: bool = False) -> None:
    message = m.Accepted(re=submit.mid, job=submit.job, state="queued", duplicate=duplicate)
    told = desk.answer(message)
    assert events.Accepted(submit.job, 0, duplicate) in told


def submitted(desk: Desk) -> str:
    job = desk.client.submit(scene(), SETTINGS)
    accept(desk, upload(desk))
    return job
