"""Scenes are bit-exact through their file, and a malformed file is refused by the name of its field."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from malformed_files import FILES, PACKED, arrays_of, unchecked
from protocol_samples import GOLDEN_SCENE
from protocol_scenes import ball, body, cameras, scene
from refusals import refusal

from vitruvian_protocol import MeshArrays, ProtocolError, Scene, check_scene
from vitruvian_protocol.codec import pack_scene, unpack_scene
from vitruvian_protocol.errors import ERRORS
from vitruvian_protocol.scene_file import buffers_to_scene, scene_to_buffers


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


def test_a_scene_of_version_1_is_still_understood() -> None:
    golden = GOLDEN_SCENE.read_bytes()
    old = unpack_scene(golden)
    assert pack_scene(old) == golden
    for name, array in arrays_of(scene()).items():
        # Not bit by bit: another machine's sine may end in another bit.
        assert np.allclose(arrays_of(old)[name], array, atol=1e-6), name
    assert old.cameras is not None
    assert old.cameras.prompts == cameras().prompts


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


def test_the_file_written_by_hand_is_the_real_one() -> None:
    assert unchecked(scene()) == PACKED


# Malformed files


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
