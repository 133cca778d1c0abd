"""Whatever comes, only a message or a `ProtocolError` comes out of it."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st
from malformed_frames import frames_of, packed
from protocol_samples import JOB, MID, SAMPLES, SHA, read_golden

from vitruvian_protocol import ProtocolError, limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.codec import decode
from vitruvian_protocol.errors import ERRORS

TEN_THOUSAND = settings(max_examples=10_000, deadline=None, database=None)

INTERESTING: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 255, 2**31, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)),
    *(0.0, 0.5, -1.0, 1e300, float("nan"), float("inf"), -float("inf")),
    *("", "x", "\0", "語", "a" * 400, "sheet", "queued", "f4", "u1", "../x", MID, JOB, SHA, b"", b"bytes"),
)


def anything(source: random.Random, depth: int = 3) -> Any:
    """A value such as msgpack may hold, biased to what is near the bounds."""
    match source.randrange(6) if depth else 0:
        case 4:
            return [anything(source, depth - 1) for _ in range(source.randrange(4))]
        case 5:
            keys = (source.choice(FIELD_NAMES) for _ in range(source.randrange(4)))
            return {key: anything(source, depth - 1) for key in keys}
        case 3:
            return source.choice((source.random(), source.getrandbits(source.randrange(1, 64))))
        case _:
            return source.choice(INTERESTING)


GOLDEN = {name: read_golden(name) for name in SAMPLES}
FIELD_NAMES = sorted({f.name for kind in m.TYPES.values() for f in dataclasses.fields(kind)} | {"bufs", "t"})


def decodes_or_refuses(frames: list[bytes]) -> None:
    """Only a message or a `ProtocolError` comes out, and a message is one that could be sent."""
    code = ""
    message = None
    try:
        message = decode(frames)
    except ProtocolError as error:
        code = error.code
    assert (code in ERRORS) != (message is not None)
    if message is not None and not isinstance(message, m.Unknown):
        assert decode(frames_of(message)) == message


# Hypothesis draws a seed and the rest is drawn from it: ten times as quick as drawing each byte, and a
# failure is still told as one number that repeats it.


@TEN_THOUSAND
@given(st.integers(0, 2**64 - 1))
def test_mutated_frames(seed: int) -> None:
    source = random.Random(seed)
    frames = [bytearray(frame) for frame in GOLDEN[source.choice(sorted(SAMPLES))]]
    for _ in range(source.randint(1, 3)):
        frame = source.choice(frames)
        at = source.randrange(len(frame) + 1)
        match source.randrange(4):
            case 0:
                del frame[at:]
            case 1:
                frame[at:at] = source.randbytes(source.randrange(1, 5))
            case _:
                frame[at : at + 1] = source.randbytes(1)
    decodes_or_refuses([bytes(frame) for frame in frames])


@TEN_THOUSAND
@given(st.integers(0, 2**64 - 1))
def test_random_headers(seed: int) -> None:
    source = random.Random(seed)
    changes = {source.choice(FIELD_NAMES): anything(source) for _ in range(source.randint(1, 3))}
    frames = GOLDEN[source.choice(sorted(SAMPLES))]
    header = {**msgpack.unpackb(frames[1]), **changes}
    decodes_or_refuses([frames[0], packed(header), *frames[2:]])


@settings(max_examples=500, deadline=None, database=None)
@given(st.lists(st.binary(max_size=60), max_size=5))
def test_random_frames(frames: list[bytes]) -> None:
    decodes_or_refuses(frames)
    decodes_or_refuses([limits.MAGIC, *frames])
