"""The gateway: one ROUTER, one loop. It keeps the queue and the results, never paints, imports no torch.

A gateway that dies loses nothing that it has accepted: the store is on disk before anything is answered, and
what clients have not heard yet is read from there again.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import zmq

from vitruvian.core.errors import UserError
from vitruvian.service import housekeeping
from vitruvian.service.background import Background
from vitruvian.service.config import ServeConfig
from vitruvian.service.curve import (
    ALLOWED_FILE,
    SERVER_FILE,
    AllowList,
    Gatekeeper,
    check_exposure,
    read_key_file,
    secure,
    self_test,
)
from vitruvian.service.delivery import Delivery
from vitruvian.service.desk import Desk
from vitruvian.service.disk import Disk
from vitruvian.service.dispatch import Dispatcher, failure
from vitruvian.service.executor import Executor
from vitruvian.service.lock import FolderLock
from vitruvian.service.office import Office
from vitruvian.service.sessions import Sessions
from vitruvian.service.store import Store
from vitruvian_protocol import limits
from vitruvian_protocol.errors import explain
from vitruvian_protocol.messages import new_id

log = logging.getLogger(__name__)

_MESSAGES_AT_ONCE = 256
"""Read in one turn before anything is sent."""
_TURN_SECONDS = 0.02
"""Queue and devices are looked at this often at most while messages pour in."""
_CLEAN_SECONDS, _BACKUP_SECONDS, _MEMORY_SECONDS = 600.0, 3_600.0, 1.0
_QUIET_MS, _ACTIVE_MS, _BLOCKED_MS = 200, 50, 2


class Gateway:
    """Serves one state folder on one address until `stop`.

    Args:
        executor: where jobs run; it is closed with the gateway.
        clock: monotonic seconds.

    Raises:
        UserError: folder in use, damaged or not to be written, address taken, or no keys for an address that
            others can reach.
    """

    def __init__(
        self,
        config: ServeConfig,
        executor: Callable[[], Executor],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_exposure(config)
        self._config, self._clock = config, clock
        self._stopping = False
        self.worn_out = False
        """Whether it has stopped because it held too much memory: then it is to be started again."""
        self._stack = contextlib.ExitStack()
        try:
            self._open(config, executor)
        except BaseException:
            self._stack.close()
            raise
        self._turn_at = self._clean_at = self._backup_at = self._memory_at = clock()

    def _open(self, config: ServeConfig, executor: Callable[[], Executor]) -> None:
        try:
            for folder in (config.state, config.blobs, config.results, config.logs):
                folder.mkdir(parents=True, exist_ok=True)
            self._stack.enter_context(FolderLock(config.state))
        except OSError as error:
            problem = f"cannot be used ({error.strerror or error})"
            remedy = "Choose a folder that you may write to, with --state"
            raise UserError("state", str(config.state), problem, remedy) from None
        self._store = Store(config.database)
        self._stack.callback(self._store.close)
        requeued = self._store.recover(failure(explain("WORKER_LOST", problem="together with the server")))
        if requeued:
            log.warning("%d jobs were at work when the last gateway ended: queued again", len(requeued))
        housekeeping.clear_partial(config)
        housekeeping.clear_old(config, self._store)
        self._context = zmq.Context()
        self._stack.callback(self._context.term)
        self._gatekeeper: Gatekeeper | None = None
        self._router = self._bind()
        self._executor = executor()
        self._stack.callback(self._executor.close)
        self._background = Background()
        self._stack.callback(self._background.close)
        delivery = Delivery(self._router, self._store, new_id(), self._clock)
        self._sessions = Sessions(self._router, delivery, self._clock, self._gatekeeper)
        shared = None if config.keys is None else config.running_per_user
        disk = Disk(config.state, config.min_free, self._clock)
        self._dispatcher = Dispatcher(
            config, self._store, disk, self._executor, self._sessions, self._clock, shared
        )
        office = Office(
            config,
            self._store,
            disk,
            self._dispatcher,
            self._executor,
            self._background,
            self._sessions.reply,
            self._clock,
        )
        self._desk = Desk(office)
        self._sessions.desk = self._desk
        self._wake_all()

    @property
    def address(self) -> str:
        """Where it listens."""
        return self._router.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")

    def stop(self) -> None:
        """End `run` soon. From a signal handler, too."""
        self._stopping = True

    def run(self) -> None:
        """Serve until `stop`; then jobs at work go back into the queue, and everything is closed."""
        poller = zmq.Poller()
        for source in (self._router, self._executor.waker, self._background.waker):
            poller.register(source, zmq.POLLIN)
        if self._gatekeeper is not None:
            poller.register(self._gatekeeper.socket, zmq.POLLIN)
        try:
            while not self._stopping:
                poller.poll(self._patience())
                self._turn()
            self._sessions.say_bye()
            self._dispatcher.give_back()
        finally:
            self._stack.close()

    def _turn(self) -> None:
        if self._gatekeeper is not None:
            self._gatekeeper.answer_all()
        for _ in range(_MESSAGES_AT_ONCE):
            if not self._sessions.receive():
                break
        self._background.finish()
        self._desk.accept_waiting()
        now = self._clock()
        if now - self._turn_at >= _TURN_SECONDS or not self._sessions.hurried:
            self._turn_at = now
            try:
                self._dispatcher.turn()
                self._keep_house(now)
            except sqlite3.OperationalError:
                log.exception("the store cannot be written; trying again")
            self._sessions.expire()
        self._sessions.pump()

    def _patience(self) -> int:
        """Milliseconds to wait for something to happen."""
        if self._sessions.hurried:
            return 0
        if self._sessions.blocked:
            return _BLOCKED_MS
        return _ACTIVE_MS if self._sessions.any_watch else _QUIET_MS

    def _keep_house(self, now: float) -> None:
        if now - self._clean_at > _CLEAN_SECONDS:
            self._clean_at = now
            self._desk.tidy()
            housekeeping.clear_old(self._config, self._store)
        if now - self._backup_at > _BACKUP_SECONDS:
            self._backup_at = now
            self._store.backup(self._config.state / "jobs.backup.sqlite")
        if now - self._memory_at > _MEMORY_SECONDS:
            self._memory_at = now
            self._check_memory()

    def _check_memory(self) -> None:
        """Stop, with all jobs kept, rather than be killed by the system, or have others killed."""
        held, limit = private_bytes(), self._config.memory_limit
        if limit and held > limit:
            log.error("holding %d MiB, more than the limit of %d", held >> 20, limit >> 20)
            self.worn_out = self._stopping = True

    def _wake_all(self) -> None:
        """Workers load their model before there is a job."""
        for slot in self._executor.slots():
            self._executor.wake(slot.name)

    def _bind(self) -> zmq.Socket:
        router: zmq.Socket = self._context.socket(zmq.ROUTER)
        self._stack.callback(router.close)
        router.linger = 0
        router.router_mandatory = True
        # What one client may have waiting here is a window of an upload, and no frame of a client is larger
        # than a chunk and what encryption adds to it.
        router.sndhwm, router.rcvhwm = limits.SNDHWM, limits.WINDOW_BYTES // limits.CHUNK_BYTES
        router.maxmsgsize = 2 * limits.CHUNK_BYTES
        router.handshake_ivl = limits.HANDSHAKE_MS
        router.heartbeat_ivl, router.heartbeat_timeout = 5_000, 15_000
        router.ipv6 = "[" in self._config.listen
        keys = None if self._config.keys is None else read_key_file(self._config.keys / SERVER_FILE)
        if self._config.keys is not None and keys is not None:
            self._gatekeeper = Gatekeeper(self._context, AllowList(self._config.keys / ALLOWED_FILE))
            self._stack.callback(self._gatekeeper.close)
            secure(router, keys)
        address = self._config.listen.replace("tcp://localhost:", "tcp://127.0.0.1:")
        try:
            router.bind(address)
        except zmq.ZMQError as error:
            remedy = "Stop what uses that port, or give another one with --address"
            raise UserError("address", self._config.listen, f"cannot be used ({error})", remedy) from None
        if keys is not None and self._gatekeeper is not None:
            self_test(self._context, router, self._gatekeeper, keys["public"])
        return router


def private_bytes() -> int:
    """Memory of this process with no file behind it; 0 where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)
    return 1024 * int(found[1]) if found else 0
