"""What a client of ours would never send, beside malformed scenes: wrong names, floods, crowds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
import zmq
from raw import Raw
from serving import Artist, Served, served, small_scene

from vitruvian_protocol import events as e
from vitruvian_protocol import limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.codec import decode, encode, pack_scene
from vitruvian_protocol.scene import Settings


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
