"""Everybody who is connected: who they are, what they say, and what they are to hear of."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import zmq

from vitruvian.service.curve import Gatekeeper
from vitruvian.service.delivery import Delivery
from vitruvian.service.session import LOCAL_USER, Session, Watch
from vitruvian_protocol import limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.codec import decode
from vitruvian_protocol.errors import ErrorInfo, ProtocolError, explain, info_of

if TYPE_CHECKING:
    from vitruvian.service.desk import Desk

log = logging.getLogger(__name__)

_UNCOUNTED = (m.PutChunk, m.Credit, m.PreviewAck, m.ArtifactAck, m.TransferStop)
"""Messages that come as often as others make them; they do not count towards the rate."""
_SILENT_SECONDS = limits.PING_SECONDS * (limits.PINGS_MISSED + 1)
"""A client of ours pings more often than this: a session silent for longer may make room for another."""


class Sessions:
    """The sessions of one gateway. Implements `dispatch.Audience`.

    Args:
        delivery: sends to them, and marks those that are lost.
        clock: monotonic seconds.
        gatekeeper: who may be here; None where there are no keys.
    """

    desk: Desk

    def __init__(
        self,
        router: zmq.Socket,
        delivery: Delivery,
        clock: Callable[[], float],
        gatekeeper: Gatekeeper | None,
    ) -> None:
        self._router, self._delivery, self._clock, self._gatekeeper = router, delivery, clock, gatekeeper
        self.reply = delivery.reply
        self._by_peer: dict[bytes, Session] = {}
        self._moved = False
        self._moved_at = float("-inf")
        self.dropped = 0
        """Messages that were not of this protocol."""

    # ---- what comes in

    def receive(self) -> bool:
        """Read and answer one message; False where none waits."""
        try:
            peer, *frames = self._router.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        owner = self._owner(frames)
        if owner is None:
            self._forget(peer.bytes)
            return True
        try:
            message = decode([frame.buffer for frame in frames])
        except ProtocolError as error:
            self._refuse_malformed(peer.bytes, error)
            return True
        self._take(peer.bytes, owner, message)
        self._forget_lost()
        return True

    def _owner(self, frames: list[zmq.Frame]) -> str | None:
        """Who sends, by the key that the connection was made with; None where that key was revoked since."""
        if self._gatekeeper is None:
            return LOCAL_USER
        try:
            key = frames[-1].get("User-Id")
        except (zmq.ZMQError, IndexError):
            return None
        return str(key) if key in self._gatekeeper.allowed.names() else None

    def _take(self, peer: bytes, owner: str, message: m.Message) -> None:
        session = self._by_peer.get(peer)
        now = self._clock()
        if session is None:
            if isinstance(message, m.Hello):
                self._greet(peer, owner, message)
            else:
                self._delivery.send_once(peer, m.Error(re=message.mid, error=explain("NO_HELLO")))
            return
        session.heard = now
        if isinstance(message, m.Hello):
            self.reply(session, self.desk.welcome(session, message, self._delivery.run))
        elif isinstance(message, m.Bye):
            self._forget(peer)
        elif not isinstance(message, _UNCOUNTED) and not session.may_ask(now):
            self.desk.refuse(session, message.mid, explain("RATE"))
        else:
            self._answer(session, message)

    def _answer(self, session: Session, message: m.Message) -> None:
        """A fault of ours while answering one client must not end the service for all."""
        try:
            self.desk.answer(session, message)
        except Exception:
            error_id = message.mid[:8]
            log.exception("error %s while answering %s", error_id, message.t)
            self.desk.refuse(session, message.mid, explain("INTERNAL", error_id=error_id))

    def _greet(self, peer: bytes, owner: str, hello: m.Hello) -> None:
        error: ErrorInfo | None = None
        if not hello.wire_min <= limits.WIRE_MAJOR <= hello.wire_max:
            problem = (
                f"the client speaks {hello.wire_min} to {hello.wire_max}, the server {limits.WIRE_MAJOR}"
            )
            error = explain("WIRE_VERSION", problem=problem)
        elif not self._has_room(owner):
            error = explain("SESSIONS_FULL", limit=limits.SESSIONS)
        if error is not None:
            self._delivery.send_once(peer, m.Error(re=hello.mid, error=error))
            return
        session = Session(
            peer, owner, m.new_id(), self._clock(), m.BULK in hello.caps, tokens_at=self._clock()
        )
        self._by_peer[peer] = session
        self.reply(session, self.desk.welcome(session, hello, self._delivery.run))

    def _has_room(self, owner: str) -> bool:
        """Whether one more session fits; silent ones of the same owner make room."""
        own = [s for s in self._by_peer.values() if s.owner == owner]
        per_key = limits.SESSIONS if owner == LOCAL_USER else limits.SESSIONS_PER_KEY
        if len(own) < per_key and len(self._by_peer) < limits.SESSIONS:
            return True
        silent = min(own, key=lambda s: s.heard, default=None)
        if silent is None or self._clock() - silent.heard < _SILENT_SECONDS:
            return False
        self._forget(silent.peer)
        return True

    def _refuse_malformed(self, peer: bytes, error: ProtocolError) -> None:
        session = self._by_peer.get(peer)
        self.dropped += 1
        if self.dropped.bit_count() == 1:  # the 1st, 2nd, 4th, ...: enough to see what goes on
            log.warning("%d messages were malformed, the last one: %s", self.dropped, error)
        if session is not None and not session.may_ask(self._clock()):
            return
        if error.code == "WIRE_VERSION":
            self._delivery.send_once(peer, m.Error(error=info_of(error)))
        elif error.code != "BAD_FRAME" and error.mid and session is not None:
            if error.t == m.Submit.t and error.job:
                self.reply(session, m.Rejected(re=error.mid, job=error.job, error=info_of(error)))
            else:
                self.reply(session, m.Error(re=error.mid, error=info_of(error)))

    def pump(self) -> None:
        """Send what is due and what there is room for."""
        self._tell_positions()
        self._delivery.pump(self._by_peer.values())
        self._forget_lost()

    # ---- jobs' news (dispatch.Audience)

    def changed(self, job: str) -> None:
        """There are new events in the store, and perhaps the queue has moved."""
        self._moved = True
        for session, _ in self._watching(job):
            session.fresh.add(job)

    def progress(self, job: str, stage: str, fraction: float, eta_s: float | None, attempt: int) -> None:
        self.desk.stages[job] = stage, fraction
        for _, watch in self._watching(job):
            watch.progress = m.Progress(
                job=watch.name, stage=stage, fraction=fraction, eta_s=eta_s, attempt=attempt
            )

    def preview(self, job: str, kind: m.PreviewKind, jpeg: bytes) -> None:
        if len(jpeg) > limits.PREVIEW_BYTES:
            return
        for _, watch in self._watching(job):
            watch.previews[kind] = jpeg

    def _watching(self, job: str) -> Iterator[tuple[Session, Watch]]:
        for session in self._by_peer.values():
            if job in session.watches:
                yield session, session.watches[job]

    def _tell_positions(self) -> None:
        """Where in the queue waiting jobs are, once a second at most, when it has moved."""
        now = self._clock()
        if not self._moved or now - self._moved_at < 1.0:
            return
        self._moved, self._moved_at = False, now
        for job, position in self.desk.positions().items():
            for _, watch in self._watching(job):
                watch.progress = m.Progress(job=watch.name, stage="waiting", fraction=0.0, position=position)

    # ---- comings and goings

    def expire(self) -> None:
        """Forget sessions that have been silent for too long, never their jobs."""
        limit = self._clock() - limits.SESSION_SECONDS
        for session in list(self._by_peer.values()):
            if session.heard < limit:
                self._forget(session.peer)

    def say_bye(self) -> None:
        """The server stops."""
        for session in self._by_peer.values():
            self._delivery.say_bye(session)
            session.close()
        self._by_peer.clear()

    def _forget_lost(self) -> None:
        for peer in [session.peer for session in self._by_peer.values() if session.lost]:
            self._forget(peer)

    def _forget(self, peer: bytes) -> None:
        session = self._by_peer.pop(peer, None)
        if session is not None:
            self.desk.leave(session)

    @property
    def hurried(self) -> bool:
        """Whether some client can be sent more right now."""
        return any(
            not (s.blocked or s.full) and any(d.can_go_on for d in s.downloads.values())
            for s in self._by_peer.values()
        )

    @property
    def blocked(self) -> bool:
        """Whether something waits for room."""
        return any(s.blocked or s.full or s.replies for s in self._by_peer.values())

    @property
    def any_watch(self) -> bool:
        return any(s.watches for s in self._by_peer.values())
