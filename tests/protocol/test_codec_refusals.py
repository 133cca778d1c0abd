"""What is malformed is refused by the name of its part. Numbers are those of the list of malformed scenes."""

from __future__ import annotations

import tracemalloc

import pytest
from malformed_frames import BUFFERS, FIELDS, HEADERS, buffer, frames_of, packed, with_header
from protocol_samples import JOB, MID, SAMPLES
from refusals import refused

from vitruvian_protocol import ProtocolError, limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.codec import decode


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_are_none(name: str) -> None:
    error = refused([limits.MAGIC, HEADERS[name]])
    assert error.code == "BAD_FRAME"
    assert error.mid == ""


def test_68_the_longest_header_is_taken_and_a_byte_more_is_not() -> None:
    empty = {"t": "ping", "mid": MID}
    room = limits.HEADER_BYTES - len(packed({**empty, "x": "a" * 60_000})) + 60_000
    longest, longer = (packed({**empty, "x": "a" * n}) for n in (room, room + 1))
    assert len(longest) == limits.HEADER_BYTES
    assert isinstance(decode([limits.MAGIC, longest]), m.Ping)
    error = refused([limits.MAGIC, longer])
    assert (error.code, error.got) == ("BAD_FRAME", str(limits.HEADER_BYTES + 1))


@pytest.mark.parametrize(
    "first", [b"", b"VT", b"vt01", b"VT1", b"VT001", b"VTxy", b"SK01", b"GET / HTTP/1.1", b"\x16\x03\x01"]
)
def test_first_frames_that_are_not_ours(first: bytes) -> None:
    assert refused([first, frames_of(SAMPLES["ping"])[1]]).code == "BAD_FRAME"


@pytest.mark.parametrize("major", [b"VT00", b"VT02", b"VT99"])
def test_another_version_is_told_apart_from_garbage(major: bytes) -> None:
    error = refused([major, b"whatever it is"])
    assert error.code == "WIRE_VERSION"
    assert str(int(major[2:])) in error.problem
    assert str(limits.WIRE_MAJOR) in error.problem


@pytest.mark.parametrize("count", [0, 1, 3, 2 + limits.BUFFERS + 1, 10_000])
def test_frame_counts(count: int) -> None:
    frames = (frames_of(SAMPLES["ping"]) + [b""] * count)[:count]
    assert refused(frames).code == "BAD_FRAME"


@pytest.mark.parametrize("name", BUFFERS)
def test_buffers_that_do_not_fit(name: str) -> None:
    entries, path = BUFFERS[name]
    error = refused(with_header({"bufs": entries}, SAMPLES["put_chunk"]))
    assert error.path == path


def test_59_an_empty_buffer() -> None:
    empty = {"name": "data", "dtype": "u1", "shape": [0], "nbytes": 0, "crc32": 0}
    frames = with_header({"bufs": [empty]}, SAMPLES["put_chunk"])
    assert refused([*frames[:2], b""]).path == "$.data"


def test_messages_without_buffers_take_none() -> None:
    frames = with_header({"bufs": [buffer()]}, SAMPLES["ping"])
    assert refused([*frames, bytes(range(256))]).path == "$.data"


def test_sizes_are_bounded_before_anything_is_read() -> None:
    frames = frames_of(SAMPLES["put_chunk"])
    assert refused([*frames[:2], bytes(limits.FRAME_BYTES + 1)]).path == "$.frames[2]"
    many = [buffer(name=f"b{i}", shape=[limits.FRAME_BYTES], nbytes=limits.FRAME_BYTES) for i in range(3)]
    error = refused(with_header({"bufs": many}, SAMPLES["put_chunk"]))
    assert (error.code, error.path) == ("TOO_LARGE", "$.bufs")


ALL_BUFFERS = {name: with_header({"bufs": bufs}, SAMPLES["put_chunk"]) for name, (bufs, _) in BUFFERS.items()}


@pytest.mark.parametrize("name", [*HEADERS, *ALL_BUFFERS])
def test_nothing_is_allocated_by_what_a_frame_says_of_itself(name: str) -> None:
    """Frames of some 64 KiB at the most, whatever lengths they claim."""
    frames = ALL_BUFFERS[name] if name in ALL_BUFFERS else [limits.MAGIC, HEADERS[name]]
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            decode(frames)
        assert tracemalloc.get_traced_memory()[1] < (8 if "nested" in name else 1) * limits.MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", FIELDS)
def test_fields_out_of_bounds(name: str) -> None:
    sample, changes, path = FIELDS[name]
    error = refused(with_header(changes, SAMPLES[sample]))
    assert (error.code, error.path) == ("BAD_FIELD", path)
    assert error.mid == MID, "it can be answered"
    assert error.t == sample
    assert error.job == ("" if "job" in changes or not hasattr(SAMPLES[sample], "job") else JOB)


def test_a_message_names_itself() -> None:
    assert refused(with_header({"mid": ...}, SAMPLES["ping"])).path == "$.mid"
    assert refused(with_header({"mid": "x" * 36}, SAMPLES["ping"])).mid == ""
