"""One connection kept alive over many sockets: greeting, heartbeats, loss, and coming back."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from . import limits
from .codec import BytesLike, decode, encode
from .errors import ErrorInfo, ProtocolError, explain, info_of
from .events import Connected, Event, Lost
from .messages import BULK, Bye, Error, Hello, Message, Ping, Pong, Welcome

State = Literal["connecting", "ready", "lost", "refused"]

GREETING_SECONDS = 4.5
"""How long an attempt may take from socket to `welcome`; less than the handshake's own limit."""
STEADY_SECONDS = 10.0
"""A connection that held so long starts the next row of attempts from the shortest wait again."""
_FINAL = ("AUTH", "WIRE_VERSION", "UNSUPPORTED")
"""Refusals that trying again does not mend."""
_DOUBTFUL = ("SERVER_KEY", "NOT_OURS")
"""These neither, but only when they come again and again: a server that stops in the middle of a handshake
looks like one with another key, and a socket may report the one for the other."""
_DOUBTS = 3


class Transport(Protocol):
    """One socket's life. The real one is in `dealer.py`; tests bring their own. Making one may raise
    OSError."""

    def send(self, frames: Sequence[BytesLike]) -> bool:
        """False: not now (not connected yet, or full); nothing was sent."""
        ...

    def receive(self) -> list[memoryview] | None:
        """The frames of the next message that is there; None for none."""
        ...

    def failure(self) -> str | None:
        """Code of what the socket noticed (AUTH, SERVER_KEY, NOT_OURS, UNREACHABLE, LOST), or None."""
        ...

    def wait(self, timeout_s: float) -> None:
        """Return when something may be received or has failed, or the time is over."""
        ...

    def close(self) -> None: ...


class Link:
    """Sends and receives messages while there is a connection, and makes a new one while there is none."""

    def __init__(
        self,
        connect: Callable[[], Transport],
        address: str,
        about: Mapping[str, Any],
        clock: Callable[[], float],
        emit: Callable[[Event], None],
    ) -> None:
        self.state: State = "connecting"
        self.welcome: Welcome | None = None
        self._connect, self._address, self._about = connect, address, dict(about)
        encode(Hello(about=self._about))  # refuses here what could never be sent
        self._clock, self._emit = clock, emit
        self._transport: Transport | None = None
        self._outbox: deque[Message] = deque()
        self._due = clock()
        self._backoff = limits.BACKOFF_SECONDS[0]
        self._longest = 2.0 if _is_local(address) else limits.BACKOFF_SECONDS[1]
        self._started = self._heard = self._pinged = clock()
        self._pings = 0
        self._doubts = 0
        self._hasty = 0
        self._told = ""
        self._run = ""

    @property
    def clear(self) -> bool:
        """Ready, and nothing waits to be sent: bulk may go."""
        return self.state == "ready" and not self._outbox

    def send(self, message: Message) -> None:
        """Queue a message. Without a connection it is dropped: a new one begins from what is wanted then."""
        if self.state == "ready":
            self._outbox.append(message)
            self.flush()

    def send_now(self, message: Message) -> bool:
        """Send past the queue; False if the socket takes nothing now."""
        return self._transport is not None and self._transport.send(encode(message))

    def flush(self) -> None:
        while self._outbox and self.send_now(self._outbox[0]):
            self._outbox.popleft()

    def receive(self) -> Message | None:
        """The next message that is not the link's own affair; None where none waits."""
        while self._transport is not None:
            frames = self._transport.receive()
            if frames is None:
                return None
            self._heard, self._pings = self._clock(), 0
            try:
                message = decode(frames)
            except ProtocolError as error:
                stranger = error.code == "BAD_FRAME" and self.state != "ready"
                self.drop(explain("NOT_OURS") if stranger else info_of(error))
                return None
            if not self._is_own(message) and self.state == "ready":
                return message
        return None

    def _is_own(self, message: Message) -> bool:
        match message:
            case Welcome():
                self._greeted(message)
            case Ping():
                self.send(Pong(re=message.mid))
            case Pong():
                pass
            case Bye():
                self.drop(explain("SHUTTING_DOWN"))
            case Error() if message.error.code in ("NO_HELLO", "SHUTTING_DOWN", "SESSIONS_FULL", *_FINAL):
                if message.error.code == "UNSUPPORTED" and self.state == "ready":
                    return False
                self.drop(message.error, at_once=message.error.code == "NO_HELLO")
            case _:
                return False
        return True

    def _greeted(self, welcome: Welcome) -> None:
        if self.state == "ready":
            return
        restarted = bool(self._run) and welcome.run != self._run
        self.state, self.welcome, self._run = "ready", welcome, welcome.run
        self._started, self._told = self._clock(), ""
        self._doubts = 0
        self._emit(Connected(welcome, restarted))

    def upkeep(self) -> None:
        """Make a socket where one is due, ping into silence, notice what failed. Call after `receive`."""
        now = self._clock()
        if self._transport is None:
            if self.state != "refused" and now >= self._due:
                self._open(now)
            return
        failure = self._transport.failure()
        if failure is not None:
            lost_early = failure == "LOST" and self.state != "ready"
            self.drop(explain("UNREACHABLE" if lost_early else failure, got=self._address))
        elif self.state != "ready":
            if now - self._started > GREETING_SECONDS:
                self.drop(explain("UNREACHABLE", got=self._address))
        elif now - max(self._heard, self._pinged) >= limits.PING_SECONDS:
            self._ping(now)
        self.flush()

    def _ping(self, now: float) -> None:
        if self._pings >= limits.PINGS_MISSED:
            self.drop(explain("LOST"))
            return
        # A ping that cannot be sent counts too: a peer that takes nothing is as silent as one that is gone.
        self._pings, self._pinged = self._pings + 1, now
        self.send(Ping())

    def _open(self, now: float) -> None:
        self._outbox.clear()
        try:
            self._transport = self._connect()
        except OSError as error:
            self.drop(explain("NO_SOCKET", problem=error.strerror or str(error)))
            return
        self._started = self._heard = self._pinged = now
        self._pings = 0
        self._outbox.append(Hello(about=self._about, caps=(BULK,)))
        self.flush()

    def drop(self, error: ErrorInfo, at_once: bool = False) -> None:
        """Give this socket up. A fresh one follows: at once, or after a wait that doubles each time."""
        now = self._clock()
        if self._transport is not None:
            self._transport.close()
            self._transport = None
        if self.state == "ready" and now - self._started > STEADY_SECONDS:
            self._backoff = limits.BACKOFF_SECONDS[0]
            self._hasty = 0
        self._doubts += error.code in _DOUBTFUL
        self._hasty += at_once
        # A server that has greeted once is one of ours, whatever its socket looks like while it starts again.
        final = error.code in _FINAL or (self._doubts >= _DOUBTS and not self._run)
        self.state, self.welcome = "refused" if final else "lost", None
        self._outbox.clear()
        self._due = now if at_once and self._hasty < 3 else now + self._backoff * random.uniform(0.7, 1.3)
        if self._due > now:
            self._backoff = min(2 * self._backoff, self._longest)
        if error.code != self._told or final:
            self._told = error.code
            self._emit(Lost(error))

    def reconnect(self) -> None:
        """Try now, also after a refusal. Does nothing while ready."""
        if self.state != "ready":
            self._doubts = self._hasty = 0
            self._backoff, self._due = limits.BACKOFF_SECONDS[0], self._clock()
            self._told = ""
            if self.state == "refused":
                self.state = "connecting"

    def wait(self, timeout_s: float) -> None:
        if self._transport is not None:
            self._transport.wait(timeout_s)

    @property
    def open(self) -> bool:
        return self._transport is not None

    def close(self) -> None:
        if self._transport is not None:
            if self.state == "ready":
                self.send_now(Bye())
            self._transport.close()
            self._transport = None
        self.state = "lost"
        self._due = float("inf")


def _is_local(address: str) -> bool:
    """A backend on this computer is waited for in short steps: somebody may just have started it."""
    return address.startswith(("tcp://127.", "tcp://localhost:", "tcp://[::1]:"))
