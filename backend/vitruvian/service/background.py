"""Work that would hold up the gateway's loop (flushing and checking large files), on one thread beside it."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

log = logging.getLogger(__name__)


class Background:
    """Runs functions one after the other and hands their outcomes to the loop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "disk")
        self._waiting: list[tuple[Future[Any], Callable[[Any], None]]] = []
        self.waker, self._alarm = socket.socketpair()
        """Readable once something is finished, so that a loop can wait for it."""
        self.waker.setblocking(False)
        self._alarm.setblocking(False)

    def run(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Do `work` on the thread; `then` gets its result, or the exception it raised, in `finish`."""
        future = self._pool.submit(work)
        self._waiting.append((future, then))
        future.add_done_callback(lambda _: self._ring())

    def finish(self) -> None:
        """Call `then` for everything that is done. From the loop."""
        with contextlib.suppress(BlockingIOError):
            while self.waker.recv(4096):
                pass
        done = {future for future, _ in self._waiting if future.done()}
        ready = [pair for pair in self._waiting if pair[0] in done]
        self._waiting = [pair for pair in self._waiting if pair[0] not in done]
        for future, then in ready:
            error = future.exception()
            try:
                then(error if error is not None else future.result())
            except Exception:
                # A fault of ours while answering one client must not end the service for all.
                log.exception("error after work beside the loop")

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.waker.close()
        self._alarm.close()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):
            self._alarm.send(b"!")
