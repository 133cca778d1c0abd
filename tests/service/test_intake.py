"""Uploads by themselves: side by side, broken off, damaged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from vitruvian.service.background import Background
from vitruvian.service.config import ServeConfig
from vitruvian.service.disk import Disk
from vitruvian.service.intake import ALL_CREDIT_BYTES, ALL_UPLOADS, MAX_UPLOADS, Intake
from vitruvian.service.office import Office
from vitruvian.service.session import Session
from vitruvian.service.uploads import STALE_SECONDS, blob_path
from vitruvian_protocol import messages as m
from vitruvian_protocol.limits import CHUNK_BYTES, GRANT_BYTES, SCENE_BYTES, WINDOW_BYTES

BLOB = bytes(range(256)) * 8192
SHA = hashlib.sha256(BLOB).hexdigest()


class Reception:
    """An intake, its answers and a clock."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self.answers: list[tuple[Session, m.Message]] = []
        self.config = ServeConfig(folder)
        self.background = Background()
        self.room = 2**40
        disk = cast(Disk, SimpleNamespace(has_room=lambda size: size <= self.room))
        nobody = cast(Any, None)
        self.intake = Intake(
            Office(self.config, nobody, disk, nobody, nobody, self.background, self.reply, lambda: self.now)
        )

    def reply(self, session: Session, message: m.Message) -> None:
        self.answers.append((session, message))

    def begin(self, session: Session, data: bytes = BLOB, sha256: str = SHA) -> tuple[str, Any]:
        request = m.PutBegin(sha256=sha256, size=len(data))
        self.intake.begin(session, request)
        return request.mid, self.last(session)

    def send(self, session: Session, transfer: str, start: int, end: int, data: bytes = BLOB) -> None:
        for at in range(start, end, CHUNK_BYTES):
            piece = memoryview(data[at : min(at + CHUNK_BYTES, end)])
            self.intake.chunk(session, m.PutChunk(transfer=transfer, offset=at, data=piece))

    def last(self, session: Session) -> Any:
        return [message for to, message in self.answers if to is session][-1]

    def settle(self) -> None:
        """Until the disk has done what it was given."""
        self.background._pool.submit(lambda: None).result()
        self.background.finish()

    @property
    def path(self) -> Path:
        return blob_path(self.config.blobs, "ada", SHA)


@pytest.fixture
def reception(tmp_path: Path) -> Iterator[Reception]:
    one = Reception(tmp_path)
    yield one
    one.background.close()


def new_session(peer: bytes, owner: str = "ada") -> Session:
    return Session(peer, owner, m.new_id(), 0.0)


def test_two_sessions_send_the_same_blob_at_once(reception: Reception) -> None:
    sessions = [new_session(b"1"), new_session(b"2")]
    transfers = [reception.begin(session)[0] for session in sessions]
    half = 4 * CHUNK_BYTES
    for session, transfer in zip(sessions, transfers, strict=True):
        reception.send(session, transfer, 0, half)
    for session, transfer in zip(sessions, transfers, strict=True):
        reception.send(session, transfer, half, len(BLOB))
    reception.settle()
    assert [type(reception.last(session)) for session in sessions] == [m.PutDone, m.PutDone]
    assert reception.path.read_bytes() == BLOB
    assert [p.name for p in reception.path.parent.iterdir()] == [SHA]
    assert reception.begin(new_session(b"3"))[1].offset == len(BLOB)
    assert reception.begin(new_session(b"4", "ben"))[1].offset == 0


def test_a_broken_upload_is_gone_on_with(reception: Reception) -> None:
    first, second = new_session(b"1"), new_session(b"2")
    transfer, _ = reception.begin(first)
    reception.send(first, transfer, 0, 3 * CHUNK_BYTES)
    reception.intake.leave(first)
    again, ready = reception.begin(second)
    assert ready.offset == 3 * CHUNK_BYTES
    reception.send(first, transfer, ready.offset, len(BLOB))
    assert not reception.path.exists()
    reception.send(second, again, ready.offset, len(BLOB))
    reception.settle()
    assert isinstance(reception.last(second), m.PutDone)
    assert reception.path.read_bytes() == BLOB


def test_gaps_and_wrong_hashes_leave_nothing(reception: Reception) -> None:
    session = new_session(b"1")
    transfer, _ = reception.begin(session)
    reception.send(session, transfer, CHUNK_BYTES, 2 * CHUNK_BYTES)
    assert reception.last(session).error.code == "CORRUPT"
    transfer, _ = reception.begin(session, sha256="0" * 64)
    reception.send(session, transfer, 0, len(BLOB))
    reception.settle()
    assert reception.last(session).error.code == "CORRUPT"
    assert not [p for p in reception.config.blobs.rglob("*") if p.is_file()]


def test_credit_is_never_more_than_a_window(reception: Reception) -> None:
    data = bytes(3 * WINDOW_BYTES)
    session = new_session(b"1")
    transfer, ready = reception.begin(session, data, hashlib.sha256(data).hexdigest())
    assert ready.credit == WINDOW_BYTES
    sent, granted = 0, ready.credit
    while sent < len(data):
        assert granted > sent, "the sender would wait for ever"
        reception.answers.clear()
        reception.send(session, transfer, sent, sent + CHUNK_BYTES, data)
        sent += CHUNK_BYTES
        granted += sum(message.size for _, message in reception.answers if isinstance(message, m.Credit))
        assert granted - sent <= WINDOW_BYTES
        assert all(
            message.size >= GRANT_BYTES or granted == len(data)
            for _, message in reception.answers
            if isinstance(message, m.Credit)
        )
    beyond, ready = reception.begin(session, data, "1" * 64)
    reception.send(session, beyond, 0, WINDOW_BYTES + CHUNK_BYTES, data[: WINDOW_BYTES + CHUNK_BYTES])
    assert granted == len(data)


def test_uploads_are_few_and_forgotten(reception: Reception) -> None:
    session = new_session(b"1")
    for n in range(MAX_UPLOADS):
        assert isinstance(reception.begin(session, sha256=f"{n:064x}")[1], m.PutReady)
    assert reception.begin(session, sha256="f" * 64)[1].error.code == "RATE"
    reception.now = STALE_SECONDS + 1.0
    reception.intake.tidy()
    assert isinstance(reception.begin(session, sha256="f" * 64)[1], m.PutReady)
    assert len([p for p in reception.config.blobs.rglob("*") if p.is_file()]) == 1


def test_many_at_once_share_the_credit_and_all_get_on(reception: Reception) -> None:
    """Half-way in a large scene each: what may lie in memory is bounded, and nobody waits for anybody."""
    data = bytes(3 * WINDOW_BYTES)
    sessions = [new_session(bytes([n])) for n in range(40)]
    begun = [reception.begin(session, data, f"{n:064x}") for n, session in enumerate(sessions)]
    most = ALL_CREDIT_BYTES + len(sessions) * CHUNK_BYTES
    assert reception.intake.on_credit <= most
    assert begun[0][1].credit == WINDOW_BYTES
    assert begun[-1][1].credit == CHUNK_BYTES
    transfer, ready = begun[-1]
    sent, granted = 0, ready.credit
    while sent < len(data) - CHUNK_BYTES:
        assert granted > sent, "the sender would wait for ever"
        reception.answers.clear()
        reception.send(sessions[-1], transfer, sent, sent + CHUNK_BYTES, data)
        sent += CHUNK_BYTES
        granted += sum(message.size for _, message in reception.answers if isinstance(message, m.Credit))
        assert reception.intake.on_credit <= most
    for session in sessions[:-1]:
        reception.intake.leave(session)
    assert reception.intake.on_credit <= WINDOW_BYTES


def test_uploads_of_all_together_are_bounded(reception: Reception) -> None:
    sessions = [new_session(b"%d" % n, f"owner {n}") for n in range(ALL_UPLOADS + 1)]
    for session in sessions[:-1]:
        assert isinstance(reception.begin(session)[1], m.PutReady)
    refused = reception.begin(sessions[-1])[1].error
    assert (refused.code, refused.retry) == ("RATE", "later")
    reception.intake.leave(sessions[5])
    assert isinstance(reception.begin(sessions[-1])[1], m.PutReady)


def test_what_is_promised_to_others_is_not_promised_again(reception: Reception) -> None:
    reception.room = 2 * SCENE_BYTES
    offers = [m.PutBegin(sha256=f"{n:064x}", size=SCENE_BYTES) for n in range(3)]
    for offer in offers:
        session = new_session(offer.sha256[:4].encode() + offer.mid.encode())
        reception.intake.begin(session, offer)
    answers = [message for _, message in reception.answers]
    assert [type(answer) for answer in answers] == [m.PutReady, m.PutReady, m.Error]
    assert isinstance(answers[-1], m.Error)
    assert answers[-1].error.code == "DISK_FULL_SERVER"
