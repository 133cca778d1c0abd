"""The 80 malformed scenes, sent to a real gateway past all that a client of ours would have refused.

Each is refused by the name of its field, or dropped where it is no message at all; the same connection goes
on, and a good job is done at the end. Numbers are those of the list of malformed scenes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, replace

import msgpack
import numpy as np
import pytest
from malformed_files import FILES, buffer_with, file_with, unchecked
from malformed_frames import BUFFERS, FIELDS, HEADERS, frames_of, packed, with_header
from malformed_scenes import MALFORMED, ONLY_IN_MEMORY, F, V, cameras_with, mesh_with, pose_with
from malformed_settings import BAD_SETTINGS
from protocol_samples import SAMPLES
from protocol_scenes import ball, cameras
from raw import Raw, request_for
from serving import Artist, Served, served

from vitruvian_protocol import events as e
from vitruvian_protocol import limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.codec import pack_scene
from vitruvian_protocol.errors import ErrorInfo
from vitruvian_protocol.scene import Scene, Settings


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("malformed") / "state") as running:
        yield running


@pytest.fixture
def raw(gateway: Served) -> Iterator[Raw]:
    """A connection that still answers when the test is over."""
    with Raw(gateway.address) as connection:
        yield connection
        assert isinstance(connection.ask(m.Ping()), m.Pong)
    assert gateway.process is not None
    assert gateway.process.poll() is None


def refusal(answer: m.Message) -> ErrorInfo:
    """Why it was refused: by a code, with words that an artist can read, and not as a fault of the server."""
    assert isinstance(answer, m.Rejected | m.Error), answer
    assert answer.error.code != "INTERNAL"
    assert answer.error.sentence
    assert answer.error.remedy
    return answer.error


@pytest.mark.parametrize("name", [n for n in MALFORMED if n not in ONLY_IN_MEMORY])
def test_scenes_are_refused_by_the_name_of_their_field(name: str, raw: Raw) -> None:
    scene, code, path = MALFORMED[name]
    error = refusal(raw.submit(unchecked(scene)))
    assert (error.code, error.path) == (code, path)


IN_HEADER = {
    "12 unsigned": (buffer_with(dtype="u4"), "$.bufs[0].dtype"),
    "46 true pixels": (file_with(lambda plain: plain["cameras"].update(width=True)), "$.cameras.width"),
    "long name": (file_with(lambda plain: plain["mesh"].update(name="x" * 129)), "$.mesh.name"),
    "prompt with NUL": (
        file_with(lambda plain: plain["cameras"].update(prompts=["", "\0", "", ""])),
        "$.cameras.prompts[1]",
    ),
}
"""What a client's check refuses in memory (`ONLY_IN_MEMORY`) and a file can say, beyond `FILES`."""


@pytest.mark.parametrize("name", [n for n in (*FILES, *IN_HEADER) if n != "empty"])
def test_files_are_refused_by_the_name_of_their_field(name: str, raw: Raw) -> None:
    data, path = {**FILES, **IN_HEADER}[name]
    error = refusal(raw.submit(data))
    assert error.code.startswith("BAD_SCENE")
    assert error.path == path


def test_an_empty_file_is_not_taken(raw: Raw) -> None:
    offer = m.PutBegin(sha256="0" * 64, size=1)
    raw.send_frames(with_header({"size": 0}, offer))
    assert refusal(raw.answer(offer.mid)).path == "$.size"


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_settings_are_refused_by_the_name_of_their_field(name: str, raw: Raw) -> None:
    changes, field = BAD_SETTINGS[name]
    if name == "73 seed 2^64":
        changes = {"seed": 2**64 - 1}  # the largest that msgpack can say
    blob = pack_scene(Scene(mesh_with().mesh, cameras()))
    request = request_for(blob, Settings("a man"), raw.put(blob))
    settings = {**asdict(request.settings), **changes}
    frames = frames_of(request)
    header = {**msgpack.unpackb(frames[1]), "settings": settings}
    packer = msgpack.Packer(unicode_errors="surrogatepass")
    raw.send_frames([frames[0], bytes(packer.pack(header))])
    if name == "71 surrogate":
        assert isinstance(raw.ask(m.Ping()), m.Pong)
        assert request.mid not in [message.re for message in raw.heard]  # no UTF-8: dropped with its header
    else:
        assert refusal(raw.answer(request.mid)).path == f"$.settings.{field}"


@pytest.mark.parametrize("name", FIELDS)
def test_messages_are_refused_by_the_name_of_their_field(name: str, raw: Raw) -> None:
    kind, changes, path = FIELDS[name]
    raw.send_frames(with_header({**changes, "mid": (mid := m.new_id())}, SAMPLES[kind]))
    assert refusal(raw.answer(mid)).path == path


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_are_none_are_dropped(name: str, raw: Raw) -> None:
    raw.send_frames([limits.MAGIC, HEADERS[name]])
    assert isinstance(raw.ask(m.Ping()), m.Pong)
    assert not any(isinstance(message, m.Error) for message in raw.heard)


def test_68_a_header_of_a_byte_too_much_is_dropped(raw: Raw) -> None:
    empty = {"t": "ping", "mid": m.new_id(), "x": ""}
    header = packed({**empty, "x": "a" * (limits.HEADER_BYTES + 1 - len(packed(empty)) - 2)})
    assert len(header) == limits.HEADER_BYTES + 1
    raw.send_frames([limits.MAGIC, header])
    assert isinstance(raw.ask(m.Ping()), m.Pong)
    assert empty["mid"] not in [message.re for message in raw.heard]


@pytest.mark.parametrize("name", BUFFERS)
def test_buffers_that_do_not_fit_are_dropped_or_refused(name: str, raw: Raw) -> None:
    entries, path = BUFFERS[name]
    raw.send_frames(with_header({"bufs": entries, "mid": m.new_id()}, SAMPLES["put_chunk"]))
    assert isinstance(raw.ask(m.Ping()), m.Pong)
    told = [message.error.path for message in raw.heard if isinstance(message, m.Error)]
    assert told in ([], [path])


def test_59_an_empty_buffer_is_refused(raw: Raw) -> None:
    entry = {"name": "data", "dtype": "u1", "shape": [0], "nbytes": 0, "crc32": 0}
    frames = with_header({"bufs": [entry], "mid": (mid := m.new_id())}, SAMPLES["put_chunk"])
    raw.send_frames([*frames[:2], b""])
    assert refusal(raw.answer(mid)).path == "$.data"


def test_80_a_request_with_another_hash_is_refused(raw: Raw) -> None:
    error = refusal(raw.submit(pack_scene(mesh_with()), spec_sha256="0" * 64))
    assert (error.code, error.path) == ("SPEC_HASH", "$.spec_sha256")


def with_faces(*more: tuple[int, int, int]) -> Scene:
    faces = np.concatenate([ball()[1], np.array(more, "i4").reshape(-1, 3)])
    return mesh_with(faces=faces, corner_uvs=None)


def inside(matrix: np.ndarray) -> None:
    matrix[:3, 3] = (0.1, 0.1, 0.0)


DOUBTFUL: dict[str, Scene] = {
    "14 repeated corner": with_faces((3, 3, 4)),
    "15 a face without area": with_faces((3, 4, 3)),
    "16 faces twice": with_faces(*map(tuple, ball()[1][:3])),
    "17 non-manifold edge": with_faces((int(ball()[1][0, 0]), int(ball()[1][0, 1]), V - 5)),
    "18 all faces turned": mesh_with(faces=ball()[1][:, ::-1].copy(), corner_uvs=None),
    "18 some faces turned": mesh_with(
        faces=np.concatenate([ball()[1][:9, ::-1], ball()[1][9:]]), corner_uvs=None
    ),
    "19 holes": mesh_with(faces=ball()[1][5:], corner_uvs=None),
    "20 loose vertices": mesh_with(vertices=np.concatenate([ball()[0], np.zeros((3, 3), "f4")])),
    "26 a hundred metres": mesh_with(vertices=ball(50.0)[0]),
    "29 no UVs": mesh_with(corner_uvs=None),
    "32 outside the unit square": mesh_with(corner_uvs=ball()[2] + np.array([1, 0], "f4")),
    "33 all on top of each other": mesh_with(corner_uvs=np.tile(ball()[2][:1], (F, 1, 1))),
    "34 no area": mesh_with(corner_uvs=np.full_like(ball()[2], 0.5)),
    "35 flipped": mesh_with(corner_uvs=ball()[2][:, ::-1].copy()),
    "41 orthographic": cameras_with(orthographic=np.ones(4, "u1")),
    "43 inside the mesh": pose_with(inside),
    "45 two the same": cameras_with(T_world_cam=cameras().T_world_cam[[0, 0, 2, 3]]),
    "71 format signs": cameras_with(prompts=("%s{}{0}%n", "$(reboot)", "", "")),
}
"""What an honest scene may have: taken, with a warning in the add-on and a note in the report."""


@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_is_only_doubtful_is_taken(name: str, raw: Raw) -> None:
    scene = DOUBTFUL[name]
    scene = replace(scene, cameras=scene.cameras or cameras())
    assert isinstance(raw.submit(unchecked(scene)), m.Accepted)


NOT_ON_THE_WIRE = {
    # Faces travel as triangles, in world space, of one layer: these end in the add-on (tests/addon).
    *(21, 22, 23, 27, 28, 36, 42),
    # Keys tell users apart: tests/service/test_keys.py.
    60,
    # No image travels to the server; those from it are looked at by the client and the add-on.
    *(75, 76, 77, 78, 79),
}


def test_nothing_of_the_list_is_missing() -> None:
    cases = [*MALFORMED, *FILES, *BAD_SETTINGS, *FIELDS, *HEADERS, *BUFFERS, *DOUBTFUL]
    sent = {int(found[0]) for case in cases if (found := re.match(r"\d+", case))} | {59, 68, 80}
    assert sent | NOT_ON_THE_WIRE == set(range(1, 81))
    assert not sent & NOT_ON_THE_WIRE


def test_after_all_of_them_a_good_job_is_done(gateway: Served) -> None:
    with Artist(gateway.address) as artist:
        assert isinstance(artist.end(artist.submit("a person")), e.Done)
