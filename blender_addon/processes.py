"""Processes, ports and logs of this computer, on every system that Blender runs on. No bpy."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO


def spawn(command: list[str], log: IO[bytes], detached: bool) -> subprocess.Popen[bytes]:
    """A process without Blender's Python settings; a detached one outlives Blender."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW | (subprocess.CREATE_NEW_PROCESS_GROUP if detached else 0)
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**mine, "PYTHONUNBUFFERED": "1"},
        start_new_session=detached and os.name != "nt",
        creationflags=flags,
        close_fds=True,
    )


def end(pid: int, hard: bool) -> None:
    """Ask a process to end, or make it."""
    kind = signal.SIGKILL if hard and os.name != "nt" else signal.SIGTERM
    try:
        os.kill(pid, kind)
    except (ProcessLookupError, PermissionError):
        return


def is_alive(pid: int) -> bool:
    """Whether a process of this number runs."""
    if pid <= 0:
        return False
    if sys.platform == "win32":
        return _is_alive_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _has_ended(pid)


def _has_ended(pid: int) -> bool:
    """Whether only a process's entry is left, which nobody has collected yet; Linux tells."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X")
    except (OSError, IndexError):
        return False


def _is_alive_on_windows(pid: int) -> bool:
    """By a handle on the process: a beat asks every second, and starting a program would take too long."""
    import ctypes
    from ctypes import wintypes

    query_limited_information, still_active = 0x1000, 259
    kernel = ctypes.WinDLL("kernel32")
    kernel.OpenProcess.restype = wintypes.HANDLE
    handle = kernel.OpenProcess(query_limited_information, False, wintypes.DWORD(pid))
    if not handle:
        return False
    code = wintypes.DWORD()
    try:
        known = kernel.GetExitCodeProcess(wintypes.HANDLE(handle), ctypes.byref(code))
        return bool(known) and code.value == still_active
    finally:
        kernel.CloseHandle(wintypes.HANDLE(handle))


def start_time(pid: int) -> float:
    """Clock ticks since boot at which a process began, on Linux; 0 elsewhere or where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return float(fields[19])
    except (OSError, IndexError, ValueError):
        return 0.0


def is_same(pid: int, started: float) -> bool:
    """Whether the process of this number is the one that began at `started`, as far as the system tells."""
    if not is_alive(pid):
        return False
    now = start_time(pid)
    return not started or not now or now == started


def port_answers(port: int) -> bool:
    """Whether something listens there on this computer."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.05)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def tail_of(path: Path, lines: int) -> list[str]:
    """The last lines of a text file, whatever its size."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 8192))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return text.splitlines()[-lines:]
