"""A backend on this computer: its environment, its process, its log. No bpy, no thread.

One folder of the user's holds `env/` (a Python environment outside Blender's), `state/` (the backend's jobs),
`serve.log`, `install.log`, and `backend.json`, which says who runs: pid and port. The process
outlives Blender and is found again through that file: never a second one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .files import take_lock, write_atomically
from .problems import Problem
from .processes import end, is_same, port_answers, spawn, start_time, tail_of

FIRST_PORT, PORTS = 29517, 16
"""Ports that are tried in turn where one is taken by something else."""
LOCK_STALE_S = 30.0
"""Age at which the lock of a start that never finished is broken."""
STOP_S = 10.0
"""Seconds a backend gets to stop by itself."""

State = Literal["absent", "installing", "stopped", "starting", "running", "stopping", "died"]


@dataclass(frozen=True)
class Record:
    """Who runs, as `backend.json` says."""

    pid: int
    port: int
    started: float
    """What the system says of the process's start, so that a recycled pid is not taken for it; 0: unknown."""


class LocalBackend:
    """Installs, starts, finds and stops the one backend of this user."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = folder
        self.install_log = folder / "install.log"
        self.serve_log = folder / "serve.log"
        self._clock = clock
        self._record_path = folder / "backend.json"
        self._lock_path = folder / "backend.lock"
        self._process: subprocess.Popen[bytes] | None = None
        self._steps: list[list[str]] = []
        self._install: subprocess.Popen[bytes] | None = None
        self._install_failed = False
        self._stop_at: float | None = None
        self._died = False

    # ---- environment ----

    @property
    def command(self) -> Path:
        """The backend's program in our own environment."""
        folder = self.folder / "env" / ("Scripts" if os.name == "nt" else "bin")
        return folder / ("vitruvian.exe" if os.name == "nt" else "vitruvian")

    def install(self, python: str, source: str) -> None:
        """Make the environment and put the backend into it; `tick` goes on with it, `install.log` tells.

        Args:
            python: a Python 3.11 or newer of the user's, outside Blender.
            source: what to install: a folder, a wheel, or a package's name.

        Raises:
            Problem: one is running already, or the Python is not there.
        """
        if self._install is not None:
            raise Problem("BUSY", "The backend is being installed already", "Wait for it, or read the log")
        if shutil.which(python) is None:
            raise Problem(
                "NO_PYTHON", f'No Python at "{python}"', "Give a Python 3.11 or newer in the preferences"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = self.folder / "env"
        inside = self.command.with_name("python.exe" if os.name == "nt" else "python")
        self._steps = [
            [
                python,
                "-c",
                "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed')",
            ],
            [python, "-m", "venv", "--clear", str(environment)],
            [str(inside), "-m", "pip", "install", "--disable-pip-version-check", source],
        ]
        self.install_log.write_text("")
        self._install_failed = False
        self._next_step()

    def cancel_install(self) -> None:
        self._steps = []
        if self._install is not None:
            self._install.terminate()

    def _next_step(self) -> None:
        step = self._steps.pop(0)
        with self.install_log.open("ab") as log:
            log.write(f"$ {' '.join(step)}\n".encode())
            log.flush()
            self._install = spawn(step, log, detached=False)

    def _tick_install(self) -> None:
        if self._install is None:
            return
        code = self._install.poll()
        if code is None:
            return
        self._install = None
        if code != 0:
            self._steps, self._install_failed = [], True
        elif self._steps:
            self._next_step()

    # ---- process ----

    @property
    def record(self) -> Record | None:
        """The backend that runs, whoever started it; None where none does."""
        try:
            data = json.loads(self._record_path.read_text(encoding="utf-8"))
            record = Record(int(data["pid"]), int(data["port"]), float(data["started"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record if is_same(record.pid, record.started) else None

    @property
    def address(self) -> str:
        """Where the backend that runs listens; the first port where none does."""
        record = self.record
        return f"tcp://127.0.0.1:{record.port if record else FIRST_PORT}"

    @property
    def state(self) -> State:
        if self._install is not None:
            return "installing"
        if self._stop_at is not None:
            return "stopping"
        record = self.record
        if record is not None:
            return "running" if port_answers(record.port) else "starting"
        if self._died:
            return "died"
        return "stopped" if self.command.exists() else "absent"

    @property
    def install_failed(self) -> bool:
        return self._install_failed

    def start(self, command: Sequence[str] | None = None) -> Record:
        """Start the backend, unless one runs: then that one is returned.

        Args:
            command: the program to run instead of the one in our environment; `serve` is added.

        Raises:
            Problem: no environment, another start under way, or no free port.
        """
        running = self.record
        if running is not None:
            return running
        program = list(command) if command else [str(self.command)]
        if shutil.which(program[0]) is None:
            raise Problem(
                "NO_BACKEND", "The backend is not installed on this computer", "Install it, or use a server"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not take_lock(self._lock_path, LOCK_STALE_S):
                raise Problem(
                    "BUSY", "Another Blender is starting the backend", "Wait a moment, then try again"
                )
            try:
                return self.record or self._started(program)  # another Blender may have been quicker
            finally:
                self._lock_path.unlink(missing_ok=True)
        except OSError as error:
            raise Problem(
                "NO_BACKEND", f"The backend cannot be started: {error}", "Install it again"
            ) from error

    def _started(self, program: list[str]) -> Record:
        port = free_port()
        self._rotate_log()
        state = str(self.folder / "state")
        full = [*program, "serve", "--address", f"tcp://127.0.0.1:{port}", "--state", state]
        with self.serve_log.open("ab") as log:
            self._process = spawn(full, log, detached=True)
        record = Record(self._process.pid, port, start_time(self._process.pid))
        write_atomically(self._record_path, json.dumps(vars(record)))
        self._died = False
        return record

    def stop(self) -> None:
        """Ask the backend to stop; `tick` ends it where it does not. Its jobs are kept."""
        record = self.record
        if record is None:
            return
        end(record.pid, hard=False)
        self._stop_at = self._clock() + STOP_S

    def tick(self) -> None:
        """Look after what runs; quick."""
        self._tick_install()
        if self._process is not None and self._process.poll() is not None:
            # Reaped, so that it is no zombie that looks alive.
            self._died = self._stop_at is None
            self._process = None
            self._record_path.unlink(missing_ok=True)
        if self._stop_at is None:
            return
        record = self.record
        if record is None:
            self._stop_at = None
            self._record_path.unlink(missing_ok=True)
        elif self._clock() > self._stop_at:
            end(record.pid, hard=True)

    def tail(self, lines: int = 12) -> list[str]:
        """The end of the log that matters now."""
        path = self.install_log if self._install is not None or self._install_failed else self.serve_log
        return tail_of(path, lines)

    def _rotate_log(self) -> None:
        if self.serve_log.exists():
            os.replace(self.serve_log, self.serve_log.with_suffix(".log.1"))


def free_port() -> int:
    """The first of our ports that nothing listens on.

    Raises:
        Problem: all are taken.
    """
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        if not port_answers(port):
            return port
    raise Problem(
        "NO_PORT", f"Ports {FIRST_PORT} to {FIRST_PORT + PORTS - 1} are all taken", "Close what uses them"
    )
