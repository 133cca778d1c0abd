"""A scene as one run of bytes: what is uploaded, addressed by its SHA-256, and read by the worker.

8 bytes   VTSCENE1
4 bytes   length of the header, little-endian
n bytes   header: one msgpack map {mesh, cameras, bufs}, as strict as a message's
...       the buffers in the order of `bufs`, each beginning at a multiple of 16 bytes (zeros between)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from . import limits
from .buffers import Buffer, as_array, check_bytes, describe, read_entries
from .checks import check_scene
from .errors import ProtocolError
from .fields import Items, Name, Text, Whole, from_plain, to_plain
from .headers import pack_header, read_header
from .scene import CameraArrays, MeshArrays, RigArrays, Scene, ViewKind

MAGIC = b"VTSCENE1"
_ALIGN = 16
_CODE = "BAD_SCENE:SHAPE"
_START = len(MAGIC) + 4

_MESH = {"vertices": "f4", "faces": "i4", "corner_uvs": "f4"}
_RIG = {
    "joint_parents": "i4",
    "T_world_joint": "f4",
    "T_rest_joint": "f4",
    "rest_vertices": "f4",
    "weight_joints": "i4",
    "weights": "f4",
}
_CAMERAS = {"T_world_cam": "f4", "K": "f4", "orthographic": "u1"}
_DTYPES = {
    f"{part}.{name}": dtype
    for part, arrays in (("mesh", _MESH), ("rig", _RIG), ("cameras", _CAMERAS))
    for name, dtype in arrays.items()
}
"""Every array of a scene and the one type it may have."""


@dataclass(frozen=True)
class _RigHeader:
    joint_names: Annotated[tuple[str, ...], Items(Text(limits.NAME), limits.JOINTS)]


@dataclass(frozen=True)
class _MeshHeader:
    name: Name
    rig: _RigHeader | None = None


@dataclass(frozen=True)
class _CamerasHeader:
    names: Annotated[tuple[str, ...], Items(Text(limits.NAME), limits.CAMERAS)]
    kinds: Annotated[tuple[ViewKind, ...], Items(Literal["body", "upper", "face", "extra"], limits.CAMERAS)]
    width: Annotated[int, Whole(0, 2**31 - 1)]
    height: Annotated[int, Whole(0, 2**31 - 1)]
    prompts: Annotated[tuple[str, ...], Items(Text(limits.PROMPT), limits.CAMERAS)] = ()


@dataclass(frozen=True)
class _SceneHeader:
    mesh: _MeshHeader
    cameras: _CamerasHeader | None = None


def scene_to_buffers(scene: Scene) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """A scene as a plain map, whose `arrays` names the arrays beside it in their order. Bit-exact.

    Raises:
        ProtocolError: BAD_FIELD, for names or numbers out of bounds.
    """
    mesh, cameras = scene.mesh, scene.cameras
    rig = None if mesh.rig is None else _RigHeader(mesh.rig.joint_names)
    seen = None
    if cameras is not None:
        seen = _CamerasHeader(cameras.names, cameras.kinds, cameras.width, cameras.height, cameras.prompts)
    parts = {"mesh": mesh, "rig": mesh.rig, "cameras": cameras}
    named: dict[str, NDArray[Any]] = {}
    for name in _DTYPES:
        part, _, field = name.partition(".")
        array = getattr(parts[part], field, None)
        if array is not None:
            named[name] = np.ascontiguousarray(array)
    plain = to_plain(_SceneHeader(_MeshHeader(mesh.name, rig), seen))
    return {**plain, "arrays": list(named)}, list(named.values())


def buffers_to_scene(plain: Mapping[str, Any], arrays: Sequence[NDArray[Any]]) -> Scene:
    """The reverse of `scene_to_buffers`; what the arrays hold is not looked at.

    Raises:
        ProtocolError: BAD_SCENE:SHAPE or BAD_SCENE:DTYPE for arrays that are missing, unknown or wrong.
    """
    try:
        header: _SceneHeader = from_plain(_SceneHeader, dict(plain))
    except ProtocolError as error:
        raise ProtocolError("BAD_SCENE", error.path, error.problem, error.got, error.limit) from None
    named = dict(zip(plain["arrays"], arrays, strict=True))
    rig, seen = header.mesh.rig, header.cameras
    missing = {part for part, there in (("rig", rig), ("cameras", seen)) if there is None}
    for name, array in named.items():
        if name not in _DTYPES or name.partition(".")[0] in missing:
            raise ProtocolError(_CODE, f"$.{name}", "is an array that this scene does not have")
        if array.dtype != np.dtype(_DTYPES[name]):
            raise ProtocolError("BAD_SCENE:DTYPE", f"$.{name}", f"is not {_DTYPES[name]}", array.dtype)
    mesh = MeshArrays(
        header.mesh.name,
        **cast(dict[str, Any], _part(named, "mesh", _MESH, optional="corner_uvs")),
        rig=None if rig is None else RigArrays(rig.joint_names, **_part(named, "rig", _RIG)),
    )
    if seen is None:
        return Scene(mesh)
    values: dict[str, Any] = {**vars(seen), **_part(named, "cameras", _CAMERAS)}
    return Scene(mesh, CameraArrays(**values))


def _part(
    named: dict[str, NDArray[Any]], part: str, arrays: Mapping[str, str], optional: str = ""
) -> dict[str, NDArray[Any]]:
    """The arrays of one dataclass by field name."""
    found = {name: named[f"{part}.{name}"] for name in arrays if f"{part}.{name}" in named}
    for name in arrays:
        if name not in found and name != optional:
            raise ProtocolError(_CODE, f"$.{part}.{name}", "is missing")
    return found


def pack_scene(scene: Scene) -> bytes:
    """The scene as one run of bytes, after `check_scene`. The same scene gives the same bytes.

    Raises:
        ProtocolError: BAD_SCENE or TOO_LARGE with the field's path.
    """
    check_scene(scene)
    plain, arrays = scene_to_buffers(scene)
    names: list[str] = plain.pop("arrays")
    views = [memoryview(cast(Any, array.reshape(-1).view(np.uint8))) for array in arrays]
    plain["bufs"] = [
        describe(name, view, _DTYPES[name], array.shape)
        for name, view, array in zip(names, views, arrays, strict=True)
    ]
    header = pack_header(plain, limits.SCENE_HEADER_BYTES)
    parts: list[bytes | memoryview] = [MAGIC, len(header).to_bytes(4, "little"), header]
    end = _START + len(header)
    for view in views:
        parts += [bytes(-end % _ALIGN), view]
        end += -end % _ALIGN + view.nbytes
    if end > limits.SCENE_BYTES:
        raise ProtocolError("TOO_LARGE", "$", "has too many bytes", end, limits.SCENE_BYTES)
    return b"".join(parts)


def unpack_scene(data: bytes | bytearray | memoryview) -> Scene:
    """The scene in `data`, every rule checked; its arrays are views on `data`.

    Raises:
        ProtocolError: BAD_SCENE or TOO_LARGE with the field's path.
    """
    view = memoryview(data).cast("B").toreadonly()
    if view.nbytes > limits.SCENE_BYTES:
        raise ProtocolError("TOO_LARGE", "$", "has too many bytes", view.nbytes, limits.SCENE_BYTES)
    if view.nbytes < _START or bytes(view[: len(MAGIC)]) != MAGIC:
        raise ProtocolError(_CODE, "$", "is not a scene of this version")
    length = int.from_bytes(view[len(MAGIC) : _START], "little")
    if length > min(limits.SCENE_HEADER_BYTES, view.nbytes - _START):
        raise ProtocolError(_CODE, "$", "has a header of a wrong size", length)
    plain = read_header(view[_START : _START + length], _CODE, limits.SCENE_HEADER_BYTES)
    entries = read_entries(plain.pop("bufs", []), _CODE, "$.bufs", limits.BUFFERS, limits.SCENE_BYTES)
    plain["arrays"] = [entry.name for entry in entries]
    scene = buffers_to_scene(plain, _cut(view, _START + length, entries))
    check_scene(scene)
    return scene


def _cut(view: memoryview, start: int, entries: Sequence[Buffer]) -> list[NDArray[Any]]:
    """The arrays behind the header, which must fill the rest of the file exactly."""
    arrays: list[NDArray[Any]] = []
    for i, entry in enumerate(entries):
        start += -start % _ALIGN
        check_bytes(entry, view[start : start + entry.nbytes], _CODE, f"$.bufs[{i}]")
        arrays.append(as_array(entry, view[start : start + entry.nbytes]))
        start += entry.nbytes
    if start != view.nbytes:
        raise ProtocolError(_CODE, "$", "is longer or shorter than its buffers", view.nbytes, start)
    return arrays
