"""A gateway whose workers are fakes, in a process of its own; it can be told to die at a named point.

    python fake_gateway.py STATE ADDRESS '{"workers": 2, "crash": "after_commit:2", "config": {...}}'

Crash points, each with the number of the time: before_commit, after_commit (of an accepted job), before_send
and after_send of a message type (before_send.accepted), before_publish, after_publish.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vitruvian.core.errors import UserError
from vitruvian.service.config import ServeConfig
from vitruvian.service.delivery import Delivery
from vitruvian.service.executor import LocalExecutor
from vitruvian.service.gateway import Gateway
from vitruvian.service.store import Store

WORKER = Path(__file__).with_name("fake_worker.py")


class Bomb:
    """Kills the process the n-th time that its point is passed."""

    def __init__(self, crash: str) -> None:
        self.point, _, count = crash.partition(":")
        self.left = int(count or 1)

    def __call__(self, point: str) -> None:
        if point == self.point:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def plant(bomb: Bomb) -> None:
    """Around what the store commits and what the socket sends."""
    send = Delivery._send

    def wrapped(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            bomb(f"before_{name}")
            result = function(*arguments, **options)
            bomb(f"after_{name}")
            return result

        return call

    def sent(self: Delivery, session: Any, message: Any) -> bool:
        bomb(f"before_send.{message.t}")
        result = send(self, session, message)
        bomb(f"after_send.{message.t}")
        return result

    Store.accept = wrapped(Store.accept, "commit")
    Store.publish = wrapped(Store.publish, "publish")
    Delivery._send = sent


def main() -> None:
    state, address, options = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    plant(Bomb(options.get("crash", "")))
    values = {"min_free": 0, "priors": {"mini": "mini"}, **options.get("config", {})}
    if values.get("keys"):
        values["keys"] = Path(values["keys"])
    config = ServeConfig(state, address, **values)
    commands = {
        f"fake{n}": [sys.executable, str(WORKER), f"fake{n}"] for n in range(options.get("workers", 1))
    }
    try:
        gateway = Gateway(config, lambda: LocalExecutor(commands, config.logs))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    signal.signal(signal.SIGTERM, lambda *_: gateway.stop())
    print(json.dumps({"address": gateway.address, "torch": "torch" in sys.modules}), flush=True)
    gateway.run()


if __name__ == "__main__":
    main()
