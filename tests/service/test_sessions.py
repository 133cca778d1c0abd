"""Sessions by themselves: who is forgotten, who makes room, whose faults stay their own."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import zmq

from vitruvian.service.delivery import Delivery
from vitruvian.service.session import LOCAL_USER, REPLIES, Session
from vitruvian.service.sessions import Sessions
from vitruvian.service.store import Store
from vitruvian_protocol import limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.codec import decode, encode


class Port:
    """A ROUTER without a network, and the desk behind it."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.coming: deque[list[zmq.Frame]] = deque()
        self.gone: list[tuple[bytes, m.Message]] = []
        self.deaf: set[bytes] = set()
        self.left: list[Session] = []
        self.store = Store(folder / "jobs.sqlite")
        delivery = Delivery(cast(Any, self), self.store, m.new_id(), lambda: self.now)
        self.sessions = Sessions(cast(Any, self), delivery, lambda: self.now, None)
        desk = SimpleNamespace(
            welcome=lambda session, hello, run: m.Welcome(
                re=hello.mid, run=run, session=session.id, limits={}, about={}
            ),
            answer=self.answer,
            refuse=lambda session, mid, error: self.sessions.reply(session, m.Error(re=mid, error=error)),
            leave=self.leave,
            positions=self.store.positions,
            stages={},
        )
        self.sessions.desk = cast(Any, desk)

    # The ROUTER

    def recv_multipart(self, flags: int, copy: bool) -> list[zmq.Frame]:
        if not self.coming:
            raise zmq.Again
        return self.coming.popleft()

    def send_multipart(self, frames: list[Any], flags: int, copy: bool = True, track: bool = False) -> None:
        if bytes(frames[0]) in self.deaf:
            raise zmq.Again
        self.gone.append((bytes(frames[0]), decode([bytes(frame) for frame in frames[1:]])))

    # The desk

    def answer(self, session: Session, message: m.Message) -> None:
        if isinstance(message, m.Status):
            raise RuntimeError("a fault of ours")
        self.sessions.reply(session, m.Pong(re=message.mid))

    def leave(self, session: Session) -> None:
        self.left.append(session)
        session.close()

    def says(self, peer: bytes, message: m.Message) -> list[str]:
        """What is answered to that, by type or code."""
        self.coming.append([zmq.Frame(peer), *(zmq.Frame(bytes(frame)) for frame in encode(message))])
        before = len(self.gone)
        assert self.sessions.receive()
        return [
            answer.error.code if isinstance(answer, m.Error) else answer.t
            for to, answer in self.gone[before:]
            if to == peer
        ]

    def greets(self, peer: bytes) -> list[str]:
        return self.says(peer, m.Hello(about={}))


@pytest.fixture
def port(tmp_path: Path) -> Port:
    return Port(tmp_path)


def test_a_silent_session_is_forgotten_and_one_that_pings_is_not(port: Port) -> None:
    assert port.greets(b"a") == port.greets(b"b") == ["welcome"]
    port.now = limits.SESSION_SECONDS - 1.0
    assert port.says(b"b", m.Ping()) == ["pong"]
    port.now = limits.SESSION_SECONDS + 1.0
    port.sessions.expire()
    assert [session.peer for session in port.left] == [b"a"]
    assert port.says(b"a", m.Ping()) == ["NO_HELLO"]
    assert port.says(b"a", m.Ping()) == [], "one answer, and no more"
    assert port.greets(b"a") == ["welcome"]


def test_a_silent_session_makes_room_for_another(port: Port) -> None:
    for n in range(limits.SESSIONS):
        assert port.greets(b"%d" % n) == ["welcome"]
    assert port.greets(b"one too many") == ["SESSIONS_FULL"]
    port.now = 20.0
    for n in range(1, limits.SESSIONS):
        port.says(b"%d" % n, m.Ping())
    assert port.greets(b"another") == ["welcome"]
    assert [session.peer for session in port.left] == [b"0"]


def test_a_key_has_so_many_sessions(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port.sessions, "_owner", lambda frames: "ada")
    for n in range(limits.SESSIONS_PER_KEY):
        assert port.greets(b"%d" % n) == ["welcome"]
    assert port.greets(b"one too many") == ["SESSIONS_FULL"]
    monkeypatch.setattr(port.sessions, "_owner", lambda frames: "ben")
    assert port.greets(b"another") == ["welcome"]


def test_our_own_fault_while_answering_stays_with_that_answer(port: Port) -> None:
    port.greets(b"a")
    assert port.says(b"a", m.Status()) == ["INTERNAL"]
    assert port.says(b"a", m.Ping()) == ["pong"]


def test_who_does_not_read_is_left_in_the_end(port: Port) -> None:
    port.greets(b"a")
    port.deaf.add(b"a")
    for _ in range(REPLIES + 1):
        assert not port.left
        port.now += 1.0
        port.says(b"a", m.Ping())
    assert [session.peer for session in port.left] == [b"a"]


def test_a_job_that_has_ended_is_not_watched_any_more(port: Port) -> None:
    port.greets(b"a")
    session = port.sessions._by_peer[b"a"]
    row, _ = port.store.accept("1234", LOCAL_USER, "x", b"{}", [])
    name = m.new_id()
    session.watch(row.id, name)
    port.sessions.pump()
    assert list(session.watches) == [row.id]
    port.store.cancel(row.id)
    port.sessions.changed(row.id)
    port.sessions.pump()
    assert not session.watches
    told = [message for _, message in port.gone if isinstance(message, m.JobMessage) and message.job == name]
    assert [message.t for message in told] == ["event", "cancelled"]


def test_malformed_messages_count_towards_the_rate(port: Port) -> None:
    port.greets(b"a")
    frames = [bytes(frame) for frame in encode(m.Cancel(job=m.new_id()))]
    frames[1] = frames[1].replace(b"job", b"jab")
    before = len(port.gone)
    for _ in range(1000):
        port.coming.append([zmq.Frame(b"a"), *map(zmq.Frame, frames)])
        port.sessions.receive()
    assert port.sessions.dropped == 1000
    assert 0 < len(port.gone) - before <= 4 * limits.MESSAGES_PER_SECOND


def test_only_the_latest_of_what_may_be_dropped_is_sent_and_seldom(port: Port) -> None:
    port.greets(b"a")
    row, _ = port.store.accept("1234", LOCAL_USER, "x", b"{}", [])
    port.sessions._by_peer[b"a"].watch(row.id, m.new_id())
    port.sessions.pump()
    del port.gone[:]
    port.now = 100.0
    for step in range(40):
        port.sessions.progress(row.id, "sampling", step / 40, None, 1)
        port.sessions.pump()
        port.now += 0.05
    told = [message.fraction for _, message in port.gone if isinstance(message, m.Progress)]
    assert len(told) <= 2.0 * limits.PROGRESS_PER_SECOND + 1
    assert told == sorted(set(told))
    port.now += 1.0
    port.sessions.pump()
    assert port.gone[-1][1].fraction == 39 / 40  # pyright: ignore


def test_a_preview_follows_once_the_last_one_was_seen(port: Port) -> None:
    """A client that does not look never has them pile up."""
    port.greets(b"a")
    session = port.sessions._by_peer[b"a"]
    row, _ = port.store.accept("1234", LOCAL_USER, "x", b"{}", [])
    watch = session.watch(row.id, m.new_id())

    def shown() -> list[bytes]:
        port.sessions.pump()
        return [bytes(message.jpeg) for _, message in port.gone if isinstance(message, m.Preview)]

    for number in range(5):
        port.now += 10.0
        port.sessions.preview(row.id, "sheet", b"picture %d" % number)
        assert shown() == [b"picture 0"]
    watch.unread.clear()
    assert shown() == [b"picture 0", b"picture 4"]
    port.sessions.preview(row.id, "sheet", bytes(limits.PREVIEW_BYTES + 1))
    watch.unread.clear()
    port.now += 10.0
    assert len(shown()) == 2, "none that the other side would refuse"


def test_a_client_of_another_version_is_told_both(port: Port) -> None:
    newer = m.Hello(about={}, wire_min=limits.WIRE_MAJOR + 1, wire_max=limits.WIRE_MAJOR + 2)
    assert port.says(b"a", newer) == ["WIRE_VERSION"]
    assert port.says(b"a", newer) == [], "one answer, and no more"
    assert port.says(b"b", m.Hello(about={}, wire_max=limits.WIRE_MAJOR + 2)) == ["welcome"]
