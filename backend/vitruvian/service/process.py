"""The gateway's process: `python -m vitruvian.service.process`.

Its settings are one line of JSON on standard input, which stays open: the end of it means that whoever
started the gateway wants it to stop, or is gone.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vitruvian.core.errors import UserError
from vitruvian.service.config import ServeConfig

EXIT_REFUSED, EXIT_AGAIN = 2, 75
"""Something in the settings is wrong; all is well, but it has to be started again."""
COMMAND = [sys.executable, "-m", "vitruvian.service.process"]


def settings_line(config: ServeConfig, workers: Mapping[str, Sequence[str]]) -> bytes:
    """What the process is told.

    Args:
        workers: the command line of each device's worker, by the device's name.
    """
    told = {"config": asdict(config), "workers": {name: list(line) for name, line in workers.items()}}
    return json.dumps(told, default=str).encode() + b"\n"


def read_settings(line: bytes) -> tuple[ServeConfig, dict[str, list[str]]]:
    """The other way round."""
    told = json.loads(line)
    values: dict[str, Any] = told["config"]
    keys = None if values["keys"] is None else Path(values["keys"])
    return ServeConfig(**{**values, "state": Path(values["state"]), "keys": keys}), told["workers"]


def main() -> None:
    """Serve until told to stop. The exit code is 0, or one of those above."""
    from vitruvian.service.allocation import keep_freed_blocks
    from vitruvian.service.executor import LocalExecutor
    from vitruvian.service.gateway import Gateway

    keep_freed_blocks()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # Ctrl-C reaches every process of a terminal: whoever started this one decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    config, workers = read_settings(sys.stdin.buffer.readline())
    try:
        gateway = Gateway(config, lambda: LocalExecutor(workers, config.logs))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_REFUSED)
    signal.signal(signal.SIGTERM, lambda *_: gateway.stop())

    def wait_for_the_end() -> None:
        # Not through sys.stdin: a thread that sits in there breaks the interpreter's own end.
        while os.read(0, 4096):
            pass
        gateway.stop()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    print(f"listening on {gateway.address}", flush=True)
    gateway.run()
    sys.exit(EXIT_AGAIN if gateway.worn_out else 0)


if __name__ == "__main__":
    main()
