"""What `vitruvian serve` itself is: it starts the gateway, and starts it again when it dies.

A gateway that dies loses nothing that it has accepted, so all that is left to do about the worst (memory
eaten up, a fault of ours, a kill -9) is to begin anew, soon.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import time
from collections.abc import Sequence

from vitruvian.service.process import COMMAND, EXIT_REFUSED

log = logging.getLogger(__name__)

_WAITS = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each new start of a gateway that died early; then it is given up."""
_EARLY_SECONDS = 5.0
_STOP_SECONDS = 15.0
"""A gateway that was asked to stop and goes on for so long is killed."""


class Supervisor:
    """Keeps one gateway alive until `stop`.

    Args:
        settings: for the gateway's process, from `settings_line`.
    """

    def __init__(self, settings: bytes, command: Sequence[str] = COMMAND) -> None:
        self._settings, self._command = settings, list(command)
        self._child: subprocess.Popen[bytes] | None = None
        self._stop_at: float | None = None

    def stop(self) -> None:
        """End `run` soon, and the gateway with it. From a signal handler, too."""
        self._stop_at = time.monotonic()
        if self._child is not None and self._child.stdin is not None:
            with contextlib.suppress(OSError):
                self._child.stdin.close()

    def run(self) -> int:
        """Serve; returns the exit code of a gateway that ended as it should, refused to start, or never
        got far."""
        early = 0
        while True:
            begun = time.monotonic()
            code = self._live()
            if self._stop_at is not None or code in (0, EXIT_REFUSED):
                return max(code, 0)
            early = early + 1 if time.monotonic() - begun < _EARLY_SECONDS else 0
            if early > len(_WAITS):
                log.error("the gateway does not start (exit code %d)", code)
                return max(code, 1)
            log.warning("the gateway has died (exit code %d) and is started again", code)
            self._pause(_WAITS[max(early - 1, 0)])

    def _live(self) -> int:
        """One gateway's life."""
        # Unbuffered, so that `stop` may close it at any moment.
        child = self._child = subprocess.Popen(self._command, stdin=subprocess.PIPE, bufsize=0)
        assert child.stdin is not None
        with contextlib.suppress(OSError):
            child.stdin.write(self._settings)
        if self._stop_at is not None:
            self.stop()
        while True:
            try:
                return child.wait(0.5)
            except subprocess.TimeoutExpired:
                if self._stop_at is not None and time.monotonic() - self._stop_at > _STOP_SECONDS:
                    child.kill()

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._stop_at is None and time.monotonic() < end:
            time.sleep(0.05)
