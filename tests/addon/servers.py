"""Servers that really serve, each in a process of its own that ends with its test."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent


@contextmanager
def painting_gateway(state: Path, *keys: Path) -> Iterator[str]:
    """The address of a gateway whose worker paints one colour at once."""
    address = free_address()
    script = str(HERE / "painting_gateway.py")
    with _served([sys.executable, script, str(state), address, *map(str, keys)]):
        yield address


@contextmanager
def vitruvian_serve(state: Path) -> Iterator[str]:
    """The address of `vitruvian serve` with the bundled image model."""
    address = free_address()
    code = "from vitruvian.cli import main; main()"
    options = ["serve", "--address", address, "--state", str(state), "--min-free-gb", "0.1"]
    with _served([sys.executable, "-c", code, *options]):
        yield address


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


@contextmanager
def _served(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert "tcp://" in process.stdout.readline()
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
