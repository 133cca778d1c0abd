"""Messages survive the wire unchanged, and nothing else gets through it."""

from __future__ import annotations

import dataclasses
import random
import zlib
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_samples import JOB, MID, SAMPLES, SHA, read_golden

from vitruvian_protocol import ProtocolError, Settings, limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.codec import decode, encode, spec_sha256
from vitruvian_protocol.errors import ERRORS

TEN_THOUSAND = settings(max_examples=10_000, deadline=None, database=None)


def packed(value: Any) -> bytes:
    data = msgpack.packb(value)
    assert data is not None
    return data


def frames_of(message: m.Message) -> list[bytes]:
    return [bytes(frame) for frame in encode(message)]


def with_header(changes: dict[str, Any], sample: m.Message | None = None) -> list[bytes]:
    """A sample's frames with some of its header's entries changed; None takes one out."""
    frames = frames_of(sample or SAMPLES["progress"])
    header = msgpack.unpackb(frames[1])
    header.update(changes)
    kept = {k: v for k, v in header.items() if v is not ...}
    return [frames[0], packed(kept), *frames[2:]]


def refusal(frames: list[bytes]) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        decode(frames)
    assert caught.value.code in ERRORS
    return caught.value


# What goes through


def test_every_type_has_a_sample() -> None:
    assert set(SAMPLES) == set(m.TYPES)


@pytest.mark.parametrize("name", SAMPLES)
def test_messages_come_back_as_they_were(name: str) -> None:
    assert decode(frames_of(SAMPLES[name])) == SAMPLES[name]


@pytest.mark.parametrize("name", SAMPLES)
def test_version_1_is_still_understood(name: str) -> None:
    assert decode(read_golden(name)) == SAMPLES[name]


def test_payloads_are_views_and_not_copies() -> None:
    data = bytearray(range(256))
    frames = encode(m.PutChunk(transfer=MID, offset=0, data=memoryview(data)))
    assert isinstance(frames[2], memoryview)
    assert np.shares_memory(np.frombuffer(frames[2], "u1"), np.frombuffer(data, "u1"))
    message = decode(frames)
    assert isinstance(message, m.PutChunk)
    assert message.data.readonly
    assert np.shares_memory(np.frombuffer(message.data, "u1"), np.frombuffer(data, "u1"))


def test_pieces_of_a_file_may_go_without_a_checksum_of_their_own() -> None:
    chunk = m.ArtifactChunk(re=MID, offset=0, data=memoryview(bytes(limits.BULK_CHUNK_BYTES)))
    frames = [bytes(frame) for frame in encode(chunk, bulk=True)]
    assert "crc32" not in msgpack.unpackb(frames[1])["bufs"][0]
    assert decode(frames) == chunk
    assert "crc32" in msgpack.unpackb(frames_of(chunk)[1])["bufs"][0]


@pytest.mark.parametrize("name", ["put_chunk", "preview"])
def test_nothing_else_may_go_without_a_checksum(name: str) -> None:
    sample = SAMPLES[name]
    assert [bytes(f) for f in encode(sample, bulk=True)] == frames_of(sample)
    entries = msgpack.unpackb(frames_of(sample)[1])["bufs"]
    del entries[0]["crc32"]
    assert refusal(with_header({"bufs": entries}, sample)).path == "$.bufs[0].crc32"


def test_fields_of_a_newer_version_are_ignored() -> None:
    assert decode(with_header({"colour": {"deep": [1, 2]}})) == SAMPLES["progress"]


def test_types_of_a_newer_version_can_be_answered() -> None:
    message = decode(with_header({"t": "teleport"}))
    assert message == m.Unknown(mid=MID, re=SAMPLES["ping"].re, ts=SAMPLES["ping"].ts, type="teleport")


def test_whole_numbers_are_taken_for_fractions() -> None:
    message = decode(with_header({"fraction": 1}))
    assert isinstance(message, m.Progress)
    assert message.fraction == 1.0
    assert type(message.fraction) is float


def test_the_hash_of_a_request_depends_on_settings_and_scene_alone() -> None:
    base = Settings("a man")
    assert spec_sha256(base, SHA) == spec_sha256(Settings("a man"), SHA)
    assert spec_sha256(base, SHA) != spec_sha256(base, "cd" * 32)
    for change in ({"seed": 1}, {"prompt": "a boy"}, {"reference": False}, {"guidance": 7.0}, {"size": 512}):
        assert spec_sha256(dataclasses.replace(base, **change), SHA) != spec_sha256(base, SHA)


# What is refused: numbers are those of the list of malformed scenes


def nested(depth: int) -> bytes:
    return b"\x81\xa1a" * depth + b"\xc0"


HEADERS = {
    "61 nested 100,000 deep": nested(100_000),
    "61 nested as deep as fits": nested(20_000),
    "61 nested a little too deep": nested(limits.HEADER_DEPTH + 1),
    "61 lists too deep": b"\x81\xa1a" + b"\x91" * 900 + b"\xc0",
    "62 list of 2^32-1": b"\x81\xa1a\xdd\xff\xff\xff\xff",
    "62 map of 2^32-1": b"\xdf\xff\xff\xff\xff",
    "62 text of 2^32-1": b"\x81\xa1a\xdb\xff\xff\xff\xff",
    "63 integer keys": packed({1: 2}),
    "63 binary keys": packed({b"t": "ping"}),
    "63 integer keys inside": packed({"t": "ping", "mid": MID, "x": [{1: 2}]}),
    "64 extension": packed({"t": msgpack.ExtType(5, b"x")}),
    "64 timestamp": packed({"t": "ping", "mid": MID, "x": msgpack.Timestamp(1)}),
    "64 binary": packed({"t": "ping", "mid": MID, "x": b"bytes"}),
    "65 a key twice": b"\x82\xa1t\xa4ping\xa1t\xa4ping",
    "66 bad UTF-8": b"\x81\xa1t\xa4\xff\xfe\xfd\xfc",
    "67 bytes behind it": packed({"t": "ping", "mid": MID}) + b"\x00",
    "empty": b"",
    "no map": packed([1, 2, 3]),
    "cut": packed({"t": "ping", "mid": MID})[:-3],
    "no type": packed({"mid": MID}),
    "type is a number": packed({"t": 7}),
    "type is long": packed({"t": "x" * 33}),
    "reserved byte": b"\xc1",
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_are_none(name: str) -> None:
    error = refusal([limits.MAGIC, HEADERS[name]])
    assert error.code == "BAD_FRAME"
    assert error.mid == ""


def test_68_the_longest_header_is_taken_and_a_byte_more_is_not() -> None:
    empty = {"t": "ping", "mid": MID}
    room = limits.HEADER_BYTES - len(packed({**empty, "x": "a" * 60_000})) + 60_000
    longest, longer = (packed({**empty, "x": "a" * n}) for n in (room, room + 1))
    assert len(longest) == limits.HEADER_BYTES
    assert isinstance(decode([limits.MAGIC, longest]), m.Ping)
    error = refusal([limits.MAGIC, longer])
    assert (error.code, error.got) == ("BAD_FRAME", str(limits.HEADER_BYTES + 1))


@pytest.mark.parametrize(
    "first", [b"", b"VT", b"vt01", b"VT1", b"VT001", b"VTxy", b"SK01", b"GET / HTTP/1.1", b"\x16\x03\x01"]
)
def test_first_frames_that_are_not_ours(first: bytes) -> None:
    assert refusal([first, frames_of(SAMPLES["ping"])[1]]).code == "BAD_FRAME"


@pytest.mark.parametrize("major", [b"VT00", b"VT02", b"VT99"])
def test_another_version_is_told_apart_from_garbage(major: bytes) -> None:
    error = refusal([major, b"whatever it is"])
    assert error.code == "WIRE_VERSION"
    assert str(int(major[2:])) in error.problem
    assert str(limits.WIRE_MAJOR) in error.problem


@pytest.mark.parametrize("count", [0, 1, 3, 2 + limits.BUFFERS + 1, 10_000])
def test_frame_counts(count: int) -> None:
    frames = (frames_of(SAMPLES["ping"]) + [b""] * count)[:count]
    assert refusal(frames).code == "BAD_FRAME"


def buffer(**changes: Any) -> dict[str, Any]:
    data = bytes(range(256))
    whole = {"name": "data", "dtype": "u1", "shape": [256], "nbytes": 256, "crc32": zlib.crc32(data)}
    return {**whole, **changes}


BUFFERS = {
    "49 negative side": ([buffer(shape=[-1, 3])], "$.bufs[0].shape[0]"),
    "50 2^40 rows": ([buffer(shape=[2**40, 3])], "$.bufs[0].shape[0]"),
    "51 overflows 64 bits": ([buffer(shape=[2**31 - 1] * 3, dtype="f4")], "$.bufs[0].nbytes"),
    "51 overflows to its own size": ([buffer(shape=[2**16, 2**16, 2**16, 2**16])], "$.bufs[0].nbytes"),
    "52 fewer bytes than told": ([buffer(shape=[512], nbytes=512)], "$.bufs[0].nbytes"),
    "52 more bytes than told": ([buffer(shape=[128], nbytes=128)], "$.bufs[0].nbytes"),
    "52 shape and size differ": ([buffer(shape=[255])], "$.bufs[0].nbytes"),
    "53 objects": ([buffer(dtype="O")], "$.bufs[0].dtype"),
    "53 void": ([buffer(dtype="V")], "$.bufs[0].dtype"),
    "53 text": ([buffer(dtype="<U9")], "$.bufs[0].dtype"),
    "53 big-endian": ([buffer(dtype=">f4")], "$.bufs[0].dtype"),
    "53 no text": ([buffer(dtype=["u1"])], "$.bufs[0].dtype"),
    "54 f8": ([buffer(dtype="f8", shape=[32])], "$.bufs[0].dtype"),
    "54 f4 where bytes belong": ([buffer(dtype="f4", shape=[64])], "$.bufs[0].dtype"),
    "55 two sides where one belongs": ([buffer(shape=[16, 16])], "$.bufs[0].dtype"),
    "56 checksum": ([buffer(crc32=1)], "$.bufs[0].crc32"),
    "57 missing": ([], "$.bufs"),
    "57 one too many": ([buffer(), buffer(name="more")], "$.bufs"),
    "57 twice": ([buffer(), buffer()], "$.bufs[1].name"),
    "57 under another name": ([buffer(name="jpeg")], "$.data"),
    "58 seventeen": ([buffer(name=f"b{i}") for i in range(17)], "$.bufs"),
    "no list": (7, "$.bufs"),
    "no map": ([7], "$.bufs[0]"),
    "no name": ([buffer(name="")], "$.bufs[0].name"),
    "five sides": ([buffer(shape=[1, 1, 1, 1, 256])], "$.bufs[0].shape"),
    "bool for a side": ([buffer(shape=[True])], "$.bufs[0].shape[0]"),
    "float for a size": ([buffer(nbytes=256.0)], "$.bufs[0].nbytes"),
}


@pytest.mark.parametrize("name", BUFFERS)
def test_buffers_that_do_not_fit(name: str) -> None:
    entries, path = BUFFERS[name]
    error = refusal(with_header({"bufs": entries}, SAMPLES["put_chunk"]))
    assert error.path == path


def test_59_an_empty_buffer() -> None:
    empty = {"name": "data", "dtype": "u1", "shape": [0], "nbytes": 0, "crc32": 0}
    frames = with_header({"bufs": [empty]}, SAMPLES["put_chunk"])
    assert refusal([*frames[:2], b""]).path == "$.data"


def test_messages_without_buffers_take_none() -> None:
    frames = with_header({"bufs": [buffer()]}, SAMPLES["ping"])
    assert refusal([*frames, bytes(range(256))]).path == "$.data"


def test_sizes_are_bounded_before_anything_is_read() -> None:
    frames = frames_of(SAMPLES["put_chunk"])
    assert refusal([*frames[:2], bytes(limits.FRAME_BYTES + 1)]).path == "$.frames[2]"
    many = [buffer(name=f"b{i}", shape=[limits.FRAME_BYTES], nbytes=limits.FRAME_BYTES) for i in range(3)]
    error = refusal(with_header({"bufs": many}, SAMPLES["put_chunk"]))
    assert (error.code, error.path) == ("TOO_LARGE", "$.bufs")


FIELDS = {
    "69 bool for a whole number": ("progress", {"attempt": True}, "$.attempt"),
    "69 fraction for a whole number": ("progress", {"attempt": 1.0}, "$.attempt"),
    "69 2^63": ("progress", {"attempt": 2**63}, "$.attempt"),
    "69 bool for a fraction": ("progress", {"fraction": True}, "$.fraction"),
    "69 NaN": ("progress", {"fraction": float("nan")}, "$.fraction"),
    "69 infinity": ("progress", {"eta_s": float("inf")}, "$.eta_s"),
    "69 text for a number": ("progress", {"fraction": "0.5"}, "$.fraction"),
    "69 2^64-1 in settings": ("submit", {"settings": {"prompt": "x", "seed": 2**64 - 1}}, "$.settings.seed"),
    "69 bool in settings": ("submit", {"settings": {"prompt": "x", "steps": True}}, "$.settings.steps"),
    "70 job is a path": ("cancel", {"job": "../../x"}, "$.job"),
    "70 job is long": ("cancel", {"job": "a" * 50_000}, "$.job"),
    "70 job with NUL": ("cancel", {"job": JOB[:-1] + "\0"}, "$.job"),
    "70 job in capitals": ("cancel", {"job": JOB.replace("3", "A")}, "$.job"),
    "70 job ends a line": ("cancel", {"job": JOB + "\n"}, "$.job"),
    "70 job is missing": ("cancel", {"job": ...}, "$.job"),
    "70 job is nothing": ("cancel", {"job": None}, "$.job"),
    "file name is a path": ("artifact_get", {"name": "../x"}, "$.name"),
    "file name is hidden": ("artifact_get", {"name": ".bashrc"}, "$.name"),
    "file name ends a line": ("artifact_get", {"name": "a.png\n"}, "$.name"),
    "71 prompt is no text": ("submit", {"settings": {"prompt": ["x"]}}, "$.settings.prompt"),
    "71 prompt with NUL": ("submit", {"settings": {"prompt": "a\0b"}}, "$.settings.prompt"),
    "72 unknown kind": ("preview", {"kind": "film"}, "$.kind"),
    "72 kind is a list": ("preview", {"kind": ["sheet"]}, "$.kind"),
    "72 unknown outcome": ("cancel_ack", {"outcome": "perhaps"}, "$.outcome"),
    "hash is short": ("put_begin", {"sha256": "ab"}, "$.sha256"),
    "size is too large": ("put_begin", {"size": limits.SCENE_BYTES + 1}, "$.size"),
    "credit beyond a window": ("credit", {"size": limits.WINDOW_BYTES + 1}, "$.size"),
    "credit backwards": ("credit", {"size": -1}, "$.size"),
    "no settings": ("submit", {"settings": 7}, "$.settings"),
    "file is no map": ("done", {"artifacts": [7]}, "$.artifacts[0]"),
    "file without hash": ("done", {"artifacts": [{"name": "a.png", "size": 1}]}, "$.artifacts[0].sha256"),
    "too many files": ("done", {"artifacts": [{}] * (limits.ARTIFACTS + 1)}, "$.artifacts"),
    "versions are no map": ("hello", {"about": []}, "$.about"),
    "versions are deep": ("hello", {"about": {"a": {"b": 1}}}, "$.about.a"),
    "too many versions": ("hello", {"about": {str(i): i for i in range(33)}}, "$.about"),
    "yes for true": ("accepted", {"duplicate": 1}, "$.duplicate"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields_out_of_bounds(name: str) -> None:
    sample, changes, path = FIELDS[name]
    error = refusal(with_header(changes, SAMPLES[sample]))
    assert (error.code, error.path) == ("BAD_FIELD", path)
    assert error.mid == MID, "it can be answered"
    assert error.t == sample
    assert error.job == ("" if "job" in changes or not hasattr(SAMPLES[sample], "job") else JOB)


def test_a_message_names_itself() -> None:
    assert refusal(with_header({"mid": ...}, SAMPLES["ping"])).path == "$.mid"
    assert refusal(with_header({"mid": "x" * 36}, SAMPLES["ping"])).mid == ""


@pytest.mark.parametrize(
    "message",
    [
        m.Progress(job=JOB, stage="x" * 301, fraction=0.5),
        m.Progress(job=JOB, stage="x", fraction=1.5),
        m.Cancel(job="7"),
        m.PutChunk(transfer=MID, offset=0, data=memoryview(b"")),
        m.PutChunk(transfer=MID, offset=0, data=memoryview(bytes(limits.CHUNK_BYTES + 1))),
        m.Hello(about={"a": float("nan")}),
        m.Hello(about={"\ud800": 1}),
    ],
)
def test_nothing_is_sent_that_would_be_refused(message: m.Message) -> None:
    with pytest.raises(ProtocolError):
        encode(message)


def test_a_header_that_would_be_too_long_is_not_sent() -> None:
    long = m.Submit(
        job=JOB,
        settings=Settings("ä" * 8_000, negative="語" * 8_000, method="字" * 8_000, prior="字" * 8_000),
        scene_sha256=SHA,
        scene_size=1,
        spec_sha256=SHA,
    )
    with pytest.raises(ProtocolError) as caught:
        encode(long)
    assert caught.value.code == "TOO_LARGE"


# Anything at all

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
