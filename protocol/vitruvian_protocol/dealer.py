"""The client's socket: a DEALER in the clear or with CURVE. Only this module and `client` need pyzmq."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from . import limits
from .codec import BytesLike
from .errors import ProtocolError


@dataclass(frozen=True)
class ClientKeys:
    """CURVE keys in Z85 (40 characters each)."""

    public: str
    secret: str
    server: str
    """The server's public key."""

    def __post_init__(self) -> None:
        """Raises `ProtocolError` for what is no key; the secret one is not repeated."""
        for name in ("public", "secret", "server"):
            try:
                good = len(z85.decode(getattr(self, name))) == 32
            except Exception:  # pyzmq's decoder raises whatever its arithmetic does
                good = False
            if not good:
                raise ProtocolError("BAD_KEY", f"$.keys.{name}", "is not a key of 40 characters")


def make_keypair() -> tuple[str, str]:
    """A new public and secret key in Z85."""
    public, secret = zmq.curve_keypair()
    return public.decode("ascii"), secret.decode("ascii")


_FAILURES: dict[int, str] = {
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "AUTH",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "SERVER_KEY",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "NOT_OURS",
    zmq.EVENT_CONNECT_RETRIED: "UNREACHABLE",
    zmq.EVENT_DISCONNECTED: "LOST",
}
_COPY_BELOW = 64 * limits.KIB
"""Larger frames are sent without a copy."""
_OPEN_FILES = 16
"""Files that must be free for a connection: libzmq takes seven with a fresh context, and where it finds none
for its own threads it ends the whole process instead of telling."""


class DealerTransport:
    """A DEALER without a routing id, and the monitor that tells why a handshake failed.

    Raises:
        OSError: the process may open no more files, and sockets are such.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], address: str, keys: ClientKeys | None
    ) -> None:
        _check_open_files()
        try:
            self._socket = context.socket(zmq.DEALER)
            self._monitor = self._socket.get_monitor_socket(sum(_FAILURES))
        except zmq.ZMQError as error:
            raise OSError(error.errno, error.strerror) from None
        self._failed: str | None = None
        self._secret = keys is not None
        self._set_up(address, keys)
        try:
            self._socket.connect(address)
        except zmq.ZMQError:
            self._failed = "UNREACHABLE"

    def _set_up(self, address: str, keys: ClientKeys | None) -> None:
        for option, value in (
            (zmq.IMMEDIATE, 1),
            (zmq.LINGER, 0),
            (zmq.IPV6, int("[" in address)),
            (zmq.SNDHWM, limits.SNDHWM),
            (zmq.RCVHWM, limits.RCVHWM),
            (zmq.MAXMSGSIZE, limits.FRAME_BYTES),
            (zmq.HANDSHAKE_IVL, limits.HANDSHAKE_MS),
            (zmq.RECONNECT_IVL, round(limits.BACKOFF_SECONDS[0] * 1000)),
            (zmq.RECONNECT_IVL_MAX, round(limits.BACKOFF_SECONDS[1] * 1000)),
        ):
            self._socket.setsockopt(option, value)
        if keys is not None:
            self._socket.curve_publickey = keys.public.encode("ascii")
            self._socket.curve_secretkey = keys.secret.encode("ascii")
            self._socket.curve_serverkey = keys.server.encode("ascii")

    def send(self, frames: Sequence[BytesLike]) -> bool:
        try:
            for i, frame in enumerate(frames):
                more = zmq.SNDMORE if i + 1 < len(frames) else 0
                self._socket.send(frame, zmq.DONTWAIT | more, copy=len(frame) < _COPY_BELOW)
        except zmq.Again:
            return False
        return True

    def receive(self) -> list[memoryview] | None:
        try:
            frames = self._socket.recv_multipart(zmq.DONTWAIT, copy=False)
        except zmq.Again:
            return None
        return [frame.buffer for frame in frames]

    def failure(self) -> str | None:
        while self._failed is None and self._monitor.poll(0):
            event = recv_monitor_message(self._monitor, zmq.DONTWAIT)
            self._failed = _FAILURES.get(event["event"])
            if self._failed == "SERVER_KEY" and not self._secret:
                self._failed = "NOT_OURS"  # without keys, a handshake that fails so met a server with them
        return self._failed

    def wait(self, timeout_s: float) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        poller.poll(round(timeout_s * 1000))

    def close(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=0)


def _check_open_files() -> None:
    """Raises: OSError where fewer than `_OPEN_FILES` can be opened."""
    opened: list[int] = []
    try:
        for _ in range(_OPEN_FILES):
            opened.append(os.open(os.devnull, os.O_RDONLY))
    finally:
        for descriptor in opened:
            os.close(descriptor)
