"""A connection without any of the client's checks: what it sends, the server has to judge for itself."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import zmq
from serving import PATIENCE

from vitruvian_protocol import limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.client import ClientKeys
from vitruvian_protocol.codec import decode, encode, spec_sha256
from vitruvian_protocol.scene import Settings


class Raw:
    """A DEALER that has said hello, and sends what it is told to."""

    def __init__(self, address: str, caps: tuple[str, ...] = (), keys: ClientKeys | None = None) -> None:
        self.caps = caps
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        if keys is not None:
            self.socket.curve_publickey, self.socket.curve_secretkey = (
                keys.public.encode(),
                keys.secret.encode(),
            )
            self.socket.curve_serverkey = keys.server.encode()
        self.socket.connect(address)
        self.heard: deque[m.Message] = deque(maxlen=1000)
        """What came while an answer was awaited."""

    def __enter__(self) -> Raw:
        assert isinstance(self.ask(m.Hello(about={}, caps=self.caps)), m.Welcome)
        return self

    def __exit__(self, *_: object) -> None:
        self.send(m.Bye())
        self.socket.close(linger=1000)
        self.context.term()

    def send(self, message: m.Message) -> None:
        self.socket.send_multipart(encode(message))

    def send_frames(self, frames: Sequence[bytes]) -> None:
        self.socket.send_multipart(list(frames))

    def receive(self) -> m.Message:
        assert self.socket.poll(round(PATIENCE * 1000)), "no answer"
        message = decode(self.socket.recv_multipart())
        self.heard.append(message)
        return message

    def ask(self, message: m.Message) -> m.Message:
        """Send, and wait for the answer to just that."""
        self.send(message)
        return self.answer(message.mid)

    def answer(self, mid: str) -> m.Message:
        while (message := self.receive()).re != mid:
            pass
        return message

    def put(self, blob: bytes) -> str:
        """Upload under credit; the hash that names the blob."""
        sha = hashlib.sha256(blob).hexdigest()
        begin = m.PutBegin(sha256=sha, size=len(blob))
        ready = self.ask(begin)
        assert isinstance(ready, m.PutReady), ready
        at, credit = ready.offset, ready.credit
        while at < len(blob):
            size = min(limits.CHUNK_BYTES, len(blob) - at)
            while credit < size:
                message = self.receive()
                assert not isinstance(message, m.Error), message
                credit += message.size if isinstance(message, m.Credit) else 0
            piece = memoryview(blob)[at : at + size]
            self.send(m.PutChunk(transfer=begin.mid, offset=at, data=piece))
            at, credit = at + size, credit - size
        if ready.offset < len(blob):
            done = self.answer(begin.mid)
            assert isinstance(done, m.PutDone), done
        return sha

    def submit(self, blob: bytes, settings: Settings | None = None, **changes: Any) -> m.Message:
        """Upload a scene and ask for a job, both exactly as they are."""
        request = request_for(blob, settings or Settings("a person"), self.put(blob))
        return self.ask(replace(request, **changes))


def request_for(blob: bytes, settings: Settings, sha256: str) -> m.Submit:
    return m.Submit(
        job=m.new_id(),
        settings=settings,
        scene_sha256=sha256,
        scene_size=len(blob),
        spec_sha256=spec_sha256(settings, sha256),
    )
