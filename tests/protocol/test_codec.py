"""Messages survive the wire unchanged, and nothing is sent that would be refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgpack
import numpy as np
import pytest
from malformed_frames import frames_of, with_header
from protocol_samples import BULK, JOB, MID, SAMPLES, SHA, read_golden
from refusals import refused

from vitruvian_protocol import ProtocolError, Settings, limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.codec import decode, encode, spec_sha256


def test_every_type_has_a_sample() -> None:
    assert set(SAMPLES) == set(m.TYPES)


@pytest.mark.parametrize("name", SAMPLES)
def test_messages_come_back_as_they_were(name: str) -> None:
    assert decode(frames_of(SAMPLES[name])) == SAMPLES[name]


@pytest.mark.parametrize("name", SAMPLES)
def test_version_1_is_still_understood(name: str) -> None:
    assert decode(read_golden(name)) == SAMPLES[name]


def contains(new: Any, old: Any) -> bool:
    """Whether `new` says all that `old` says; maps may say more."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(key in new and contains(new[key], old[key]) for key in old)
    if isinstance(old, list):
        return len(new) == len(old) and all(map(contains, new, old))
    return type(new) is type(old) and new == old


@pytest.mark.parametrize("name", SAMPLES)
def test_version_1_still_finds_all_that_it_knows(name: str) -> None:
    """Within a major version fields are only added: today's frames tell an older program as much."""
    old, new = read_golden(name), frames_of(SAMPLES[name])
    assert contains(msgpack.unpackb(new[1]), msgpack.unpackb(old[1]))
    assert (new[0], new[2:]) == (old[0], old[2:])


def test_a_piece_of_a_file_without_a_checksum_is_still_understood() -> None:
    frames = read_golden(BULK)
    assert b"crc32" not in frames[1]
    assert decode(frames) == SAMPLES["artifact_chunk"]


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
    assert refused(with_header({"bufs": entries}, sample)).path == "$.bufs[0].crc32"


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
