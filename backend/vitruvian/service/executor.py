"""Where jobs run: one interface, and the local one, with a worker process per device."""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

from vitruvian.service.pipes import Order, read_message, write_message

log = logging.getLogger(__name__)

SlotState = Literal["asleep", "starting", "idle", "busy", "gone"]
"""`asleep`: no process, all memory given back. `gone`: it does not start; tried again after a while."""
START_SECONDS = 600.0
"""A worker that is not ready after so long is killed: loading an image model takes minutes at worst."""
_RETRY_SECONDS = (1.0, 60.0)
_END_SECONDS = 5.0
"""A worker that says nothing more and has not ended after so long is killed."""


@dataclass(frozen=True)
class Slot:
    """A device and what it is doing."""

    name: str
    device: str
    state: SlotState
    job: str | None = None
    attempt: int = 0
    memory_total: int = 0
    idle_since: float = 0.0
    """On the executor's clock; means something while it is idle."""
    why: str = ""
    """Why it did not start the last time."""


@dataclass(frozen=True)
class WorkerReport:
    """What a worker said. `kind`: ready, unfit, beat, started, stage, progress, preview, warning, finished,
    failed, cancelled; or lost, which the executor says where the process has ended (`body["why"]`)."""

    slot: str
    kind: str
    job: str | None
    attempt: int
    body: dict[str, Any]


class Executor(Protocol):
    """Runs orders on devices. Only the gateway decides about queue, retries and results."""

    waker: socket.socket
    """Readable once there are reports, so that a loop can wait for them."""

    def slots(self) -> list[Slot]: ...

    def wake(self, slot: str) -> None:
        """Start a sleeping slot's process."""
        ...

    def start(self, slot: str, order: Order) -> None:
        """Give an idle slot work."""
        ...

    def cancel(self, slot: str, job: str, attempt: int) -> None:
        """Ask a worker to let go of a job; it may take until the end of a step."""
        ...

    def kill(self, slot: str) -> None:
        """End a slot's process at once, and with it all it holds; a report `lost` follows."""
        ...

    def sleep(self, slot: str) -> bool:
        """Give an idle slot's memory back; False where it is at work."""
        ...

    def reports(self) -> list[WorkerReport]:
        """What workers said since the last call."""
        ...

    def close(self) -> None:
        """End all workers."""
        ...


@dataclass
class _Worker:
    """A running process."""

    process: subprocess.Popen[bytes]
    born: float
    ready: bool = False
    job: str | None = None
    attempt: int = 0
    idle_since: float = 0.0
    unfit: str = ""
    """What it said of why it cannot work."""
    ending: bool = False
    """It was killed, or has said that it ends: it takes no more work."""


@dataclass
class _Place:
    """A slot, with or without a process."""

    command: Sequence[str]
    log: Path
    device: str
    worker: _Worker | None = None
    memory_total: int = 0
    failures: int = 0
    retry_at: float = 0.0
    why: str = ""
    said: queue.SimpleQueue[tuple[_Worker, dict[str, Any] | None]] = field(default_factory=queue.SimpleQueue)


class LocalExecutor:
    """A child process for each device on this machine.

    Args:
        commands: the worker's command line by slot name.
        logs: folder for what workers print; it is there.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        logs: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._notes: set[str] = set()
        self._places = {
            name: _Place(command, logs / f"worker-{name}.log", name) for name, command in commands.items()
        }
        self.waker, self._alarm = socket.socketpair()
        self.waker.setblocking(False)
        self._alarm.setblocking(False)

    def slots(self) -> list[Slot]:
        return [self._slot(name, place) for name, place in self._places.items()]

    def wake(self, slot: str) -> None:
        place = self._places[slot]
        if place.worker is not None or self._clock() < place.retry_at:
            return
        try:
            with place.log.open("ab") as output:
                process = subprocess.Popen(
                    place.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output
                )
        except OSError as error:
            # No memory, no file handles: it may be better in a while, and jobs wait.
            self._put_off(slot, place, f"cannot be started: {error}")
            return
        place.worker = _Worker(process, self._clock())
        threading.Thread(target=self._listen, args=(place, place.worker), daemon=True).start()

    def start(self, slot: str, order: Order) -> None:
        worker = self._places[slot].worker
        assert worker is not None, "start() is for idle slots"
        worker.job, worker.attempt = order.job, order.attempt
        self._tell(worker, order.to_message())

    def cancel(self, slot: str, job: str, attempt: int) -> None:
        worker = self._places[slot].worker
        if worker is not None:
            self._tell(worker, {"t": "cancel", "job": job, "attempt": attempt})

    def kill(self, slot: str) -> None:
        worker = self._places[slot].worker
        if worker is not None:
            worker.process.kill()

    def sleep(self, slot: str) -> bool:
        worker = self._places[slot].worker
        if worker is None:
            return True
        if worker.job is not None:
            return False
        worker.ending = True
        worker.process.kill()
        return True

    def reports(self) -> list[WorkerReport]:
        with contextlib.suppress(BlockingIOError):
            while self.waker.recv(4096):
                pass
        found: list[WorkerReport] = []
        for name, place in self._places.items():
            self._check_start(name, place)
            while not place.said.empty():
                worker, message = place.said.get()
                if message is None:
                    found += self._ended(name, place, worker)
                elif worker is place.worker:
                    found.append(self._heard(name, place, worker, message))
        return found

    def close(self) -> None:
        running = [place.worker.process for place in self._places.values() if place.worker is not None]
        for process in running:
            process.kill()
        for process in running:
            process.wait()
        self.waker.close()
        self._alarm.close()

    def _slot(self, name: str, place: _Place) -> Slot:
        worker = place.worker
        if worker is None or worker.ending:
            state: SlotState = "gone" if self._clock() < place.retry_at else "asleep"
            return Slot(name, place.device, state, memory_total=place.memory_total, why=place.why)
        state = "starting" if not worker.ready else "idle" if worker.job is None else "busy"
        return Slot(
            name, place.device, state, worker.job, worker.attempt, place.memory_total, worker.idle_since
        )

    def _heard(self, name: str, place: _Place, worker: _Worker, message: dict[str, Any]) -> WorkerReport:
        kind, job, attempt = message.pop("t"), message.pop("job", None), message.pop("attempt", 0)
        if kind == "ready":
            worker.ready, worker.idle_since = True, self._clock()
            place.failures, place.why = 0, ""
            place.device, place.memory_total = message.get("device", name), message.get("memory_total", 0)
            self._log_once(message.get("note"))
        elif kind in ("finished", "failed", "cancelled"):
            worker.job, worker.idle_since = None, self._clock()
            worker.ending = message.pop("last", False)
        elif kind == "unfit":
            worker.unfit = message["why"]
        elif kind == "beat":
            job, attempt = worker.job, worker.attempt
        return WorkerReport(name, kind, job, attempt, message)

    def _log_once(self, note: str | None) -> None:
        """What a worker found out about its machine, for whoever runs the server."""
        if note and note not in self._notes:
            self._notes.add(note)
            log.info(note)

    def _ended(self, name: str, place: _Place, worker: _Worker) -> list[WorkerReport]:
        """The process is gone: the slot sleeps, or waits before another try if it never got ready."""
        code = worker.process.returncode
        if place.worker is worker:
            place.worker = None
        why = f"exit code {code}" if code >= 0 else f"signal {-code}"
        if not worker.ready and not worker.ending:
            self._put_off(name, place, worker.unfit or f"ended while starting ({why}), see {place.log.name}")
        return [WorkerReport(name, "lost", worker.job, worker.attempt, {"why": why})]

    def _put_off(self, name: str, place: _Place, why: str) -> None:
        """It did not start: wait before another try, longer each time."""
        if why != place.why:
            log.error("worker %s: %s", name, why)
        place.why = why
        first, longest = _RETRY_SECONDS
        place.retry_at = self._clock() + min(first * 2**place.failures, longest)
        place.failures += 1

    def _check_start(self, name: str, place: _Place) -> None:
        worker = place.worker
        if worker is not None and not worker.ready and self._clock() - worker.born > START_SECONDS:
            self.kill(name)

    def _listen(self, place: _Place, worker: _Worker) -> None:
        """Thread: reads one worker's pipe to its end."""
        stream: BinaryIO = worker.process.stdout  # pyright: ignore[reportAssignmentType]
        try:
            while (message := read_message(stream)) is not None:
                self._say(place, worker, message)
        except (ValueError, OSError):
            worker.process.kill()
        try:
            # Here and not in the loop: a process may take its time between its last word and its end.
            worker.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
        self._say(place, worker, None)

    def _say(self, place: _Place, worker: _Worker, message: dict[str, Any] | None) -> None:
        place.said.put((worker, message))
        # A full buffer means that the loop has yet to wake up anyway; a closed one, that it never will.
        with contextlib.suppress(OSError):
            self._alarm.send(b"!")

    def _tell(self, worker: _Worker, message: dict[str, Any]) -> None:
        stream: BinaryIO = worker.process.stdin  # pyright: ignore[reportAssignmentType]
        # A worker that has just died is reported as lost.
        with contextlib.suppress(OSError):
            write_message(stream, message)
