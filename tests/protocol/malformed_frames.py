"""Malformed headers, buffers and fields by name; numbers are those of the list of malformed scenes."""

from __future__ import annotations

import zlib
from typing import Any

import msgpack
from protocol_samples import JOB, MID, SAMPLES

from vitruvian_protocol import limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.codec import encode


def packed(value: Any) -> bytes:
    data = msgpack.packb(value)
    assert data is not None
    return data


def frames_of(message: m.Message) -> list[bytes]:
    return [bytes(frame) for frame in encode(message)]


def with_header(changes: dict[str, Any], sample: m.Message | None = None) -> list[bytes]:
    """A sample's frames with some of its header's entries changed; `...` takes one out."""
    frames = frames_of(sample or SAMPLES["progress"])
    header = msgpack.unpackb(frames[1])
    header.update(changes)
    kept = {k: v for k, v in header.items() if v is not ...}
    return [frames[0], packed(kept), *frames[2:]]


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
