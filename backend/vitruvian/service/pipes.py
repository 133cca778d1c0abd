"""Messages between the gateway and its workers, over a pair of pipes: a length, then msgpack."""

from __future__ import annotations

import struct
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import msgpack

_LENGTH = struct.Struct("<I")
_LONGEST = 4 << 20
"""Bytes of one message; a longer one means that something else was written into the pipe."""


@dataclass(frozen=True)
class Order:
    """One attempt at a job, as a worker is given it."""

    job: str
    attempt: int
    settings: dict[str, Any]
    """Fields of `vitruvian_protocol.scene.Settings`, already checked."""
    scene: str
    """Path of the scene's blob, already checked."""
    folder: str
    """Where the results go; it is not there yet and appears only when they are whole."""

    def to_message(self) -> dict[str, Any]:
        return {"t": "order", **asdict(self)}

    @staticmethod
    def from_message(message: dict[str, Any]) -> Order:
        return Order(**{key: value for key, value in message.items() if key != "t"})


def write_message(stream: BinaryIO, message: dict[str, Any]) -> None:
    """One message, out of the buffer and on its way when this returns."""
    packed = bytes(msgpack.packb(message, use_bin_type=True) or b"")
    stream.write(_LENGTH.pack(len(packed)) + packed)
    stream.flush()


def read_message(stream: BinaryIO) -> dict[str, Any] | None:
    """The next message; None where the other side has closed the pipe or died.

    Raises:
        ValueError: what came is not a message.
    """
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > _LONGEST:
        raise ValueError(f"a message of {length} bytes")
    packed = stream.read(length)
    if len(packed) < length:
        return None
    message = msgpack.unpackb(packed, raw=False, strict_map_key=True)
    if not isinstance(message, dict) or not isinstance(message.get("t"), str):
        raise ValueError("a message without a type")
    return message
