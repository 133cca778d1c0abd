"""Requests for jobs by themselves: answered only once they are on the disk, all of one turn together."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from raw import request_for
from serving import small_scene

from vitruvian.service.admission import Admission
from vitruvian.service.background import Background
from vitruvian.service.config import ServeConfig
from vitruvian.service.disk import Disk
from vitruvian.service.office import Office
from vitruvian.service.session import Session
from vitruvian.service.store import Store
from vitruvian.service.uploads import blob_path
from vitruvian_protocol import messages as m
from vitruvian_protocol.codec import pack_scene
from vitruvian_protocol.scene import Settings

BLOB = pack_scene(small_scene())
SHA = "ab" * 32


class Counter:
    """An admission with a store of its own; `answers` is what clients would hear."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = ServeConfig(folder, queued_per_user=3, queued=5)
        self.store, self.background = Store(folder / "jobs.sqlite"), Background()
        self.answers: list[m.Message] = []
        self.on_disk: list[set[str]] = []
        """Jobs that a machine which loses its power at the moment of each answer finds again."""
        self.later: list[m.Message] = []
        self.cancelled: list[str] = []
        self.admission = Admission(self.office(), lambda _, message: self.later.append(message))

    def office(self) -> Office:
        nobody = cast(Any, None)
        disk = cast(Disk, SimpleNamespace(has_room=lambda: True))
        dispatcher = cast(Any, SimpleNamespace(cancel=self.cancelled.append))
        return Office(
            self.config, self.store, disk, dispatcher, nobody, self.background, self.reply, lambda: 0.0
        )

    def reply(self, session: Session, message: m.Message) -> None:
        self.answers.append(message)
        for name in ("jobs.sqlite", "jobs.sqlite-wal"):
            (self.folder / f"copy-{name}").write_bytes((self.folder / name).read_bytes())
        copy = sqlite3.connect(self.folder / "copy-jobs.sqlite")
        self.on_disk.append({name for (name,) in copy.execute("SELECT name FROM jobs")})
        copy.close()

    def put(self, session: Session, blob: bytes = BLOB) -> Path:
        path = blob_path(self.config.blobs, session.owner, SHA)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(blob)
        return path

    def look_through(self) -> None:
        """Until all scenes are checked that were given to the thread."""
        self.background._pool.submit(lambda: None).result()
        self.background.finish()


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    one = Counter(tmp_path)
    yield one
    one.background.close()
    one.store.close()


def person(name: str = "ada") -> Session:
    return Session(name.encode(), name, m.new_id(), 0.0)


def request(prompt: str = "a person", **changes: Any) -> m.Submit:
    return replace(request_for(BLOB, Settings(prompt), SHA), **changes)


def test_nobody_is_answered_before_all_of_a_turn_are_on_the_disk(counter: Counter) -> None:
    sessions = [person(name) for name in ("ada", "ben", "cleo")]
    asked = [request() for _ in sessions]
    for session, one in zip(sessions, asked, strict=True):
        counter.put(session)
        counter.admission.ask(session, one)
    counter.look_through()
    assert not counter.answers
    counter.admission.accept_waiting()
    assert [type(answer) for answer in counter.answers] == [m.Accepted] * 3
    assert [a.position for a in counter.answers if isinstance(a, m.Accepted)] == [0, 1, 2]
    assert counter.on_disk == [{one.job for one in asked}] * 3
    counter.admission.accept_waiting()
    assert len(counter.answers) == 3


def test_one_that_is_refused_does_not_stop_the_others(counter: Counter) -> None:
    ada = person()
    counter.put(ada)
    first = request("first")
    asked = [first, first, request("another", job=first.job), request("last")]
    for one in asked:
        counter.admission.ask(ada, one)
    counter.look_through()
    counter.admission.accept_waiting()
    told = [a.duplicate if isinstance(a, m.Accepted) else cast(Any, a).error.code for a in counter.answers]
    assert told == [False, True, "ID_CONFLICT", False]
    assert len(counter.store.jobs()) == 2


def test_a_full_disk_takes_none_of_them_on(counter: Counter) -> None:
    ada = person()
    counter.put(ada)
    pages = counter.store._db.execute("PRAGMA page_count").fetchone()[0]
    counter.store._db.execute(f"PRAGMA max_page_count = {pages}")
    asked = [request("x" * 2000) for _ in range(3)]
    for one in asked:
        counter.admission.ask(ada, one)
    counter.look_through()
    counter.admission.accept_waiting()
    assert [cast(Any, a).error.code for a in counter.answers] == ["DISK_FULL_SERVER"] * 3
    assert counter.store.jobs() == []
    counter.store._db.execute(f"PRAGMA max_page_count = {pages + 1000}")
    counter.admission.ask(ada, asked[0])
    counter.admission.accept_waiting()
    assert isinstance(counter.answers[-1], m.Accepted)


def test_limits_count_those_of_the_same_turn(counter: Counter) -> None:
    ada = person()
    counter.put(ada)
    for n in range(5):
        counter.admission.ask(ada, request(f"number {n}"))
    counter.look_through()
    counter.admission.accept_waiting()
    codes = [a.error.code if isinstance(a, m.Rejected) else "" for a in counter.answers]
    assert codes == ["", "", "", "QUOTA", "QUOTA"]


def test_what_is_said_of_a_job_waits_for_its_answer(counter: Counter) -> None:
    ada, ben = person(), person("ben")
    counter.put(ada)
    asked = request()
    counter.admission.ask(ada, asked)
    assert counter.admission.hold_back(ada, cancel := m.Cancel(job=asked.job))
    assert not counter.admission.hold_back(ada, m.Cancel(job=m.new_id()))
    assert not counter.admission.hold_back(ben, m.Cancel(job=asked.job))
    counter.look_through()
    assert not counter.later
    counter.admission.accept_waiting()
    assert counter.later == [cancel]
    assert not counter.admission.hold_back(ada, cancel)


def test_a_scene_that_is_none_is_refused_and_thrown_away(counter: Counter) -> None:
    ada = person()
    path = counter.put(ada, BLOB[:-1] + b"\xff")
    asked = request()
    counter.admission.ask(ada, asked)
    assert counter.admission.hold_back(ada, attach := m.Attach(job=asked.job))
    counter.look_through()
    (answer,) = counter.answers
    assert isinstance(answer, m.Rejected)
    assert answer.error.code.startswith("BAD_SCENE")
    assert counter.later == [attach]
    assert not path.exists()


def test_who_left_meanwhile_and_wanted_it_cancelled_gets_no_job(counter: Counter) -> None:
    ada = person()
    counter.put(ada)
    stays, goes = request("stays"), request("goes", on_disconnect="cancel")
    for one in (stays, goes):
        counter.admission.ask(ada, one)
    ada.close()
    counter.look_through()
    counter.admission.accept_waiting()
    by_name = {row.name: row.id for row in counter.store.jobs()}
    assert counter.cancelled == [by_name[goes.job]]
