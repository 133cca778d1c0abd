"""Messages to frames and back. `decode` refuses what is malformed before it makes anything of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from . import limits
from .buffers import check_bytes, describe, read_entries
from .errors import ProtocolError
from .fields import Payload, from_plain, is_id, rules_of, to_plain
from .headers import pack_header, read_header
from .messages import TYPES, Message, Unknown
from .scene import Settings
from .scene_file import pack_scene as pack_scene
from .scene_file import unpack_scene as unpack_scene

BytesLike = bytes | bytearray | memoryview
_COVERED = {
    name
    for name, kind in TYPES.items()
    if any(isinstance(rule, Payload) and rule.covered for rule, _ in rules_of(kind).values())
}
"""Types whose payload may lack its crc32."""


def encode(message: Message, bulk: bool = False) -> list[BytesLike]:
    """The frames of a message; payloads are not copied, so nobody may write to them any more.

    Args:
        bulk: the receiver has the capability: pieces of a file go without a checksum of their own.

    Raises:
        ProtocolError: BAD_FIELD or TOO_LARGE, for a message that the other side would refuse.
    """
    plain = to_plain(message)
    plain["t"] = message.t
    payloads: list[memoryview] = []
    entries: list[dict[str, Any]] = []
    for name, (rule, _) in rules_of(type(message)).items():
        if isinstance(rule, Payload):
            data = memoryview(getattr(message, name)).cast("B").toreadonly()
            _check_payload(data.nbytes, rule, f"$.{name}")
            entries.append(describe(name, data, checksum=not (bulk and rule.covered)))
            payloads.append(data)
    if entries:
        plain["bufs"] = entries
    return [limits.MAGIC, pack_header(plain), *payloads]


def decode(frames: Sequence[BytesLike]) -> Message:
    """The message in `frames` (without a routing id). Payloads are views on the frames, not copies.

    Raises:
        ProtocolError: BAD_FRAME or WIRE_VERSION: not a message of this protocol. BAD_FIELD: one with a wrong
            field; then `mid`, `t` and `job` of the error tell which message it was, where they can be read.
    """
    if not 2 <= len(frames) <= 2 + limits.BUFFERS:
        raise ProtocolError("BAD_FRAME", "$", "has a wrong number of frames", len(frames), 2 + limits.BUFFERS)
    views = [memoryview(frame).cast("B").toreadonly() for frame in frames]
    _check_magic(views[0])
    for i, view in enumerate(views):
        if view.nbytes > limits.FRAME_BYTES:
            raise ProtocolError(
                "BAD_FRAME", f"$.frames[{i}]", "is too large", view.nbytes, limits.FRAME_BYTES
            )
    plain = read_header(views[1], "BAD_FRAME")
    payloads = _read_payloads(plain, views[2:])
    name = plain.get("t")
    if not isinstance(name, str) or len(name) > 32:
        raise ProtocolError("BAD_FRAME", "$.t", "is not a message type", name)
    kind = TYPES.get(name)
    try:
        if "mid" not in plain:
            raise ProtocolError("BAD_FIELD", "$.mid", "is missing")
        if kind is None:
            envelope = {key: plain[key] for key in ("mid", "re", "ts") if key in plain}
            return from_plain(Unknown, {**envelope, "type": name})
        return from_plain(kind, plain, payloads=_own_payloads(kind, payloads))
    except ProtocolError as error:
        raise _addressed(error, plain, name) from None


def spec_sha256(settings: Settings, scene_sha256: str) -> str:
    """The hash that says whether two requests ask for the same: settings and scene, nothing else."""
    plain = to_plain(settings)
    packed = pack_header({"scene": scene_sha256, "settings": [[name, plain[name]] for name in sorted(plain)]})
    return hashlib.sha256(packed).hexdigest()


def _check_magic(frame: memoryview) -> None:
    magic = bytes(frame[:8])
    if len(magic) != len(limits.MAGIC) or not magic.startswith(b"VT") or not magic[2:].isdigit():
        raise ProtocolError("BAD_FRAME", "$.frames[0]", "is not this protocol's", magic)
    if magic != limits.MAGIC:
        problem = f"the sender speaks version {int(magic[2:])}, the receiver version {limits.WIRE_MAJOR}"
        raise ProtocolError("WIRE_VERSION", "$.frames[0]", problem)


def _read_payloads(plain: dict[str, Any], views: list[memoryview]) -> dict[str, memoryview]:
    kind = plain.get("t")
    covered = isinstance(kind, str) and kind in _COVERED
    bounds = (limits.BUFFERS, limits.MESSAGE_BYTES)
    entries = read_entries(plain.pop("bufs", []), "BAD_FRAME", "$.bufs", *bounds, covered)
    if len(entries) != len(views):
        raise ProtocolError(
            "BAD_FRAME", "$.bufs", f"tells of other buffers than the {len(views)} that came", len(entries)
        )
    for i, (entry, view) in enumerate(zip(entries, views, strict=True)):
        check_bytes(entry, view, "BAD_FRAME", f"$.bufs[{i}]")
        if entry.dtype != "u1" or len(entry.shape) != 1:
            raise ProtocolError("BAD_FRAME", f"$.bufs[{i}].dtype", "is not a row of bytes", entry.dtype)
    return {entry.name: view for entry, view in zip(entries, views, strict=True)}


def _own_payloads(kind: type[Message], payloads: dict[str, memoryview]) -> dict[str, memoryview]:
    """The payloads, if they are exactly those that the type has."""
    rules = {name: rule for name, (rule, _) in rules_of(kind).items() if isinstance(rule, Payload)}
    for name, rule in rules.items():
        if name not in payloads:
            raise ProtocolError("BAD_FIELD", f"$.{name}", "is missing")
        _check_payload(payloads[name].nbytes, rule, f"$.{name}")
    for name in payloads:
        if name not in rules:
            raise ProtocolError("BAD_FIELD", f"$.{name}", "is a buffer that this message does not have")
    return payloads


def _check_payload(nbytes: int, rule: Payload, path: str) -> None:
    if not 0 < nbytes <= rule.most:
        raise ProtocolError("BAD_FIELD", path, "has a wrong size", nbytes, rule.most)


def _addressed(error: ProtocolError, plain: dict[str, Any], name: str) -> ProtocolError:
    """The error with what is needed to answer it: each part only where it is itself well-formed."""
    mid, job = plain.get("mid"), plain.get("job")
    error.t = name
    error.mid = str(mid) if is_id(mid) else ""
    error.job = str(job) if is_id(job) else ""
    return error
