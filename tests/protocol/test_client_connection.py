"""The client's connection: greeting, heartbeats, loss, coming back, refusals."""

from __future__ import annotations

import hashlib

import pytest
from protocol_samples import JOB
from protocol_scenes import scene
from protocol_server import OTHER_RUN, SETTINGS, Desk, Wire, submitted

from vitruvian_protocol import ProtocolError, events, limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.client import Client
from vitruvian_protocol.codec import pack_scene
from vitruvian_protocol.errors import explain


def test_the_greeting_is_first_and_alone() -> None:
    desk = Desk()
    assert desk.client.state == "connecting"
    job = desk.client.submit(scene(), SETTINGS)
    desk.client.attach(JOB)
    desk.client.status()
    desk.poll()
    assert [type(message) for message in desk.wire.sent] == [m.Hello]
    assert not desk.greet().restarted
    assert desk.client.state == "ready"
    assert desk.client.welcome is not None
    assert desk.wire.one(m.Attach).job == JOB
    assert desk.wire.one(m.PutBegin).sha256 == hashlib.sha256(pack_scene(scene())).hexdigest()
    assert job != JOB


def test_a_server_that_does_not_answer_is_told_once_and_tried_again() -> None:
    desk = Desk()
    assert desk.poll() == []
    lost = desk.only(events.Lost, seconds=5.0)
    assert lost.error.code == "UNREACHABLE"
    assert "tcp://127.0.0.1:1" in lost.error.sentence
    assert desk.client.state == "lost"
    for _ in range(4):
        assert desk.poll(seconds=5.0) == []
    assert len(desk.wires) > 2
    assert all(wire.closed for wire in desk.wires[:-1])
    desk.poll(5.0)
    desk.greet()


@pytest.mark.parametrize(("code", "attempts"), [("AUTH", 1), ("SERVER_KEY", 3), ("NOT_OURS", 3)])
def test_refusals_are_final_once_they_are_sure(code: str, attempts: int) -> None:
    desk = Desk()
    for _ in range(attempts):
        desk.poll(seconds=60.0)
        desk.wire.failed = code
        told = desk.poll()
    assert told == [events.Lost(explain(code, got="tcp://127.0.0.1:1"))]
    assert desk.client.state == "refused"
    desk.poll(seconds=600.0)
    assert len(desk.wires) == attempts
    desk.client.reconnect()
    desk.greet()
    assert desk.client.state == "ready"


def test_a_server_that_greeted_once_is_not_given_up(desk: Desk) -> None:
    for _ in range(5):
        desk.wire.failed = "SERVER_KEY"
        desk.poll()
        assert desk.client.state == "lost"
        desk.poll(seconds=60.0)
    desk.greet()


def test_another_version_is_refused_with_both_numbers() -> None:
    desk = Desk()
    desk.poll()
    desk.wire.waiting.append([memoryview(b"VT07"), memoryview(b"?")])
    lost = desk.only(events.Lost)
    assert lost.error.code == "WIRE_VERSION"
    assert "7" in lost.error.sentence
    assert desk.client.state == "refused"


def test_silence_is_pinged_into_and_then_lost(desk: Desk) -> None:
    for _ in range(limits.PINGS_MISSED):
        assert desk.poll(seconds=2.1) == []
        desk.wire.one(m.Ping)
    assert desk.only(events.Lost, seconds=2.1).error.code == "LOST"
    assert desk.wires[0].closed


def test_any_message_is_a_sign_of_life(desk: Desk) -> None:
    for _ in range(20):
        desk.wire.answer(m.Progress(job=JOB, stage="of another", fraction=0.5))
        assert desk.poll(seconds=1.9) == []
    assert not desk.wire.taken(m.Ping)


def test_a_client_that_slept_for_minutes_asks_before_it_gives_up(desk: Desk) -> None:
    assert desk.poll(seconds=300.0) == []
    ping = desk.wire.one(m.Ping)
    assert desk.answer(m.Pong(re=ping.mid)) == []
    assert desk.client.state == "ready"


def test_a_server_that_forgot_the_session_is_greeted_again_at_once(desk: Desk) -> None:
    desk.answer(desk.error("", "NO_HELLO"))
    assert desk.client.state == "lost"
    assert not desk.greet().restarted
    assert len(desk.wires) == 2


def test_a_restart_of_the_server_is_told(desk: Desk) -> None:
    desk.lose()
    assert desk.greet(OTHER_RUN).restarted


def test_what_is_damaged_costs_the_connection_and_nothing_else(desk: Desk) -> None:
    job = submitted(desk)
    desk.wire.waiting.append([memoryview(b"VT01"), memoryview(b"\xc1")])
    assert desk.only(events.Lost).error.code == "BAD_FRAME"
    desk.poll(60.0)
    desk.greet()
    assert desk.wire.one(m.Attach).job == job


def test_waits_grow_and_a_connection_that_held_starts_them_anew(desk: Desk) -> None:
    desk.poll(seconds=0.0)
    for _ in range(3):
        desk.wire.failed = "LOST"
        desk.poll()
        desk.poll(60.0)
    count = len(desk.wires)
    desk.wire.failed = "LOST"
    desk.poll()
    desk.poll(1.2)
    assert len(desk.wires) == count, "2 s +- 30 % by now"
    desk.poll(60.0)
    desk.greet()
    for _ in range(6):
        desk.answer(m.Pong())
        desk.poll(1.9)
    desk.wire.failed = "LOST"
    desk.poll()
    count = len(desk.wires)
    desk.poll(0.7)
    assert len(desk.wires) == count + 1


def test_what_could_not_be_sent_as_a_greeting_is_refused_at_once() -> None:
    with pytest.raises(ProtocolError, match="about"):
        Client("tcp://127.0.0.1:1", about={"versions": {"addon": "1"}}, connect=Wire)


def test_closing_says_goodbye(desk: Desk) -> None:
    desk.client.close()
    desk.wire.one(m.Bye)
    assert desk.wire.closed
    assert desk.client.poll() == []
    assert len(desk.wires) == 1


def test_status_and_memory(desk: Desk) -> None:
    desk.client.status()
    desk.client.release_memory()
    status, release = desk.wire.one(m.Status), desk.wire.one(m.ReleaseMemory)
    device = m.DeviceLine("cpu", "idle")
    told = desk.answer(
        m.StatusReply(re=status.mid, queued=2, running=1, devices=(device,), uptime_s=9.0),
        m.Released(re=release.mid, devices=1, busy=2),
    )
    assert told == [events.Status(2, 1, (), (device,), 9.0), events.MemoryReleased(1, 2)]


def test_what_a_newer_server_says_is_ignored(desk: Desk) -> None:
    frames = [memoryview(b"VT01"), memoryview(b"\x82\xa1t\xa3new\xa3mid\xd9$" + JOB.encode())]
    desk.wire.waiting.append(frames)
    assert desk.poll() == []
    assert desk.client.state == "ready"


def test_a_budget_ends_a_poll(desk: Desk) -> None:
    job = submitted(desk)
    for seq in range(1, 101):
        desk.wire.answer(desk.event(job, seq))
    told = desk.client.poll(budget_s=20e-6)
    assert 0 < len(told) < 100
    assert desk.client.busy
    assert len(told) + len(desk.poll()) == 100
