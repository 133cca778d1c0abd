"""Scenes and settings: bit-exact through their file, and each malformed one refused by the name of its field.

Numbers are those of the list of malformed scenes. What is not here belongs to others: 13, 21 to 23 (faces of
other than three corners) and 27, 28, 36, 42 (object scales, layers, clipping) end in the add-on, which sends
triangles in world space; 49 to 70 are in `test_codec.py`; 60 and 80 are the server's.
"""

from __future__ import annotations

import dataclasses
import random
import zlib
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_scenes import ball, body, cameras, rig, scene

from vitruvian_protocol import (
    MeshArrays,
    ProtocolError,
    Scene,
    Settings,
    check_scene,
    check_settings,
    clean_prompt,
    limits,
    warnings_of,
)
from vitruvian_protocol.codec import pack_scene, unpack_scene
from vitruvian_protocol.errors import ERRORS, info_of
from vitruvian_protocol.scene_file import buffers_to_scene, scene_to_buffers

PACKED = pack_scene(scene())


def refusal(call: Callable[[], object]) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        call()
    assert caught.value.code in ERRORS
    told = info_of(caught.value)
    assert "{" not in told.sentence
    return caught.value


def arrays_of(one: Scene) -> dict[str, np.ndarray]:
    plain, arrays = scene_to_buffers(one)
    return dict(zip(plain["arrays"], arrays, strict=True))


def same(one: Scene, other: Scene) -> bool:
    first, second = arrays_of(one), arrays_of(other)
    exact = [
        first[name].dtype == second[name].dtype
        and first[name].shape == second[name].shape
        and first[name].tobytes() == second[name].tobytes()
        for name in first
    ]
    return (
        first.keys() == second.keys()
        and all(exact)
        and scene_to_buffers(one)[0] == scene_to_buffers(other)[0]
    )


# Through the file and back

SCENES = {
    "all of it": scene(),
    "without UVs, rig and cameras": Scene(MeshArrays("body", *ball()[:2])),
    "without rig": Scene(dataclasses.replace(body(), rig=None), cameras()),
    "without prompts": Scene(body(), dataclasses.replace(cameras(), prompts=())),
}


@pytest.mark.parametrize("name", SCENES)
def test_scenes_come_back_bit_for_bit(name: str) -> None:
    assert same(SCENES[name], unpack_scene(pack_scene(SCENES[name])))
    plain, arrays = scene_to_buffers(SCENES[name])
    assert same(SCENES[name], buffers_to_scene(plain, arrays))


def test_the_same_scene_has_the_same_bytes_however_it_lies_in_memory() -> None:
    fortran = dataclasses.replace(body(), vertices=np.asfortranarray(body().vertices))
    every_second = np.repeat(body().faces, 2, axis=0)[::2]
    assert pack_scene(Scene(fortran, cameras())) == PACKED
    assert pack_scene(Scene(dataclasses.replace(body(), faces=every_second), cameras())) == PACKED


def test_negative_zero_and_tiny_numbers_are_kept() -> None:
    vertices, faces, _ = ball()
    vertices[5] = (-0.0, 1e-42, 0.5)
    read = unpack_scene(pack_scene(Scene(MeshArrays("b", vertices, faces))))
    assert read.mesh.vertices.tobytes() == vertices.tobytes()


def test_what_is_read_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        unpack_scene(PACKED).mesh.vertices[0] = 0


# Malformed scenes


def mesh_with(**changes: Any) -> Scene:
    return Scene(dataclasses.replace(body(), rig=None, **changes))


def vertices_with(index: int, value: float) -> Scene:
    vertices = ball()[0]
    vertices[index] = value
    return mesh_with(vertices=vertices)


def faces_with(value: tuple[int, int, int]) -> Scene:
    faces = ball()[1]
    faces[7] = value
    return mesh_with(faces=faces)


def uvs_with(value: float) -> Scene:
    uvs = ball()[2]
    uvs[3, 1, 0] = value
    return mesh_with(corner_uvs=uvs)


def rig_with(**changes: Any) -> Scene:
    return Scene(dataclasses.replace(body(), rig=dataclasses.replace(rig(ball()[0]), **changes)))


def cameras_with(**changes: Any) -> Scene:
    return Scene(body(), dataclasses.replace(cameras(), **changes))


def lens_with(row: int, column: int, value: float) -> Scene:
    K = cameras().K
    K[2, row, column] = value
    return cameras_with(K=K)


def pose_with(change: Callable[[np.ndarray], None]) -> Scene:
    T = cameras().T_world_cam
    change(T[2])
    return cameras_with(T_world_cam=T)


def scaled(matrix: np.ndarray) -> None:
    matrix[:3, :3] *= 1.01


def mirrored(matrix: np.ndarray) -> None:
    matrix[:3, 0] *= -1


def sheared(matrix: np.ndarray) -> None:
    matrix[0, 1] += 0.1


def projective(matrix: np.ndarray) -> None:
    matrix[3] = (0, 0, 1, 0)


def far(matrix: np.ndarray) -> None:
    matrix[0, 3] = 1e6


def unknown(matrix: np.ndarray) -> None:
    matrix[1, 1] = np.nan


V, F = len(ball()[0]), len(ball()[1])
LINE = np.stack([np.linspace(0, 1, V), np.linspace(0, 2, V), np.zeros(V)], 1).astype("f4")
TWO_FAR = np.concatenate([ball()[0], ball()[0] + np.array([9e3, 0, 0], "f4")])

MALFORMED: dict[str, tuple[Scene, str, str]] = {
    "1 no vertices": (mesh_with(vertices=np.zeros((0, 3), "f4")), "BAD_SCENE:EMPTY", "$.mesh.vertices"),
    "2 no faces": (mesh_with(faces=np.zeros((0, 3), "i4")), "BAD_SCENE:EMPTY", "$.mesh.faces"),
    "3 NaN": (vertices_with(11, np.nan), "BAD_SCENE:NOT_FINITE", "$.mesh.vertices[11]"),
    "4 infinite": (vertices_with(12, np.inf), "BAD_SCENE:NOT_FINITE", "$.mesh.vertices[12]"),
    "4 minus infinite": (vertices_with(0, -np.inf), "BAD_SCENE:NOT_FINITE", "$.mesh.vertices[0]"),
    "5 1e38": (vertices_with(3, 1e38), "BAD_SCENE:SIZE", "$.mesh.vertices"),
    "6 denormal": (mesh_with(vertices=ball(1e-40)[0]), "BAD_SCENE:SIZE", "$.mesh.vertices"),
    "7 one point": (mesh_with(vertices=np.ones((V, 3), "f4")), "BAD_SCENE:SIZE", "$.mesh.vertices"),
    "8 a line": (mesh_with(vertices=LINE), "BAD_SCENE:DEGENERATE", "$.mesh.faces"),
    "9 index is the count": (faces_with((0, 1, V)), "BAD_SCENE:INDEX", "$.mesh.faces[7]"),
    "10 index is -1": (faces_with((0, -1, 1)), "BAD_SCENE:INDEX", "$.mesh.faces[7]"),
    "11 index is 2^31-1": (faces_with((2**31 - 1, 0, 1)), "BAD_SCENE:INDEX", "$.mesh.faces[7]"),
    "12 unsigned": (mesh_with(faces=ball()[1].view("u4")), "BAD_SCENE:DTYPE", "$.mesh.faces"),
    "13 two corners": (mesh_with(faces=ball()[1][:, :2]), "BAD_SCENE:SHAPE", "$.mesh.faces"),
    "15 only flat faces": (mesh_with(faces=np.zeros((F, 3), "i4")), "BAD_SCENE:DEGENERATE", "$.mesh.faces"),
    "24 2,000,001 vertices": (
        mesh_with(vertices=np.zeros((limits.VERTICES + 1, 3), "f4")),
        "TOO_LARGE",
        "$.mesh.vertices",
    ),
    "24 4,000,001 faces": (
        mesh_with(faces=np.zeros((limits.FACES + 1, 3), "i4")),
        "TOO_LARGE",
        "$.mesh.faces",
    ),
    "25 two bodies far apart": (mesh_with(vertices=TWO_FAR), "BAD_SCENE:SIZE", "$.mesh.vertices"),
    "26 a thousandth of a millimetre": (
        mesh_with(vertices=ball(5e-7)[0]),
        "BAD_SCENE:SIZE",
        "$.mesh.vertices",
    ),
    "26 ten kilometres": (mesh_with(vertices=ball(5e3)[0]), "BAD_SCENE:SIZE", "$.mesh.vertices"),
    "30 UVs of other faces": (
        mesh_with(corner_uvs=ball()[2][:-1]),
        "BAD_SCENE:SHAPE",
        "$.mesh.corner_uvs",
    ),
    "31 UV is NaN": (uvs_with(np.nan), "BAD_SCENE:NOT_FINITE", "$.mesh.corner_uvs[3]"),
    "31 UV is infinite": (uvs_with(np.inf), "BAD_SCENE:NOT_FINITE", "$.mesh.corner_uvs[3]"),
    "32 UV is a million": (uvs_with(1e6), "BAD_SCENE:UV", "$.mesh.corner_uvs"),
    "37 no cameras": (
        Scene(body(), dataclasses.replace(cameras(1), names=())),
        "BAD_SCENE:CAMERA",
        "$.cameras",
    ),
    "38 65 cameras": (Scene(body(), cameras(65)), "TOO_LARGE", "$.cameras"),
    "39 matrix with NaN": (pose_with(unknown), "BAD_SCENE:NOT_FINITE", "$.cameras.T_world_cam[2]"),
    "39 scaled matrix": (pose_with(scaled), "BAD_SCENE:CAMERA", "$.cameras.T_world_cam[2]"),
    "39 mirrored matrix": (pose_with(mirrored), "BAD_SCENE:CAMERA", "$.cameras.T_world_cam[2]"),
    "39 sheared matrix": (pose_with(sheared), "BAD_SCENE:CAMERA", "$.cameras.T_world_cam[2]"),
    "39 projective matrix": (pose_with(projective), "BAD_SCENE:CAMERA", "$.cameras.T_world_cam[2]"),
    "39 far away": (pose_with(far), "BAD_SCENE:CAMERA", "$.cameras.T_world_cam[2]"),
    "40 lens 0": (lens_with(0, 0, 0), "BAD_SCENE:CAMERA", "$.cameras.K[2]"),
    "40 lens 1e9": (lens_with(1, 1, 1e9), "BAD_SCENE:CAMERA", "$.cameras.K[2]"),
    "40 lens NaN": (lens_with(1, 1, np.nan), "BAD_SCENE:NOT_FINITE", "$.cameras.K[2]"),
    "41 neither flat nor not": (
        cameras_with(orthographic=np.full(4, 2, "u1")),
        "BAD_SCENE:INDEX",
        "$.cameras.orthographic[0]",
    ),
    "44 none sees it": (
        cameras_with(T_world_cam=cameras().T_world_cam @ np.diag([-1, 1, -1, 1]).astype("f4")),
        "BAD_SCENE:CAMERA",
        "$.cameras",
    ),
    "46 no pixels": (cameras_with(width=0), "BAD_SCENE:CAMERA", "$.cameras.width"),
    "46 one pixel": (cameras_with(height=1), "BAD_SCENE:CAMERA", "$.cameras.height"),
    "46 100,000 pixels": (cameras_with(width=100_000), "BAD_SCENE:CAMERA", "$.cameras.width"),
    "46 true pixels": (cameras_with(width=True), "BAD_SCENE:CAMERA", "$.cameras.width"),
    "47 negative sensor": (lens_with(0, 0, -600), "BAD_SCENE:CAMERA", "$.cameras.K[2]"),
    "48 shifted by 1e6": (lens_with(0, 2, 1e6), "BAD_SCENE:CAMERA", "$.cameras.K[2]"),
    "not an intrinsic matrix": (lens_with(2, 2, 2), "BAD_SCENE:CAMERA", "$.cameras.K[2]"),
    "too few kinds": (cameras_with(kinds=("body",)), "BAD_SCENE:SHAPE", "$.cameras.kinds"),
    "too few prompts": (cameras_with(prompts=("x",)), "BAD_SCENE:SHAPE", "$.cameras.kinds"),
    "prompt with NUL": (
        cameras_with(prompts=("", "\0", "", "")),
        "BAD_SCENE:CAMERA",
        "$.cameras.prompts[1]",
    ),
    "72 unknown kind": (
        cameras_with(kinds=("body", "feet", "body", "body")),
        "BAD_SCENE:CAMERA",
        "$.cameras.kinds[1]",
    ),
    "53 big-endian": (mesh_with(vertices=ball()[0].astype(">f4")), "BAD_SCENE:DTYPE", "$.mesh.vertices"),
    "53 objects": (mesh_with(vertices=ball()[0].astype(object)), "BAD_SCENE:DTYPE", "$.mesh.vertices"),
    "54 f8 for f4": (mesh_with(vertices=ball()[0].astype("f8")), "BAD_SCENE:DTYPE", "$.mesh.vertices"),
    "a list": (mesh_with(vertices=ball()[0].tolist()), "BAD_SCENE:DTYPE", "$.mesh.vertices"),
    "long name": (mesh_with(name="x" * 129), "BAD_SCENE:NAME", "$.mesh.name"),
    "name with a bell": (mesh_with(name="\x07"), "BAD_SCENE:NAME", "$.mesh.name"),
    "rig of no joints": (rig_with(joint_names=()), "TOO_LARGE", "$.mesh.rig.joint_names"),
    "joint twice": (rig_with(joint_names=("a", "a")), "BAD_SCENE:RIG", "$.mesh.rig.joint_names"),
    "joint is its own parent": (
        rig_with(joint_parents=np.array([-1, 1], "i4")),
        "BAD_SCENE:RIG",
        "$.mesh.rig.joint_parents[1]",
    ),
    "child before parent": (
        rig_with(joint_parents=np.array([1, -1], "i4")),
        "BAD_SCENE:RIG",
        "$.mesh.rig.joint_parents[0]",
    ),
    "weights do not add up": (
        rig_with(weights=np.full((V, 2), 0.4, "f4")),
        "BAD_SCENE:RIG",
        "$.mesh.rig.weights[0]",
    ),
    "negative weight": (
        rig_with(weights=np.tile(np.array([1.5, -0.5], "f4"), (V, 1))),
        "BAD_SCENE:RIG",
        "$.mesh.rig.weights[0]",
    ),
    "weight of no joint": (
        rig_with(weight_joints=np.full((V, 2), 2, "i4")),
        "BAD_SCENE:INDEX",
        "$.mesh.rig.weight_joints[0]",
    ),
    "weights of other vertices": (
        rig_with(weights=np.ones((V - 1, 2), "f4")),
        "BAD_SCENE:SHAPE",
        "$.mesh.rig.weights",
    ),
    "33 weights a vertex": (
        rig_with(weight_joints=np.zeros((V, 33), "i4")),
        "TOO_LARGE",
        "$.mesh.rig.weight_joints",
    ),
    "joint frame is NaN": (
        rig_with(T_rest_joint=np.full((2, 4, 4), np.nan, "f4")),
        "BAD_SCENE:NOT_FINITE",
        "$.mesh.rig.T_rest_joint[0]",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_scenes_name_their_field(name: str) -> None:
    bad, code, path = MALFORMED[name]
    error = refusal(lambda: check_scene(bad))
    assert (error.code, error.path) == (code, path)
    assert refusal(lambda: pack_scene(bad)).path == path


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


def test_the_file_written_by_hand_is_the_real_one() -> None:
    assert unchecked(scene()) == PACKED


ONLY_IN_MEMORY = ("53 ", "54 ", "12 ", "a list", "38 ", "long name", "46 true", "72 ", "prompt with NUL")
"""Cases that no file can hold, or that are refused by their header in other words."""


@pytest.mark.parametrize("name", [n for n in MALFORMED if not n.startswith(ONLY_IN_MEMORY)])
def test_the_server_refuses_what_a_client_let_through(name: str) -> None:
    bad, code, path = MALFORMED[name]
    error = refusal(lambda: unpack_scene(unchecked(bad)))
    assert (error.code, error.path) == (code, path)


# Malformed files


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


@pytest.mark.parametrize("name", FILES)
def test_malformed_files_name_their_field(name: str) -> None:
    data, path = FILES[name]
    error = refusal(lambda: unpack_scene(data))
    assert error.code.startswith("BAD_SCENE")
    assert error.path == path


@settings(max_examples=3_000, deadline=None, database=None)
@given(st.integers(0, 2**64 - 1))
def test_mutated_files(seed: int) -> None:
    source = random.Random(seed)
    data = bytearray(PACKED)
    header = 12 + int.from_bytes(PACKED[8:12], "little")
    for _ in range(source.randint(1, 3)):
        at = source.randrange(header if source.random() < 0.9 else len(data))
        if source.random() < 0.3:
            del data[at : at + source.randrange(1, 9)]
        else:
            data[at] = source.randrange(256)
    read, code = None, ""
    try:
        read = unpack_scene(data)
    except ProtocolError as error:
        code = error.code
    assert (code in ERRORS) != (read is not None)
    if read is not None:
        check_scene(read)


# Settings

BAD_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "71 empty": ({"prompt": ""}, "prompt"),
    "71 blank": ({"prompt": "  "}, "prompt"),
    "71 2,001 characters": ({"prompt": "x" * 2_001}, "prompt"),
    "71 turned writing": ({"prompt": "a \u202e man"}, "prompt"),
    "71 two lines": ({"prompt": "a\nman"}, "prompt"),
    "71 surrogate": ({"prompt": "a \ud800"}, "prompt"),
    "71 negative": ({"negative": "x" * 2_001}, "negative"),
    "72 method is a path": ({"method": "../x"}, "method"),
    "prior is a path": ({"prior": "/etc"}, "prior"),
    "no prior": ({"prior": ""}, "prior"),
    "73 seed -1": ({"seed": -1}, "seed"),
    "73 seed 2^64": ({"seed": 2**64}, "seed"),
    "73 seed is a fraction": ({"seed": 1.5}, "seed"),
    "74 no steps": ({"steps": 0}, "steps"),
    "74 1e9 steps": ({"steps": 10**9}, "steps"),
    "74 true steps": ({"steps": True}, "steps"),
    "texture of 100": ({"texture_size": 100}, "texture_size"),
    "texture of 1001": ({"texture_size": 1001}, "texture_size"),
    "size of 64": ({"size": 64}, "size"),
    "guidance 0": ({"guidance": 0.0}, "guidance"),
    "guidance NaN": ({"guidance": float("nan")}, "guidance"),
    "guidance is true": ({"guidance": True}, "guidance"),
    "reference is 1": ({"reference": 1}, "reference"),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_bad_settings_name_their_field(name: str) -> None:
    changes, field = BAD_SETTINGS[name]
    bad = dataclasses.replace(Settings("a man"), **changes)
    error = refusal(lambda: check_settings(bad))
    assert (error.code, error.path) == ("BAD_SETTINGS", f"$.settings.{field}")


@pytest.mark.parametrize(
    "prompt", ["%s{}{0}%n", "'; DROP TABLE jobs; --", "女人穿红色外套", "café", "x" * 2_000, "$(reboot)"]
)
def test_a_prompt_is_only_a_prompt(prompt: str) -> None:
    check_settings(Settings(prompt))


@settings(max_examples=500, deadline=None, database=None)
@given(st.text(max_size=200))
def test_a_cleaned_prompt_is_accepted_and_stays_as_it_is(text: str) -> None:
    cleaned = clean_prompt(text)
    assert clean_prompt(cleaned) == cleaned
    if cleaned:
        check_settings(Settings(cleaned))


def test_cleaning_keeps_words_apart() -> None:
    assert clean_prompt("a\tman\r\n in\u2028red \x00\u202e") == "a man in red"
    assert clean_prompt("cafe\u0301") == "café"


# What is only doubtful


def doubts(of: Scene) -> dict[str, str]:
    check_scene(of)
    return {doubt.code: doubt.repair for doubt in warnings_of(of)}


def test_a_good_scene_has_no_doubts() -> None:
    assert doubts(scene()) == {}


def test_doubtful_uvs() -> None:
    uvs = ball()[2]
    assert doubts(mesh_with(corner_uvs=None)) == {"UV_MISSING": "unwrap"}
    assert doubts(mesh_with(corner_uvs=uvs + np.array([1, 0], "f4"))) == {"UV_OUTSIDE": "unwrap"}
    half = uvs * np.array([0.5, 1], "f4")
    mirrored_halves = np.concatenate([half[::2], np.tile(half[:1], (F // 2, 1, 1))])
    assert doubts(mesh_with(corner_uvs=mirrored_halves))["UV_OVERLAP"] == "unwrap"
    corner = np.array([[0, 0], [1, 0], [0, 1]]) * np.linspace(0.5, 1, F)[:, None, None]
    assert doubts(mesh_with(corner_uvs=corner.astype("f4")))["UV_OVERLAP"] == "unwrap"
    assert doubts(mesh_with(corner_uvs=np.full_like(uvs, 0.5))) == {"UV_FLAT": "unwrap"}
    turned = uvs.copy()
    turned[:9] = turned[:9, ::-1]
    assert doubts(mesh_with(corner_uvs=turned)) == {"UV_FLIPPED": ""}


def test_doubtful_meshes() -> None:
    vertices, faces, uvs = ball()

    def made(faces: np.ndarray, vertices: np.ndarray = vertices) -> dict[str, str]:
        return doubts(
            mesh_with(vertices=vertices, faces=faces, corner_uvs=np.resize(uvs, (len(faces), 3, 2)))
        )

    turned = faces.copy()
    turned[:9] = turned[:9, ::-1]
    assert made(turned)["WINDING"] == "recalculate_normals"
    assert made(faces[5:])["HOLES"] == "fill_holes"
    assert made(np.concatenate([faces, faces[:3]]))["DOUBLE_FACES"] == "merge"
    assert made(np.concatenate([faces, [[3, 3, 4]]]).astype("i4"))["FLAT_FACES"] == "merge"
    fin = np.concatenate([faces, [[faces[0, 0], faces[0, 1], V - 5]]]).astype("i4")
    assert made(fin)["NON_MANIFOLD"] == "merge"
    loose = np.concatenate([vertices, np.zeros((3, 3), "f4")])
    assert made(faces, loose)["LOOSE"] == "delete_loose"
    assert doubts(mesh_with(vertices=ball(50.0)[0])) == {"SIZE": "apply_scale"}
    assert doubts(mesh_with(vertices=ball(0.05)[0])) == {"SIZE": "apply_scale"}


def test_doubtful_cameras() -> None:
    ring = cameras()
    T = ring.T_world_cam.copy()
    T[1, :3, 3] = (0.1, 0.1, 0)
    assert doubts(cameras_with(T_world_cam=T)) == {"CAMERA_INSIDE": "reset_camera"}
    T = ring.T_world_cam.copy()
    T[1, :3, :3] = T[3, :3, :3]
    assert doubts(cameras_with(T_world_cam=T)) == {"CAMERA_BLIND": "reset_camera"}
    T = ring.T_world_cam.copy()
    T[1] = T[3]
    assert doubts(cameras_with(T_world_cam=T)) == {"CAMERA_TWICE": ""}


def test_serious_doubts_come_first() -> None:
    told = warnings_of(mesh_with(faces=ball()[1][5:], corner_uvs=None))
    assert [doubt.serious for doubt in told] == sorted((doubt.serious for doubt in told), reverse=True)
    assert {doubt.serious for doubt in told} == {True, False}
