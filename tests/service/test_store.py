"""The store by itself: a state machine over a fake clock, and what survives on disk."""

from __future__ import annotations

import sqlite3
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from vitruvian.core.errors import UserError
from vitruvian.service.files import StoredFile
from vitruvian.service.lock import FolderLock
from vitruvian.service.rows import MAX_LOSSES, TERMINAL, IdConflict, job_key
from vitruvian.service.store import Store

OWNERS = ("ada", "ben")
LEASE = 10.0
ERROR = {"error": {"code": "WORKER_LOST", "sentence": "the worker stopped"}}


@dataclass
class Model:
    """What a job must be like, kept beside the store."""

    owner: str
    name: str
    spec: str
    state: str = "queued"
    attempt: int = 0
    losses: int = 0
    cancelling: bool = False
    until: float = 0.0
    stale: list[int] = field(default_factory=list)


class StoreMachine(RuleBasedStateMachine):
    """Clients, workers and crashes in any order; every step is compared with plain Python."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "jobs.sqlite"
        self.now = 1000.0
        self.store = self.opened()
        self.jobs: dict[str, Model] = {}
        self.order: list[str] = []

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()

    def opened(self) -> Store:
        """The store without its flushes, which take most of the time and are tested by themselves."""
        store = Store(self.path, wall=lambda: self.now)
        store._db.execute("PRAGMA synchronous = OFF")
        return store

    def at_work(self) -> list[tuple[str, Model]]:
        return [(key, job) for key, job in self.jobs.items() if job.state in ("leased", "running")]

    @rule(owner=st.sampled_from(OWNERS), name=st.sampled_from("abcd"), spec=st.sampled_from("xy"))
    def submit(self, owner: str, name: str, spec: str) -> None:
        key = job_key(owner, name)
        known = self.jobs.get(key)
        if known is not None and known.spec != spec:
            with pytest.raises(IdConflict):
                self.store.accept(name, owner, spec, b"{}", [])
            return
        row, duplicate = self.store.accept(name, owner, spec, b"{}", [])
        assert duplicate == (known is not None)
        assert row.id == key
        if known is None:
            self.jobs[key] = Model(owner, name, spec)
            self.order.append(key)

    @rule(per_owner=st.sampled_from((None, 1, 2)))
    def lease(self, per_owner: int | None) -> None:
        lease = self.store.lease("w", self.now + LEASE, per_owner)
        busy = [job.owner for _, job in self.at_work()]
        waiting = [
            key
            for key in self.order
            if self.jobs[key].state == "queued"
            and (per_owner is None or busy.count(self.jobs[key].owner) < per_owner)
        ]
        assert (lease.job if lease else None) == (waiting[0] if waiting else None)
        if lease:
            job = self.jobs[lease.job]
            job.stale.append(job.attempt)
            job.state, job.attempt, job.until = "leased", job.attempt + 1, self.now + LEASE
            assert lease.attempt == job.attempt

    @precondition(lambda self: self.at_work())
    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        key, job = data.draw(st.sampled_from(self.at_work()))
        match data.draw(st.sampled_from(("start", "note", "renew", "publish", "fail", "stopped", "lost"))):
            case "start":
                assert self.store.start(key, job.attempt) == (job.state == "leased")
                job.state = "running"
            case "note":
                assert self.store.note(key, job.attempt, "stage", {"text": "sampling"})
            case "renew":
                assert self.store.renew(key, job.attempt, self.now + LEASE)
                job.until = self.now + LEASE
            case "publish":
                file = StoredFile(f"{key[:4]}.bin", 3, "0" * 64)
                assert self.store.publish(key, job.attempt, [file]) == (not job.cancelling)
                job.state = "cancelled" if job.cancelling else "done"
            case "fail":
                assert self.store.fail(key, job.attempt, ERROR)
                job.state = "cancelled" if job.cancelling else "failed"
            case "stopped":
                assert self.store.stopped(key, job.attempt)
                job.state = "cancelled"
            case "lost":
                self.store.worker_lost(key, job.attempt, ERROR)
                self.lose(job)

    def lose(self, job: Model) -> None:
        job.losses += 1
        job.state = "cancelled" if job.cancelling else "failed" if job.losses >= MAX_LOSSES else "queued"

    @rule(data=st.data())
    def late_word_of_an_old_attempt(self, data: st.DataObject) -> None:
        """Fencing: what an attempt says after it lost the job changes nothing."""
        past = [(key, a) for key, job in self.jobs.items() for a in job.stale]
        past += [(key, job.attempt) for key, job in self.jobs.items() if job.state in ("queued", *TERMINAL)]
        if not past:
            return
        key, attempt = data.draw(st.sampled_from(past))
        before = self.store.job(key)
        assert not self.store.start(key, attempt)
        assert not self.store.publish(key, attempt, [StoredFile("late.bin", 1, "1" * 64)])
        assert not self.store.fail(key, attempt, ERROR)
        assert not self.store.renew(key, attempt, self.now + 1e6)
        assert self.store.worker_lost(key, attempt, ERROR) is None
        assert self.store.job(key) == before

    @rule(owner=st.sampled_from(OWNERS), name=st.sampled_from("abcd"))
    def cancel(self, owner: str, name: str) -> None:
        key = job_key(owner, name)
        job = self.jobs.get(key)
        answer = self.store.cancel(key)
        if job is None:
            assert answer == "unknown"
        elif job.state in TERMINAL:
            assert answer == "already_terminal"
        elif job.state == "queued":
            assert answer == "dequeued"
            job.state = "cancelled"
        else:
            assert answer == "stopping"
            job.cancelling = True

    @rule(seconds=st.sampled_from((1.0, LEASE / 2, LEASE * 2)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        late = {(key, job.attempt) for key, job in self.at_work() if job.until < self.now}
        assert {(job, attempt) for job, attempt, _ in self.store.expired(self.now)} == late

    @rule()
    def crash(self) -> None:
        """The gateway dies and another one opens the same files."""
        self.store.close()
        self.store = self.opened()
        self.store.recover(ERROR)
        for _, job in self.at_work():
            self.lose(job)

    @rule()
    def stop(self) -> None:
        """A stop on purpose is no job's fault."""
        for key, job in self.at_work():
            assert self.store.release(key, job.attempt)
            job.state = "cancelled" if job.cancelling else "queued"

    @invariant()
    def the_store_agrees(self) -> None:
        for key, job in self.jobs.items():
            row = self.store.job(key)
            assert row is not None
            assert (row.state, row.attempt, row.owner) == (job.state, job.attempt, job.owner)
            assert bool(self.store.artifacts(key)) == (job.state == "done")

    @invariant()
    def events_have_no_gaps_and_one_end(self) -> None:
        for key, job in self.jobs.items():
            events = self.store.events(key)
            assert [event.seq for event in events] == list(range(1, len(events) + 1))
            ends = [event.kind for event in events if event.kind in TERMINAL]
            assert ends == ([job.state] if job.state in TERMINAL else [])
            if ends:
                assert events[-1].kind == job.state


StoreMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestStore = StoreMachine.TestCase


def test_what_was_accepted_is_flushed(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite")
    assert store._db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert store._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    store.accept("a", "ada", "x", b"{}", [])
    # Copied without closing, as a machine that loses its power leaves it.
    for name in ("jobs.sqlite", "jobs.sqlite-wal"):
        (tmp_path / f"copy-{name}").write_bytes((tmp_path / name).read_bytes())
    copy = Store(tmp_path / "copy-jobs.sqlite")
    assert [row.name for row in copy.jobs()] == ["a"]
    copy.close()
    store.close()


def test_a_torn_write_at_the_end_loses_nothing_before_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite")
    store.accept("a", "ada", "x", b"{}", [])
    before = (tmp_path / "jobs.sqlite-wal").stat().st_size
    store.accept("b", "ada", "x", b"{}", [])
    wal = (tmp_path / "jobs.sqlite-wal").read_bytes()
    (tmp_path / "torn.sqlite").write_bytes((tmp_path / "jobs.sqlite").read_bytes())
    (tmp_path / "torn.sqlite-wal").write_bytes(wal[: before + 100])
    store.close()
    torn = Store(tmp_path / "torn.sqlite")
    assert [row.name for row in torn.jobs()] == ["a"]
    torn.close()


def test_a_damaged_or_newer_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(UserError, match="damaged"):
        Store(tmp_path / "bad.sqlite")
    newer = sqlite3.connect(tmp_path / "newer.sqlite")
    newer.execute("PRAGMA user_version = 9")
    newer.close()
    with pytest.raises(UserError, match="newer"):
        Store(tmp_path / "newer.sqlite")


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite")
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        store.accept("a", "ada", "x", bytes(100_000), [])
    assert store.jobs() == []
    store._db.execute(f"PRAGMA max_page_count = {pages + 1000}")
    assert store.accept("a", "ada", "x", bytes(100_000), [])[1] is False
    assert [event.kind for event in store.events(job_key("ada", "a"))] == ["queued"]
    store.close()


def test_changes_together_are_made_together_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite")
    with store.together():
        store.accept("a", "ada", "x", b"{}", [])
        with pytest.raises(IdConflict):
            store.accept("a", "ada", "y", b"{}", [])
        store.accept("b", "ada", "x", b"{}", [])
        outside = sqlite3.connect(tmp_path / "jobs.sqlite")
        assert outside.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
    assert outside.execute("SELECT count(*) FROM jobs").fetchone() == (2,)
    outside.close()

    def interrupted() -> None:
        with store.together():
            store.accept("c", "ada", "x", b"{}", [])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert [row.name for row in store.jobs()] == ["a", "b"]
    store.close()


def test_a_backup_is_whole(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite")
    store.accept("a", "ada", "x", b"{}", [])
    store.backup(tmp_path / "backup.sqlite")
    store.close()
    copy = Store(tmp_path / "backup.sqlite")
    assert [row.name for row in copy.jobs()] == ["a"]
    copy.close()


def test_one_gateway_per_folder(tmp_path: Path) -> None:
    with FolderLock(tmp_path), pytest.raises(UserError, match="in use"):
        FolderLock(tmp_path)
    FolderLock(tmp_path).close()


def test_old_jobs_are_forgotten_with_all_that_belongs_to_them(tmp_path: Path) -> None:
    now = [0.0]
    store = Store(tmp_path / "jobs.sqlite", wall=lambda: now[0])
    row, _ = store.accept("a", "ada", "x", b"{}", ["0" * 64])
    store.accept("b", "ada", "x", b"{}", [])
    assert store.lease("w", 1.0) is not None
    store.publish(row.id, 1, [StoredFile("a.bin", 1, "0" * 64)])
    assert store.finished_before(0.0, 100.0) == []
    store.mark_fetched(row.id, "a.bin")
    assert store.finished_before(0.0, 100.0) == [row.id]
    assert store.finished_before(100.0, 0.0) == [row.id]
    assert store.cancel(job_key("ada", "b")) == "dequeued"
    assert store.finished_before(0.0, 100.0) == [row.id], "its owner may not have heard of its end"
    assert len(store.finished_before(100.0, 0.0)) == 2
    store.forget([row.id])
    assert store.job(row.id) is None
    assert store.events(row.id) == []
    assert store.artifacts(row.id) == []
    assert store.blobs_in_use() == set()
    store.close()
