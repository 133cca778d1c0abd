"""Malformed files of scenes by name, each with the field that its refusal names; scenes past all checks."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
from protocol_scenes import scene

from vitruvian_protocol import Scene
from vitruvian_protocol.codec import pack_scene
from vitruvian_protocol.scene_file import scene_to_buffers

PACKED = pack_scene(scene())


def arrays_of(one: Scene) -> dict[str, np.ndarray]:
    plain, arrays = scene_to_buffers(one)
    return dict(zip(plain["arrays"], arrays, strict=True))


def unchecked(bad: Scene) -> bytes:
    """A scene's file as a client would write it that checks nothing."""
    plain, arrays = scene_to_buffers(bad)
    names = plain.pop("arrays")
    plain["bufs"] = [entry(name, array) for name, array in zip(names, arrays, strict=True)]
    return assembled(plain, [array.tobytes() for array in arrays])


def entry(name: str, array: np.ndarray) -> dict[str, Any]:
    data = array.tobytes()
    dtype = f"{array.dtype.kind}{array.dtype.itemsize}"
    shape = list(array.shape)
    return {"name": name, "dtype": dtype, "shape": shape, "nbytes": len(data), "crc32": zlib.crc32(data)}


def assembled(plain: dict[str, Any], buffers: list[bytes]) -> bytes:
    header = msgpack.packb(plain)
    assert header is not None
    file = b"VTSCENE1" + len(header).to_bytes(4, "little") + header
    for data in buffers:
        file += bytes(-len(file) % 16) + data
    return file


def file_with(change: Callable[[dict[str, Any]], object]) -> bytes:
    length = int.from_bytes(PACKED[8:12], "little")
    plain = msgpack.unpackb(PACKED[12 : 12 + length])
    change(plain)
    buffers = [array.tobytes() for array in arrays_of(scene()).values()]
    return assembled(plain, buffers)


def buffer_with(**changes: Any) -> bytes:
    return file_with(lambda plain: plain["bufs"][0].update(changes))


FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "$"),
    "another kind of file": (b"\x89PNG\r\n\x1a\n" + PACKED, "$"),
    "cut in the header": (PACKED[:100], "$"),
    "cut in a buffer": (PACKED[:-1], "$.bufs[11].nbytes"),
    "67 longer than it says": (PACKED + b"\0", "$"),
    "header of 4 GB": (PACKED[:8] + b"\xff\xff\xff\xff" + PACKED[12:], "$"),
    "49 negative side": (buffer_with(shape=[-1, 3]), "$.bufs[0].shape[0]"),
    "50 2^40 rows": (buffer_with(shape=[2**40, 3]), "$.bufs[0].shape[0]"),
    "51 overflows": (buffer_with(shape=[2**31 - 1] * 4), "$.bufs[0].nbytes"),
    "52 another size": (buffer_with(nbytes=12), "$.bufs[0].nbytes"),
    "52 more than a scene": (buffer_with(shape=[2**30], nbytes=2**32), "$.bufs[0].nbytes"),
    "53 objects": (buffer_with(dtype="O"), "$.bufs[0].dtype"),
    "54 f8": (buffer_with(dtype="f8"), "$.bufs[0].dtype"),
    "54 i4 for f4": (buffer_with(dtype="i4"), "$.mesh.vertices"),
    "56 checksum": (buffer_with(crc32=0), "$.bufs[0].crc32"),
    "57 array is missing": (buffer_with(name="mesh.corner"), "$.mesh.corner"),
    "57 array twice": (buffer_with(name="mesh.faces"), "$.bufs[1].name"),
    "57 no vertices": (file_with(lambda plain: plain["bufs"].pop(0)), "$.bufs[0].crc32"),
    "57 cameras that nobody named": (file_with(lambda plain: plain.pop("cameras")), "$.cameras.T_world_cam"),
    "57 a rig that nobody named": (
        file_with(lambda plain: plain["mesh"].pop("rig")),
        "$.rig.joint_parents",
    ),
    "58 seventeen": (file_with(lambda plain: plain["bufs"].extend(plain["bufs"][:5])), "$.bufs"),
    "no mesh": (file_with(lambda plain: plain.pop("mesh")), "$.mesh"),
    "name is a number": (file_with(lambda plain: plain["mesh"].update(name=7)), "$.mesh.name"),
    "38 65 names": (
        file_with(lambda plain: plain["cameras"].update(names=["x"] * 65)),
        "$.cameras.names",
    ),
    "69 fraction of a pixel": (
        file_with(lambda plain: plain["cameras"].update(width=1.5)),
        "$.cameras.width",
    ),
    "72 unknown kind": (
        file_with(lambda plain: plain["cameras"].update(kinds=["x"] * 4)),
        "$.cameras.kinds[0]",
    ),
}
