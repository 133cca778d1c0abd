"""Requests for jobs: looked through one by one, accepted together, so that the disk is waited for once."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path

from vitruvian.service.office import Office
from vitruvian.service.rows import IdConflict, JobRow, job_key
from vitruvian.service.session import LOCAL_USER, Session
from vitruvian.service.uploads import blob_path, has_blob, read_scene
from vitruvian_protocol import messages as m
from vitruvian_protocol.checks import check_settings
from vitruvian_protocol.codec import spec_sha256
from vitruvian_protocol.errors import ErrorInfo, ProtocolError, explain, info_of
from vitruvian_protocol.fields import to_plain

log = logging.getLogger(__name__)

_REMEMBERED = 10_000
"""Blobs that were found to be sound."""


class Admission:
    """Answers `submit`.

    Args:
        answer: for what a client said about a job while its request was still being looked through.
    """

    def __init__(self, office: Office, answer: Callable[[Session, m.Message], None]) -> None:
        self._office, self._answer = office, answer
        self._sound: dict[Path, None] = {}
        """Blobs that were found to be scenes without fault, in the order in which they were."""
        self._waiting: list[tuple[Session, m.Submit]] = []
        """Requests without fault, taken on by `accept_waiting`."""
        self._behind: dict[str, list[tuple[Session, m.Message]]] = {}
        """By job whose scene is being checked: what has to wait for the answer to its request."""

    def ask(self, session: Session, message: m.Submit) -> None:
        """Look through a request; `accept_waiting` accepts it where nothing is wrong."""
        job = job_key(session.owner, message.job)
        known = self._office.store.job(job) is not None
        blob = blob_path(self._office.config.blobs, session.owner, message.scene_sha256)
        error = self._wrong_request(message)
        if error is None and not known:
            error = self._no_room(session.owner) or _no_blob(message, blob)
        if error is not None:
            self._reject(session, message, error)
        elif known or blob in self._sound:
            self._waiting.append((session, message))
        else:
            self._behind.setdefault(job, [])
            self._office.background.run(
                lambda: check_blob(blob), lambda found: self._checked(session, message, blob, found)
            )

    def hold_back(self, session: Session, message: m.JobMessage) -> bool:
        """Whether `message` is about a job whose request has no answer yet; it is answered after that."""
        behind = self._behind.get(job_key(session.owner, message.job))
        if behind is not None:
            behind.append((session, message))
        return behind is not None

    def accept_waiting(self) -> None:
        """Take on all that was asked for since the last call, and answer once that is on the disk.

        Call it each turn of the loop.
        """
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        store = self._office.store
        try:
            with store.together():
                outcomes = [self._take_on(session, message) for session, message in waiting]
                positions = store.positions()
        except sqlite3.Error as error:
            log.exception("%d requests cannot be written down", len(waiting))
            full = isinstance(error, sqlite3.OperationalError)
            refusal = explain("DISK_FULL_SERVER" if full else "INTERNAL")
            outcomes, positions = [refusal] * len(waiting), {}
        for (session, message), outcome in zip(waiting, outcomes, strict=True):
            if isinstance(outcome, ErrorInfo):
                self._reject(session, message, outcome)
            else:
                self._accepted(session, message, *outcome, positions.get(outcome[0].id, 0))
            self._release(job_key(session.owner, message.job))

    def _checked(self, session: Session, message: m.Submit, blob: Path, found: object) -> None:
        """Back from the disk: `found` is an error, an exception, or None."""
        if found is None:
            self._sound[blob] = None
            if len(self._sound) > _REMEMBERED:
                del self._sound[next(iter(self._sound))]
            self._waiting.append((session, message))
            return
        if not isinstance(found, ErrorInfo):
            log.error("error %s: a scene cannot be checked: %s", message.mid[:8], found)
            found = explain("INTERNAL", error_id=message.mid[:8])
        self._reject(session, message, found)
        self._release(job_key(session.owner, message.job))

    def _take_on(self, session: Session, message: m.Submit) -> tuple[JobRow, bool] | ErrorInfo:
        """One request within the transaction. How many are queued may have changed since it came."""
        owner, store = session.owner, self._office.store
        if store.job(job_key(owner, message.job)) is None and (error := self._no_room(owner)):
            return error
        spec = json.dumps({"settings": to_plain(message.settings)}).encode()
        # Between users jobs are in the order they came: a priority counts only where there is one user.
        priority = message.priority if owner == LOCAL_USER else 0
        try:
            return store.accept(
                message.job, owner, message.spec_sha256, spec, [message.scene_sha256], priority
            )
        except IdConflict:
            return explain("ID_CONFLICT", "$.job", "is taken")

    def _accepted(
        self, session: Session, message: m.Submit, row: JobRow, duplicate: bool, position: int
    ) -> None:
        watch = session.watches.get(row.id) or session.watch(row.id, row.name)
        watch.cancel_on_leave = message.on_disconnect == "cancel"
        accepted = m.Accepted(
            re=message.mid,
            job=message.job,
            state=row.wire_state,
            position=position,
            duplicate=duplicate,
        )
        self._office.reply(session, accepted)
        if session.closed and watch.cancel_on_leave:
            self._office.dispatcher.cancel(row.id)

    def _reject(self, session: Session, message: m.Submit, error: ErrorInfo) -> None:
        self._office.reply(session, m.Rejected(re=message.mid, job=message.job, error=error))

    def _release(self, job: str) -> None:
        """Answer what had to wait for this job's own answer."""
        for session, message in self._behind.pop(job, ()):
            self._answer(session, message)

    # ---- what may be wrong

    def _wrong_request(self, message: m.Submit) -> ErrorInfo | None:
        settings, config = message.settings, self._office.config
        try:
            check_settings(settings)
        except ProtocolError as error:
            return info_of(error)
        for field, known in (("prior", config.priors), ("method", config.methods)):
            if getattr(settings, field) not in known:
                problem = f"is not offered here; use {', '.join(known)}"
                return explain("BAD_SETTINGS", f"$.{field}", problem, getattr(settings, field))
        if spec_sha256(settings, message.scene_sha256) != message.spec_sha256:
            return explain("SPEC_HASH", "$.spec_sha256", "is another one")
        return None

    def _no_room(self, owner: str) -> ErrorInfo | None:
        office = self._office
        if not office.disk.has_room():
            return explain("DISK_FULL_SERVER")
        queued = office.store.count(["queued"])
        if queued >= office.config.queued:
            return explain("QUEUE_FULL", problem=f"{queued} jobs are waiting", limit=office.config.queued)
        own, quota = office.store.count(["queued"], owner), office.quota(owner)
        if own >= quota:
            return explain("QUOTA", problem=f"{own} of {quota}", got=own, limit=quota)
        return None


def _no_blob(message: m.Submit, blob: Path) -> ErrorInfo | None:
    if not has_blob(blob, message.scene_size):
        return explain("BLOB_MISSING", "$.scene_sha256", "is not on the server")
    return None


def check_blob(path: Path) -> ErrorInfo | None:
    """What is wrong with a scene, if anything; then it goes, since nobody can use it.

    The file is mapped, not read into memory.
    """
    try:
        read_scene(path)
    except ProtocolError as error:
        with contextlib.suppress(OSError):  # it may be in use elsewhere; the housekeeping finds it
            path.unlink()
        return info_of(error)
    return None
