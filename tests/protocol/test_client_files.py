"""Files of a job: pulled under credit, continued where they stopped, checked, put in place."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from protocol_samples import JOB
from protocol_server import Desk

from vitruvian_protocol import ProtocolError, events, limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.errors import explain

DATA = bytes(range(256)) * 8_000
NAME = "albedo.png"


def begin(desk: Desk, data: bytes = DATA, offset: int | None = None) -> m.ArtifactGet:
    """Answer the client's request for a file, with the head of `data` that it may send."""
    desk.poll()
    get = desk.wire.one(m.ArtifactGet)
    start = get.offset if offset is None else offset
    sha256 = hashlib.sha256(data).hexdigest()
    desk.wire.answer(m.ArtifactBegin(re=get.mid, size=len(data), sha256=sha256, offset=start))
    return get


def chunks(get: m.ArtifactGet, data: bytes, start: int, end: int) -> list[m.Message]:
    step = limits.CHUNK_BYTES
    return [
        m.ArtifactChunk(re=get.mid, offset=at, data=memoryview(data[at : min(at + step, end)]))
        for at in range(start, end, step)
    ]


def test_a_file_arrives_under_credit_and_is_put_in_place(desk: Desk, tmp_path: Path) -> None:
    target = tmp_path / "results" / NAME
    desk.client.fetch(JOB, NAME, target)
    get = begin(desk)
    assert (get.job, get.name, get.offset, get.credit) == (JOB, NAME, 0, limits.WINDOW_BYTES)
    half = 4 * limits.CHUNK_BYTES
    told = desk.answer(*chunks(get, DATA, 0, half))
    assert told == [events.FetchProgress(JOB, NAME, half, len(DATA))]
    assert not target.exists()
    credit = desk.wire.one(m.Credit)
    assert (credit.transfer, credit.size) == (get.mid, limits.GRANT_BYTES)
    told = desk.answer(*chunks(get, DATA, half, len(DATA)))
    assert told == [events.Fetched(JOB, NAME, target)]
    assert target.read_bytes() == DATA
    assert desk.wire.one(m.ArtifactAck).sha256 == hashlib.sha256(DATA).hexdigest()
    assert [path.name for path in target.parent.iterdir()] == [NAME]


@pytest.mark.parametrize("share", [0, 1, 50, 99, 100])
def test_a_file_is_continued_where_the_connection_was_cut(desk: Desk, tmp_path: Path, share: int) -> None:
    target = tmp_path / NAME
    desk.client.fetch(JOB, NAME, target)
    sent = len(DATA) * share // 100
    get = begin(desk)
    if share < 100:
        desk.answer(*chunks(get, DATA, 0, sent))
    else:  # everything was written, and the client was killed before the file was in its place
        desk.poll()
        (tmp_path / f"{NAME}.part").write_bytes(DATA)
        desk = Desk()
        desk.client.fetch(JOB, NAME, target)
        desk.greet()
    if share < 100:
        desk.lose()
        desk.greet()
    again = begin(desk)
    assert again.offset == sent
    told = desk.answer(*chunks(again, DATA, sent, len(DATA)))
    assert told == [events.Fetched(JOB, NAME, target)]
    assert target.read_bytes() == DATA


def test_what_an_earlier_session_left_is_hashed_and_continued(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(DATA[:1_000_000])
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    get = begin(desk)
    assert get.offset == 1_000_000
    told = desk.answer(*chunks(get, DATA, 1_000_000, len(DATA)))
    assert told == [events.Fetched(JOB, NAME, tmp_path / NAME)]


def test_a_damaged_part_is_noticed_and_fetched_from_the_start(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(b"x" + DATA[1:1_000_000])
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    get = begin(desk)
    assert desk.answer(*chunks(get, DATA, 1_000_000, len(DATA)))[:1] != [
        events.Fetched(JOB, NAME, tmp_path / NAME)
    ]
    again = begin(desk)
    assert again.offset == 0
    told = desk.answer(*chunks(again, DATA, 0, len(DATA)))
    assert told == [events.Fetched(JOB, NAME, tmp_path / NAME)]
    assert (tmp_path / NAME).read_bytes() == DATA


def test_damaged_twice_is_told_and_nothing_is_left_in_its_place(desk: Desk, tmp_path: Path) -> None:
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    for _ in range(2):
        get = begin(desk)
        told = desk.answer(*chunks(get, bytes(len(DATA)), 0, len(DATA)))
    assert [type(event) for event in told] == [events.FetchFailed]
    assert told[0] == events.FetchFailed(JOB, NAME, explain("CORRUPT", problem="its checksum is wrong"))
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize("offset", [1, len(DATA) - 1])
def test_pieces_that_do_not_fit_are_not_written(desk: Desk, tmp_path: Path, offset: int) -> None:
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    get = begin(desk)
    piece = m.ArtifactChunk(re=get.mid, offset=offset, data=memoryview(b"xy"))
    desk.answer(piece)
    assert (tmp_path / f"{NAME}.part").stat().st_size == 0
    assert desk.wire.one(m.TransferStop).transfer == get.mid
    assert begin(desk).offset == 0


def test_a_server_that_cannot_continue_starts_anew(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(bytes(5_000_000))
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    get = begin(desk, offset=0)
    assert get.offset == 5_000_000
    told = desk.answer(*chunks(get, DATA, 0, len(DATA)))
    assert told == [events.Fetched(JOB, NAME, tmp_path / NAME)]
    assert (tmp_path / NAME).read_bytes() == DATA


def test_a_part_that_is_longer_than_the_file_is_begun_anew(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(bytes(5_000_000))
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    desk.poll()
    assert desk.answer(desk.error(desk.wire.one(m.ArtifactGet).mid, "BAD_FIELD")) == []
    get = begin(desk)
    assert get.offset == 0
    assert events.Fetched(JOB, NAME, tmp_path / NAME) in desk.answer(*chunks(get, DATA, 0, len(DATA)))


def test_an_empty_file(desk: Desk, tmp_path: Path) -> None:
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    begin(desk, b"")
    assert desk.poll() == [events.Fetched(JOB, NAME, tmp_path / NAME)]
    assert (tmp_path / NAME).read_bytes() == b""


def test_files_come_one_after_the_other(desk: Desk, tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "a.png"):
        desk.client.fetch(JOB, name, tmp_path / name)
    for name in ("a.png", "b.png"):
        get = begin(desk)
        assert get.name == name
        assert desk.answer(*chunks(get, DATA, 0, len(DATA)))[0] == events.Fetched(JOB, name, tmp_path / name)
    assert not desk.wire.taken(m.ArtifactGet)


def test_many_files_come_as_quickly_as_the_server_lets_them(desk: Desk, tmp_path: Path) -> None:
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    for _ in range(5):
        desk.poll()
        assert desk.answer(desk.error(desk.wire.one(m.ArtifactGet).mid, "RATE")) == []
        assert not desk.wire.taken(m.ArtifactGet)
        desk.answer(m.Pong())
        desk.poll(seconds=1.1)
    get = begin(desk)
    assert desk.answer(*chunks(get, DATA, 0, len(DATA)))[0] == events.Fetched(JOB, NAME, tmp_path / NAME)


def test_a_file_that_is_gone_does_not_hold_up_the_next(desk: Desk, tmp_path: Path) -> None:
    desk.client.fetch(JOB, "gone.png", tmp_path / "gone.png")
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    desk.poll()
    get = desk.wire.one(m.ArtifactGet)
    told = desk.answer(desk.error(get.mid, "UNKNOWN_ARTIFACT"))
    assert told == [events.FetchFailed(JOB, "gone.png", explain("UNKNOWN_ARTIFACT"))]
    assert begin(desk).name == NAME


def test_a_folder_that_cannot_be_written_is_told(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    desk.client.fetch(JOB, NAME, tmp_path / "file" / NAME)
    told = desk.poll()
    assert isinstance(told[0], events.FetchFailed)
    assert told[0].error.code == "FILE_LOCAL"
    assert str(tmp_path) in told[0].error.sentence


def test_a_link_in_the_way_is_not_followed(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / f"{NAME}.part").symlink_to(tmp_path / "precious")
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    assert [type(event) for event in desk.poll()] == [events.FetchFailed]
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_full_disk_is_told_before_the_first_byte(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000})())
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    get = begin(desk)
    told = desk.poll()
    assert [e.error.code for e in told if isinstance(e, events.FetchFailed)] == ["DISK_FULL_LOCAL"]
    assert desk.wire.one(m.TransferStop).transfer == get.mid


@pytest.mark.parametrize("name", ["../albedo.png", "/etc/passwd", "a/b", "", "A.png", "x" * 65])
def test_names_that_are_paths_are_not_asked_for(desk: Desk, tmp_path: Path, name: str) -> None:
    with pytest.raises(ProtocolError):
        desk.client.fetch(JOB, name, tmp_path / "x")


def test_fetching_can_be_stopped(desk: Desk, tmp_path: Path) -> None:
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    get = begin(desk)
    desk.answer(*chunks(get, DATA, 0, limits.CHUNK_BYTES))
    desk.client.stop_fetching(JOB)
    assert desk.wire.one(m.TransferStop).transfer == get.mid
    assert desk.answer(*chunks(get, DATA, limits.CHUNK_BYTES, len(DATA))) == []
    assert (tmp_path / f"{NAME}.part").stat().st_size == limits.CHUNK_BYTES


def test_a_file_that_stops_coming_is_asked_for_again(desk: Desk, tmp_path: Path) -> None:
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    desk.answer(*chunks(begin(desk), DATA, 0, limits.CHUNK_BYTES))
    while len(desk.wires) == 1:
        desk.wire.answer(m.Pong())
        desk.poll(seconds=1.0)
        assert desk.now < 200
    desk.greet()
    assert begin(desk).offset == limits.CHUNK_BYTES
