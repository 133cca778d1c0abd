"""What each request is answered with. Knows sessions, store and dispatcher; sockets only by `reply`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import vitruvian
from vitruvian.service.background import Background
from vitruvian.service.config import ServeConfig
from vitruvian.service.dispatch import Dispatcher
from vitruvian.service.downloads import Damaged, Download
from vitruvian.service.executor import Executor
from vitruvian.service.intake import Intake, Reply
from vitruvian.service.rows import IdConflict, JobRow, job_key
from vitruvian.service.session import LOCAL_USER, Session
from vitruvian.service.store import Store
from vitruvian.service.uploads import blob_path, read_scene
from vitruvian_protocol import limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.checks import check_settings
from vitruvian_protocol.codec import spec_sha256
from vitruvian_protocol.errors import ErrorInfo, ProtocolError, explain, info_of
from vitruvian_protocol.fields import to_plain

MAX_DOWNLOADS = 4
"""Of one session at a time."""


class Desk:
    """Answers messages. All methods are called from the gateway's loop.

    Args:
        reply: sends a message to a session, or keeps it until there is room.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        config: ServeConfig,
        store: Store,
        dispatcher: Dispatcher,
        executor: Executor,
        background: Background,
        reply: Reply,
        clock: Callable[[], float],
    ) -> None:
        self._config, self._store, self._dispatcher = config, store, dispatcher
        self._executor, self._background, self._reply, self._clock = executor, background, reply, clock
        self._begun = clock()
        self._intake = Intake(config, dispatcher, background, reply, clock)
        self._sound: set[Path] = set()
        """Blobs that were found to be scenes without fault."""
        self.stages: dict[str, tuple[str, float]] = {}
        """Latest stage and fraction by job, for `status`."""

    def answer(self, session: Session, message: m.Message) -> None:
        """Do what a client asks. Answers of its own are all it hears of it."""
        match message:
            case m.Ping():
                self._reply(session, m.Pong(re=message.mid))
            case m.PutBegin():
                self._intake.begin(session, message)
            case m.PutChunk():
                self._intake.chunk(session, message)
            case m.Submit():
                self._submit(session, message)
            case m.Cancel():
                outcome = self._dispatcher.cancel(job_key(session.owner, message.job))
                self._reply(session, m.CancelAck(re=message.mid, job=message.job, outcome=outcome))
            case m.Attach():
                self._attach(session, message)
            case m.ArtifactGet():
                self._artifact_get(session, message)
            case m.ArtifactAck():
                self._artifact_ack(session, message)
            case m.Credit():
                self._credit(session, message)
            case m.TransferStop():
                self._stop_transfer(session, message)
            case m.PreviewAck():
                watch = session.watches.get(job_key(session.owner, message.job))
                if watch is not None and watch.unread.get(message.kind) == message.re:
                    del watch.unread[message.kind]
            case m.Status():
                self._reply(session, self._status(session, message))
            case m.ReleaseMemory():
                devices, busy = self._dispatcher.release_memory()
                self._reply(session, m.Released(re=message.mid, devices=devices, busy=busy))
            case _:
                self.refuse(session, message.mid, explain("UNSUPPORTED", got=message.t))

    def welcome(self, session: Session, hello: m.Hello, run: str) -> m.Welcome:
        """The greeting, with what a panel offers."""
        about = {
            "version": vitruvian.__version__,
            "devices": [slot.device for slot in self._executor.slots()],
            "methods": list(self._config.methods),
            "priors": list(self._config.priors),
        }
        told = limits.told() | {"queued_per_user": self._quota(session.owner)}
        return m.Welcome(re=hello.mid, run=run, session=session.id, limits=told, about=about)

    def refuse(self, session: Session, mid: str, error: ErrorInfo) -> None:
        self._reply(session, m.Error(re=mid, error=error))

    def leave(self, session: Session) -> None:
        """A session has ended: its uploads wait for a while, its jobs go on unless asked otherwise."""
        for job, watch in session.watches.items():
            if watch.cancel_on_leave:
                self._dispatcher.cancel(job)
        self._intake.leave(session)
        session.close()

    def tidy(self) -> None:
        """Forget uploads that nobody goes on with, and how far jobs were that have ended."""
        self._intake.tidy()
        at_work = {row.id for row in self._store.jobs(states=("leased", "running"))}
        self.stages = {job: told for job, told in self.stages.items() if job in at_work}

    # ---- jobs

    def _submit(self, session: Session, message: m.Submit) -> None:
        known = self._store.job(job_key(session.owner, message.job))
        blob = blob_path(self._config.blobs, session.owner, message.scene_sha256)
        error = self._wrong_request(message)
        if error is None and known is None:
            error = self._no_room(session, message) or self._no_blob(message, blob)
        if error is not None:
            self._reject(session, message, error)
        elif known is not None or blob in self._sound:
            self._accept(session, message)
        else:

            def then(outcome: object) -> None:
                if outcome is None:
                    self._sound.add(blob)
                    self._accept(session, message)
                elif isinstance(outcome, ErrorInfo):
                    self._reject(session, message, outcome)
                else:
                    self._reject(session, message, explain("INTERNAL", error_id=message.mid[:8]))

            self._background.run(lambda: check_blob(blob), then)

    def _wrong_request(self, message: m.Submit) -> ErrorInfo | None:
        settings = message.settings
        try:
            check_settings(settings)
        except ProtocolError as error:
            return info_of(error)
        for field, known in (("prior", self._config.priors), ("method", self._config.methods)):
            if getattr(settings, field) not in known:
                problem = f"is not offered here; use {', '.join(known)}"
                return explain("BAD_SETTINGS", f"$.{field}", problem, getattr(settings, field))
        if spec_sha256(settings, message.scene_sha256) != message.spec_sha256:
            return explain("SPEC_HASH", "$.spec_sha256", "is another one")
        return None

    def _no_room(self, session: Session, message: m.Submit) -> ErrorInfo | None:
        if self._dispatcher.disk_full:
            return explain("DISK_FULL_SERVER")
        queued = self._store.count(["queued"])
        if queued >= self._config.queued:
            return explain("QUEUE_FULL", problem=f"{queued} jobs are waiting", limit=self._config.queued)
        own, quota = self._store.count(["queued"], session.owner), self._quota(session.owner)
        if own >= quota:
            return explain("QUOTA", problem=f"{own} of {quota}", got=own, limit=quota)
        return None

    def _no_blob(self, message: m.Submit, blob: Path) -> ErrorInfo | None:
        if not blob.is_file() or blob.stat().st_size != message.scene_size:
            return explain("BLOB_MISSING", "$.scene_sha256", "is not on the server")
        return None

    def _accept(self, session: Session, message: m.Submit) -> None:
        spec = json.dumps({"settings": to_plain(message.settings)}).encode()
        # Between users jobs are in the order they came: a priority counts only where there is one user.
        priority = message.priority if session.owner == LOCAL_USER else 0
        try:
            row, duplicate = self._store.accept(
                message.job, session.owner, message.spec_sha256, spec, [message.scene_sha256], priority
            )
        except IdConflict:
            self._reject(session, message, explain("ID_CONFLICT", "$.job", "is taken"))
            return
        except sqlite3.OperationalError:
            self._reject(session, message, explain("DISK_FULL_SERVER"))
            return
        position = self._store.positions().get(row.id, 0)
        self._reply(
            session,
            m.Accepted(
                re=message.mid,
                job=message.job,
                state=wire_state(row),
                position=position,
                duplicate=duplicate,
            ),
        )
        watch = session.watches.get(row.id) or session.watch(row.id, row.name)
        watch.cancel_on_leave = message.on_disconnect == "cancel"

    def _reject(self, session: Session, message: m.Submit, error: ErrorInfo) -> None:
        self._reply(session, m.Rejected(re=message.mid, job=message.job, error=error))

    def _attach(self, session: Session, message: m.Attach) -> None:
        row = self._store.job(job_key(session.owner, message.job))
        if row is None:
            self._reply(session, m.Snapshot(re=message.mid, job=message.job, state="unknown"))
            return
        snapshot = m.Snapshot(
            re=message.mid,
            job=message.job,
            state=wire_state(row),
            last_seq=row.last_seq,
            position=self._store.positions().get(row.id, 0),
            attempt=row.attempt,
        )
        self._reply(session, snapshot)
        session.watch(row.id, row.name, message.after_seq)

    def _quota(self, owner: str) -> int:
        return self._config.queued if owner == LOCAL_USER else self._config.queued_per_user

    # ---- results out

    def _artifact_get(self, session: Session, message: m.ArtifactGet) -> None:
        job = job_key(session.owner, message.job)
        row, found = self._store.job(job), self._store.artifact(job, message.name)
        if row is None or found is None:
            code = "UNKNOWN_JOB" if row is None else "UNKNOWN_ARTIFACT"
            self.refuse(session, message.mid, explain(code, "$.name", got=message.name))
            return
        file, attempt = found
        if message.offset > file.size or len(session.downloads) >= MAX_DOWNLOADS:
            error = explain("RATE") if message.offset <= file.size else explain("BAD_FIELD", "$.offset")
            self.refuse(session, message.mid, error)
            return
        path = self._config.results / job / str(attempt) / file.name
        try:
            most = limits.BULK_CHUNK_BYTES if session.bulk else limits.CHUNK_BYTES
            download = Download(path, file, message.offset, message.credit, most)
        except Damaged:
            self.refuse(session, message.mid, explain("UNKNOWN_ARTIFACT", "$.name", got=message.name))
            return
        begin = m.ArtifactBegin(re=message.mid, size=file.size, sha256=file.sha256, offset=message.offset)
        self._reply(session, begin)
        if download.finished:
            download.close()
        else:
            session.downloads[message.mid] = download

    def _artifact_ack(self, session: Session, message: m.ArtifactAck) -> None:
        job = job_key(session.owner, message.job)
        found = self._store.artifact(job, message.name)
        if found is not None and found[0].sha256 == message.sha256:
            self._store.mark_fetched(job, message.name)

    def _credit(self, session: Session, message: m.Credit) -> None:
        download = session.downloads.get(message.transfer)
        if download is not None:
            # Never more than one window ahead, whatever a client grants.
            download.credit = min(download.credit + message.size, limits.WINDOW_BYTES)

    def _stop_transfer(self, session: Session, message: m.TransferStop) -> None:
        download = session.downloads.pop(message.transfer, None)
        if download is not None:
            download.close()
        self._intake.stop(session, message.transfer)

    # ---- the server

    def _status(self, session: Session, message: m.Status) -> m.StatusReply:
        positions = self._store.positions()
        own = self._store.jobs(session.owner, ("queued", "leased", "running"))
        lines = [self._line(row, positions) for row in own[:100]]
        devices = [
            m.DeviceLine(name=slot.device[:128], state=slot.state, memory_total=slot.memory_total)
            for slot in self._executor.slots()
        ]
        return m.StatusReply(
            re=message.mid,
            queued=len(positions),
            running=self._store.count(("leased", "running")),
            jobs=tuple(lines),
            devices=tuple(devices),
            uptime_s=self._clock() - self._begun,
        )

    def _line(self, row: JobRow, positions: dict[str, int]) -> m.JobLine:
        stage, fraction = self.stages.get(row.id, ("", 0.0))
        return m.JobLine(
            job=row.name,
            state=wire_state(row),
            position=positions.get(row.id, 0),
            stage=stage,
            fraction=fraction,
        )


def wire_state(row: JobRow) -> m.JobState:
    """A job's state as clients know it: until its worker has begun, it waits."""
    return "queued" if row.state == "leased" else row.state


def check_blob(path: Path) -> ErrorInfo | None:
    """What is wrong with a scene, if anything. The file is mapped, not read into memory."""
    try:
        read_scene(path)
    except ProtocolError as error:
        return info_of(error)
    return None
