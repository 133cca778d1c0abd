"""Between the queue and the devices: leases, attempts, cancelling, and what becomes of what workers say."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from vitruvian.service.config import ServeConfig
from vitruvian.service.disk import Disk
from vitruvian.service.executor import Executor, Slot, WorkerReport
from vitruvian.service.files import StoredFile
from vitruvian.service.pipes import Order
from vitruvian.service.rows import CancelAnswer
from vitruvian.service.store import Store
from vitruvian.service.uploads import blob_path
from vitruvian_protocol import limits
from vitruvian_protocol.errors import ErrorInfo, ProtocolError, explain
from vitruvian_protocol.fields import from_plain
from vitruvian_protocol.messages import ArtifactInfo, PreviewKind


class Audience(Protocol):
    """Who hears of jobs. All of it may be lost but `changed`, which says: look into the store."""

    def changed(self, job: str) -> None: ...

    def progress(self, job: str, stage: str, fraction: float, eta_s: float | None, attempt: int) -> None: ...

    def preview(self, job: str, kind: PreviewKind, jpeg: bytes) -> None: ...


@dataclass
class _Attempt:
    """A job at work. Times on the monotonic clock."""

    job: str
    attempt: int
    slot: str
    scene: Path
    begun: float
    renewed: float
    cancel_at: float | None = None
    """When it was told to stop."""
    overdue: bool = False


class Dispatcher:
    """Gives queued jobs to idle devices and sees each attempt to its end.

    Args:
        clock: monotonic seconds.
        per_owner: jobs of one owner that are at work at once; None: any number.
    """

    def __init__(
        self,
        config: ServeConfig,
        store: Store,
        disk: Disk,
        executor: Executor,
        audience: Audience,
        clock: Callable[[], float],
        per_owner: int | None,
    ) -> None:
        self._config, self._store, self._disk, self._executor = config, store, disk, executor
        self._audience, self._clock, self._per_owner = audience, clock, per_owner
        self._attempts: dict[str, _Attempt] = {}
        self._unheard: list[WorkerReport] = []

    def turn(self) -> None:
        """Do what is due. Called by the gateway's loop, often.

        Raises:
            sqlite3.OperationalError: the disk is full. Nothing is lost: the next turn begins where it was.
        """
        self._unheard += self._executor.reports()
        while self._unheard:
            self._hear(self._unheard[0])
            self._unheard.pop(0)
        self._end_what_is_late()
        self._hand_out()
        self._rest()

    def cancel(self, job: str) -> CancelAnswer:
        """As `Store.cancel`; a worker at it is told at once."""
        answer = self._store.cancel(job)
        attempt = self._attempts.get(job)
        if answer == "stopping" and attempt is not None and attempt.cancel_at is None:
            attempt.cancel_at = self._clock()
            self._executor.cancel(attempt.slot, job, attempt.attempt)
        if answer == "dequeued":
            self._audience.changed(job)
        return answer

    def release_memory(self) -> tuple[int, int]:
        """Put idle devices to sleep; returns how many sleep now and how many are at work."""
        slept = [self._executor.sleep(slot.name) for slot in self._executor.slots()]
        return sum(slept), len(slept) - sum(slept)

    def give_back(self) -> None:
        """The gateway stops: jobs at work go back into the queue, through no fault of theirs."""
        for attempt in self._attempts.values():
            self._store.release(attempt.job, attempt.attempt)
        self._attempts.clear()

    # ---- what is due

    def _hand_out(self) -> None:
        waiting = self._store.count(["queued"])
        if not waiting or not self._disk.has_room():
            return
        slots = self._executor.slots()
        soon = sum(slot.state in ("idle", "starting") for slot in slots)
        for slot in slots:
            if slot.state == "asleep" and soon < waiting:
                self._executor.wake(slot.name)
                soon += 1
            elif slot.state == "idle" and not self._give(slot):
                return

    def _give(self, slot: Slot) -> bool:
        """The next job to an idle slot; False where there is none."""
        now = self._clock()
        lease = self._store.lease(slot.name, now + self._config.lease_seconds, self._per_owner)
        if lease is None:
            return False
        spec = json.loads(lease.spec)
        scene = blob_path(self._config.blobs, lease.owner, lease.blobs[0])
        folder = self._folder(lease.job, lease.attempt)
        order = Order(lease.job, lease.attempt, spec["settings"], str(scene), str(folder))
        self._attempts[lease.job] = _Attempt(lease.job, lease.attempt, slot.name, scene, now, now)
        self._executor.start(slot.name, order)
        return True

    def _end_what_is_late(self) -> None:
        now = self._clock()
        for _, _, slot in self._store.expired(now):
            self._executor.kill(slot)
        for attempt in self._attempts.values():
            stopped_for = 0.0 if attempt.cancel_at is None else now - attempt.cancel_at
            attempt.overdue = attempt.overdue or now - attempt.begun > self._config.job_seconds
            if attempt.overdue or stopped_for > self._config.cancel_seconds:
                self._executor.kill(attempt.slot)

    def _rest(self) -> None:
        """Devices that had nothing to do for a while give their memory back."""
        limit = self._config.idle_release
        for slot in self._executor.slots():
            if slot.state == "idle" and limit and self._clock() - slot.idle_since > limit:
                self._executor.sleep(slot.name)

    # ---- what workers say

    def _hear(self, report: WorkerReport) -> None:
        if report.job is None:
            return
        attempt = self._attempts.get(report.job)
        if attempt is None or attempt.attempt != report.attempt:
            self._discard(report.job, report.attempt)
            return
        self._renew(attempt)
        body = report.body
        match report.kind:
            case "started":
                self._store.start(report.job, report.attempt)
            case "stage" | "warning":
                self._store.note(report.job, report.attempt, report.kind, {"text": str(_text(body))[:300]})
            case "progress":
                told = (body["stage"], body["fraction"], body["eta_s"], report.attempt)
                self._audience.progress(report.job, *told)
            case "preview":
                self._audience.preview(report.job, body["kind"], body["jpeg"])
            case "finished":
                self._finished(attempt, body["files"])
            case "failed":
                self._failed(attempt, body)
            case "cancelled":
                self._ended(attempt, self._store.stopped(report.job, report.attempt))
            case "lost":
                self._lost(attempt, body["why"])
        if report.kind not in ("beat", "progress", "preview"):
            self._audience.changed(report.job)

    def _renew(self, attempt: _Attempt) -> None:
        now = self._clock()
        if now - attempt.renewed > self._config.lease_seconds / 4:
            attempt.renewed = now
            self._store.renew(attempt.job, attempt.attempt, now + self._config.lease_seconds)

    def _finished(self, attempt: _Attempt, listed: list[dict[str, Any]]) -> None:
        files = [StoredFile(file["name"], file["size"], file["sha256"]) for file in listed]
        folder = self._folder(attempt.job, attempt.attempt)
        problem = unpublishable(files, folder)
        if problem:
            error = explain("INTERNAL", problem=problem, error_id=attempt.job[:8])
            self._store.fail(attempt.job, attempt.attempt, failure(error))
            self._ended(attempt, published=False)
            return
        self._ended(attempt, self._store.publish(attempt.job, attempt.attempt, files))

    def _failed(self, attempt: _Attempt, body: dict[str, Any]) -> None:
        if body["code"] == "DISK_FULL_SERVER":
            # Not the job's fault: it waits in the queue until there is room again.
            self._store.release(attempt.job, attempt.attempt)
            self._disk.ran_full()
        else:
            if body["code"] == "SCENE_DAMAGED":
                attempt.scene.unlink(missing_ok=True)  # so that it can be sent again
            error_id = body.get("error_id", "")
            error = explain(body["code"], body["path"], body["problem"], error_id=error_id)
            self._store.fail(attempt.job, attempt.attempt, failure(error))
        self._ended(attempt, published=False)

    def _lost(self, attempt: _Attempt, why: str) -> None:
        if attempt.overdue:
            minutes = f"{self._config.job_seconds / 60:g} minutes"
            error = explain("TIME_LIMIT", problem=f"the limit is {minutes}")
            self._store.fail(attempt.job, attempt.attempt, failure(error))
        else:
            error = explain("WORKER_LOST", problem=f"{why}, attempt {attempt.attempt}")
            self._store.worker_lost(attempt.job, attempt.attempt, failure(error))
        self._ended(attempt, published=False)

    def _ended(self, attempt: _Attempt, published: bool) -> None:
        """The attempt is over. Its folder stays only where it was published."""
        del self._attempts[attempt.job]
        row = self._store.job(attempt.job)
        if not (published and row is not None and row.state == "done"):
            self._discard(attempt.job, attempt.attempt)

    def _folder(self, job: str, attempt: int) -> Path:
        return self._config.results / job / str(attempt)

    def _discard(self, job: str, attempt: int) -> None:
        row = self._store.job(job)
        if row is not None and row.state == "done" and row.attempt == attempt:
            return
        folder = self._folder(job, attempt)
        for path in (folder, folder.with_name(f"{attempt}.part")):
            shutil.rmtree(path, ignore_errors=True)


def unpublishable(files: list[StoredFile], folder: Path) -> str:
    """What is wrong with the results that a worker reports; "" where nothing is."""
    if len(files) > limits.ARTIFACTS or sum(file.size for file in files) > limits.JOB_BYTES:
        return "too many or too large results"
    for file in files:
        try:
            from_plain(ArtifactInfo, asdict(file))
        except ProtocolError as error:
            return f"a result {error.path} {error.problem}"
        path = folder / file.name
        if not path.is_file() or path.stat().st_size != file.size:
            return f"{file.name} is not what the worker reported"
    return ""


def failure(error: ErrorInfo) -> dict[str, Any]:
    """An error as a failed job's event keeps it."""
    return {"error": asdict(error)}


def _text(body: dict[str, Any]) -> str:
    return body.get("text", body.get("stage", ""))
