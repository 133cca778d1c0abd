"""The process that paints: one a device, no network. It takes orders from its standard input and reports.

This module knows nothing of torch: what paints is handed in, so that tests and benchmarks bring their own.
Started as `python -m vitruvian.service.worker`, it paints with `painting.Painter`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from vitruvian.core.errors import Cancelled, UserError
from vitruvian.service.files import StoredFile, sync_folder
from vitruvian.service.pipes import Order, read_message, write_message
from vitruvian_protocol.errors import ProtocolError

BEAT_SECONDS = 1.0
"""A worker that is not stopped or starved says so this often, at work or not."""
PROGRESS_SECONDS, PREVIEW_SECONDS = 0.25, 1.0
"""Progress and previews are sent no more often than this."""
PREVIEW_SHARE = 0.03
"""Part of a job's time that may go into previews."""


class Paint(Protocol):
    """What a worker does with an order."""

    def __call__(self, order: Order, progress: JobProgress, folder: Path) -> None:
        """Write the results into `folder` (plain files, no folders in it). May raise anything."""
        ...


class JobProgress:
    """Tells the gateway how far a job is; raises `Cancelled` once the job is to be stopped."""

    def __init__(self, send: Callable[[dict[str, Any]], None], order: Order, stop: threading.Event) -> None:
        self._send, self._order, self._stop = send, order, stop
        self._begin = time.monotonic()
        self._stage = ""
        self._told = self._shown = float("-inf")
        self._spent = 0.0

    def __call__(self, stage: str, fraction: float, eta_s: float | None = None) -> None:
        """`fraction` of the whole job is done, and `stage` goes on.

        Raises:
            Cancelled: the job is to be stopped.
        """
        self.check()
        if stage != self._stage:
            self._stage = stage
            self.send("stage", stage=stage)
            self._told = float("-inf")
        now = time.monotonic()
        if now - self._told >= PROGRESS_SECONDS:
            self._told = now
            self.send("progress", stage=stage, fraction=min(max(fraction, 0.0), 1.0), eta_s=eta_s)

    def check(self) -> None:
        """Quick enough to be asked between any two parts of a step.

        Raises:
            Cancelled: the job is to be stopped.
        """
        if self._stop.is_set():
            raise Cancelled

    def wants_preview(self) -> bool:
        """Whether one is due, and previews have not taken more than their share of the time."""
        now = time.monotonic()
        return (
            now - self._shown >= PREVIEW_SECONDS and self._spent <= PREVIEW_SHARE * (now - self._begin) + 0.5
        )

    def previews(self, make: Callable[[], dict[str, bytes]]) -> None:
        """Send the JPEGs that `make` returns, by kind ("sheet", "texture")."""
        begin = time.monotonic()
        for kind, jpeg in make().items():
            self.send("preview", kind=kind, jpeg=jpeg)
        self._shown = time.monotonic()
        self._spent += self._shown - begin

    def warn(self, text: str) -> None:
        """Something that the artist should know though the job goes on."""
        self.send("warning", text=text)

    def send(self, t: str, /, **body: Any) -> None:
        """One message about this attempt."""
        self._send({"t": t, "job": self._order.job, "attempt": self._order.attempt, **body})


class Worker:
    """Runs orders one after the other until its input ends."""

    def __init__(self, paint: Paint, commands: BinaryIO, answers: BinaryIO) -> None:
        self._paint, self._commands, self._answers = paint, commands, answers
        self._writing = threading.Lock()
        self._orders: list[Order] = []
        self._stops: dict[tuple[str, int], threading.Event] = {}
        self._changed = threading.Condition()

    def send(self, message: dict[str, Any]) -> None:
        """Tell the gateway; from any thread. Without a gateway there is nothing left to do."""
        with self._writing:
            try:
                write_message(self._answers, message)
            except OSError:
                os._exit(0)

    def run(self, about: dict[str, Any]) -> None:
        """Report as ready, then work. Never returns: the process ends with its input.

        Args:
            about: `device`, and what else the gateway should know.
        """
        for target in (self._listen, self._beat):
            threading.Thread(target=target, daemon=True).start()
        self.send({"t": "ready", **about})
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._orders)
                order = self._orders.pop(0)
                stop = self._stops[order.job, order.attempt]
            self._work(order, stop)
            del self._stops[order.job, order.attempt]

    def _work(self, order: Order, stop: threading.Event) -> None:
        """One order; whatever happens to it, the worker goes on."""
        progress = JobProgress(self.send, order, stop)
        part = Path(order.folder + ".part")
        try:
            progress.send("started")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            self._paint(order, progress, part)
            files = seal(part, Path(order.folder))
            progress.check()
        except Cancelled:
            progress.send("cancelled")
        except Exception as error:
            # After a CUDA error every call to the card fails: only a new process helps.
            last = "CUDA error" in str(error)
            progress.send("failed", last=last, **describe(error))
            if last:
                os._exit(1)
        else:
            listed = [{"name": f.name, "size": f.size, "sha256": f.sha256} for f in files]
            progress.send("finished", files=listed)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _listen(self) -> None:
        """Commands, as they come. The end of the input means that the gateway is gone: nobody wants this."""
        try:
            while (message := read_message(self._commands)) is not None:
                with self._changed:
                    self._obey(message)
        finally:
            os._exit(0)

    def _obey(self, message: dict[str, Any]) -> None:
        match message["t"]:
            case "order":
                order = Order.from_message(message)
                self._stops[order.job, order.attempt] = threading.Event()
                self._orders.append(order)
                self._changed.notify()
            case "cancel":
                stop = self._stops.get((message["job"], message["attempt"]))
                if stop is not None:
                    stop.set()

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            self.send({"t": "beat"})


def seal(part: Path, folder: Path) -> list[StoredFile]:
    """Make results last: every file flushed and hashed, then the folder renamed to its own name."""
    files = []
    for path in sorted(part.iterdir()):
        with path.open("rb+") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        files.append(StoredFile(path.name, path.stat().st_size, digest))
    sync_folder(part)
    # A folder of this attempt can only be there if the same worker died after this line and before it told.
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    sync_folder(folder.parent)
    return files


def describe(error: Exception) -> dict[str, Any]:
    """An error as it is told to the artist. What nobody foresaw is logged here and told by a number."""
    if isinstance(error, UserError):
        return {"code": "BAD_REQUEST", "path": error.field, "problem": str(error)}
    if isinstance(error, ProtocolError):
        # The gateway has checked the scene before it took the job on.
        return {"code": "SCENE_DAMAGED", "path": error.path, "problem": error.problem}
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return {"code": "DISK_FULL_SERVER", "path": "", "problem": "no space left"}
    # By name: torch is not imported here, and the message is all that older versions have.
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__:
        return {"code": "OUT_OF_VRAM", "path": "", "problem": str(error).split("\n")[0][:200]}
    error_id = uuid.uuid4().hex[:8]
    print(f"error {error_id}", file=sys.stderr)
    traceback.print_exception(error)
    sys.stderr.flush()
    return {"code": "INTERNAL", "path": "", "problem": "", "error_id": error_id}


def take_over_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Commands and answers. Whatever else prints to standard output goes to the log from here on, and Ctrl-C
    is left to the gateway: it decides what becomes of the job."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    commands = os.fdopen(os.dup(0), "rb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    return commands, answers


def main() -> None:
    """`python -m vitruvian.service.worker DEVICE MEMORY NAME=PRIOR ...`"""
    commands, answers = take_over_pipes()
    device, memory, *named = sys.argv[1:]
    from vitruvian.service.painting import Painter

    try:
        painter = Painter(device, dict(pair.split("=", 1) for pair in named), memory)
        about = painter.warm_up()
    except UserError as error:
        write_message(answers, {"t": "unfit", "why": str(error)})
        sys.exit(1)
    Worker(painter, commands, answers).run(about)


if __name__ == "__main__":
    main()
