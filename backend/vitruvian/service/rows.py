"""How jobs stand in the database, and the values that the store hands out."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vitruvian.core.errors import UserError

JobState = Literal["queued", "leased", "running", "done", "failed", "cancelled"]
CancelAnswer = Literal["dequeued", "stopping", "already_terminal", "unknown"]
TERMINAL: tuple[JobState, ...] = ("done", "failed", "cancelled")
MAX_LOSSES = 3
"""A job whose worker has died this often has failed."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, owner TEXT NOT NULL,
  spec_sha TEXT NOT NULL, spec BLOB NOT NULL, blobs TEXT NOT NULL,
  priority INTEGER NOT NULL, place INTEGER NOT NULL, state TEXT NOT NULL, attempt INTEGER NOT NULL DEFAULT 0,
  losses INTEGER NOT NULL DEFAULT 0, cancelling INTEGER NOT NULL DEFAULT 0, worker TEXT, lease_until REAL,
  error TEXT, created REAL NOT NULL, started REAL, finished REAL);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, priority, place);
CREATE INDEX IF NOT EXISTS jobs_by_owner ON jobs (owner, state);
CREATE TABLE IF NOT EXISTS events (
  job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, seq INTEGER NOT NULL, kind TEXT NOT NULL,
  body TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (job, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS artifacts (
  job TEXT NOT NULL REFERENCES jobs ON DELETE CASCADE, name TEXT NOT NULL, attempt INTEGER NOT NULL,
  size INTEGER NOT NULL, sha256 TEXT NOT NULL, fetched INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (job, name)) WITHOUT ROWID;
PRAGMA user_version = 1;
"""


class IdConflict(Exception):
    """This job id is taken by another specification."""


def job_key(owner: str, name: str) -> str:
    """The store's own id of the job that `owner` calls `name`: nobody's names touch anybody else's jobs."""
    return hashlib.sha256(f"{owner}\n{name}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class JobRow:
    """A job as it stands."""

    id: str
    """`job_key` of the two that follow."""
    name: str
    """The client's own id."""
    owner: str
    state: JobState
    attempt: int
    cancelling: bool
    spec_sha: str
    worker: str | None
    error: dict[str, Any] | None
    created: float
    """Seconds since 1970, like `started` and `finished`."""
    started: float | None
    finished: float | None
    last_seq: int

    @property
    def wire_state(self) -> Literal["queued", "running", "done", "failed", "cancelled"]:
        """As clients know it: until its worker has begun, a job waits."""
        return "queued" if self.state == "leased" else self.state


@dataclass(frozen=True)
class StoredEvent:
    """One durable event of a job; `seq` counts from 1 without gaps."""

    job: str
    seq: int
    kind: str
    body: dict[str, Any]
    at: float


@dataclass(frozen=True)
class Lease:
    """Leave to work on a job once."""

    job: str
    owner: str
    attempt: int
    spec: bytes
    blobs: tuple[str, ...]


SELECT = (
    "SELECT id, name, owner, state, attempt, cancelling, spec_sha, worker, error, "
    "created, started, finished, (SELECT max(seq) FROM events WHERE job = id) FROM jobs"
)


def job_row(row: Sequence[Any]) -> JobRow:
    job, name, owner, state, attempt, cancelling, sha, worker, error, *times = row
    told = None if error is None else json.loads(error)
    return JobRow(job, name, owner, state, attempt, bool(cancelling), sha, worker, told, *times)


def open_database(path: Path) -> sqlite3.Connection:
    """The database at `path`, made where there is none.

    Raises:
        UserError: it cannot be written, is damaged, or is of a newer version.
    """
    remedy = "Restore jobs.backup.sqlite over it, or move it away to start with an empty queue"
    try:
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        answer = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if answer == "ok" and version <= 1:
            db.executescript(SCHEMA)
    except sqlite3.OperationalError as error:
        raise UserError(
            "state", str(path), f"cannot be used ({error})", "Check who may write to it and to its folder"
        ) from error
    except sqlite3.DatabaseError as error:
        raise UserError("state", str(path), f"is damaged ({error})", remedy) from error
    if answer != "ok":
        raise UserError("state", str(path), f"is damaged ({answer})", remedy)
    if version > 1:
        raise UserError("state", str(path), "was written by a newer version", "Update this installation")
    return db
