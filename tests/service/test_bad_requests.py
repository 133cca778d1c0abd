"""What a client of ours would never send: the server looks for itself."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
from serving import Artist, Served, served, small_scene

from vitruvian_protocol import events as e
from vitruvian_protocol import limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.codec import decode, encode, pack_scene, spec_sha256
from vitruvian_protocol.scene import Settings


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("service") / "state") as running:
        yield running


class Raw:
    """A connection without any of the client's checks."""

    def __init__(self, address: str) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(address)

    def __enter__(self) -> Raw:
        assert isinstance(self.ask(m.Hello(about={})), m.Welcome)
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self.context.term()

    def ask(self, message: m.Message) -> m.Message:
        """Send, and wait for the answer to just that."""
        self.socket.send_multipart(encode(message))
        return self.answer(message.mid)

    def answer(self, mid: str) -> m.Message:
        while self.socket.poll(60_000):
            message = decode(self.socket.recv_multipart())
            if message.re == mid:
                return message
        raise AssertionError("no answer")

    def put(self, blob: bytes) -> str:
        sha = hashlib.sha256(blob).hexdigest()
        begin = m.PutBegin(sha256=sha, size=len(blob))
        ready = self.ask(begin)
        assert isinstance(ready, m.PutReady)
        if ready.offset < len(blob):
            assert len(blob) <= limits.CHUNK_BYTES
            chunk = m.PutChunk(transfer=begin.mid, offset=0, data=memoryview(blob))
            self.socket.send_multipart(encode(chunk))
            assert isinstance(self.answer(begin.mid), m.PutDone)
        return sha

    def submit(self, blob: bytes, settings: Settings | None = None, **changes: Any) -> m.Message:
        settings, sha = settings or Settings("a person"), self.put(blob)
        request = m.Submit(
            job=m.new_id(),
            settings=settings,
            scene_sha256=sha,
            scene_size=len(blob),
            spec_sha256=spec_sha256(settings, sha),
        )
        return self.ask(replace(request, **changes))


def patched(changes: dict[str, Any], at: tuple[str, ...] = ()) -> bytes:
    """A scene whose header says something else."""
    blob = pack_scene(small_scene())
    (length,) = struct.unpack("<I", blob[8:12])
    header = msgpack.unpackb(blob[12 : 12 + length])
    inner = header
    for key in at:
        inner = inner[key]
    inner.update(changes)
    packed = bytes(msgpack.packb(header) or b"")
    # Buffers begin at multiples of 16 in the file, so the header is padded in place with what is ignored.
    return blob[:8] + struct.pack("<I", len(packed)) + packed + blob[12 + length :]


def with_bytes(old: np.ndarray, new: np.ndarray) -> bytes:
    """A scene with other numbers in one of its arrays, checksums as they were for the old ones."""
    blob = pack_scene(small_scene())
    assert blob.count(old.tobytes()) == 1
    return blob.replace(old.tobytes(), new.tobytes())


MESH = small_scene().mesh
BLOBS = {
    "noise": bytes(range(256)) * 4,
    "one byte": b"V",
    "another magic": b"VTSCENE9" + pack_scene(small_scene())[8:],
    "cut short": pack_scene(small_scene())[:-5],
    "too long": pack_scene(small_scene()) + b"\0" * 64,
    "a header beyond the end": b"VTSCENE1" + struct.pack("<I", 2**31) + b"\x80",
    "a name that is a number": patched({"name": 3}, ("mesh",)),
    "a name of 5,000 characters": patched({"name": "x" * 5000}, ("mesh",)),
    "no mesh": patched({"mesh": None}),
    "numbers that are none": with_bytes(MESH.vertices, np.full_like(MESH.vertices, np.nan)),
    "an index too large": with_bytes(MESH.faces, MESH.faces + 100),
}


@pytest.mark.parametrize("name", BLOBS)
def test_a_bad_scene_is_refused_by_the_server(name: str, gateway: Served) -> None:
    with Raw(gateway.address) as raw:
        answer = raw.submit(BLOBS[name])
        assert isinstance(answer, m.Rejected), answer
        assert answer.error.code.startswith(("BAD_SCENE", "TOO_LARGE")), answer.error
        assert answer.error.path.startswith("$")
        assert answer.error.sentence
        assert isinstance(raw.submit(pack_scene(small_scene())), m.Accepted)


def test_wrong_requests_are_refused_by_name(gateway: Served) -> None:
    blob = pack_scene(small_scene())
    with Raw(gateway.address) as raw:
        for settings in (
            Settings(" "),
            Settings("a", steps=0),
            Settings("a", texture_size=100),
            Settings("a", seed=-1),
        ):
            answer = raw.submit(blob, settings)
            assert isinstance(answer, m.Rejected)
            assert answer.error.code == "BAD_SETTINGS"
            assert answer.error.path.startswith("$.")
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


def test_sessions_have_an_end(gateway: Served, tmp_path: Path) -> None:
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
