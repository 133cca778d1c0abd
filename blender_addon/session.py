"""The add-on's side of every job: a state machine over the wire's client. No bpy, no thread, no own clock.

sending -> queued -> running -> fetching -> ready, or failed, or cancelled. Whoever owns a `Session` calls
`tick` again and again; it does what is waiting within a time budget and tells what changed.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from .jobs import ESSENTIAL, WANTED, Job, JobList, Target
from .problems import Told, told

if TYPE_CHECKING:
    from vitruvian_protocol.scene import Scene, Settings

UNREACHABLE_AFTER_S = 3.0
"""Silence after which a server that never greeted counts as unreachable in what the panel says."""
FETCH_ATTEMPTS = 3

ChangeKind = Literal["connection", "job", "progress", "preview", "ready", "notice"]


@dataclass(frozen=True)
class Change:
    """What a tick brought about."""

    kind: ChangeKind
    job: str = ""


@dataclass(frozen=True)
class Endpoint:
    """Where the backend is. Keys are Z85 text; empty for an unencrypted local one."""

    address: str
    public_key: str = ""
    secret_key: str = ""
    server_key: str = ""
    name: str = ""
    """What jobs remember the server by, where its address may change; empty takes the address."""

    @property
    def server(self) -> str:
        return self.name or self.address


class ClientLike(Protocol):
    """What the session needs of `vitruvian_protocol.client.Client`; tests bring a scripted one."""

    @property
    def state(self) -> str: ...
    def poll(self, budget_s: float = 0.005) -> list[Any]: ...
    def submit(self, scene: Scene, settings: Settings, job_id: str | None = None) -> str: ...
    def cancel(self, job_id: str) -> None: ...
    def attach(self, job_id: str, after_seq: int = 0) -> None: ...
    def fetch(self, job_id: str, name: str, target: Path) -> None: ...
    def release_memory(self) -> None: ...
    def close(self) -> None: ...


class Session:
    """All jobs of this Blender and the one connection they share."""

    def __init__(
        self,
        folder: Path,
        connect: Callable[[Endpoint], ClientLike],
        clock: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        """`clock` counts seconds, `now` is the time of day in seconds since 1970."""
        self.list = JobList(folder)
        self.endpoint: Endpoint | None = None
        self.error: Told | None = None
        """Of the connection, or of the last thing that was asked for; None when all is well."""
        self.server: dict[str, Any] = {}
        """What the server said of itself: version, devices, methods, priors."""
        self.notice = ""
        """The server's last answer to something that was asked of it."""
        self._connect = connect
        self._clock = clock
        self._now = now
        self._client: ClientLike | None = None
        self._connected = False
        self._opened_at = 0.0
        self._fetch_attempts: dict[tuple[str, str], int] = {}
        self._taken_up: set[str] = set()
        """Jobs that the present client looks after; it keeps them through reconnects by itself."""

    # ---- connection ----

    @property
    def jobs(self) -> dict[str, Job]:
        return self.list.jobs

    @property
    def connection(self) -> str:
        """off, connecting, ready, lost or refused."""
        return "off" if self._client is None else self._client.state

    @property
    def hurried(self) -> bool:
        """Whether the last tick ended with work at hand (a transfer under way)."""
        return bool(getattr(self._client, "busy", False))

    @property
    def busy(self) -> bool:
        """Whether something is expected to happen soon."""
        return any(not job.ended for job in self.jobs.values())

    def use(self, endpoint: Endpoint) -> None:
        """Talk to this server from now on; jobs of another address wait until it is used again."""
        if endpoint == self.endpoint and self._client is not None:
            return
        self.disconnect()
        self.endpoint = endpoint
        self._opened_at = self._clock()
        self._client = self._connect(endpoint)

    def disconnect(self) -> None:
        """Close the socket; jobs go on at the server."""
        if self._client is not None:
            self._client.close()
        self._client, self._connected = None, False
        self.server, self.notice, self.error = {}, "", None
        self._taken_up.clear()

    def reconnect(self) -> None:
        endpoint = self.endpoint
        if endpoint is not None:
            self.disconnect()
            self.use(endpoint)

    # ---- what the artist does ----

    def generate(
        self,
        scene: Scene,
        settings: Settings,
        target: Target,
        warnings: Iterable[str] = (),
        batch: str = "",
    ) -> Job:
        """Send a job. The number is on disk before anything leaves.

        Raises:
            ProtocolError: the scene or a setting cannot be sent; the list is as it was.
        """
        client, endpoint = self._client, self.endpoint
        if client is None or endpoint is None:
            raise RuntimeError("generate before use: there is no connection")
        job = Job(
            id=str(uuid.uuid4()),
            target=target,
            settings=asdict(settings),
            address=endpoint.server,
            created=self._now(),
            warnings=list(warnings),
            batch=batch,
        )
        self.list.add(job)
        try:
            client.submit(scene, settings, job_id=job.id)
        except Exception:
            self.list.remove(job.id)
            self.list.save()
            raise
        self._taken_up.add(job.id)
        return job

    def cancel(self, job_id: str) -> None:
        """Ask for the end of this job; harmless when it has ended."""
        job = self.jobs[job_id]
        if job.ended or job.state == "fetching":
            return
        job.cancelling = True
        if self._client is not None:
            self._client.cancel(job_id)

    def fetch_again(self, job_id: str) -> None:
        """Take up a result whose download failed."""
        job = self.jobs[job_id]
        if job.artifacts and self._client is not None and job.state in ("failed", "ready"):
            job.state, job.error = "fetching", None
            self._start_fetching(job)
            self.list.save()

    def forget(self, job_id: str) -> None:
        """Drop an ended job and its files."""
        if self.jobs[job_id].ended:
            self.list.remove(job_id)
            self.list.save()

    def mark_offered(self, job_id: str) -> None:
        self.jobs[job_id].offered = True
        self.list.save()

    def release_memory(self) -> None:
        if self._connected and self._client is not None:
            self._client.release_memory()

    def path_of(self, job: Job, name: str) -> Path | None:
        """A file of a result, if it is here."""
        path = self.list.results_folder(job.id) / name
        return path if name in job.files and path.is_file() else None

    # ---- time ----

    def tick(self, budget_s: float = 0.008) -> list[Change]:
        """Take what came from the server, for about `budget_s`."""
        if self._client is None:
            return []
        changes: list[Change] = []
        saving = False
        for event in self._client.poll(budget_s):
            change, matters = self._take(event)
            saving = saving or matters
            if change is not None and change not in changes:
                changes.append(change)
        if saving:
            self.list.save()
        if self._notice_silence():
            changes.append(Change("connection"))
        return changes

    def close(self) -> None:
        self.list.save()
        self.disconnect()

    def _notice_silence(self) -> bool:
        """Say so when nobody has answered since the connection was opened."""
        late = self._clock() - self._opened_at > UNREACHABLE_AFTER_S
        if self._connected or self.error is not None or not late or self.endpoint is None:
            return False
        self.error = Told(
            "UNREACHABLE",
            f"No server answers at {self.endpoint.address}",
            "Start the backend, or check address and port",
            "auto",
        )
        return True

    def _take(self, event: Any) -> tuple[Change | None, bool]:
        """One event of the client: what changed, and whether the list must be saved."""
        name = type(event).__name__
        if name in _CONNECTION:
            return _CONNECTION[name](self, event), False
        job = self.jobs.get(getattr(event, "job", ""))
        handler = _JOB.get(name)
        if job is None or handler is None:
            return None, False
        seq = getattr(event, "seq", 0)
        if seq:
            if seq <= job.seq:
                return None, False  # told again after an attach
            job.seq = seq
        if job.ended and name not in _AFTER_END:
            return None, False
        return handler(self, job, event)

    # ---- connection events ----

    def _on_connected(self, event: Any) -> Change:
        self._connected, self.error = True, None
        self.server = dict(event.welcome.about)
        server = self.endpoint.server if self.endpoint else ""
        assert self._client is not None
        for job in self.jobs.values():
            if job.address != server or job.ended or job.id in self._taken_up:
                continue
            self._taken_up.add(job.id)
            if job.state == "fetching":
                self._start_fetching(job)
            else:
                self._client.attach(job.id, job.seq)
        return Change("connection")

    def _on_lost(self, event: Any) -> Change:
        self._connected, self.error = False, told(event.error)
        return Change("connection")

    def _on_released(self, event: Any) -> Change:
        busy = f", {event.busy} at work keep theirs" if event.busy else ""
        self.notice = f"{event.devices} of the backend's devices gave their memory back{busy}"
        return Change("notice")

    # ---- job events ----

    def _on_accepted(self, job: Job, event: Any) -> tuple[Change, bool]:
        if job.state == "sending":
            job.state = "queued"
        job.position = event.position
        return Change("job", job.id), True

    def _on_rejected(self, job: Job, event: Any) -> tuple[Change, bool]:
        return self._on_failed(job, event)

    def _on_queued(self, job: Job, event: Any) -> tuple[Change, bool]:
        job.state, job.position, job.stage, job.fraction = "queued", event.position, event.why, 0.0
        return Change("job", job.id), True

    def _on_started(self, job: Job, event: Any) -> tuple[Change, bool]:
        job.state, job.attempt, job.position = "running", event.attempt, 0
        return Change("job", job.id), True

    def _on_stage(self, job: Job, event: Any) -> tuple[Change, bool]:
        job.state, job.stage = "running", event.stage
        return Change("progress", job.id), False

    def _on_progress(self, job: Job, event: Any) -> tuple[Change, bool]:
        job.stage, job.fraction, job.eta_s = event.stage, event.fraction, event.eta_s
        job.attempt, job.position = event.attempt, event.position
        return Change("progress", job.id), False

    def _on_uploading(self, job: Job, event: Any) -> tuple[Change, bool]:
        job.stage, job.fraction = "sending the scene", event.sent / max(event.total, 1)
        return Change("progress", job.id), False

    def _on_preview(self, job: Job, event: Any) -> tuple[Change, bool]:
        job.previews[event.kind] = bytes(event.jpeg)
        job.preview_number += 1
        return Change("preview", job.id), False

    def _on_warned(self, job: Job, event: Any) -> tuple[Change, bool]:
        job.warnings.append(event.text)
        return Change("job", job.id), True

    def _on_done(self, job: Job, event: Any) -> tuple[Change, bool]:
        job.artifacts = {item.name: item.size for item in event.artifacts}
        job.state, job.stage, job.fraction, job.eta_s = "fetching", "fetching the result", 0.0, None
        job.cancelling = False
        self._start_fetching(job)
        return Change("job", job.id), True

    def _on_failed(self, job: Job, event: Any) -> tuple[Change, bool]:
        if event.error.code == "UNKNOWN_JOB" and job.state == "sending":
            lost = Told(
                "NOT_SENT", "The job did not reach the server before Blender closed", "Generate again"
            )
            return self._fail(job, lost)
        return self._fail(job, told(event.error))

    def _on_cancelled(self, job: Job, event: Any) -> tuple[Change, bool]:
        job.state, job.cancelling = "cancelled", False
        job.previews.clear()
        return Change("job", job.id), True

    def _on_cancel_acked(self, job: Job, event: Any) -> tuple[Change, bool]:
        if event.outcome == "unknown":
            # It never reached the server (or the server has forgotten it): nothing runs.
            job.state, job.cancelling = "cancelled", False
        elif event.outcome == "already_terminal":
            job.cancelling = False
        return Change("job", job.id), True

    def _on_fetch_progress(self, job: Job, event: Any) -> tuple[Change, bool]:
        total = sum(job.artifacts.get(name, 0) for name in self._wanted(job))
        here = sum(job.artifacts.get(name, 0) for name in job.files)
        job.fraction = min(1.0, (here + event.received) / max(total, 1))
        return Change("progress", job.id), False

    def _on_fetched(self, job: Job, event: Any) -> tuple[Change, bool]:
        if event.name not in job.files:
            job.files.append(event.name)
        return self._finish_if_whole(job)

    def _on_fetch_failed(self, job: Job, event: Any) -> tuple[Change, bool]:
        key = (job.id, event.name)
        self._fetch_attempts[key] = self._fetch_attempts.get(key, 0) + 1
        if self._fetch_attempts[key] < FETCH_ATTEMPTS and event.error.retry == "auto":
            self._fetch(job, event.name)
            return Change("job", job.id), False
        if event.name == ESSENTIAL:
            return self._fail(job, told(event.error))
        job.artifacts.pop(event.name, None)
        job.warnings.append(f"{event.name}: {event.error.sentence}")
        return self._finish_if_whole(job)

    # ---- fetching ----

    def _wanted(self, job: Job) -> list[str]:
        return [name for name in WANTED if name in job.artifacts]

    def _start_fetching(self, job: Job) -> None:
        folder = self.list.results_folder(job.id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._fail(
                job,
                Told("FILE_LOCAL", f"A result cannot be written: {error}", "Make room, then fetch it again"),
            )
            return
        job.files = [name for name in job.files if (folder / name).is_file()]
        missing = [name for name in self._wanted(job) if name not in job.files]
        for name in missing:
            self._fetch_attempts.pop((job.id, name), None)
            self._fetch(job, name)
        if not missing:
            self._finish_if_whole(job)

    def _fetch(self, job: Job, name: str) -> None:
        if self._client is not None:
            self._client.fetch(job.id, name, self.list.results_folder(job.id) / name)

    def _finish_if_whole(self, job: Job) -> tuple[Change, bool]:
        if any(name not in job.files for name in self._wanted(job)):
            return Change("progress", job.id), True
        if ESSENTIAL not in job.files:
            missing = Told("UNKNOWN_ARTIFACT", "The result has no texture", "Generate again")
            return self._fail(job, missing)
        job.state, job.fraction, job.error = "ready", 1.0, None
        return Change("ready", job.id), True

    def _fail(self, job: Job, error: Told) -> tuple[Change, bool]:
        job.state, job.error, job.cancelling = "failed", error, False
        job.previews.clear()
        return Change("job", job.id), True


_CONNECTION: dict[str, Callable[[Session, Any], Change]] = {
    "Connected": Session._on_connected,
    "Lost": Session._on_lost,
    "MemoryReleased": Session._on_released,
}
_JOB: dict[str, Callable[[Session, Job, Any], tuple[Change, bool]]] = {
    "Uploading": Session._on_uploading,
    "Accepted": Session._on_accepted,
    "Rejected": Session._on_rejected,
    "Queued": Session._on_queued,
    "Started": Session._on_started,
    "Stage": Session._on_stage,
    "Progress": Session._on_progress,
    "Preview": Session._on_preview,
    "Warned": Session._on_warned,
    "Done": Session._on_done,
    "Failed": Session._on_failed,
    "Cancelled": Session._on_cancelled,
    "CancelAcked": Session._on_cancel_acked,
    "FetchProgress": Session._on_fetch_progress,
    "Fetched": Session._on_fetched,
    "FetchFailed": Session._on_fetch_failed,
}
_AFTER_END = ("Fetched",)
"""Events that still mean something for a job that has ended."""


def describe(job: Job) -> str:
    """One line for the panel."""
    if job.cancelling and not job.ended:
        return "Cancelling"
    if job.state == "queued":
        ahead = f", {job.position} before it" if job.position else ""
        return f"Waiting{ahead}" + (f" ({job.stage})" if job.stage else "")
    if job.state in ("running", "sending", "fetching"):
        stage = job.stage.capitalize() or {"sending": "Sending", "running": "Running"}.get(job.state, "")
        again = f" (attempt {job.attempt})" if job.attempt > 1 else ""
        return f"{stage}{again}"
    return {"ready": "Ready", "failed": "Failed", "cancelled": "Cancelled"}[job.state]


def time_left(seconds: float | None) -> str:
    """`eta_s` in words; empty where unknown."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s left"
    return f"about {round(seconds / 60)} min left"
