"""The client of the wire: one connection, no thread, no Blender."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import zmq

from . import events
from . import messages as m
from .dealer import ClientKeys as ClientKeys
from .dealer import DealerTransport
from .dealer import make_keypair as make_keypair
from .downloads import Downloads
from .errors import ProtocolError
from .fields import to_plain
from .jobs import Jobs
from .limits import DEFAULT_ADDRESS
from .link import Link, State, Transport
from .packing import PackedJob, pack_job
from .scene import Scene, Settings
from .uploads import Uploads

STALL_SECONDS = 60.0
"""A transfer that a server leaves alone for so long is begun again on a new connection."""
_COALESCED = (events.Progress, events.Preview, events.Status)
"""Of these only the latest of one `poll` is told, for each job and kind."""


class Client:
    """Talks to one server. Nothing happens outside the caller's own calls.

    What is asked for is kept until it is answered: jobs are submitted again after a loss, attached to after a
    restart of the server, cancelled once it is back, and files continued where they stopped.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        keys: ClientKeys | None = None,
        about: Mapping[str, Any],
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        connect: Callable[[], Transport] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            address: `tcp://host:port`.
            keys: for servers that ask for them; None speaks in the clear.
            about: versions and names for the server's log.
            context: of the socket; None makes an own one.
            connect: makes the transport in place of a socket to `address`: for tests without a network.
            clock: seconds, never going back.

        Raises:
            ProtocolError: BAD_FIELD, for an `about` that is not a flat map of short texts and numbers.
        """
        self._events: list[events.Event] = []
        self._clock = clock
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        if connect is None:
            shared = context or zmq.Context()
            self._context = shared if context is None else None
            connect = functools.partial(DealerTransport, shared, address, keys)
        self._link = Link(connect, address, about, clock, self._emit)
        self._uploads = Uploads(self._link, self._emit, clock)
        self._downloads = Downloads(self._link, self._emit, clock)
        self._jobs = Jobs(self._link, self._emit, clock)
        self._busy = False

    @property
    def state(self) -> State:
        """`connecting` before the first greeting; `lost`: trying again by itself; `refused`: not any more."""
        return self._link.state

    @property
    def welcome(self) -> m.Welcome | None:
        """The server's greeting while ready: its limits, methods, priors and devices."""
        return self._link.welcome

    @property
    def busy(self) -> bool:
        """The last `poll` ended with work at hand: poll again soon."""
        return self._busy

    def poll(self, budget_s: float = 0.005) -> list[events.Event]:
        """Do what is waiting, for about `budget_s` at most; returns at once where nothing waits."""
        end = self._clock() + budget_s
        while True:
            message = self._link.receive()
            if message is not None:
                self._take(message)
            worked = self._uploads.step() or self._downloads.step()
            self._busy = worked or message is not None
            if not self._busy or self._clock() >= end:
                break
        self._link.upkeep()
        self._jobs.upkeep()
        self._uploads.check_stall(STALL_SECONDS)
        self._downloads.check_stall(STALL_SECONDS)
        self._uploads.tell_progress()
        self._downloads.tell_progress()
        told, self._events = self._events, []
        return told

    def wait(self, timeout_s: float) -> None:
        """Sleep until something may be done or `timeout_s` has passed. For a command line, never in a UI."""
        if self._busy or self._events:
            return
        if self._link.open:
            self._link.wait(timeout_s)
        else:
            time.sleep(min(timeout_s, 0.1))

    def submit(self, scene: Scene, settings: Settings, job_id: str | None = None) -> str:
        """Check, pack, upload under credit, ask: answered by `Accepted` or `Rejected`.

        Args:
            job_id: a UUID that the caller has saved, so that a crash before `Accepted` loses nothing.

        Raises:
            ProtocolError: BAD_SCENE, BAD_SETTINGS or TOO_LARGE, with the field's path; nothing was sent.
        """
        return self.submit_packed(self.pack(scene, settings), job_id)

    def pack(self, scene: Scene, settings: Settings) -> PackedJob:
        """The first half of `submit`, which takes its time with a large scene; sends nothing.

        Raises:
            ProtocolError: as `submit`.
        """
        packed = pack_job(scene, settings)
        most = self.welcome.limits.get("scene_bytes") if self.welcome is not None else None
        if isinstance(most, int) and len(packed.blob) > most:
            problem = "has too many bytes for this server"
            raise ProtocolError("TOO_LARGE", "$", problem, len(packed.blob), most)
        return packed

    def submit_packed(self, packed: PackedJob, job_id: str | None = None) -> str:
        """The second half of `submit`, which is quick.

        Raises:
            ProtocolError: BAD_FIELD for a job id that is none, ID_CONFLICT for one that is on its way.
        """
        request = m.Submit(
            job=m.new_id() if job_id is None else job_id,
            settings=packed.settings,
            scene_sha256=packed.scene_sha256,
            scene_size=len(packed.blob),
            spec_sha256=packed.spec_sha256,
        )
        to_plain(request)  # refuses a job id that is none
        self._uploads.add(request, memoryview(packed.blob))
        return request.job

    def cancel(self, job_id: str) -> None:
        """Stop this job, no other; may be repeated. `Cancelled` follows, or `Done` if that was sooner.

        A job that the server has not been asked for yet is cancelled here and now. Asked while the connection
        is lost, the server is told as soon as it is back.
        """
        to_plain(m.Cancel(job=job_id))
        submission = self._uploads.find(job_id)
        if submission is not None:
            self._uploads.remove(submission)
            if not submission.maybe_known:
                self._emit(events.Cancelled(job_id))
                return
            self._jobs.add(job_id)
        self._jobs.cancel(job_id)

    def attach(self, job_id: str, after_seq: int = 0) -> None:
        """Hear of a job of an earlier session; what came after `after_seq` is told again, in order.

        `Failed` with UNKNOWN_JOB follows where the server does not have it.
        """
        to_plain(m.Attach(job=job_id, after_seq=after_seq))
        self._jobs.add(job_id, after_seq)

    def fetch(self, job_id: str, name: str, target: Path) -> None:
        """Pull a file of a job: into `target` with `.part` behind it, checked, then renamed.

        A `.part` from before is continued. `Fetched` or `FetchFailed` follows.
        """
        to_plain(m.ArtifactGet(job=job_id, name=name))
        self._downloads.add(job_id, name, target)

    def stop_fetching(self, job_id: str) -> None:
        """Forget the files of a job that were not fetched yet; their `.part` stays."""
        self._downloads.remove(job_id)

    def status(self) -> None:
        """Ask for the server's queue and devices; `Status` follows. Dropped while not connected."""
        self._link.send(m.Status())

    def release_memory(self) -> None:
        """Ask idle workers for their device memory; `MemoryReleased` follows. Dropped while not connected."""
        self._link.send(m.ReleaseMemory())

    def reconnect(self) -> None:
        """Try now instead of waiting, also after a refusal."""
        self._link.reconnect()

    def close(self) -> None:
        """Say goodbye and close the socket at once, without lingering; jobs go on."""
        self._link.close()
        self._downloads.close()
        if self._context is not None:
            self._context.destroy(linger=0)
            self._context = None

    def _emit(self, event: events.Event) -> None:
        if isinstance(event, events.Connected):
            self._uploads.restart()
            self._downloads.restart()
            self._jobs.restart()
        if isinstance(event, events.Accepted):
            self._jobs.add(event.job, attach=event.duplicate)
        if isinstance(event, _COALESCED):
            self._events = [e for e in self._events if _key(e) != _key(event)]
        self._events.append(event)

    def _take(self, message: m.Message) -> None:
        if self._uploads.take(message) or self._downloads.take(message) or self._jobs.take(message):
            return
        match message:
            case m.StatusReply():
                queue = (message.queued, message.running, message.jobs, message.devices)
                self._emit(events.Status(*queue, message.uptime_s))
            case m.Released():
                self._emit(events.MemoryReleased(message.devices, message.busy))
            case m.Error() if message.error.code != "RATE":
                self._emit(events.Warned("", message.error.sentence))
            case _:
                pass  # from a newer server, or to what was given up meanwhile, or asked again in any case


def _key(event: events.Event) -> tuple[object, ...]:
    return type(event), getattr(event, "job", ""), getattr(event, "kind", "")
