"""The add-on's side of every job: a state machine over the wire's client. No bpy, no thread, no own clock.

checking -> sending -> queued -> running -> fetching -> ready, or failed, or cancelled. Whoever owns a
`Session` calls `tick` again and again; it does what is waiting within a time budget and tells what changed.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import job_events
from .connection import ClientLike, Endpoint, unreachable
from .fetching import Fetching
from .job_events import Change, Outcome, fail
from .job_list import JobList
from .jobs import Job, Target
from .outbox import Check, Outbox
from .problems import Told, told

if TYPE_CHECKING:
    from vitruvian_protocol.scene import Scene, Settings

UNREACHABLE_AFTER_S = 3.0
"""Silence after which a server that never greeted counts as unreachable in what the panel says."""


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
        """Of the connection; None when all is well."""
        self.refusal: Told | None = None
        """Why the last thing that was asked for in the panel could not be done; None once something could."""
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
        self._outbox = Outbox()
        self._taken_up: set[str] = set()
        """Jobs that the present client looks after; it keeps them through reconnects by itself."""
        self._fetching = Fetching(self.list.results_folder, self._ask_for_file)
        self._handlers = {**job_events.HANDLERS, **self._fetching.handlers}
        for job in self.jobs.values():
            if job.state == "checking":  # its scene went with the Blender that was closed
                fail(job, job_events.NOT_SENT)

    # ---- connection ----

    @property
    def jobs(self) -> dict[str, Job]:
        return self.list.jobs

    @property
    def connection(self) -> str:
        """off, connecting, ready, lost or refused."""
        return "off" if self._client is None else self._client.state

    @property
    def looking(self) -> bool:
        """Whether a job is being looked at before it leaves."""
        return self._outbox.looking

    @property
    def hurried(self) -> bool:
        """Whether the last tick ended with work at hand (a transfer or a look under way)."""
        return self.looking or bool(getattr(self._client, "busy", False))

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
        check: Check | None = None,
    ) -> Job:
        """Take a job on; ticks send it once `check` ends well. Its number is on disk before it leaves.

        Raises:
            ProtocolError: the scene or a setting cannot be sent; the list is as it was.
        """
        client, endpoint = self._client, self.endpoint
        if client is None or endpoint is None:
            raise RuntimeError("generate before use: there is no connection")
        packed = client.pack(scene, settings)
        job = Job(
            id=str(uuid.uuid4()),
            target=target,
            settings=asdict(settings),
            address=endpoint.server,
            created=self._now(),
            state="sending" if check is None else "checking",
            warnings=list(warnings),
            batch=batch,
        )
        self.list.add(job)
        self._outbox.add(job.id, packed, settings, check)
        if check is None:
            self._submit(job)
        return job

    def cancel(self, job_id: str) -> None:
        """Ask for the end of this job; harmless when it has ended."""
        job = self.jobs[job_id]
        if job.ended or job.state == "fetching":
            return
        if job_id in self._outbox and job_id not in self._taken_up:  # nobody knows of it yet
            self._outbox.drop(job_id)
            job.state = "cancelled"
            self.list.save()
            return
        job.cancelling = True
        if self._client is not None:
            self._client.cancel(job_id)

    def fetch_again(self, job_id: str) -> None:
        """Take up a result whose download failed."""
        job = self.jobs[job_id]
        if job.artifacts and self._client is not None and job.state in ("failed", "ready"):
            self._fetching.start(job)
            self.list.save()

    def forget(self, job_id: str) -> None:
        """Drop an ended job and its files."""
        if self.jobs[job_id].ended:
            if self._client is not None:
                self._client.stop_fetching(job_id)  # its lesser files, where the texture could not be had
            self.list.remove(job_id)
            self.list.save()

    def mark_offered(self, job_id: str) -> None:
        self.jobs[job_id].offered = True
        self.list.save()

    def release_memory(self) -> None:
        if self._connected and self._client is not None:
            self._client.release_memory()

    # ---- time ----

    def tick(self, budget_s: float = 0.008) -> list[Change]:
        """Take what came from the server for about `budget_s`, and go on with a look for as long."""
        changes: list[Change] = []
        saving = False
        for event in self._client.poll(budget_s) if self._client is not None else ():
            change, matters = self._take(event)
            saving = saving or matters
            if change is not None and change not in changes:
                changes.append(change)
        looked = self._go_on_looking(budget_s)
        if looked is not None:
            changes.append(looked)
        if saving or looked is not None or self.list.unsaved:
            self.list.save()
        if self._notice_silence():
            changes.append(Change("connection"))
        return changes

    def close(self) -> None:
        self.list.save()
        self.disconnect()

    def _go_on_looking(self, budget_s: float) -> Change | None:
        """A job that was looked at to the end is sent, or has failed."""
        over = self._outbox.look(budget_s, self._clock)
        if over is None:
            return None
        job, wrong = self.jobs[over[0]], over[1]
        if wrong is not None:
            self._outbox.drop(job.id)
            return fail(job, wrong)[0]
        job.state = "sending"
        if self.endpoint is not None and job.address == self.endpoint.server:
            self._submit(job)
        return Change("job", job.id)

    def _submit(self, job: Job) -> None:
        """Send it; one that turns out not to fit has failed, and the list is saved with the next tick."""
        from vitruvian_protocol.errors import ProtocolError, info_of

        if self._client is None:
            return
        try:
            packed = self._outbox.packed(job.id, self._client.pack)
        except ProtocolError as error:
            self._outbox.drop(job.id)
            fail(job, told(info_of(error)))
            self.list.unsaved = True
            return
        self._taken_up.add(job.id)
        self._client.submit_packed(packed, job.id)

    def _ask_for_file(self, job_id: str, name: str, target: Path) -> None:
        if self._client is not None:
            self._client.fetch(job_id, name, target)

    def _notice_silence(self) -> bool:
        """Say so when nobody has answered since the connection was opened."""
        late = self._clock() - self._opened_at > UNREACHABLE_AFTER_S
        waiting = self._client is not None and not self._connected and self.error is None
        if self.endpoint is None or not waiting or not late:
            return False
        self.error = unreachable(self.endpoint)
        return True

    # ---- events ----

    def _take(self, event: Any) -> tuple[Change | None, bool]:
        """One event of the client: what changed, and whether the list must be saved."""
        name = type(event).__name__
        if name in _CONNECTION:
            return _CONNECTION[name](self, event)
        job = self.jobs.get(getattr(event, "job", ""))
        outcome = None if job is None else job_events.hear(job, event, self._handlers)
        if job is None or outcome is None:
            return None, False
        if job.state != "sending":
            self._outbox.drop(job.id)
        return outcome

    def _on_connected(self, event: Any) -> Outcome:
        self._connected, self.error = True, None
        self.server = dict(event.welcome.about)
        server = self.endpoint.server if self.endpoint else ""
        saving = False
        for job in self.jobs.values():
            mine = job.address == server and not job.ended and job.state != "checking"
            if mine and job.id not in self._taken_up:
                saving = self._take_up(job) or saving
        return Change("connection"), saving

    def _take_up(self, job: Job) -> bool:
        """Go on with a job of an earlier connection; whether the list must be saved."""
        assert self._client is not None
        self._taken_up.add(job.id)
        if job.state == "fetching":
            return self._fetching.start(job)[1]
        if job.id in self._outbox:
            self._submit(job)
        else:
            self._client.attach(job.id, job.seq)
        if job.cancelling:
            self._client.cancel(job.id)
        return False

    def _on_lost(self, event: Any) -> Outcome:
        self._connected, self.error = False, told(event.error)
        return Change("connection"), False

    def _on_released(self, event: Any) -> Outcome:
        busy = f", {event.busy} at work keep theirs" if event.busy else ""
        self.notice = f"{event.devices} of the backend's devices gave their memory back{busy}"
        return Change("notice"), False


_CONNECTION: dict[str, Callable[[Session, Any], Outcome]] = {
    "Connected": Session._on_connected,
    "Lost": Session._on_lost,
    "MemoryReleased": Session._on_released,
}
