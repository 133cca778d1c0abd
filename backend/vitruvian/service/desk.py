"""What each request is answered with. Knows nothing of sockets but `Office.reply`."""

from __future__ import annotations

import logging
import sqlite3

import vitruvian
from vitruvian.service.admission import Admission
from vitruvian.service.downloads import Damaged, Download
from vitruvian.service.intake import Intake
from vitruvian.service.office import Office
from vitruvian.service.rows import TERMINAL, JobRow, job_key
from vitruvian.service.session import Session
from vitruvian_protocol import limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.errors import explain

log = logging.getLogger(__name__)

MAX_DOWNLOADS = 4
"""Of one session at a time."""


class Desk:
    """Answers messages. All methods are called from the gateway's loop."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._config, self._store, self._dispatcher = office.config, office.store, office.dispatcher
        self._reply, self.refuse = office.reply, office.refuse
        self._begun = office.clock()
        self._intake = Intake(office)
        self._admission = Admission(office, self.answer)
        self.accept_waiting = self._admission.accept_waiting
        self.stages: dict[str, tuple[str, float]] = {}
        """Latest stage and fraction by job, for `status`."""

    def answer(self, session: Session, message: m.Message) -> None:
        """Do what a client asks. Answers of its own are all it hears of it."""
        if not isinstance(message, m.Submit | m.PutBegin | m.PutChunk | m.Ping):
            self.accept_waiting()  # it may be about one of them
        match message:
            case m.Ping():
                self._reply(session, m.Pong(re=message.mid))
            case m.PutBegin():
                self._intake.begin(session, message)
            case m.PutChunk():
                self._intake.chunk(session, message)
            case m.Submit():
                self._admission.ask(session, message)
            case m.Cancel() | m.Attach() if self._admission.hold_back(session, message):
                pass
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
            "devices": [slot.device for slot in self._office.executor.slots()],
            "methods": list(self._config.methods),
            "priors": list(self._config.priors),
        }
        told = limits.told() | {"queued_per_user": self._office.quota(session.owner)}
        return m.Welcome(re=hello.mid, run=run, session=session.id, limits=told, about=about)

    def positions(self) -> dict[str, int]:
        """How many jobs will start before each queued one, by the store's id."""
        return self._store.positions()

    def leave(self, session: Session) -> None:
        """A session has ended: its uploads wait for a while, its jobs go on unless asked otherwise."""
        self.accept_waiting()
        session.close()
        self._intake.leave(session)
        for job, watch in session.watches.items():
            if watch.cancel_on_leave:
                try:
                    self._dispatcher.cancel(job)
                except sqlite3.OperationalError:
                    log.exception("job %s goes on: its end cannot be written down", job)

    def tidy(self) -> None:
        """Forget uploads that nobody goes on with, and how far jobs were that have ended."""
        self._intake.tidy()
        at_work = {row.id for row in self._store.jobs(states=("leased", "running"))}
        self.stages = {job: told for job, told in self.stages.items() if job in at_work}

    # ---- jobs

    def _attach(self, session: Session, message: m.Attach) -> None:
        row = self._store.job(job_key(session.owner, message.job))
        if row is None:
            self._reply(session, m.Snapshot(re=message.mid, job=message.job, state="unknown"))
            return
        snapshot = m.Snapshot(
            re=message.mid,
            job=message.job,
            state=row.wire_state,
            last_seq=row.last_seq,
            position=self._store.positions().get(row.id, 0),
            attempt=row.attempt,
        )
        self._reply(session, snapshot)
        if row.state not in TERMINAL or message.after_seq < row.last_seq:
            session.watch(row.id, row.name, message.after_seq)

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
            m.DeviceLine(slot.device[:128], slot.state, slot.memory_total, slot.why[:300])
            for slot in self._office.executor.slots()
        ]
        return m.StatusReply(
            re=message.mid,
            queued=len(positions),
            running=self._store.count(("leased", "running")),
            jobs=tuple(lines),
            devices=tuple(devices),
            uptime_s=self._office.clock() - self._begun,
        )

    def _line(self, row: JobRow, positions: dict[str, int]) -> m.JobLine:
        stage, fraction = self.stages.get(row.id, ("", 0.0))
        return m.JobLine(
            job=row.name,
            state=row.wire_state,
            position=positions.get(row.id, 0),
            stage=stage,
            fraction=fraction,
        )
