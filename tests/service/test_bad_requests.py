"""What a client of ours would never send, beside malformed scenes: wrong names, floods, crowds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq
from raw import Raw
from serving import Artist, Served, served, small_scene

from vitruvian.service.intake import MAX_UPLOADS
from vitruvian_protocol import events as e
from vitruvian_protocol import limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.codec import decode, encode, pack_scene
from vitruvian_protocol.scene import Settings

SHA = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("service") / "state") as running:
        yield running


def test_wrong_requests_are_refused_by_name(gateway: Served) -> None:
    blob = pack_scene(small_scene())
    with Raw(gateway.address) as raw:
        for settings, path in (
            (Settings("a", method="none-such"), "$.method"),
            (Settings("a", prior="none-such"), "$.prior"),
        ):
            answer = raw.submit(blob, settings)
            assert isinstance(answer, m.Rejected)
            assert (answer.error.code, answer.error.path) == ("BAD_SETTINGS", path)
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"spec_sha256": "0" * 64}, "SPEC_HASH"),
            ({"scene_size": 7}, "BLOB_MISSING"),
        ]
        for changes, code in wrong:
            answer = raw.submit(blob, **changes)
            assert isinstance(answer, m.Rejected)
            assert answer.error.code == code


def test_a_server_answers_what_it_does_not_know(gateway: Served) -> None:
    with Raw(gateway.address) as raw:
        mid = m.new_id()
        header = msgpack.packb({"t": "sing", "mid": mid, "re": "", "ts": 0.0})
        raw.socket.send_multipart([limits.MAGIC, bytes(header or b"")])
        answer = raw.answer(mid)
        assert isinstance(answer, m.Error)
        assert answer.error.code == "UNSUPPORTED"
        raw.socket.send_multipart([b"VT99", b"\x80"])
        raw.socket.poll(60_000)
        refused = decode(raw.socket.recv_multipart())
        assert isinstance(refused, m.Error)
        assert refused.error.code == "WIRE_VERSION"


def test_too_many_requests_are_refused_and_do_no_harm(gateway: Served) -> None:
    with Raw(gateway.address) as raw, Artist(gateway.address) as artist:
        for _ in range(400):
            raw.socket.send_multipart(encode(m.Ping()))
        codes = set()
        while raw.socket.poll(2_000):
            message = decode(raw.socket.recv_multipart())
            codes.add(message.error.code if isinstance(message, m.Error) else message.t)
        assert codes == {"pong", "RATE"}
        assert isinstance(artist.end(artist.submit("the next one")), e.Done)


def test_comings_and_goings_leave_nothing_behind(gateway: Served) -> None:
    def open_files() -> int:
        assert gateway.process is not None
        return len(list(Path(f"/proc/{gateway.process.pid}/fd").iterdir()))

    blob = pack_scene(small_scene())
    with Raw(gateway.address) as watcher:
        before = open_files()
        for _ in range(150):
            with Raw(gateway.address) as raw:
                # Left half-way: nobody ever sends this one.
                assert isinstance(raw.ask(m.PutBegin(sha256=SHA, size=len(blob))), m.PutReady)
        most = before + MAX_UPLOADS + 2
        for _ in range(100):  # the last ones are closed a moment later
            assert isinstance(watcher.ask(m.Ping()), m.Pong)
            if open_files() <= most:
                break
            time.sleep(0.1)
        assert open_files() <= most


def test_sessions_have_an_end(gateway: Served) -> None:
    context = zmq.Context()
    sockets = []
    answers = []
    for _ in range(limits.SESSIONS + 2):
        socket = context.socket(zmq.DEALER)
        socket.linger = 0
        socket.connect(gateway.address)
        socket.send_multipart(encode(m.Hello(about={})))
        sockets.append(socket)
    for socket in sockets:
        assert socket.poll(60_000)
        answer = decode(socket.recv_multipart())
        answers.append(answer.error.code if isinstance(answer, m.Error) else answer.t)
    assert answers.count("SESSIONS_FULL") >= 2
    assert answers.count("welcome") <= limits.SESSIONS
    for socket in sockets:
        socket.send_multipart(encode(m.Bye()))
        socket.close(linger=1000)
    context.term()
    with Artist(gateway.address) as artist:
        assert isinstance(artist.end(artist.submit("there is room again")), e.Done)
