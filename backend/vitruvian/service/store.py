"""Jobs, their events and their results, in SQLite: what was accepted survives kill -9 and a power cut.

Every change of a job's state is a compare-and-set inside one transaction together with the event that tells
it, so a job has one terminal state and its events have no gaps. The attempt number is a fencing token: what
an earlier attempt still has to say is refused.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vitruvian.service.files import StoredFile
from vitruvian.service.ledger import Ledger
from vitruvian.service.rows import (
    SELECT,
    TERMINAL,
    CancelAnswer,
    IdConflict,
    JobRow,
    JobState,
    Lease,
    StoredEvent,
    job_key,
    job_row,
)


class Store(Ledger):
    """What clients, workers and the housekeeping do with jobs."""

    # ---- what clients ask

    def accept(
        self, name: str, owner: str, spec_sha: str, spec: bytes, blobs: Sequence[str], priority: int = 0
    ) -> tuple[JobRow, bool]:
        """Take on a job, durably; what `blobs` names must already be on disk.

        Returns:
            The job, and whether it was there before: the same id with the same specification changes nothing.

        Raises:
            IdConflict: the same id with another specification.
        """
        job = job_key(owner, name)
        with self.together():
            known = self._row(job)
            if known is not None:
                if known.spec_sha != spec_sha:
                    raise IdConflict(name)
                return known, True
            place = self._value("SELECT coalesce(max(place), 0) + 1 FROM jobs")
            self._db.execute(
                "INSERT INTO jobs (id, name, owner, spec_sha, spec, blobs, priority, place, state, created) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?)",
                (job, name, owner, spec_sha, spec, json.dumps(list(blobs)), priority, place, self._wall()),
            )
            self._tell(job, "queued", {})
        return self._require(job), False

    def job(self, job: str) -> JobRow | None:
        """A job by `job_key`; None where it is unknown."""
        return self._row(job)

    def jobs(self, owner: str | None = None, states: Sequence[JobState] = ()) -> list[JobRow]:
        """Jobs in the order they came, all or one owner's, in any or in the given states."""
        where, values = ["1"], []
        if owner is not None:
            where.append("owner = ?")
            values.append(owner)
        if states:
            where.append(f"state IN ({', '.join('?' * len(states))})")
            values += states
        rows = self._db.execute(f"{SELECT} WHERE {' AND '.join(where)} ORDER BY place", values)
        return [job_row(row) for row in rows]

    def cancel(self, job: str) -> CancelAnswer:
        """End a job. Idempotent; a queued one is cancelled at once, a running one when its worker lets go."""
        with self.together():
            row = self._row(job)
            if row is None:
                return "unknown"
            if row.state in TERMINAL:
                return "already_terminal"
            if row.state == "queued":
                self._end(row, "cancelled", {})
                return "dequeued"
            self._db.execute("UPDATE jobs SET cancelling = 1 WHERE id = ?", (job,))
            return "stopping"

    def events(self, job: str, after_seq: int = 0) -> list[StoredEvent]:
        """A job's durable events with a higher number than `after_seq`, in order."""
        rows = self._db.execute(
            "SELECT job, seq, kind, body, at FROM events WHERE job = ? AND seq > ? ORDER BY seq",
            (job, after_seq),
        )
        return [StoredEvent(j, seq, kind, json.loads(body), at) for j, seq, kind, body, at in rows]

    def artifact(self, job: str, name: str) -> tuple[StoredFile, int] | None:
        """A result and the attempt that made it; None where there is none."""
        row = self._db.execute(
            "SELECT name, size, sha256, attempt FROM artifacts WHERE job = ? AND name = ?", (job, name)
        ).fetchone()
        return None if row is None else (StoredFile(*row[:3]), row[3])

    def artifacts(self, job: str) -> list[StoredFile]:
        """What a finished job made, by name."""
        rows = self._db.execute(
            "SELECT name, size, sha256 FROM artifacts WHERE job = ? ORDER BY name", (job,)
        )
        return [StoredFile(*row) for row in rows]

    def mark_fetched(self, job: str, name: str) -> None:
        """The owner has this artifact on disk."""
        with self.together():
            self._db.execute("UPDATE artifacts SET fetched = 1 WHERE job = ? AND name = ?", (job, name))

    def positions(self) -> dict[str, int]:
        """How many queued jobs will start before each queued one."""
        rows = self._db.execute("SELECT id FROM jobs WHERE state = 'queued' ORDER BY priority DESC, place")
        return {job: position for position, (job,) in enumerate(rows)}

    def count(self, states: Sequence[JobState], owner: str | None = None) -> int:
        """Jobs in these states."""
        marks = ", ".join("?" * len(states))
        query = f"SELECT count(*) FROM jobs WHERE state IN ({marks})"
        if owner is None:
            return self._value(query, tuple(states))
        return self._value(f"{query} AND owner = ?", (*states, owner))

    # ---- what workers do

    def lease(self, worker: str, until: float, per_owner: int | None = None) -> Lease | None:
        """The next queued job for `worker`, or None.

        Args:
            until: when the lease ends unless it is renewed, on the caller's monotonic clock.
            per_owner: owners who already have this many jobs at work wait.
        """
        with self.together():
            found = self._db.execute(
                "SELECT id, owner, attempt, spec, blobs FROM jobs AS a WHERE state = 'queued' AND (SELECT "
                "count(*) FROM jobs AS b WHERE b.owner = a.owner AND b.state IN ('leased', 'running')) < ? "
                "ORDER BY priority DESC, place LIMIT 1",
                (per_owner if per_owner is not None else 1 << 30,),
            ).fetchone()
            if found is None:
                return None
            job, owner, attempt, spec, blobs = found
            self._db.execute(
                "UPDATE jobs SET state = 'leased', attempt = ?, worker = ?, lease_until = ? WHERE id = ?",
                (attempt + 1, worker, until, job),
            )
        return Lease(job, owner, attempt + 1, spec, tuple(json.loads(blobs)))

    def start(self, job: str, attempt: int) -> bool:
        """The worker has begun. Like all that follows: False where this attempt no longer holds the job."""
        with self.together():
            row = self._held(job, attempt)
            if row is None or row.state != "leased":
                return False
            self._db.execute(
                "UPDATE jobs SET state = 'running', started = coalesce(started, ?) WHERE id = ?",
                (self._wall(), job),
            )
            self._tell(job, "started", {"attempt": attempt})
        return True

    def renew(self, job: str, attempt: int, until: float) -> bool:
        """The worker lives: the lease is good for longer."""
        changed = self._db.execute(
            "UPDATE jobs SET lease_until = ? WHERE id = ? AND attempt = ? AND state IN ('leased', 'running')",
            (until, job, attempt),
        )
        return changed.rowcount == 1

    def note(self, job: str, attempt: int, kind: str, body: dict[str, Any]) -> bool:
        """A durable event of a running job (a stage, a warning)."""
        with self.together():
            if self._held(job, attempt) is None:
                return False
            self._tell(job, kind, body)
        return True

    def publish(self, job: str, attempt: int, files: Sequence[StoredFile]) -> bool:
        """The job is done and `files` are its results, all of them on disk. Once per job.

        A job that was being cancelled ends cancelled: that is what its owner was told.
        """
        with self.together():
            row = self._held(job, attempt)
            if row is None:
                return False
            if row.cancelling:
                self._end(row, "cancelled", {})
                return False
            self._db.executemany(
                "INSERT INTO artifacts (job, name, attempt, size, sha256) VALUES (?, ?, ?, ?, ?)",
                [(job, file.name, attempt, file.size, file.sha256) for file in files],
            )
            listed = [{"name": f.name, "size": f.size, "sha256": f.sha256} for f in files]
            self._end(row, "done", {"artifacts": listed, "attempt": attempt})
        return True

    def fail(self, job: str, attempt: int, error: dict[str, Any]) -> bool:
        """The job cannot be done; `error` says why (code, path, limit, got, ...)."""
        with self.together():
            row = self._held(job, attempt)
            if row is None:
                return False
            self._end(row, "cancelled" if row.cancelling else "failed", {} if row.cancelling else error)
        return True

    def stopped(self, job: str, attempt: int) -> bool:
        """The worker has let go of a job that was to be cancelled."""
        with self.together():
            row = self._held(job, attempt)
            if row is None:
                return False
            self._end(row, "cancelled", {})
        return True

    def worker_lost(self, job: str, attempt: int, error: dict[str, Any]) -> JobState | None:
        """The worker died under the job: back into the queue at its old place, or failed the third time.

        Args:
            error: what the job fails with, if it does.

        Returns:
            The state it is in now; None where this attempt no longer holds the job.
        """
        with self.together():
            row = self._held(job, attempt)
            if row is None:
                return None
            return self._requeue(row, counts=True, error=error)

    def release(self, job: str, attempt: int) -> bool:
        """Back into the queue through no fault of the job: the service is being stopped."""
        with self.together():
            row = self._held(job, attempt)
            if row is None:
                return False
            self._requeue(row, counts=False, error={})
        return True

    def expired(self, now: float) -> list[tuple[str, int, str]]:
        """(job, attempt, worker) of leases that ran out."""
        rows = self._db.execute(
            "SELECT id, attempt, worker FROM jobs WHERE state IN ('leased', 'running') AND lease_until < ?",
            (now,),
        )
        return [tuple(row) for row in rows]

    def recover(self, error: dict[str, Any]) -> list[str]:
        """At start: jobs that were at work when the last gateway died go back into the queue.

        That counts as a loss, since the job may be what brought the machine down.
        """
        with self.together():
            rows = self.jobs(states=("leased", "running"))
            for row in rows:
                self._requeue(row, counts=True, error=error)
        return [row.id for row in rows]

    # ---- housekeeping

    def finished_before(self, age_limit: float, fetched_limit: float) -> list[str]:
        """Terminal jobs that ended before `age_limit`; done ones before `fetched_limit` where their owner has
        every file. Of a failed one nobody knows whether its owner has heard."""
        rows = self._db.execute(
            "SELECT id FROM jobs WHERE state IN ('done', 'failed', 'cancelled') AND (finished < ? OR "
            "(finished < ? AND state = 'done' AND "
            "NOT EXISTS (SELECT 1 FROM artifacts WHERE job = id AND NOT fetched)))",
            (age_limit, fetched_limit),
        )
        return [job for (job,) in rows]

    def forget(self, jobs: Sequence[str]) -> None:
        """Delete jobs with their events and artifacts' rows."""
        with self.together():
            self._db.executemany("DELETE FROM jobs WHERE id = ?", [(job,) for job in jobs])

    def blobs_in_use(self) -> set[tuple[str, str]]:
        """(owner, hash) of the inputs that some job names."""
        rows = self._db.execute("SELECT owner, blobs FROM jobs")
        return {(owner, sha) for owner, listed in rows for sha in json.loads(listed)}

    def attempts(self) -> dict[str, set[int]]:
        """By job: the attempts whose result folders are wanted (published, or at work now)."""
        wanted: dict[str, set[int]] = {job: set() for (job,) in self._db.execute("SELECT id FROM jobs")}
        for job, attempt in self._db.execute("SELECT DISTINCT job, attempt FROM artifacts"):
            wanted[job].add(attempt)
        for row in self.jobs(states=("leased", "running")):
            wanted[row.id].add(row.attempt)
        return wanted

    def backup(self, target: Path) -> None:
        """A consistent copy, made while in use."""
        part = target.with_name(target.name + ".part")
        copy = sqlite3.connect(part)
        try:
            self._db.backup(copy)
        finally:
            copy.close()
        part.replace(target)
