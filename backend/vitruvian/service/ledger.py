"""One job's row and its events, changed together: what every change in `store.py` is made of."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vitruvian.service.rows import MAX_LOSSES, SELECT, JobRow, JobState, job_row, open_database


class Ledger:
    """The state folder's database. One process, one thread.

    Args:
        path: the SQLite file, on a local disk.
        wall: seconds since 1970, for what people read.

    Raises:
        UserError: the file cannot be written, is damaged or of a newer version.
    """

    def __init__(self, path: Path, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._db = open_database(path)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """All changes in the block in one transaction: the disk is waited for once, when the block ends.

        None of them is made where the block raises or the disk refuses. Within another such block, a part of
        that one.
        """
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # Where the disk is full, SQLite has rolled back by itself.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _held(self, job: str, attempt: int) -> JobRow | None:
        """The job, if `attempt` is the one at work on it."""
        row = self._row(job)
        return row if row and row.attempt == attempt and row.state in ("leased", "running") else None

    def _requeue(self, row: JobRow, counts: bool, error: dict[str, Any]) -> JobState:
        losses = self._value("SELECT losses FROM jobs WHERE id = ?", (row.id,)) + counts
        if row.cancelling:
            self._end(row, "cancelled", {})
            return "cancelled"
        if losses >= MAX_LOSSES:
            self._end(row, "failed", error)
            return "failed"
        self._db.execute(
            "UPDATE jobs SET state = 'queued', losses = ?, worker = NULL, lease_until = NULL WHERE id = ?",
            (losses, row.id),
        )
        why = error.get("error", {}).get("sentence", "")
        self._tell(row.id, "queued", {"attempt": row.attempt + 1, "text": why})
        return "queued"

    def _end(self, row: JobRow, state: JobState, body: dict[str, Any]) -> None:
        self._db.execute(
            "UPDATE jobs SET state = ?, worker = NULL, lease_until = NULL, finished = ?, error = ? "
            "WHERE id = ? AND state = ?",
            (state, self._wall(), json.dumps(body) if state == "failed" else None, row.id, row.state),
        )
        self._tell(row.id, state, body)

    def _tell(self, job: str, kind: str, body: dict[str, Any]) -> None:
        self._db.execute(
            "INSERT INTO events (job, seq, kind, body, at) "
            "SELECT ?, coalesce(max(seq), 0) + 1, ?, ?, ? FROM events WHERE job = ?",
            (job, kind, json.dumps(body), self._wall(), job),
        )

    def _require(self, job: str) -> JobRow:
        row = self._row(job)
        assert row is not None
        return row

    def _row(self, job: str) -> JobRow | None:
        row = self._db.execute(f"{SELECT} WHERE id = ?", (job,)).fetchone()
        return None if row is None else job_row(row)

    def _value(self, query: str, values: Sequence[Any] = ()) -> int:
        return self._db.execute(query, values).fetchone()[0]
