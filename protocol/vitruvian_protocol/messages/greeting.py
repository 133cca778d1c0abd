"""How a session begins, stays alive and ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from .. import limits
from ..errors import ErrorInfo
from ..fields import Id, Items, Plain, Text, Whole
from .envelope import Message

BULK = "bulk"
"""Capability of a client: `artifact_chunk` may have `limits.BULK_CHUNK_BYTES`, and no crc32."""


@dataclass(frozen=True, kw_only=True)
class Hello(Message):
    """C: the first message on a socket; what comes before it is dropped."""

    t: ClassVar[str] = "hello"
    wire_min: Annotated[int, Whole(1, 99)] = limits.WIRE_MAJOR
    wire_max: Annotated[int, Whole(1, 99)] = limits.WIRE_MAJOR
    about: Annotated[dict[str, Any], Plain(32)]
    """Versions of add-on, Blender and system, for the server's log."""
    caps: Annotated[tuple[str, ...], Items(Text(32), 32)] = ()


@dataclass(frozen=True, kw_only=True)
class Welcome(Message):
    """S: answers `hello`."""

    t: ClassVar[str] = "welcome"
    wire: Annotated[int, Whole(1, 99)] = limits.WIRE_MAJOR
    run: Id
    """Changes when the server restarts: a client then attaches to its jobs."""
    session: Id
    limits: Annotated[dict[str, Any], Plain(32)]
    caps: Annotated[tuple[str, ...], Items(Text(32), 32)] = ()
    about: Annotated[dict[str, Any], Plain(32)]
    """`version`, `devices` (names), `methods`, `priors`: what the panel offers."""


@dataclass(frozen=True, kw_only=True)
class Ping(Message):
    """C: sent after two seconds of silence."""

    t: ClassVar[str] = "ping"


@dataclass(frozen=True, kw_only=True)
class Pong(Message):
    """S"""

    t: ClassVar[str] = "pong"


@dataclass(frozen=True, kw_only=True)
class Bye(Message):
    """C or S: the session ends; jobs go on."""

    t: ClassVar[str] = "bye"


@dataclass(frozen=True, kw_only=True)
class Error(Message):
    """S: answers (`re`) a message that has no refusal of its own; without `re`, about the session."""

    t: ClassVar[str] = "error"
    error: ErrorInfo
