"""A gateway whose workers are fakes, in a process of its own; it can be told to die at a named point.

    python fake_gateway.py STATE ADDRESS '{"workers": 2, "crash": "after_commit.accept:2", "config": {...}}'

Crash points, each with the number of the time: before_ and after_ commit.accept, commit.lease, commit.start,
commit.publish (the store's transactions), settle (an upload made to last), and send.accepted, send.done, ...
(a message of that type).
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from vitruvian.core.errors import UserError
from vitruvian.service import intake, ledger
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


class Database:
    """A connection that passes a point around each commit of what was done since the last one."""

    def __init__(self, db: sqlite3.Connection, bomb: Bomb) -> None:
        self._db, self._bomb, self.doing = db, bomb, ""

    def execute(self, statement: str, *values: Any) -> Any:
        if statement != "COMMIT":
            return self._db.execute(statement, *values)
        point, self.doing = f"commit.{self.doing}", ""
        self._bomb(f"before_{point}")
        found = self._db.execute(statement)
        self._bomb(f"after_{point}")
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


def plant(bomb: Bomb) -> None:
    """Around what the store commits, what uploads become, and what the socket sends."""
    open_database, settle, send = ledger.open_database, intake.settle, Delivery._send

    def noted(name: str) -> Callable[..., Any]:
        verb = getattr(Store, name)

        def call(self: Store, *arguments: Any, **options: Any) -> Any:
            cast(Any, self._db).doing = name
            return verb(self, *arguments, **options)

        return call

    def settled(file: Any) -> None:
        bomb("before_settle")
        settle(file)
        bomb("after_settle")

    def sent(self: Delivery, session: Any, message: Any) -> bool:
        bomb(f"before_send.{message.t}")
        result = send(self, session, message)
        bomb(f"after_send.{message.t}")
        return result

    ledger.open_database = lambda path: cast(Any, Database(open_database(path), bomb))
    for name in ("accept", "lease", "start", "publish"):
        setattr(Store, name, noted(name))
    intake.settle = settled
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
